"""Whether measured velocity is the movement of the position: C1. Needs both; never derives one from the other."""

from __future__ import annotations

from math import sqrt

import numpy as np

from kinestream.streams.quality.described import described
from kinestream.streams.quality.desk import Batch
from kinestream.streams.quality.family import Family, Found, constant, rows
from kinestream.streams.quality.model import (
    NONE,
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
from kinestream.streams.quality.spikes import Spikes

#: Travel is read from every so many frames, counted by their numbers.
_SAMPLED = 8


def _fastest(context: Context, rules: Rules) -> tuple[Floats, Floats]:
    """Of each joint vmax, inf = unknown, and its square."""
    speed = np.asarray(context.velocity, np.float64)
    fastest = constant(np.where(np.isfinite(speed) & (speed > 0) & context.model_known, speed, np.inf))
    return fastest, constant(fastest**2)


class Consistency(Family):
    """C1: e_k = dq_k/D_k - (v_k + v_(k-1))/2; nRMSE = rms(e) / max(rms(v), 0.01); gain = sum(dq/D vm) / sum(vm^2).

    vm is the mean velocity over the interval (the trapezoid: comparing with v_k alone misreads every acceleration);
    rms(v) is the speed the positions travel at, so that dead velocities read 1 and degrees 56, not what they claim.
    nRMSE 0.1 SUSPECT, 0.5 FAIL; |gain - 1| > 0.05 SUSPECT (ours). Gaps, missing frames and steps that no motor makes
    (I8's) are left out. A joint is judged once its position travelled 0.02 rad at an rms speed (of either kind)
    above 0.05 rad/s: below, encoder noise is all there is. The interval after a gap is left out as well: a loop that
    stalled may have stamped the sample late at which it begins. A step of the sensor's resolution an interval (half of
    one at either end) is no error, nor is what uneven stamps make of the speed. A gain must be off by three standard
    errors more than allowed. Where periods vary more than T2 allows, dq/D says nothing: NOT_EVALUATED. Merges exactly.
    """

    merges = True
    metrics = ("C1", "C1.gain")

    def __init__(self, context: Context, rules: Rules, spikes: Spikes) -> None:
        super().__init__(context, rules)
        self._spikes = spikes
        width = len(context.joints)
        self._fastest, self._fastest_squared = described(_fastest, context, rules)
        # sums over intervals of e^2, dq/D vm and vm^2, over frames of v^2; how many of each; all (J,)
        self.errors, self.products, self.means = np.zeros(width), np.zeros(width), np.zeros(width)
        self.intervals = np.zeros(width)
        self.velocities, self.frames = np.zeros(width), np.zeros(width)
        self.lowest, self.highest = np.full(width, np.inf), np.full(width, -np.inf)
        self.period, self.period_squares, self.periods = 0.0, 0.0, 0
        # what the interval before the second frame brought to errors, products, means and intervals (4, J): should it
        # turn out to follow a gap, it is taken back
        self._second: Floats | None = None

    def add(self, batch: Batch) -> None:
        """Add the frames and the intervals before them."""
        velocity, position = batch.channel("velocity"), batch.channel("position")
        if velocity is None or position is None:
            return
        bad = batch.bad("velocity")
        if bad is None:
            self.velocities += batch.velocity_energy
            self.frames += batch.n
        else:
            self.velocities += batch.ones @ (batch.velocity_squares * ~bad[1:])
            self.frames += np.count_nonzero(~bad[1:], axis=0)
        some = position[1:][batch.every(_SAMPLED)]
        if len(some):
            np.minimum(self.lowest, np.minimum.reduce(some, axis=0), out=self.lowest)
            np.maximum(self.highest, np.maximum.reduce(some, axis=0), out=self.highest)
        self._add_intervals(batch, velocity)

    def _add_intervals(self, batch: Batch, velocity: Floats) -> None:
        n, rate = batch.n, batch.rate
        mean = np.add(velocity[1:], velocity[:-1], out=batch.shop.spare[:n])
        mean *= 0.5
        error = np.subtract(rate, mean, out=batch.shop.other[:n])
        usable = batch.steps("position", "velocity")
        if batch.late is not None:
            timely = np.repeat(~batch.late, len(self.errors)).reshape(n, -1)
            usable = timely if usable is None else usable & timely
        squares = np.multiply(error, error, out=error)
        summed = batch.ones @ squares
        if (summed > self._fastest_squared).any():
            teleports = (squares > self._fastest_squared) & (np.abs(rate) > self.rules.jump_fail * self._fastest)
            usable = ~teleports if usable is None else usable & ~teleports
        if usable is None:
            self.intervals += n
        else:
            mean *= usable
            summed = batch.ones @ np.multiply(squares, usable, out=squares)
            self.intervals += np.count_nonzero(usable, axis=0)
        if (second := 1 - batch.first) in (0, 1) and second < n:
            alone = np.ones(len(self.errors)) if usable is None else usable[second].astype(np.float64)
            vm = mean[second]
            self._second = np.array([squares[second], rate[second] * vm, vm * vm, alone])
        self.errors += summed
        self.products += batch.ones @ np.multiply(rate, mean, out=error)
        self.means += batch.ones @ np.multiply(mean, mean, out=mean)
        periods = batch.period if batch.steady is None else batch.period[batch.steady]
        self.period += float(periods.sum())
        self.period_squares += float(periods @ periods)
        self.periods += len(periods)

    def error(self) -> Floats:
        """NRMSE of each joint, float64 (J,); NaN without intervals."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.sqrt(self.errors / self.intervals) / self._speed()

    def gain(self) -> Floats:
        """Gain of each joint, float64 (J,); NaN where the velocity is zero throughout."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(self.means > 0, self.products / self.means, np.nan)

    def rates(self) -> Floats:
        """Sums of (dq/D)^2 over the intervals, float64 (J,)."""
        # dq/D = e + vm, and its product with vm is known
        return np.maximum(0.0, self.errors + 2 * self.products - self.means)

    def _speed(self) -> Floats:
        with np.errstate(invalid="ignore", divide="ignore"):
            speed: Floats = np.sqrt(self.rates() / self.intervals)
        return np.maximum(speed, self.rules.consistency_speed)

    def _travelled(self) -> Mask:
        """Joints that moved enough to be judged."""
        far = (self.highest - self.lowest > self.rules.consistency_travel) & (self.intervals > 1)
        with np.errstate(invalid="ignore", divide="ignore"):
            fast = np.maximum(self.velocities / self.frames, self.rates() / self.intervals) > self.rules.move_open**2
        return np.logical_and(far, fast)

    def _jitter(self) -> float:
        mean = self.period / self.periods
        return sqrt(max(0.0, self.period_squares / self.periods - mean * mean)) / mean

    def _steady(self) -> bool:
        return self.periods > 0 and self._jitter() <= self.rules.jitter_suspect * (1 + SLACK)

    def findings(self, span: Span, live: bool) -> list[Finding]:
        """One a joint: the error before the gain."""
        if not self.periods or not self.enough(span, live) or not self._steady():
            return []
        found = []
        error, gain = self._judged_error(), self.gain()
        with np.errstate(invalid="ignore", divide="ignore"):
            blur = np.sqrt(self.errors / self.intervals / self.means)
            off = np.abs(gain - 1) - 3 * blur > self.rules.gain_suspect * (1 + SLACK)
        travelled = self._travelled()
        wrong = error > self.rules.consistency_suspect * (1 + SLACK)
        for j in np.flatnonzero(travelled & (wrong | off)).tolist():
            found.append(self._one(span, j, float(error[j]), float(gain[j]), bool(wrong[j])))
        return found

    def _judged_error(self) -> Floats:
        """The error without what the resolution of the position and uneven stamps explain."""
        blur = self._spikes.resolution * self.periods / self.period
        with np.errstate(invalid="ignore", divide="ignore"):
            explained = np.nan_to_num(blur) ** 2 + self._jitter() ** 2 * self.velocities / self.frames
            return np.sqrt(np.maximum(0.0, self.errors / self.intervals - explained)) / self._speed()

    def _one(self, span: Span, j: int, error: float, gain: float, wrong: bool) -> Finding:
        rules = self.rules
        fail = error > rules.consistency_fail * (1 + SLACK)
        threshold = rules.consistency_fail if fail else rules.consistency_suspect if wrong else rules.gain_suspect
        return self.finding(
            span,
            "C1",
            "C1.error" if wrong else "C1.gain",
            {"error": error, "gain": gain},
            joint=self.context.joints[j],
            flag=Flag.FAIL if fail else Flag.SUSPECT,
            value=error if wrong else abs(gain - 1),
            unit="ratio",
            threshold=threshold,
            origin=Origin.OURS,
        )

    def values(self, span: Span, found: Found) -> list[MetricValue]:
        """The worst joint's nRMSE, and the gain furthest from one among joints that were judged."""
        if not self.periods:
            return rows("C1", "ratio", NONE, False, found) + rows("C1.gain", "ratio", NONE, False, {})
        travelled = self._travelled()
        evaluated = bool(travelled.any()) and self._steady()
        error, gain = self.error(), self.gain()[travelled]
        gain = gain[np.isfinite(gain)]
        worst = float(np.max(error[travelled])) if evaluated else float("nan")
        furthest = float(gain[np.argmax(np.abs(gain - 1))]) if evaluated and len(gain) else float("nan")
        return rows("C1", "ratio", worst, evaluated, found) + rows(
            "C1.gain", "ratio", furthest, furthest == furthest, {}
        )

    def merge(self, later: Consistency, cut: Batch) -> None:
        """Add a later part and the interval over the cut."""
        velocity = cut.channel("velocity")
        if velocity is not None and cut.channel("position") is not None:
            self._add_intervals(cut, velocity)
        if cut.ends_in_gap and later._second is not None:
            for name, part in zip(("errors", "products", "means", "intervals"), later._second, strict=True):
                setattr(later, name, getattr(later, name) - part)
        for name in ("errors", "products", "means", "intervals", "velocities", "frames"):
            setattr(self, name, getattr(self, name) + getattr(later, name))
        self.lowest = np.minimum(self.lowest, later.lowest)
        self.highest = np.maximum(self.highest, later.highest)
        self.period += later.period
        self.period_squares += later.period_squares
        self.periods += later.periods
