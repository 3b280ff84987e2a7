"""Joints whose sensor stands still while they are told to move: I6. Exact runs only for joints that may be at fault."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from kinestream.streams.quality.described import described
from kinestream.streams.quality.desk import WHOLE, Batch
from kinestream.streams.quality.family import Family, Found, constant, rows, where, without
from kinestream.streams.quality.model import (
    NONE,
    SECOND,
    SLACK,
    Context,
    Finding,
    Flag,
    Floats,
    Integers,
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


class _Marks(NamedTuple):
    """Frames that runs may begin with: numbers, stamps, and how far the joint's command had travelled by then."""

    seq: Integers
    t: Integers
    path: Floats

    def at(self, places: Integers | Mask) -> _Marks:
        """Some of them."""
        return _Marks(self.seq[places], self.t[places], self.path[places])

    def unless(self, taken: Mask, others: _Marks) -> _Marks:
        """These, or the others where ``taken``."""
        return _Marks(
            np.where(taken, others.seq, self.seq),
            np.where(taken, others.t, self.t),
            np.where(taken, others.path, self.path),
        )

    def put(self, places: Integers | Mask, others: _Marks) -> None:
        """Overwrite those at ``places``."""
        self.seq[places], self.t[places], self.path[places] = others


def _least(context: Context, rules: Rules) -> Floats:
    """Of each joint the way of its command that must move it; inf = its range is not known."""
    reach = np.asarray(context.upper, np.float64) - np.asarray(context.lower, np.float64)
    known = np.isfinite(reach) & (reach > 0) & context.model_known
    return constant(np.where(known, rules.frozen_path * np.where(known, reach, 0.0), np.inf) * (1 + SLACK))


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
        self.least = described(_least, context, rules)
        self._ns = rules.frozen_suspect_s * SECOND * (1 - SLACK)
        width = width if context.measures("command") else 0
        # of each joint: number and stamp of the open run's first frame, and of that since which its last value is ...
        self._numbers = np.zeros((4, width), np.int64)
        # ... the command's path by then and by then, its value that is not the last (NaN: it holds one), all the path
        self._figures = np.zeros((4, width))
        self._figures[2] = NONE
        self.spells: dict[int, Spell] = {}
        self._counted: dict[int, int] = {}

    def add(self, batch: Batch) -> None:
        """Go on with each joint's run, as far as the resolution is known by then."""
        for part, steps in zip(batch.parts(), self._spikes.leasts, strict=False):
            self._add(part, steps)

    def _add(self, batch: Batch, steps: Floats) -> None:
        """Look closely at joints whose run is long enough, or holds two values."""
        command = batch.channel("command")
        if command is None or batch.channel("position") is None:
            return
        n, shop = batch.n, batch.shop
        size = batch.step_size
        moved = np.greater(size, _ONE_STEP * steps, out=shop.flags[:n])
        for name in ("position", "command"):
            if (bad := batch.bad(name)) is not None:
                moved |= bad[1:] | bad[:-1]
        if batch.starts:
            moved[0] = True
            self._start.t[:] = batch.t[0]  # nothing ran before
        way = np.subtract(command[1:], command[:-1], out=shop.spare[:n])
        np.absolute(way, out=way)
        total = batch.ones @ way
        doubtful = self._long(batch, moved) & (self._total - self._start.path + total > self.least)
        joints, changes = self._looked_at(size, steps, moved, doubtful)
        found = self._closely(batch, joints, changes, moved, way, steps / 2, doubtful) if len(joints) else None
        self._go_on(batch, moved, way, total)
        if found is not None:
            start, other, since = found
            self._other[joints] = other
            self._start.put(joints, start)
            self._since.put(joints, since)

    @staticmethod
    def _looked_at(size: Floats, steps: Floats, moved: Mask, doubtful: Mask) -> tuple[Integers, Mask]:
        """Joints that are doubtful, or flicker since they last moved, and where their values change (n, joints).

        Of the second kind only since then: a flicker before the last move is no part of the run that is open.
        """
        joints = np.flatnonzero(doubtful | ~moved[-1])
        if not len(joints):
            return joints, moved[:, :0]
        moves = moved[:, joints]
        flickers = (size[:, joints] != 0.0) & (size[:, joints] <= _ONE_STEP * steps[joints]) & ~moves
        later = np.logical_or.accumulate(moves[::-1], axis=0)[::-1]
        looked = np.flatnonzero(doubtful[joints] | (flickers & ~later).any(axis=0))
        changes = flickers | moves
        changes[:-1] &= ~later[1:] | doubtful[joints]
        return joints[looked], changes[:, looked]

    @property
    def _start(self) -> _Marks:
        return _Marks(self._numbers[0], self._numbers[1], self._figures[0])

    @property
    def _since(self) -> _Marks:
        return _Marks(self._numbers[2], self._numbers[3], self._figures[1])

    @property
    def _other(self) -> Floats:
        return self._figures[2]

    @property
    def _total(self) -> Floats:
        return self._figures[3]

    def _long(self, batch: Batch, moved: Mask) -> Mask:
        """Joints of which some run up to or within this batch may be long enough."""
        stamps = batch.t
        first = 0 if moved[0].all() else np.where(moved.any(axis=0), moved.argmax(axis=0), batch.n)
        long: Mask = stamps[first] - self._start.t >= self._ns
        most_ns = int(np.maximum.reduce(batch.period_ns))
        # frames of all joints together that stand still: none has more
        if (moved.size - np.count_nonzero(moved) + 1) * most_ns < self._ns:
            return long
        standing = batch.n - int(np.add.reduce(moved, axis=0, dtype=np.int32).min())
        if (standing + 1) * most_ns >= self._ns and stamps[-1] - stamps[0] >= self._ns:
            # frames since the last move, at most
            last = np.maximum.accumulate(np.where(moved, _PLACES[: batch.n], -1), axis=0)
            still = np.maximum.reduce(_PLACES[: batch.n] - last, axis=0).astype(np.int64)
            long |= (still + 1) * most_ns >= self._ns
        return long

    def _go_on(self, batch: Batch, moved: Mask, way: Floats, total: Floats) -> None:
        """Joints that hold one value since they last moved."""
        if moved[-1].all():
            self._figures[3] += total
            self._numbers[0], self._numbers[1] = batch.seq[-1], batch.frames.t_ns[-1]
            self._figures[0] = self._total
            self._other[:] = NONE
            return
        last = batch.n - 1 - moved[::-1].argmax(axis=0)
        ran = moved[last, np.arange(len(last))]
        after = np.greater(_PLACES[: batch.n], last, out=batch.shop.flags[: batch.n])
        since = batch.ones @ np.multiply(way, after, out=way)
        self._figures[3] += total
        here = _Marks(batch.seq[last], batch.frames.t_ns[last], self._total - since)
        self._start.put(ran, here.at(ran))
        self._other[ran] = NONE

    def _closely(
        self, batch: Batch, joints: Integers, changes: Mask, moved: Mask, way: Floats, near: Floats, doubtful: Mask
    ) -> tuple[_Marks, Floats, _Marks]:
        """Record the doubtful joints' runs; of each of ``joints`` the open run as this object keeps it.

        ``changes`` (n, joints): where a joint's value changes, at least since it last moved. A run ends where the
        joint moves, and where it takes a third value: what came before the last one is no part of the next run.
        """
        position = batch.channel("position")
        assert position is not None  # asked before
        start, since, other = self._start.at(joints), self._since.at(joints), self._other[joints]
        holds_one = other != other
        since = since.unless(holds_one, start)
        # all changes, joint by joint
        column, k = changes.T.nonzero()
        joint = joints[column]
        first = np.ones(len(k), np.bool_)
        np.not_equal(column[1:], column[:-1], out=first[1:])
        moves, before = moved[k, joint], position[k, joint]
        others = np.empty(len(k))
        others[1:] = np.where(moves[:-1], NONE, before[:-1])
        others[first] = other[column[first]]
        third = ~moves & (np.abs(position[k + 1, joint] - others) > near[joint])
        paths = np.zeros((batch.n + 1, len(joints)))
        np.cumsum(way[:, joints], axis=0, out=paths[1:])
        paths += self._total[joints]
        marks = _Marks(batch.seq[k], batch.frames.t_ns[k], paths[k + 1, column])
        # runs that end, and those that begin there
        breaks = (moves | third).nonzero()[0]
        of = column[breaks]
        begun = marks.at(breaks - third[breaks]).unless(third[breaks] & first[breaks], since.at(of))
        opens = np.ones(len(breaks), np.bool_)
        np.not_equal(of[1:], of[:-1], out=opens[1:])
        run = begun.at(np.arange(len(of)) - 1).unless(opens, start.at(of))
        self._record(joints[of], run, batch.t[k[breaks]], paths[k[breaks], of], doubtful)
        # the run that is open, and its last change
        closes = np.append(opens[1:], True)[: len(of)]
        start.put(of[closes], begun.at(closes.nonzero()[0]))
        self._record(joints, start, np.full(len(joints), batch.t[batch.n]), paths[-1], doubtful)
        last = np.append(first[1:], True)[: len(k)].nonzero()[0]
        other[column[last]] = np.where(moves[last], NONE, before[last])
        since.put(column[last], marks.at(last))
        return start, other, since

    def _record(self, joints: Integers, runs: _Marks, last_t: Integers, path: Floats, doubtful: Mask) -> None:
        long = (last_t - runs.t >= self._ns) & (path - runs.path > self.least[joints]) & doubtful[joints]
        for place in long.nonzero()[0].tolist():
            j, seq, t, end = (int(one[place]) for one in (joints, runs.seq, runs.t, last_t))
            spell = self.spells.setdefault(j, Spell())
            new = self._counted.get(j) != seq
            self._counted[j] = seq
            spell.add(int(new), (seq, t), end, (end - t) / SECOND)

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
        longest = max((s.worst for s in self.spells.values()), default=0.0)
        return rows("I6", "s", longest, evaluated, found, without(np.isfinite(self.least), self.context))


_PLACES = np.arange(WHOLE, dtype=np.int32)[:, None]
