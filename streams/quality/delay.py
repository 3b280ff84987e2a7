"""How many frames apart velocity and position are: C2. Sums of single frames; never corrects anything."""

from __future__ import annotations

import numpy as np

from kinestream.streams.quality.consistency import Consistency
from kinestream.streams.quality.desk import Batch
from kinestream.streams.quality.family import Family, Found, rows
from kinestream.streams.quality.model import Context, Finding, Flag, Floats, Mask, MetricValue, Origin, Span
from kinestream.streams.quality.rules import Rules


class VelocityDelay(Family):
    """C2 velocity delay: the lag that maximises corr(dq/dt at k, v_(k+l)), frames; a whole frame is SUSPECT (ours).

    Found as the Newton step from lag 0: l = sum(r'(r - v)) / sum(r'^2), r the mean of the rates to either side of k
    and r' their difference, so that all sums run over the same frames and no edge of the record moves the peak. A
    velocity derived backwards is half a frame late, which is no fault. Judged where C1's correlation is at least 0.9.
    """

    metrics = ("C2",)

    def __init__(self, context: Context, rules: Rules, consistency: Consistency) -> None:
        super().__init__(context, rules)
        width = len(context.joints)
        self._consistency = consistency
        self._rate: Floats | None = None
        self._valid: Mask | None = None
        self.products, self.squares = np.zeros(width), np.zeros(width)

    def add(self, batch: Batch) -> None:
        """Add the frames that have a step to either side."""
        velocity = batch.channel("velocity")
        if velocity is None or batch.channel("position") is None:
            return
        n, rate = batch.n, batch.rate
        usable = batch.steps("position", "velocity")
        bend, off = batch.shop.spare[:n], batch.shop.other[:n]
        before = rate[0] if self._rate is None else self._rate
        np.subtract(rate[1:], rate[:-1], out=bend[1:])
        np.subtract(rate[0], before, out=bend[0])
        np.add(rate[1:], rate[:-1], out=off[1:])
        np.add(rate[0], before, out=off[0])
        off *= 0.5
        off -= velocity[:-1]
        if usable is not None:
            bend *= usable
            bend[1:] *= usable[:-1]
        if self._valid is not None:
            bend[0] *= self._valid
        self.products += batch.ones @ np.multiply(off, bend, out=off)
        self.squares += batch.ones @ np.multiply(bend, bend, out=bend)
        self._rate = rate[-1].copy()
        self._valid = None if usable is None else usable[-1].copy()

    def _lags(self) -> Floats:
        """Frames late of each joint, NaN where the two do not correlate."""
        fit = self._consistency.correlation()
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(fit >= self.rules.delay_correlation, self.products / self.squares, np.nan)

    def findings(self, span: Span, live: bool) -> list[Finding]:
        """One a joint, at the close."""
        if live:
            return []
        lags = self._lags()
        with np.errstate(invalid="ignore"):
            # to first order a whole frame reads a little less
            wrong = np.flatnonzero(np.abs(lags) > 0.75 * self.rules.delay_frames)
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
        lags = self._lags()
        lags = lags[np.isfinite(lags)]
        worst = float(lags[np.argmax(np.abs(lags))]) if len(lags) else float("nan")
        return rows("C2", "frames", worst, bool(len(lags)), found)
