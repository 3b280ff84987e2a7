"""Where and how often something happened, and runs of it; both merge exactly over contiguous parts. Knows no metric."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kinestream.streams.quality.model import Integers, Mask


def edges_of(mask: Mask) -> list[int]:
    """Where runs begin and end (one behind the last), in turn, of a mask (n,)."""
    padded = np.zeros(len(mask) + 2, np.bool_)
    padded[1:-1] = mask
    edges: list[int] = (padded[1:] != padded[:-1]).nonzero()[0].tolist()
    return edges


@dataclass(slots=True)
class Spell:
    """Occurrences of a fault: count, the first and last frame, the worst value."""

    count: int = 0
    first_seq: int = -1
    first_t: int = 0
    last_t: int = 0
    worst: float = 0.0

    def add(self, count: int, first: tuple[int, int], last_t: int, worst: float = 0.0) -> None:
        """Count ``count`` later occurrences; ``first`` is the first one's frame number and stamp."""
        if not self.count:
            self.first_seq, self.first_t = first
        self.count += count
        self.last_t = last_t
        self.worst = max(self.worst, worst)

    def merge(self, later: Spell) -> None:
        """Add the occurrences of a later part."""
        if later.count:
            self.add(later.count, (later.first_seq, later.first_t), later.last_t, later.worst)


@dataclass(slots=True)
class Run:
    """Consecutive frames that share a property; ``from_start`` = its first frame is the part's first."""

    first_seq: int
    first_t: int
    last_t: int
    frames: int
    from_start: bool

    def join(self, later: Run) -> None:
        """Lengthen by a run that follows without a frame between."""
        self.last_t = later.last_t
        self.frames += later.frames


class Runs:
    """Runs of at least ``frames`` frames and ``ns`` nanoseconds: how many, how long, the first and the last.

    The run at the part's first frame and the one at its last stay apart, so that parts merge exactly.
    """

    __slots__ = ("frames", "lead", "ns", "open", "spell", "total_ns")

    def __init__(self, frames: int, ns: int) -> None:
        self.frames = frames
        self.ns = ns
        self.lead: Run | None = None
        self.open: Run | None = None
        self.spell = Spell()
        self.total_ns = 0

    def add(self, mask: Mask, seq: Integers, t: Integers, starts: bool) -> None:
        """Go on with the frames (n,) where ``mask`` says which have the property; ``starts`` = the part's first."""
        if mask.all():
            return self._extend(seq, t, 0, len(mask), starts)
        edges = edges_of(mask)
        if not edges or edges[0] > 0:
            self._close()
        for begin, end in zip(edges[::2], edges[1::2], strict=True):
            self._extend(seq, t, begin, end, starts and begin == 0)
            if end < len(mask):
                self._close()
        return None

    def _extend(self, seq: Integers, t: Integers, begin: int, end: int, starts: bool) -> None:
        run = Run(int(seq[begin]), int(t[begin]), int(t[end - 1]), end - begin, starts)
        if self.open is None:
            self.open = run
        else:
            self.open.join(run)

    def _close(self) -> None:
        run, self.open = self.open, None
        if run is None:
            return
        if run.from_start:
            self.lead = run
        else:
            self._count(run)

    def _count(self, run: Run) -> None:
        if self._enough(run):
            self.total_ns += run.last_t - run.first_t
            self.spell.add(1, (run.first_seq, run.first_t), run.last_t)

    def _enough(self, run: Run) -> bool:
        return run.frames >= self.frames and run.last_t - run.first_t >= self.ns

    def summary(self) -> tuple[Spell, int]:
        """The runs that are long enough, open ones included, and the nanoseconds they last together."""
        runs = [run for run in (self.lead, self.open) if run is not None and self._enough(run)]
        if not runs:
            return self.spell, self.total_ns
        whole, total = Spell(), self.total_ns
        for run in runs:
            total += run.last_t - run.first_t
        if runs[0].from_start:
            whole.add(1, (runs[0].first_seq, runs[0].first_t), runs[0].last_t)
        whole.merge(self.spell)
        if not runs[-1].from_start:
            whole.add(1, (runs[-1].first_seq, runs[-1].first_t), runs[-1].last_t)
        return whole, total

    def merge(self, later: Runs) -> None:
        """Add a contiguous later part; a run over the cut becomes one."""
        whole = later.open is not None and later.open.from_start
        head = later.open if whole else later.lead
        if head is None:
            self._close()
        else:
            self._continue(head)
            if not whole:
                self._close()
        self.spell.merge(later.spell)
        self.total_ns += later.total_ns
        if later.open is not None and not whole:
            self.open = later.open

    def _continue(self, head: Run) -> None:
        if self.open is None:
            self.open = Run(head.first_seq, head.first_t, head.last_t, head.frames, False)
        else:
            self.open.join(head)
