"""How smoothly arms move: S1 to S6, per movement, after a causal filter. Fixed blocks, so that cuts change no digit."""

from __future__ import annotations

from copy import copy, deepcopy
from math import sqrt
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from kinestream.streams.quality.arms import arms_of
from kinestream.streams.quality.described import described
from kinestream.streams.quality.desk import Batch
from kinestream.streams.quality.family import Family, Found, constant, plain, rows
from kinestream.streams.quality.filters import BLOCK, Filter
from kinestream.streams.quality.model import NONE, Context, Floats, Mask, MetricValue, Span
from kinestream.streams.quality.movements import PER_MOVEMENT, Movements, Waiting, Windows
from kinestream.streams.quality.rules import Rules
from kinestream.streams.quality.segments import Segments

#: blocks whose speeds wait to be cut into movements, at most, while a batch of a whole take goes by
_WAITING_BLOCKS = 16


def _arms(context: Context, rules: Rules) -> tuple[slice | NDArray[np.intp], Floats]:
    """Joints of arms, as a slice where they are neighbours, and of each arm 1 at those that are its own."""
    arms = arms_of(context.joints)
    columns = np.array([column for of_arm in arms.values() for column in of_arm])
    whole = bool((np.diff(columns) == 1).all())
    sizes = [len(of_arm) for of_arm in arms.values()]
    own = constant(np.repeat(np.eye(len(arms)), sizes, axis=1))
    return slice(int(columns[0]), int(columns[-1]) + 1) if whole else columns, own


