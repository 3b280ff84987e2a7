"""Whether a worker works, judged from samples of its positions; reads no clock and asks nobody.

Alive (``/healthz``): the loop answers, and where there is something to do, it is being done. A store, broker or
registry that is away is no reason to kill a worker, for the next one would wait for it as well.
Ready (``/readyz``): partitions are assigned, what was in flight is loaded, and everything it needs answers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

Key = tuple[str, int]

#: Samples of a position that are kept, one a second: what waits longer for the store has age "at least".
_SAMPLES: Final = 900


@dataclass(frozen=True, slots=True)
class Position:
    """One partition at one moment: where reading stands, messages behind the end of the log, what is durable."""

    next_offset: int
    lag: int
    watermark: int
    loaded: bool


@dataclass(frozen=True, slots=True)
class Sample:
    """A worker at one moment. ``now_s`` and ``flushed_s`` are of the monotonic clock; ``waits_for`` = what is away."""

    now_s: float
    flushed_s: float
    waits_for: Sequence[str]
    positions: Mapping[Key, Position]


@dataclass(slots=True)
class _Track:
    """What is remembered of a partition: since when it stands, and when it was where."""

    offset: int
    moved_s: float
    seen: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=_SAMPLES))


class Watchdog:
    """Sees a sample about once a second; says what has not moved for ``stall_s`` seconds although it should."""

    def __init__(self, stall_s: float) -> None:
        self._stall_s = stall_s
        self._tracks: dict[Key, _Track] = {}
        self._last_s = -1.0
        self._excused_s = -1.0
        self.stalled: tuple[str, ...] = ()

    def see(self, sample: Sample) -> None:
        """Take a sample; ``stalled`` says afterwards what is wrong, in one line each."""
        if self._last_s < 0 or sample.now_s - self._last_s > self._stall_s / 2:
            self._excused_s = sample.now_s  # the first look, or the whole process stood still: begin anew
        self._last_s = sample.now_s
        if sample.waits_for:
            self._excused_s = sample.now_s
        self._tracks = {key: self._follow(key, at, sample.now_s) for key, at in sample.positions.items()}
        self.stalled = tuple(self._judge(sample))

    def watermark_age(self, key: Key, watermark: int) -> float:
        """Seconds since reading passed what is the oldest not durable now; 0 where all is, bounded by the memory."""
        track = self._tracks.get(key)
        if track is None:
            return 0.0
        return next((self._last_s - at_s for at_s, offset in track.seen if offset > watermark), 0.0)

    def _follow(self, key: Key, at: Position, now_s: float) -> _Track:
        track = self._tracks.get(key)
        if track is None:
            track = _Track(at.next_offset, now_s)
        if at.next_offset != track.offset or at.lag <= 0 or not at.loaded:
            track.offset, track.moved_s = at.next_offset, now_s
        while track.seen and track.seen[0][1] <= at.watermark:
            track.seen.popleft()
        if at.next_offset > at.watermark and (not track.seen or track.seen[-1][1] < at.next_offset):
            track.seen.append((now_s, at.next_offset))
        return track

    def _judge(self, sample: Sample) -> list[str]:
        found = []
        for (topic, partition), track in self._tracks.items():
            idle_s = sample.now_s - max(track.moved_s, self._excused_s)
            if idle_s >= self._stall_s:
                lag = sample.positions[topic, partition].lag
                found.append(f"{topic}-{partition} stands at {track.offset} for {idle_s:.0f} s, {lag} messages behind")
        idle_s = sample.now_s - max(sample.flushed_s, self._excused_s)
        if idle_s >= self._stall_s:
            found.append(f"nothing was flushed for {idle_s:.0f} s, though nothing is away")
        return found
