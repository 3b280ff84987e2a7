"""What text the wire can carry; changes none."""

from __future__ import annotations

from typing import Any


def is_text(value: Any) -> bool:
    """Whether it is text that UTF-8 has bytes for: half of a surrogate pair, as from a file's odd name, has none."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
