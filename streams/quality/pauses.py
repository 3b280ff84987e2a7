"""Stretches of consecutive intervals that share a property; contiguous parts merge exactly. Knows no metric."""

from __future__ import annotations

from dataclasses import dataclass

from kinestream.streams.quality.model import Integers, Mask
from kinestream.streams.quality.spells import edges_of


@dataclass(slots=True)
class Pause:
    """From the frame before its first interval to the last: stamps (ns), number of the first frame."""

    first_seq: int
    first_t: int
    last_t: int
    from_start: bool

    @property
    def ns(self) -> int:
        """How long it lasts."""
        return self.last_t - self.first_t


class Pauses:
    """Pauses of at least ``ns``: all of them together, the longest between the first and the last, the open one."""

    __slots__ = ("count", "lead", "longest", "ns", "open", "total_ns")

    def __init__(self, ns: int) -> None:
        self.ns = ns
        self.lead: Pause | None = None
        self.open: Pause | None = None
        self.longest: Pause | None = None
        self.total_ns = 0
        self.count = 0

    def add(self, mask: Mask, seq: Integers, t: Integers, starts: bool) -> None:
        """Go on with intervals: ``mask`` and the ``seq`` of their last frames (m,), stamps ``t`` (m+1,)."""
        if not len(mask):
            return
        if not mask.any():
            self._close()
            return
        edges = edges_of(mask)
        if not edges or edges[0] > 0:
            self._close()
        for begin, end in zip(edges[::2], edges[1::2], strict=True):
            last_t = int(t[end])
            if self.open is None:
                self.open = Pause(int(seq[begin]) - 1, int(t[begin]), last_t, starts and begin == 0)
            else:
                self.open.last_t = last_t
            if end < len(mask):
                self._close()

    def _close(self) -> None:
        pause, self.open = self.open, None
        if pause is None:
            return
        if pause.from_start:
            self.lead = pause
        else:
            self._keep(pause)

    def _keep(self, pause: Pause) -> None:
        if pause.ns >= self.ns:
            self.total_ns += pause.ns
            self.count += 1
            if self.longest is None or pause.ns > self.longest.ns:
                self.longest = pause

    def together_ns(self) -> int:
        """All pauses that are long enough, the first and the open one included."""
        return self.total_ns + sum(p.ns for p in (self.lead, self.open) if p is not None and p.ns >= self.ns)

    def merge(self, later: Pauses) -> None:
        """Add a contiguous later part; a pause over the cut becomes one."""
        whole = later.open is not None and later.open.from_start
        head = later.open if whole else later.lead
        if head is None:
            self._close()
        else:
            if self.open is None:
                self.open = Pause(head.first_seq, head.first_t, head.last_t, False)
            else:
                self.open.last_t = head.last_t
            if not whole:
                self._close()
        self.total_ns += later.total_ns
        self.count += later.count
        if later.longest is not None and (self.longest is None or later.longest.ns > self.longest.ns):
            self.longest = later.longest
        if later.open is not None and not whole:
            self.open = later.open
