"""Owns what a look at one thing yields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

OK: Final = "ok"
#: it works, with less than there could be; FAIL: something does not work, or will not
WARN: Final = "warn"
FAIL: Final = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing: its name, ok, warn or fail, what was found, and what to do about it (empty where nothing is)."""

    name: str
    level: str
    detail: str
    todo: str = ""
