"""How smoothly arms move: S1 to S6, per movement, after a causal filter. Fixed blocks, so that cuts change no digit."""

from __future__ import annotations

from copy import deepcopy
from math import ceil, sqrt

import numpy as np

from kinestream.streams.quality.arms import arms_of
from kinestream.streams.quality.desk import Batch
from kinestream.streams.quality.family import Family, Found, plain, rows
from kinestream.streams.quality.filters import BLOCK, Filter
from kinestream.streams.quality.formulas import jerk_scale, ldlj, minus_log, peaks, sparc
from kinestream.streams.quality.model import NONE, Context, Floats, Mask, MetricValue, Span
from kinestream.streams.quality.rules import Rules
from kinestream.streams.quality.segments import Segments

#: movements whose figures are kept; beyond, every second one is
_KEPT = 512
_PER_MOVEMENT = ("S1", "S1v", "S2")


class Movements:
    """Figures of an arm's movements: bounded, for a median and the worst; sums for S3 and S5."""

    def __init__(self) -> None:
        self.count = 0
        self.figures: dict[str, list[float]] = {name: [] for name in _PER_MOVEMENT}
        self.worst = dict.fromkeys(_PER_MOVEMENT, NONE)
        self._every = 1
        self.peaks, self.path = 0, 0.0
        self.jerk_squares, self.samples = 0.0, 0

    def add(self, movement: Floats, rate_hz: float) -> None:
        """``movement`` (k, 2): speed, and the squared norm of the joints' second velocity differences."""
        speed = np.ascontiguousarray(movement[:, 0])
        jerk_squares = float(movement[2:, 1].sum()) * rate_hz**4
        found = {
            "S1": ldlj(speed, rate_hz),
            "S1v": minus_log(jerk_scale(speed, rate_hz) * jerk_squares / rate_hz),
            "S2": sparc(speed, rate_hz),
        }
        if self.count % self._every == 0:
            for name, figure in found.items():
                self.figures[name].append(figure)
        if len(self.figures["S1"]) > _KEPT:
            self.figures = {name: kept[::2] for name, kept in self.figures.items()}
            self._every *= 2
        for name, figure in found.items():
            self.worst[name] = figure if not figure >= self.worst[name] and figure == figure else self.worst[name]
        self.count += 1
        self.peaks += peaks(speed)
        self.path += float(speed.sum()) / rate_hz
        self.jerk_squares += jerk_squares
        self.samples += len(speed) - 2

    def median(self, name: str) -> float:
        """Over the movements, NaN for none."""
        known = [figure for figure in self.figures[name] if figure == figure]
        return float(np.median(known)) if known else NONE


class Windows:
    """S4 over windows of 0.4 s: normalised jerk T^5 * integral(|jerk|^2) / L^2, jerky above 6500 (ProtoMotions)."""

    def __init__(self, rules: Rules, rate_hz: float) -> None:
        self._rules, self._rate = rules, rate_hz
        self._size = max(4, ceil(rules.jerk_window_s * rate_hz))
        self._sums, self._filled = np.zeros(2), 0
        self.windows, self.jerky = 0, 0
        self.worst = NONE

    def add(self, series: Floats) -> None:
        """Go on with (n, 2): speed, squared jerk differences."""
        begin = 0
        while begin < len(series):
            size = min(len(series) - begin, self._size - self._filled)
            self._sums += series[begin : begin + size].sum(axis=0)
            self._filled += size
            begin += size
            if self._filled == self._size:
                self._close()

    def _close(self) -> None:
        path, jerk = self._sums[0] / self._rate, self._sums[1] * self._rate**3
        if path > self._rules.move_open * self._rules.jerk_window_s:
            figure = float((self._size / self._rate) ** 5 * jerk / path**2)
            self.windows += 1
            self.jerky += figure > self._rules.jerk_high
            self.worst = figure if not figure <= self.worst else self.worst
        self.reset()

    def reset(self) -> None:
        """Drop the window begun."""
        self._sums, self._filled = np.zeros(2), 0


