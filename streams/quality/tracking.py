"""How joints follow their commands: K1, K2, K4. Needs a command; never says whose fault a distance is."""

from __future__ import annotations

from math import ceil

import numpy as np

from kinestream.streams.quality.desk import Batch
from kinestream.streams.quality.family import Family, Found, plain, rows
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
from kinestream.streams.quality.sketch import LogHistogram

#: Every so many frames enter the 95th percentile's histogram.
_SAMPLED = 4


class Tracking(Family):
    """K1 tracking error of each joint: sqrt(mean((c - q)^2)), rad; K1.p95, K1.max; K1.far: share of |c - q| > 7 deg.

    The RMS error is that of open report cards, 7 degrees a dataset scorer's; the only limit is the task's (robust z).
    p95 is read from a histogram of every 4th frame, to 3 %. Merges exactly.
    """

    merges = True
    metrics = ("K1", "K1.p95", "K1.max", "K1.far")

    def __init__(self, context: Context, rules: Rules) -> None:
        super().__init__(context, rules)
        width = len(context.joints) if context.measures("command") else 0
        self.squares, self.frames = np.zeros(width), np.zeros(width)
        self.largest = 0.0
        self.far = 0
        self.cells = 0
        self.histogram = LogHistogram(-13, 16)

    def add(self, batch: Batch) -> None:
        """Add the frames."""
        if batch.channel("command") is None or batch.channel("position") is None:
            return
        squares, n = batch.error_squares, batch.n
        good = _good(batch)
        if good is not None:
            squares = np.where(good, squares, 0.0)
            self.frames += np.count_nonzero(good, axis=0)
            self.cells += int(np.count_nonzero(good))
        else:
            self.frames += n
            self.cells += squares.size
        self.squares += batch.ones @ squares
        largest = float(np.maximum.reduce(squares.reshape(-1)))
        self.largest = max(self.largest, largest)
        far = self.rules.tracking_far**2 * (1 + SLACK)
        if largest > far:
            self.far += int(np.count_nonzero(squares > far))
        self._sample(batch, squares, good)

    def _sample(self, batch: Batch, squares: Floats, good: Mask | None) -> None:
        at = batch.every(_SAMPLED)
        self.histogram.add(np.sqrt(squares[at].reshape(-1) if good is None else squares[at][good[at]]))

    def rmse(self) -> Floats:
        """The error of each joint, rad, float64 (J,); NaN without frames."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.sqrt(self.squares / self.frames)

    def values(self, span: Span, found: Found) -> list[MetricValue]:
        """The worst joint's error; over all joints the 95th percentile, the largest and the share that is far off."""
        evaluated = bool(self.cells)
        worst, unit = NONE, "rad"
        if evaluated:
            errors = self.rmse()
            of = int(np.nanargmax(errors))
            worst, unit = float(errors[of]), self.context.unit(of)
        return [
            *rows("K1", unit, worst, evaluated, found),
            plain("K1.p95", self.histogram.quantile(0.95), "rad"),
            plain("K1.max", self.largest**0.5 if evaluated else NONE, "rad"),
            plain("K1.far", self.far / self.cells if evaluated else NONE, "share"),
        ]

    def merge(self, later: Tracking, cut: Batch) -> None:
        """Add a later part."""
        self.squares += later.squares
        self.frames += later.frames
        self.largest = max(self.largest, later.largest)
        self.far += later.far
        self.cells += later.cells
        self.histogram.merge(later.histogram)


def _good(batch: Batch) -> Mask | None:
    masks = [bad[1:] for name in ("command", "position") if (bad := batch.bad(name)) is not None]
    return ~np.logical_or.reduce(masks) if masks else None