class _Lane:
    """Everything that runs behind the filters, over blocks that begin at fixed frames."""

    __slots__ = (
        "_arm",
        "_band",
        "_before",
        "_columns",
        "_pending",
        "_smooth",
        "energy",
        "frames",
        "movements",
        "rate",
        "segments",
        "tremor",
        "waiting",
        "windows",
    )

    def __init__(self, context: Context, rules: Rules) -> None:
        rate = self.rate = context.nominal_rate_hz
        self._columns, self._arm = described(_arms, context, rules)
        arms = range(len(self._arm))
        self._smooth = Filter((("low", rules.smooth_hz),), rate)
        band = [("high", rules.tremor_low_hz)] if rate > 2 * rules.tremor_low_hz else []
        if rate > 2 * rules.tremor_high_hz:
            band.append(("low", rules.tremor_high_hz))
        # S6 is a share of energy, told to a few digits: single precision halves its cost
        self._band = Filter(tuple(band), rate, "float32") if band else None
        self._before: Floats | None = None
        #: of blocks filtered, (arms, 2, n): speeds, and squared second differences
        self._pending: list[Floats] = []
        self.segments = [Segments(rules, rate) for _ in arms]
        self.movements = [Movements() for _ in arms]
        self.waiting = Waiting(rate)
        self.windows = Windows(rules, rate, len(arms))
        self.energy, self.tremor = np.zeros(len(context.joints)), np.zeros(len(context.joints))
        self.frames = 0

    def add(self, velocity: Floats) -> None:
        """Go on with at most BLOCK frames of velocities (n, J)."""
        n, arms = len(velocity), len(self.segments)
        series = self._arm @ self._squares(velocity[:, self._columns]).T
        np.sqrt(series[:, :n], out=series[:, :n])
        self._pending.append(series.reshape(arms, 2, n))
        self._tremble(velocity)
        if len(self._pending) >= _WAITING_BLOCKS or n < BLOCK:
            self.cut()

    def cut(self) -> None:
        """Cut into movements what was filtered: several blocks cost hardly more than one."""
        if not self._pending:
            return
        pairs = self._pending[0] if len(self._pending) == 1 else np.concatenate(self._pending, axis=2)
        self._pending = []
        ended = [
            ((one.end - 1) // BLOCK, arm, one)
            for arm, segments in enumerate(self.segments)
            for one in segments.add(pairs[arm])
        ]
        # in the order in which they would end if every block came by itself
        for _, arm, movement in sorted(ended, key=itemgetter(0, 1)):
            self.waiting.add(arm, movement, self.movements)
        self.windows.add(pairs)

    def finish(self) -> None:
        """Measure the movements that go on, and all that wait: nothing more comes."""
        self.cut()
        for arm, segments in enumerate(self.segments):
            for movement in segments.finish():
                self.waiting.add(arm, movement, self.movements)
        self.waiting.settle(self.movements)

    def _squares(self, velocity: Floats) -> Floats:
        """Squares of the filtered velocity (n, A), and below them of its second differences (n, A).

        They begin anew after an interruption: the first frame's is zero.
        """
        n, width = velocity.shape
        smooth = np.empty((n + 2, width))
        self._smooth(velocity, out=smooth[2:])
        smooth[:2] = smooth[2] if self._before is None else self._before
        self._before = smooth[n:].copy()
        both = np.empty((2 * n, width))
        step, bend = smooth[1:] - smooth[:-1], both[n:]
        np.subtract(step[1:], step[:-1], out=bend)
        np.multiply(bend, bend, out=bend)
        np.multiply(smooth[2:], smooth[2:], out=both[:n])
        return both

    def _tremble(self, velocity: Floats) -> None:
        if self._band is None:
            return
        # a velocity whose square is beyond single precision makes its joint's energy infinite, which S6 leaves out
        with np.errstate(over="ignore", invalid="ignore"):
            given = velocity.astype(np.float32)
            band = self._band(given)
            ones = _ONES[: len(given)]
            self.energy += ones @ np.multiply(given, given, out=given)
            self.tremor += ones @ np.multiply(band, band, out=band)
        self.frames += len(given)

    def copied(self) -> _Lane:
        """A lane that goes on by itself; arrays are shared, as none is written to again but two."""
        other = copy(self)
        other._smooth = deepcopy(self._smooth)
        other._band = deepcopy(self._band)
        other.segments = [segments.copied() for segments in self.segments]
        other.movements = [movements.copied() for movements in self.movements]
        other._pending = [*self._pending]
        other.waiting, other.windows = self.waiting.copied(), self.windows.copied()
        other.energy, other.tremor = self.energy.copy(), self.tremor.copy()
        return other

    def interrupt(self) -> None:
        """What follows does not continue what was."""
        self.cut()
        self._smooth.reset()
        if self._band is not None:
            self._band.reset()
        for segments in self.segments:
            segments.reset()
        self.windows.reset()
        self._before = None


_ONES = np.ones(BLOCK, np.float32)
_NO_FRAMES = np.zeros((0, 0))


class Smoothness(Family):
    """S1 LDLJ, S1v, S2 SPARC (each median, .worst), S1.count; S3, S4, S5, S6: formulas in :mod:`formulas` and below.

    Speed = norm of one arm's joint velocities (measured, else dq/D) after a causal 2nd-order Butterworth low-pass of
    10 Hz, cut into movements (:mod:`segments`); the worst arm counts. S3: rms of the joints' jerk within movements,
    rad/s^3. S4: share of moving 0.4 s windows above 6500. S5: speed peaks of 5 % prominence a radian. S6: share of a
    moving joint's velocity energy between 5 and 20 Hz (what SPARC is blind to), the worst joint. No limit but the
    task's. A hole in the frames ends a movement. Needs a nominal rate above 20 Hz.
    """

    metrics = ("S1", "S1.worst", "S1.count", "S1v", "S1v.worst", "S2", "S2.worst", "S3", "S4", "S5", "S6")

    def __init__(self, context: Context, rules: Rules) -> None:
        super().__init__(context, rules)
        measured = context.measures("velocity") or context.measures("position")
        fit = measured and context.nominal_rate_hz > 2 * rules.smooth_hz * (1 + 1e-9) and bool(context.joints)
        self._lane = _Lane(context, rules) if fit else None
        #: velocities of a block begun; batches of whole blocks need none
        self._held = _NO_FRAMES
        self._filled = 0
        self._finished: _Lane | None = None

    def add(self, batch: Batch) -> None:
        """Hold the velocities until a block is whole."""
        if self._lane is None:
            return
        self._finished = None
        holes = _holes(batch)
        if holes is None:
            self._hold(batch.velocity, self._lane)
            return
        self._hold(batch.velocity[: holes[0]], self._lane)
        for begin, end in zip(holes, [*holes[1:], batch.n], strict=True):
            self._interrupt(self._lane)
            self._hold(batch.velocity[begin:end], self._lane)

    def _interrupt(self, lane: _Lane) -> None:
        if self._filled:
            lane.add(self._held[: self._filled])
            self._filled = 0
        lane.interrupt()

    def _hold(self, velocity: Floats, lane: _Lane) -> None:
        begin = 0
        while not self._filled and len(velocity) - begin >= BLOCK:
            lane.add(velocity[begin : begin + BLOCK])
            begin += BLOCK
        while begin < len(velocity):
            size = min(len(velocity) - begin, BLOCK - self._filled)
            if not self._filled:
                self._held = np.empty((BLOCK, velocity.shape[1]))
            self._held[self._filled : self._filled + size] = velocity[begin : begin + size]
            self._filled += size
            begin += size
            if self._filled == BLOCK:
                lane.add(self._held)
                self._held, self._filled = _NO_FRAMES, 0

    def rest(self) -> None:
        """Cut into movements what waits: the caller has no more frames at hand."""
        if self._lane is not None:
            self._lane.cut()

    def _whole(self) -> _Lane | None:
        """The lane with what is held and the movement going on, on a copy: more frames may come."""
        if self._finished is None and self._lane is not None:
            lane = self._lane.copied()
            if self._filled:
                lane.add(self._held[: self._filled])
            lane.finish()
            self._finished = lane
        return self._finished

    def values(self, span: Span, found: Found) -> list[MetricValue]:
        """The worst arm's figures."""
        lane = self._whole()
        if lane is None:
            return [plain(metric, NONE, "") for metric in self.metrics]
        arms = lane.movements
        values = []
        for metric in PER_MOVEMENT:
            values += rows(metric, "", _least([a.median(metric) for a in arms]), any(a.count for a in arms), found)
            values.append(plain(f"{metric}.worst", _least([a.worst[metric] for a in arms]), ""))
        values.append(plain("S1.count", float(sum(a.count for a in arms)), "movements"))
        figures = {
            "S3": ("rad/s^3", [sqrt(a.jerk_squares / a.samples) for a in arms if a.samples > 0]),
            "S4": ("share", [j / w for j, w in zip(lane.windows.jerky, lane.windows.windows, strict=True) if w]),
            "S5": ("1/rad", [a.peaks / a.path for a in arms if a.path > 0]),
            "S6": ("share", self._tremor(lane)),
        }
        for metric, (unit, of_arms) in figures.items():
            values += rows(metric, unit, max(of_arms, default=NONE), bool(of_arms), found)
        return values

    def _tremor(self, lane: _Lane) -> list[float]:
        if not lane.frames:
            return []
        moving = lane.energy > lane.frames * self.rules.move_open**2
        with np.errstate(invalid="ignore"):
            share = lane.tremor[moving] / lane.energy[moving]
        known: list[float] = share[np.isfinite(share)].tolist()
        return known


def _least(figures: list[float]) -> float:
    return min((figure for figure in figures if figure == figure), default=NONE)


def _holes(batch: Batch) -> list[int] | None:
    """Frames that do not continue the one before; None = all do."""
    if batch.steady is None:
        return None
    broken: Mask = ~batch.steady
    if batch.starts:
        broken[0] = False
    places: list[int] = np.flatnonzero(broken).tolist()
    return places or None
