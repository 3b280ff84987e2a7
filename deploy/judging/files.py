"""Files that are whole or not there; knows no content."""

from __future__ import annotations

import os
from pathlib import Path

from kinestream.schemas.errors import SettingError


def write_text(path: Path, text: str) -> None:
    """As :func:`write_bytes`, in UTF-8."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write aside and rename; raises :class:`SettingError` where that folder takes no file."""
    partial = path.with_name(f"{path.name}.part")
    try:
        partial.write_bytes(content)
        os.replace(partial, path)
    except OSError as problem:
        partial.unlink(missing_ok=True)
        raise SettingError(
            f"{path} cannot be written ({problem.strerror}): give a file in a folder of yours"
        ) from problem