class RestOffset(Family):
    """K2 steady offset: mean(c - q) of each joint where |v| < 0.01 rad/s for 0.2 s, rad; 0.05 SUSPECT, 0.17 FAIL.

    A calibration that drifted between leader and follower (17 degrees went unnoticed in an open project, whose guard
    stops at 10). v is measured, else dq/D; a run's first 0.2 s are left out. Needs a nominal rate.
    """

    metrics = ("K2",)

    def __init__(self, context: Context, rules: Rules) -> None:
        super().__init__(context, rules)
        width = len(context.joints) if context.measures("command") else 0
        rate = context.nominal_rate_hz
        self._need = max(1, ceil(rules.offset_rest_s * rate * (1 - SLACK))) if rate > 0 else 0
        self._before = np.zeros((self._need, width), np.bool_)
        self._resting = False
        self.sums, self.frames = np.zeros(width), np.zeros(width)

    def add(self, batch: Batch) -> None:
        """Add the distances of joints that have been at rest for long enough."""
        if batch.channel("command") is None or batch.channel("position") is None or not self._need:
            return
        limit = self.rules.offset_rest_speed
        rest = np.less(batch.velocity_squares, limit * limit, out=batch.shop.flags[: batch.n])
        if not rest.any():
            if self._resting:
                self._before[:], self._resting = False, False
            return
        self._resting = True
        good = _good(batch)
        if good is not None:
            rest &= good
        if batch.steady is not None:
            rest &= batch.steady[:, None]
        history = np.vstack((self._before, rest))
        self._before = history[-self._need :].copy()
        lasting = _eroded(history, self._need + 1)
        if lasting.any():
            counted = batch.shop.other[: batch.n]
            counted[:] = lasting
            self.sums += batch.ones @ np.multiply(batch.error, counted, out=batch.shop.spare[: batch.n])
            self.frames += batch.ones @ counted

    def offset(self) -> Floats:
        """Mean c - q at rest of each joint, float64 (J,); NaN where it never rested."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.sums / self.frames

    def findings(self, span: Span, live: bool) -> list[Finding]:
        """One a joint."""
        if not self.frames.any():
            return []
        offset = self.offset()
        with np.errstate(invalid="ignore"):
            wrong = np.abs(offset) > self.rules.offset_suspect * (1 + SLACK)
        return [self._one(span, j, float(offset[j])) for j in np.flatnonzero(wrong).tolist()]

    def _one(self, span: Span, j: int, offset: float) -> Finding:
        rules, unit = self.rules, self.context.unit(j)
        fail = abs(offset) > rules.offset_fail * (1 + SLACK)
        return self.finding(
            span,
            "K2",
            "K2",
            {"offset": offset, "unit": unit},
            joint=self.context.joints[j],
            flag=Flag.FAIL if fail else Flag.SUSPECT,
            value=offset,
            unit=unit,
            threshold=rules.offset_fail if fail else rules.offset_suspect,
            origin=Origin.OURS,
        )

    def values(self, span: Span, found: Found) -> list[MetricValue]:
        """The largest offset of a joint, with its sign."""
        offset = self.offset()
        known = np.flatnonzero(np.isfinite(offset)).tolist()
        if not known:
            return rows("K2", "rad", NONE, False, found)
        worst = max(known, key=lambda j: abs(float(offset[j])))
        return rows("K2", self.context.unit(worst), float(offset[worst]), True, found)


def _eroded(history: Mask, length: int) -> Mask:
    """Frames whose last ``length`` frames all hold, for the frames that have as many before them."""
    mask, have = history, 1
    while have < length:
        shift = min(have, length - have)
        mask = mask[shift:] & mask[:-shift]
        have += shift
    return mask


class CopiedCommand(Family):
    """K4 action is state: share of moving frames with c = q on all joints (1e-9 rad); above 0.99 FAIL (ours).

    A recorder's fault that trains a policy to stand still. Moving: some |v| > 0.01 rad/s; a second of it is needed.
    """

    metrics = ("K4",)

    def __init__(self, context: Context, rules: Rules) -> None:
        super().__init__(context, rules)
        self.moving, self.copied, self.seconds = 0, 0, 0.0

    def add(self, batch: Batch) -> None:
        """Count moving frames and those among them whose command is the position."""
        if batch.channel("command") is None or batch.channel("position") is None:
            return
        moving = _moving(batch, self.rules)
        if batch.steady is not None:
            moving = moving & batch.steady
        self.moving += int(np.count_nonzero(moving))
        self.seconds += float(batch.period @ moving)
        near = (batch.error_squares @ batch.shop.ones <= batch.shop.joints * self.rules.copy_equal**2) & moving
        if near.any():
            at = np.flatnonzero(near)
            equal = np.abs(batch.error[at]).max(axis=1) <= self.rules.copy_equal
            if (good := _good(batch)) is not None:
                equal &= good[at].all(axis=1)
            self.copied += int(np.count_nonzero(equal))

    def findings(self, span: Span, live: bool) -> list[Finding]:
        """One for the episode."""
        share = self._share()
        if not share > self.rules.copy_fail * (1 + SLACK):
            return []
        facts = {"value": share, "unit": "share", "threshold": self.rules.copy_fail, "origin": Origin.OURS}
        return [self.finding(span, "K4", "K4", {"share": share}, flag=Flag.FAIL, **facts)]

    def _share(self) -> float:
        return self.copied / self.moving if self.seconds >= self.rules.copy_motion_s * (1 - SLACK) else NONE

    def values(self, span: Span, found: Found) -> list[MetricValue]:
        """The share; NOT_EVALUATED before a second of motion."""
        share = self._share()
        return rows("K4", "share", share, share == share, found)


def _moving(batch: Batch, rules: Rules) -> Mask:
    measured = batch.channel("velocity") is not None
    speed = rules.idle_speed if measured else rules.idle_derived_speed
    limit = speed * speed
    moving: Mask = batch.speed_squared >= batch.shop.joints * limit
    # below, the sum tells only of joints that together stay below the limit of one
    doubtful = np.flatnonzero(~moving & (batch.speed_squared >= limit))
    if len(doubtful):
        moving[doubtful] = np.maximum.reduce(batch.velocity_squares[doubtful], axis=1) >= limit
    return moving
