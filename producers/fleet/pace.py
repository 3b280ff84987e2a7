"""How well a floor keeps its time: frames, CPU and lateness while takes begin, in bounded memory; it moves nothing."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

import numpy as np

#: Lateness is counted in steps of so many ns, up to so many of them; what is later counts in the last.
_STEP_NS: Final = 1_000_000
_STEPS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Late:
    """How long after they were due chunks were handed over, ms to a tenth; p50, p99: where their millisecond ends."""

    p50: float
    p99: float
    max: float


@dataclass(frozen=True, slots=True)
class Kept:
    """Of one shift: ``frames_per_s`` and ``cpu_share`` (of one core, all threads of the process) while takes begin,
    ``take_hz`` frames a second within a take; ``missed_deadlines`` of all ``chunks``: handed over only after the
    robot's next one was due.
    """

    frames_per_s: float
    take_hz: float
    cpu_share: float
    chunks: int
    missed_deadlines: int
    late_ms: Late


class Pace:
    """Counts from when it is made; :meth:`close` ends the time that rates are about."""

    def __init__(self) -> None:
        self._begun, self._cpu = time.monotonic_ns(), time.process_time()
        self._late = np.zeros(_STEPS + 1, np.int64)
        self._frames = self._chunks = self._missed = self._latest_ns = 0
        self._taken = self._take_ns = 0
        self._closed: tuple[float, float] | None = None

    def handed(self, frames: int, due_ns: int, next_due_ns: int) -> None:
        """A chunk that was due at monotonic ``due_ns`` was handed over just now, the one after it is due then."""
        now_ns = time.monotonic_ns()
        late_ns = max(now_ns - due_ns, 0)
        self._late[min(late_ns // _STEP_NS, _STEPS)] += 1
        self._latest_ns = max(self._latest_ns, late_ns)
        self._chunks += 1
        self._missed += now_ns > next_due_ns
        self._frames += frames

    def took(self, frames: int, began_ns: int) -> None:
        """A take that began at monotonic ``began_ns`` has just ended."""
        self._taken += frames
        self._take_ns += time.monotonic_ns() - began_ns

    def close(self) -> None:
        """No further take begins; a second call changes nothing."""
        if self._closed is None:
            seconds = max((time.monotonic_ns() - self._begun) * 1e-9, 1e-3)
            self._closed = self._frames / seconds, (time.process_time() - self._cpu) / seconds

    def kept(self) -> Kept:
        """What there is to say."""
        self.close()
        frames_per_s, cpu_share = self._closed or (0.0, 0.0)
        return Kept(
            round(frames_per_s, 1),
            round(self._taken / (self._take_ns * 1e-9), 2) if self._take_ns else 0.0,
            round(cpu_share, 3),
            self._chunks,
            self._missed,
            Late(self._quantile_ms(0.5), self._quantile_ms(0.99), _ms(self._latest_ns)),
        )

    def _quantile_ms(self, share: float) -> float:
        """Upper end of the step that holds it."""
        if not self._chunks:
            return 0.0
        step = int(np.searchsorted(np.cumsum(self._late), share * self._chunks))
        return _ms(min((step + 1) * _STEP_NS, self._latest_ns))


def _ms(ns: int) -> float:
    return round(ns / 1e6, 1)
