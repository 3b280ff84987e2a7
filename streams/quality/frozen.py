"""Joints whose sensor stands still while they are told to move: I6. Exact runs only for joints that may be at fault."""

from __future__ import annotations

import numpy as np

from kinestream.streams.quality.desk import Batch
from kinestream.streams.quality.family import Family, Found, constant, rows, where
from kinestream.streams.quality.model import (
    SECOND,
    SLACK,
    Context,
    Finding,
    Flag,
    Floats,
    Mask,
    MetricValue,
    Origin,
    Span,
)
from kinestream.streams.quality.rules import Rules
from kinestream.streams.quality.spells import Spell


class Frozen(Family):
    """I6 stuck sensor: longest run of equal positions while the command's path over it exceeds 1 % of the range, s.

    QARTOD's flat line test with the command as witness; 0.5 s SUSPECT, 2 s FAIL (ours). Equal means range(q) = 0 over
    the run: one least step of a live encoder ends it. Needs a command and the joint's range. A run ends at a NaN.
    """

    metrics = ("I6",)

    def __init__(self, context: Context, rules: Rules) -> None:
        super().__init__(context, rules)
        width = len(context.joints)
        reach = np.asarray(context.upper, np.float64) - np.asarray(context.lower, np.float64)
        known = np.isfinite(reach) & (reach > 0) & context.model_known
        least = np.where(known, rules.frozen_path * np.where(known, reach, 0.0), np.inf) * (1 + SLACK)
        self.least = constant(least)
        self._ns = rules.frozen_suspect_s * SECOND * (1 - SLACK)
        # of each joint's open run: number and stamp of its first frame, path of its command since
        self._seq = np.zeros(width, np.int64)
        self._t = np.zeros(width, np.int64)
        self._path = np.zeros(width)
        self._last_t = 0
        self._command: Floats | None = None
        self.spells: dict[int, Spell] = {}
        self._counted: dict[int, int] = {}

    def add(self, batch: Batch) -> None:
        """Go on with each joint's run; look closely at joints whose run is long enough."""
        command = batch.channel("command")
        if command is None or batch.channel("position") is None:
            return
        n, shop = batch.n, batch.shop
        moved = np.not_equal(batch.step, 0.0, out=shop.flags[:n])
        for name in ("position", "command"):
            if (bad := batch.bad(name)) is not None:
                moved |= bad[1:] | bad[:-1]
        if batch.starts:
            moved[0] = True
        way = np.subtract(command[1:], command[:-1], out=shop.spare[:n])
        np.absolute(way, out=way)
        total = batch.ones @ way
        doubtful = self._long(batch, moved) & (self._path + total > self.least)
        for j in np.flatnonzero(doubtful).tolist():
            self._closely(batch, j, moved[:, j], way[:, j])
        self._go_on(batch, moved, way, total)

    def _long(self, batch: Batch, moved: Mask) -> Mask:
        """Joints of which some run up to or within this batch may be long enough."""
        stamps = batch.t
        first = np.where(moved.any(axis=0), moved.argmax(axis=0), batch.n)
        long: Mask = stamps[first] - self._t >= self._ns
        if stamps[-1] - stamps[0] >= self._ns:
            still = batch.n - np.add.reduce(moved, axis=0, dtype=np.int64)
            long |= (still + 1) * int(batch.period_ns.max()) >= self._ns
        return long

    def _go_on(self, batch: Batch, moved: Mask, way: Floats, total: Floats) -> None:
        last = batch.n - 1 - moved[::-1].argmax(axis=0)
        ran = moved[last, np.arange(len(last))]
        after = np.greater(_PLACES[: batch.n], last, out=batch.shop.flags[: batch.n])
        since = batch.ones @ np.multiply(way, after, out=way)
        self._path = np.where(ran, since, self._path + total)
        self._seq = np.where(ran, batch.seq[last], self._seq)
        self._t = np.where(ran, batch.frames.t_ns[last], self._t)
        self._last_t = int(batch.frames.t_ns[-1])

    def _closely(self, batch: Batch, j: int, moved: Mask, way: Floats) -> None:
        seq, t, path = int(self._seq[j]), int(self._t[j]), float(self._path[j])
        stamps = batch.frames.t_ns
        begin = 0
        for end in [*np.flatnonzero(moved).tolist(), batch.n]:
            if end > begin:
                path += float(way[begin:end].sum())
                if path > self.least[j]:
                    self._record(j, seq, t, int(stamps[end - 1]))
            if end < batch.n:
                seq, t, path, begin = int(batch.seq[end]), int(stamps[end]), 0.0, end + 1

    def _record(self, j: int, seq: int, first_t: int, last_t: int) -> None:
        if last_t - first_t < self._ns:
            return
        spell = self.spells.setdefault(j, Spell())
        new = self._counted.get(j) != seq
        self._counted[j] = seq
        spell.add(int(new), (seq, first_t), last_t, (last_t - first_t) / SECOND)

    def findings(self, span: Span, live: bool) -> list[Finding]:
        """One a joint."""
        return [self._one(span, j, spell) for j, spell in sorted(self.spells.items())]

    def _one(self, span: Span, j: int, spell: Spell) -> Finding:
        rules = self.rules
        fail = spell.worst >= rules.frozen_fail_s * (1 - SLACK)
        return self.finding(
            span,
            "I6",
            "I6",
            {"seconds": spell.worst},
            joint=self.context.joints[j],
            flag=Flag.FAIL if fail else Flag.SUSPECT,
            value=spell.worst,
            unit="s",
            threshold=rules.frozen_fail_s if fail else rules.frozen_suspect_s,
            origin=Origin.OURS,
            **where(spell),
        )

    def values(self, span: Span, found: Found) -> list[MetricValue]:
        """The longest such run of any joint, s; 0 where none reaches half a second."""
        measured = self.context.measures("command") and self.context.measures("position")
        evaluated = span.frames >= 2 and measured and bool(np.isfinite(self.least).any())
        return rows("I6", "s", max((s.worst for s in self.spells.values()), default=0.0), evaluated, found)


_PLACES = np.arange(256, dtype=np.int32)[:, None]
