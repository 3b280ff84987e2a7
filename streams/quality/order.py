"""Whether the robot's stamps rise with its frame numbers: T8. Never looks at a value."""

from __future__ import annotations

import numpy as np

from kinestream.streams.quality.desk import Batch
from kinestream.streams.quality.family import Family, Found, rows, where
from kinestream.streams.quality.model import Context, Finding, Flag, MetricValue, Origin, Span
from kinestream.streams.quality.rules import Rules
from kinestream.streams.quality.spells import Spell


class StampOrder(Family):
    """T8 stamp order: count of D < 0 (FAIL: open checkers exclude such takes) and of D = 0 (SUSPECT), frames by number.

    Merges exactly.
    """

    merges = True
    metrics = ("T8",)

    def __init__(self, context: Context, rules: Rules) -> None:
        super().__init__(context, rules)
        self.back, self.still = Spell(), Spell()

    def add(self, batch: Batch) -> None:
        """Look at the intervals, the episode's first apart."""
        first = int(batch.starts)
        period = batch.period_ns[first:]
        if not len(period) or np.minimum.reduce(period) > 0:
            return
        for spell, mask in ((self.back, period < 0), (self.still, period == 0)):
            at = np.flatnonzero(mask) + first
            if len(at):
                begins = (int(batch.seq[at[0]]), int(batch.frames.t_ns[at[0]]))
                spell.add(len(at), begins, int(batch.frames.t_ns[at[-1]]))

    def findings(self, span: Span, live: bool) -> list[Finding]:
        """One: backwards before standing still."""
        flag, spell = (Flag.FAIL, self.back) if self.back.count else (Flag.SUSPECT, self.still)
        if not spell.count:
            return []
        key = "T8.back" if self.back.count else "T8.still"
        facts = {"value": float(spell.count), "unit": "frames", "threshold": 0.0, "origin": Origin.OURS}
        return [self.finding(span, "T8", key, {"count": spell.count}, flag=flag, **where(spell), **facts)]

    def values(self, span: Span, found: Found) -> list[MetricValue]:
        """Frames that do not come after the one before."""
        return rows("T8", "frames", float(self.back.count + self.still.count), span.frames >= 2, found)

    def merge(self, later: StampOrder, cut: Batch) -> None:
        """Add a later part and the interval over the cut."""
        self.add(cut)
        self.back.merge(later.back)
        self.still.merge(later.still)
