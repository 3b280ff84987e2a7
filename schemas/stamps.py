"""Owns how a stamp of the contract is written for people; never reads a clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def iso_ns(t_ns: int) -> str:
    """ISO 8601 in UTC with all nine digits of ``t_ns``, ns since the epoch: a float or a datetime would lose some."""
    seconds, ns = divmod(t_ns, 10**9)
    whole = (_EPOCH + timedelta(seconds=seconds)).replace(tzinfo=None)
    return f"{whole.isoformat()}.{ns:09d}Z"
