"""Owns what a person sees of a running demo as values, computed from what was counted; it draws nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kinestream.deploy.demo.measurement import Event, FindingSeen, first_read

DAY_S = 86_400
#: Entries a day the hub wants.
GOAL_PER_DAY = 50_000


@dataclass(frozen=True, slots=True)
class View:
    """One moment of the demo. ``now_s``: seconds since the robots began; ``completed``: announced."""

    phase: str
    now_s: float
    frames: int
    frames_per_s: float
    open: int
    completed: int
    per_day: float
    findings: tuple[FindingSeen, ...] = ()


def pace(events: Sequence[Event], began_ns: int) -> float:
    """Episodes a day, if it went on as until the newest event; 0 without events."""
    read = first_read(events)
    if not read:
        return 0.0
    seconds = (max(read.values()) - began_ns) / 1e9
    return len(read) * DAY_S / seconds if seconds > 0 else 0.0
