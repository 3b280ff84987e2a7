"""Owns how people say when: ``2h``, ``3d``, a date or a moment; it reads the clock for ages only."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from kinestream.schemas.errors import SettingError

_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_AGE: Final = re.compile(r"(\d{1,6})\s*([smhd])")


def since(text: str | None, now: datetime | None = None) -> datetime | None:
    """An aware moment: ``15m`` before ``now``, or ISO (UTC where it names no zone); None of None.

    Raises :class:`SettingError` for anything else.
    """
    if not text:
        return None
    if age := _AGE.fullmatch(text.strip()):
        return (now or datetime.now(UTC)) - timedelta(**{_UNITS[age[2]]: int(age[1])})
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as problem:
        raise SettingError(
            f"--since {text!r}: give an age (90s, 15m, 2h, 7d), a day (2026-05-31) or a moment (2026-05-31T08:00:00Z)"
        ) from problem
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