class _Lane:
    """Everything that runs behind the filters, over blocks that begin at fixed frames."""

    def __init__(self, context: Context, rules: Rules) -> None:
        rate = self.rate = context.nominal_rate_hz
        self.arms = arms_of(context.joints)
        self._arm = np.zeros((len(context.joints), len(self.arms)))
        for place, columns in enumerate(self.arms.values()):
            self._arm[list(columns), place] = 1.0
        self._smooth = Filter("low", rules.smooth_hz, rate)
        # S6 is a share of energy, told to a few digits: single precision halves its cost
        self._band = [Filter("high", rules.tremor_low_hz, rate, "float32")] if rate > 2 * rules.tremor_low_hz else []
        if rate > 2 * rules.tremor_high_hz:
            self._band.append(Filter("low", rules.tremor_high_hz, rate, "float32"))
        self._before: Floats | None = None
        self.segments = [Segments(rules, rate) for _ in self.arms]
        self.movements = [Movements() for _ in self.arms]
        self.windows = [Windows(rules, rate) for _ in self.arms]
        self.energy, self.tremor = np.zeros(len(context.joints)), np.zeros(len(context.joints))
        self.frames = 0

    def add(self, velocity: Floats) -> None:
        """Go on with at most BLOCK frames of velocities (n, J)."""
        smooth = self._smooth(velocity)
        series = np.empty((len(self.arms), len(smooth), 2))
        bend = self._bend(smooth)
        np.multiply(bend, bend, out=bend)
        series[:, :, 1] = (bend @ self._arm).T
        np.sqrt((np.multiply(smooth, smooth, out=bend) @ self._arm).T, out=series[:, :, 0])
        for place, segments in enumerate(self.segments):
            for movement in segments.add(series[place]):
                self.movements[place].add(movement, self.rate)
            self.windows[place].add(series[place])
        self._tremble(velocity)

    def _bend(self, smooth: Floats) -> Floats:
        """Second differences, zero for the first two frames after an interruption."""
        bend = np.empty_like(smooth)
        before = np.stack((smooth[0], smooth[0])) if self._before is None else self._before
        np.subtract(smooth[1:], smooth[:-1], out=bend[1:])
        np.subtract(smooth[0], before[1], out=bend[0])
        last = before[1] - before[0]
        steps = bend.copy()
        bend[1:] -= steps[:-1]
        bend[0] -= last
        self._before = np.stack((smooth[-2], smooth[-1])) if len(smooth) > 1 else np.stack((before[1], smooth[-1]))
        return bend

    def _tremble(self, velocity: Floats) -> None:
        if not self._band:
            return
        band = velocity.astype(np.float32)
        ones = np.ones(len(band), np.float32)
        self.energy += ones @ (band * band)
        for stage in self._band:
            band = stage(band)
        self.tremor += ones @ (band * band)
        self.frames += len(band)

    def interrupt(self) -> None:
        """What follows does not continue what was."""
        for stage in (self._smooth, *self._band):
            stage.reset()
        for segments, windows in zip(self.segments, self.windows, strict=True):
            segments.reset()
            windows.reset()
        self._before = None


class Smoothness(Family):
    """S1 LDLJ, S1v, S2 SPARC (median, .worst), S1.count; S3, S4, S5, S6: formulas in :mod:`formulas` and below.

    Speed = norm of one arm's joint velocities (measured, else dq/D) after a causal 2nd-order Butterworth low-pass of
    10 Hz, cut into movements (:mod:`segments`); the worst arm counts. S3: rms of the joints' jerk within movements,
    rad/s^3. S4: share of moving 0.4 s windows above 6500. S5: speed peaks of 5 % prominence a radian. S6: share of a
    moving joint's velocity energy between 5 and 20 Hz (what SPARC is blind to), the worst joint. No limit but the
    task's. A hole in the frames ends a movement. Needs a nominal rate above 20 Hz.
    """

    metrics = ("S1", "S1.worst", "S1.count", "S1v", "S2", "S2.worst", "S3", "S4", "S5", "S6")

    def __init__(self, context: Context, rules: Rules) -> None:
        super().__init__(context, rules)
        measured = context.measures("velocity") or context.measures("position")
        fit = measured and context.nominal_rate_hz > 2 * rules.smooth_hz * (1 + 1e-9) and bool(context.joints)
        self._lane = _Lane(context, rules) if fit else None
        self._held = np.zeros((BLOCK, len(context.joints)))
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
            self._held[self._filled : self._filled + size] = velocity[begin : begin + size]
            self._filled += size
            begin += size
            if self._filled == BLOCK:
                lane.add(self._held)
                self._filled = 0

    def _whole(self) -> _Lane | None:
        """The lane with what is held and the movement going on, on a copy: more frames may come."""
        if self._finished is None and self._lane is not None:
            lane = deepcopy(self._lane)
            if self._filled:
                lane.add(self._held[: self._filled])
            for place, segments in enumerate(lane.segments):
                for movement in segments.finish():
                    lane.movements[place].add(movement, lane.rate)
            self._finished = lane
        return self._finished

    def values(self, span: Span, found: Found) -> list[MetricValue]:
        """The worst arm's figures."""
        lane = self._whole()
        if lane is None:
            return [plain(metric, NONE, "") for metric in self.metrics]
        arms = lane.movements
        values = []
        for metric in _PER_MOVEMENT:
            values += rows(metric, "", _least([a.median(metric) for a in arms]), any(a.count for a in arms), found)
            if metric != "S1v":
                values.append(plain(f"{metric}.worst", _least([a.worst[metric] for a in arms]), ""))
        values.append(plain("S1.count", float(sum(a.count for a in arms)), "movements"))
        figures = {
            "S3": ("rad/s^3", [sqrt(a.jerk_squares / a.samples) for a in arms if a.samples > 0]),
            "S4": ("share", [w.jerky / w.windows for w in lane.windows if w.windows]),
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
