"""A robot's word: what it records and what it has not sent; made when it is due, never kept."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

#: Unsent episodes a RobotStatus names, at most (the oldest).
UNSENT_NAMED: Final = 50


def robot_status(
    identity: dict[str, str],
    recording: str,
    unsent: Sequence[str],
    buffered_bytes: int,
    spool: tuple[int, int, bool] = (0, 0, False),
) -> dict[str, Any]:
    """Fields of a RobotStatus; ``unsent`` are episode ids, the oldest first, with or without the one being recorded.

    ``spool``: bytes in it, its limit, and whether it refuses new episodes.
    """
    return {
        **identity,
        "sent_at_ns": time.time_ns(),
        "recording": recording,
        "unsent_episodes": [one for one in unsent if one != recording][:UNSENT_NAMED],
        "buffered_bytes": buffered_bytes,
        "spool_bytes": spool[0],
        "spool_limit_bytes": spool[1],
        "spool_full": spool[2],
        "clock_source": "SYSTEM",
        "clock_offset_s": None,
    }
