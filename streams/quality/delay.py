"""How many frames apart velocity and position are: C2. Sums over a window of frames; never corrects anything."""

from __future__ import annotations

import numpy as np

from kinestream.streams.quality.desk import Batch
from kinestream.streams.quality.family import Family, Found, rows
from kinestream.streams.quality.model import NONE, Context, Finding, Flag, Floats, Mask, MetricValue, Origin, Span
from kinestream.streams.quality.rules import Rules

#: Lags compared: so many frames to either side.
REACH = 2
_HISTORY = 2 * REACH
#: A peak nearer to lag 0 than this is at 0, frames: backward differences are half a frame late, which is no fault.
_NEAR = 0.75
_ERRORS = 3.0


class VelocityDelay(Family):
    """C2 velocity delay: l* = arg max_l corr(dq/dt at k, v_(k+l)), l from -2 to 2, frames; l* != 0 SUSPECT (ours).

    dq/dt at k is the central difference (a backward one would lie half a frame early and leave two lags alike); all
    lags run over the same k, each with its own energy. Of lags that are alike the nearest to 0 counts: l* is 0 where
    the parabola through the greatest correlation and its neighbours peaks within 0.75 frames of it, or as far as noise
    may move it: three standard errors of its place, each sqrt((1 - corr^2) / (n bend)) with the parabola's bend. Judged
    where that correlation is at least 0.9.
    """

    metrics = ("C2",)

    def __init__(self, context: Context, rules: Rules) -> None:
        super().__init__(context, rules)
        width = len(context.joints)
        # the last frames: velocities, rates, and whether the step to them may be used (None = all)
        self._velocity, self._rate = np.zeros((_HISTORY, width)), np.zeros((_HISTORY, width))
        self._usable: Mask | None = np.zeros((_HISTORY, width), np.bool_)
        self.products, self.energies = np.zeros((_HISTORY + 1, width)), np.zeros((_HISTORY + 1, width))
        self.rates = np.zeros(width)
        self.frames = 0

    def add(self, batch: Batch) -> None:
        """Add the frames whose neighbours are known by now."""
        measured = batch.channel("velocity")
        if measured is None or batch.channel("position") is None:
            return
        n = batch.n
        self.frames += n
        velocity, rate = batch.shop.lagged[: n + _HISTORY], batch.shop.lagged_rate[: n + _HISTORY]
        velocity[:_HISTORY], velocity[_HISTORY:] = self._velocity, measured[1:]
        rate[:_HISTORY], rate[_HISTORY:] = self._rate, batch.rate
        self._velocity, self._rate = velocity[n:].copy(), rate[n:].copy()
        # twice the central difference: correlations have no scale
        slope = np.add(rate[REACH : REACH + n], rate[REACH + 1 : REACH + 1 + n], out=batch.shop.spare[:n])
        usable = batch.steps("position", "velocity")
        if usable is None and self._usable is None:
            self._add_all(batch, velocity, slope)
        else:
            self._add_some(batch, velocity, slope, usable)

    def _add_all(self, batch: Batch, velocity: Floats, slope: Floats) -> None:
        n, product = batch.n, batch.shop.other[: batch.n]
        sums = np.empty_like(self.products)
        for place in range(_HISTORY + 1):
            np.dot(batch.ones, np.multiply(slope, velocity[place : place + n], out=product), out=sums[place])
        self.products += sums
        self.rates += batch.ones @ np.multiply(slope, slope, out=product)
        # the windows of neighbouring lags differ by a frame at either end
        ends = np.concatenate((velocity[:_HISTORY], velocity[n:]))
        ends *= ends
        change = np.cumsum((ends[:_HISTORY] - ends[_HISTORY:])[::-1], axis=0)
        self.energies += batch.velocity_energy
        self.energies[:_HISTORY] += change[::-1]

    def _add_some(self, batch: Batch, velocity: Floats, slope: Floats, usable: Mask | None) -> None:
        n, width = batch.n, batch.shop.joints
        earlier = np.ones((_HISTORY, width), np.bool_) if self._usable is None else self._usable
        steps = np.vstack((earlier, np.ones((n, width), np.bool_) if usable is None else usable))
        self._usable = None if steps[n:].all() else steps[n:].copy()
        # frame k counts if all steps from k - 2 to k + 2 do
        whole = np.logical_and.reduce([steps[place : place + n] for place in range(1, _HISTORY + 1)])
        slope *= whole
        self.rates += np.einsum("ij,ij->j", slope, slope)
        for place in range(_HISTORY + 1):
            window = velocity[place : place + n] * whole
            self.products[place] += np.einsum("ij,ij->j", slope, window)
            self.energies[place] += np.einsum("ij,ij->j", window, window)

    def correlations(self) -> Floats:
        """Of each lag and joint, float64 (5, J); -1 where either stands still."""
        with np.errstate(invalid="ignore", divide="ignore"):
            fit = self.products / np.sqrt(np.maximum(self.energies, 0.0) * self.rates)
        return np.where(np.isfinite(fit), fit, -1.0)

    def lags(self) -> Floats:
        """Frames late of each joint, float64 (J,), NaN where the two do not correlate."""
        if not self.frames:
            return np.full(len(self.rates), NONE)
        fit = self.correlations()
        best, joints = fit.argmax(axis=0), np.arange(fit.shape[1])
        inner = np.clip(best, 1, _HISTORY - 1)
        left, top, right = (fit[inner + side, joints] for side in (-1, 0, 1))
        with np.errstate(invalid="ignore", divide="ignore"):
            bend = 2 * top - left - right
            off = (right - left) / (2 * bend)
            unsure = _ERRORS * np.sqrt(np.maximum(0.0, 1 - top**2) / (bend * self.frames))
        peak = best - REACH + np.where((best == inner) & np.isfinite(off), off, 0.0)
        late = np.abs(peak) - np.where(np.isfinite(unsure), unsure, np.inf) > _NEAR
        lags = np.where(late, best - float(REACH), 0.0)
        return np.where(fit.max(axis=0) >= self.rules.delay_correlation, lags, NONE)

    def findings(self, span: Span, live: bool) -> list[Finding]:
        """One a joint, at the close."""
        if live or not self.frames:
            return []
        lags = self.lags()
        wrong = np.flatnonzero(np.abs(np.nan_to_num(lags)) >= self.rules.delay_frames)
        return [self._one(span, j, float(lags[j])) for j in wrong.tolist()]

    def _one(self, span: Span, j: int, lag: float) -> Finding:
        return self.finding(
            span,
            "C2",
            "C2",
            {"frames": round(lag)},
            joint=self.context.joints[j],
            flag=Flag.SUSPECT,
            value=lag,
            unit="frames",
            threshold=self.rules.delay_frames,
            origin=Origin.OURS,
        )

    def values(self, span: Span, found: Found) -> list[MetricValue]:
        """The lag furthest from 0, frames."""
        lags = self.lags()
        lags = lags[np.isfinite(lags)]
        worst = float(lags[np.argmax(np.abs(lags))]) if len(lags) else NONE
        return rows("C2", "frames", worst, bool(len(lags)), found)
