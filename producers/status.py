"""A robot's word: what it records and what it has not sent; made when it is due, never kept."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

#: Unsent episodes a RobotStatus names, at most (the oldest).
UNSENT_NAMED: Final = 50


def robot_status(
    identity: dict[str, str], recording: str, unsent: Sequence[str], buffered_bytes: int
) -> dict[str, Any]:
    """Fields of a RobotStatus; ``unsent`` are episode ids, the oldest first, with or without the one being recorded."""
    return {
        **identity,
        "sent_at_ns": time.time_ns(),
        "recording": recording,
        "unsent_episodes": [one for one in unsent if one != recording][:UNSENT_NAMED],
        "buffered_bytes": buffered_bytes,
        "clock_source": "SYSTEM",
        "clock_offset_s": None,
    }
