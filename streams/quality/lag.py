"""How late a robot follows its commands: K3. Keeps a window of steps; each lag costs one product of vectors a batch."""

from __future__ import annotations

from math import ceil

import numpy as np
from numpy.lib.stride_tricks import as_strided

from kinestream.streams.quality.desk import Batch
from kinestream.streams.quality.family import Family, Found, rows
from kinestream.streams.quality.model import (
    NONE,
    SLACK,
    Context,
    Finding,
    Flag,
    Floats,
    MetricValue,
    Origin,
    Singles,
    Span,
)
from kinestream.streams.quality.rules import Rules

#: Lags compared, at most; of them those up to so many seconds at every frame, where that is allowed.
LAGS, CLOSE_S = 50, 0.18
#: Frames a second at which they are compared: arms move below 10 Hz.
COMPARED_HZ = 50.0


def lags_to(longest: float, close: float) -> tuple[range, range]:
    """At most 50 lags from 0 to ``longest`` frames: evenly dense up to ``close``, and evenly beyond."""
    if longest < LAGS:
        return range(int(longest * (1 + SLACK)) + 1), range(0)
    fine = max(1, ceil(close / (LAGS // 2) * (1 - SLACK)))
    near = range(0, int(close * (1 + SLACK)), fine)
    coarse = ceil((longest - near.stop) / (LAGS - len(near) - 1) * (1 - SLACK))
    return near, range(len(near) * fine, int(longest * (1 + SLACK)) + 1, coarse)


class CommandLag(Family):
    """K3 command lag: l* D with l* = arg max_l corr(dc_(k-l), dq_k), l to 0.8 s, over all joints, s; > 0.15 SUSPECT.

    Correlation of the steps of all joints together, each lag normalised by its own energies. At most 50 lags: at 100
    Hz every frame to 0.18 s, where the limit is, and every second one beyond. k runs over 50 frames a second. Judged
    after 2 s of motion, if the best correlation is at least 0.5 (ours). Needs a command and a nominal rate.
    """

    metrics = ("K3",)

    def __init__(self, context: Context, rules: Rules) -> None:
        super().__init__(context, rules)
        width, rate = len(context.joints), context.nominal_rate_hz
        frames = rules.lag_longest_s * rate if rate > 0 and context.measures("command") else 0.0
        self._groups = lags_to(frames, CLOSE_S * rate) if frames >= 2 else (range(0), range(0))
        #: frames
        self.lags = np.array([*self._groups[0], *self._groups[1]], np.int64)
        #: frames between the oldest step remembered and a step's own
        self._reach = int(self.lags.max(initial=0))
        self._stride = max(1, int(rate / COMPARED_HZ)) if rate > 0 else 1
        # single precision: only the place of a maximum is read from these sums
        self._told: Singles = np.zeros((self._reach, width), np.float32)
        self._energy = np.zeros(self._reach)
        self.products, self.energies, self.moved = (np.zeros(len(self.lags)) for _ in range(3))
        self.seconds, self.period, self.periods = 0.0, 0.0, 0

    def add(self, batch: Batch) -> None:
        """Correlate the steps with the commands' before them."""
        for part in batch.parts():
            self._add(part)

    def _add(self, batch: Batch) -> None:
        command = batch.channel("command")
        if command is None or batch.channel("position") is None or len(self.lags) < 2:
            return
        told = np.subtract(command[1:], command[:-1], out=batch.shop.spare[: batch.n])
        usable = batch.steps("command", "position")
        moved = batch.step
        if usable is not None:
            told, moved = told * usable, moved * usable
        self._time(batch)
        window: Singles = np.concatenate((self._told, told), dtype=np.float32, casting="same_kind")
        own = np.multiply(told, told, out=batch.shop.other[: batch.n]) @ batch.shop.ones
        energy = np.concatenate((self._energy, own))
        self._told, self._energy = window[batch.n :].copy(), energy[batch.n :].copy()
        first = -batch.first % self._stride
        if first < batch.n:
            squares = batch.step_norms_squared if usable is None else np.einsum("ij,ij->i", moved, moved)
            places = slice(first, None, self._stride)
            self._correlate(moved[places].astype(np.float32), squares[places], window, energy, batch.first)

    def _time(self, batch: Batch) -> None:
        periods = batch.period if batch.steady is None else batch.period[batch.steady]
        self.period += float(periods.sum())
        self.periods += len(periods)
        limit = self.rules.idle_derived_speed
        moving = batch.speed_squared >= limit * limit
        self.seconds += float(batch.period @ (moving if batch.steady is None else moving & batch.steady))

    def _correlate(self, moved: Singles, own: Floats, window: Singles, energy: Floats, earlier: int) -> None:
        """``own``: the sums of ``moved`` squared; ``earlier``: frames before the batch."""
        stride, size, begin, first = self._stride, len(moved), 0, -earlier % self._stride
        frame = earlier + first
        item = energy.itemsize
        for lags in self._groups:
            if not lags:
                continue
            # moved_k meets told_(k - l): row i, reach + first + i stride - l
            shape, place, end = (size, len(lags)), self._reach + first - lags.start, begin + len(lags)
            told = as_strided(energy[place:], shape, (stride * item, -lags.step * item), writeable=False)
            self.energies[begin:end] += told.sum(axis=0)
            begin = end
        # a product of vectors a lag: that of the two matrices has ten times as many terms, and BLAS spreads it over
        # threads that wait for each other where the processors are busy (40 ms instead of 0.05)
        flat, width = moved.reshape(-1), moved.shape[1]
        parts = [np.ascontiguousarray(window[part::stride]).reshape(-1) for part in range(stride)]
        products = []
        for lag in self.lags.tolist():
            row, part = divmod(self._reach + first - lag, stride)
            products.append(np.dot(flat, parts[part][row * width : (row + size) * width]))
        self.products += products
        self.moved += own.sum()
        if frame < self._reach:
            # nobody knows what was told up to the first frame: frame k has no part in lags from k on
            for k in range(min(size, (self._reach - frame) // stride + 1)):
                self.moved[self.lags >= frame + k * stride] -= own[k]

    def best(self) -> tuple[float, float]:
        """The lag, s, and the correlation there."""
        with np.errstate(invalid="ignore", divide="ignore"):
            fit = np.nan_to_num(self.products / np.sqrt(self.energies * self.moved), nan=-1.0, posinf=-1.0)
        place = int(np.argmax(fit))
        return int(self.lags[place]) * self.period / self.periods, float(fit[place])

    def _lag(self) -> float:
        if len(self.lags) < 2 or not self.periods or self.seconds < self.rules.lag_motion_s * (1 - SLACK):
            return NONE
        lag, fit = self.best()
        return lag if fit >= self.rules.lag_correlation else NONE

    def findings(self, span: Span, live: bool) -> list[Finding]:
        """One for the episode."""
        lag = self._lag()
        if not lag > self.rules.lag_suspect_s * (1 + SLACK):
            return []
        facts = {"value": lag, "unit": "s", "threshold": self.rules.lag_suspect_s, "origin": Origin.OURS}
        return [self.finding(span, "K3", "K3", {"lag": lag}, flag=Flag.SUSPECT, **facts)]

    def values(self, span: Span, found: Found) -> list[MetricValue]:
        """The lag, s."""
        lag = self._lag()
        return rows("K3", "s", lag, lag == lag, found)
