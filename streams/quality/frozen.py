"""Joints whose sensor stands still while they are told to move: I6. Exact runs only for joints that may be at fault."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from kinestream.streams.quality.desk import Batch
from kinestream.streams.quality.family import Family, Found, constant, rows, where
from kinestream.streams.quality.model import (
    NONE,
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
from kinestream.streams.quality.spikes import Spikes

#: Steps of the sensor that count as one: the next more is two.
_ONE_STEP: Final = 1.5


class _Mark(NamedTuple):
    """A frame a run may begin with: number, stamp, and how far the joint's command had travelled by then."""

    seq: int
    t: int
    path: float


class Frozen(Family):
    """I6 stuck sensor: longest run with range(q) <= LSB while the command's path over it exceeds 1 % of the range, s.

    QARTOD's flat line test with the command as witness; 0.5 s SUSPECT, 2 s FAIL (ours). LSB is the joint's least
    nonzero |dq| so far (I10): a dead encoder that flickers between two neighbouring codes stands still, one that takes
    a third does not. Steps up to 1.5 LSB count as one: single precision moves codes a little. Needs a command and the
    joint's range. A run ends at a NaN.
    """

    metrics = ("I6",)

    def __init__(self, context: Context, rules: Rules, spikes: Spikes) -> None:
        super().__init__(context, rules)
        self._spikes = spikes
        width = len(context.joints)
        reach = np.asarray(context.upper, np.float64) - np.asarray(context.lower, np.float64)
        known = np.isfinite(reach) & (reach > 0) & context.model_known
        least = np.where(known, rules.frozen_path * np.where(known, reach, 0.0), np.inf) * (1 + SLACK)
        self.least = constant(least)
        self._ns = rules.frozen_suspect_s * SECOND * (1 - SLACK)
        width = width if context.measures("command") else 0
        # of each joint's open run the first frame, and how far the command has travelled, then and in all
        self._seq, self._t = np.zeros(width, np.int64), np.zeros(width, np.int64)
        self._path, self._total = np.zeros(width), np.zeros(width)
        #: joints whose run holds two values: the one that is not the last, and since when it is the last
        self._two: dict[int, tuple[float, _Mark]] = {}
        self.spells: dict[int, Spell] = {}
        self._counted: dict[int, int] = {}

    def add(self, batch: Batch) -> None:
        """Go on with each joint's run; look closely at joints whose run is long enough, or holds two values."""
        command = batch.channel("command")
        if command is None or batch.channel("position") is None:
            return
        n, shop = batch.n, batch.shop
        steps = np.nan_to_num(self._spikes.resolution)
        moved = np.greater(np.absolute(batch.step, out=shop.spare[:n]), _ONE_STEP * steps, out=shop.flags[:n])
        flickers = (batch.step != 0.0) & ~moved
        for name in ("position", "command"):
            if (bad := batch.bad(name)) is not None:
                moved |= bad[1:] | bad[:-1]
        if batch.starts:
            moved[0] = True
        way = np.subtract(command[1:], command[:-1], out=shop.spare[:n])
        np.absolute(way, out=way)
        total = batch.ones @ way
        doubtful = self._long(batch, moved) & (self._total - self._path + total > self.least)
        # a flicker before the last move is no part of the run that is open
        moves_later = np.logical_or.accumulate(moved[::-1], axis=0)[::-1]
        close = np.flatnonzero(doubtful | np.logical_and(flickers, ~moves_later).any(axis=0)).tolist()
        found = [
            (self._closely if doubtful[j] else self._open_run)(batch, j, moved[:, j], way[:, j], float(steps[j]) / 2)
            for j in close
        ]
        self._go_on(batch, moved, way, total)
        for j, (start, other, since) in zip(close, found, strict=True):
            self._seq[j], self._t[j], self._path[j] = start
            if other == other:
                self._two[j] = other, since
            else:
                self._two.pop(j, None)

    def _long(self, batch: Batch, moved: Mask) -> Mask:
        """Joints of which some run up to or within this batch may be long enough."""
        stamps = batch.t
        first = np.where(moved.any(axis=0), moved.argmax(axis=0), batch.n)
        long: Mask = stamps[first] - self._t >= self._ns
        if stamps[-1] - stamps[0] >= self._ns:
            # frames since the last move, at most
            last = np.maximum.accumulate(np.where(moved, _PLACES[: batch.n], -1), axis=0)
            still = np.maximum.reduce(_PLACES[: batch.n] - last, axis=0).astype(np.int64)
            long |= (still + 1) * int(batch.period_ns.max()) >= self._ns
        return long

    def _go_on(self, batch: Batch, moved: Mask, way: Floats, total: Floats) -> None:
        """Joints that hold one value since they last moved."""
        last = batch.n - 1 - moved[::-1].argmax(axis=0)
        ran = moved[last, np.arange(len(last))]
        after = np.greater(_PLACES[: batch.n], last, out=batch.shop.flags[: batch.n])
        since = batch.ones @ np.multiply(way, after, out=way)
        self._total += total
        self._path = np.where(ran, self._total - since, self._path)
        self._seq = np.where(ran, batch.seq[last], self._seq)
        self._t = np.where(ran, batch.frames.t_ns[last], self._t)
        for j in [j for j in self._two if ran[j]]:
            del self._two[j]

    def _before(self, j: int) -> tuple[_Mark, float, _Mark]:
        """The run that is open: its first frame, the value that is not the last (NaN: it holds one), since when is."""
        start = _Mark(int(self._seq[j]), int(self._t[j]), float(self._path[j]))
        return (start, *self._two.get(j, (NONE, start)))

    def _open_run(self, batch: Batch, j: int, moved: Mask, way: Floats, near: float) -> tuple[_Mark, float, _Mark]:
        """As :meth:`_closely` where no run can be long: read backwards, for a third value is as a rule not far."""
        position = batch.channel("position")
        assert position is not None  # asked before
        values, paths = position[:, j], np.cumsum(way)
        last, other, since = float(values[-1]), NONE, None
        for k in np.flatnonzero((batch.step[:, j] != 0.0) | moved)[::-1].tolist():
            here = _Mark(int(batch.seq[k]), int(batch.frames.t_ns[k]), float(self._total[j] + paths[k]))
            since = since or here
            if moved[k]:
                return here, other, since
            value = float(values[k])
            if other != other:
                other = value
            elif abs(value - last) > near and abs(value - other) > near:
                return here, other, since
        start, earlier, since_then = self._before(j)
        if since is None:
            return start, earlier, since_then
        third = earlier == earlier and abs(earlier - last) > near and abs(earlier - other) > near
        return since_then if third else start, other, since

    def _closely(self, batch: Batch, j: int, moved: Mask, way: Floats, near: float) -> tuple[_Mark, float, _Mark]:
        """Record a joint's runs; the open one's first frame, its value that is not the last, since when the last is."""
        position, stamps = batch.channel("position"), batch.frames.t_ns
        assert position is not None  # asked before
        values = position[:, j]
        paths = np.concatenate(([0.0], np.cumsum(way))) + self._total[j]
        changes = np.flatnonzero((batch.step[:, j] != 0.0) | moved)
        start, other, since = self._before(j)
        for k in changes.tolist():
            here = _Mark(int(batch.seq[k]), int(stamps[k]), float(paths[k + 1]))
            third = other == other and abs(values[k + 1] - other) > near
            if moved[k] or third:
                self._record(j, start, int(batch.t[k]), float(paths[k]))
            if moved[k]:
                start, other = here, NONE
            else:
                # what came before the last value is no part of a run with a third
                start, other = since if third else start, float(values[k])
            since = here
        self._record(j, start, int(stamps[-1]), float(paths[-1]))
        return start, other, since

    def _record(self, j: int, start: _Mark, last_t: int, path: float) -> None:
        if last_t - start.t < self._ns or not path - start.path > self.least[j]:
            return
        spell = self.spells.setdefault(j, Spell())
        new = self._counted.get(j) != start.seq
        self._counted[j] = start.seq
        spell.add(int(new), (start.seq, start.t), last_t, (last_t - start.t) / SECOND)

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
