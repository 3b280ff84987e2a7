"""The running sums over the robot's stamps. Whole nanoseconds, so that sums are exact; never a threshold's opinion."""

from __future__ import annotations

from math import isqrt, sqrt

import numpy as np

from kinestream.streams.quality.model import (
    NONE,
    SECOND,
    SLACK,
    Context,
    Frames,
    Integers,
    Span,
)
from kinestream.streams.quality.rules import Rules
from kinestream.streams.quality.scratch import Bench
from kinestream.streams.quality.spells import Spell

#: deviations below this square and sum over LARGEST intervals within an int64
_SAFE = 1 << 27
#: stands for "no interval yet"
_ENDLESS = 1 << 62


class Timing:
    """Running integer sums over the intervals D between neighbouring frames; merges exactly.

    An interval longer than 2.5 nominal periods is a gap. The steady sums leave out gaps and intervals over missing
    frame numbers, which belong to T4 and T5.
    """

    __slots__ = (
        "_gap_ns",
        "_long_ns",
        "_period_0d",
        "_period_ns",
        "_tolerance",
        "gap_ns",
        "gaps",
        "high",
        "long_gaps",
        "longest",
        "low",
        "nominal",
        "odd",
        "odd_squares",
        "odd_sum",
        "squares",
    )

    def __init__(self, context: Context, rules: Rules) -> None:
        rate = context.nominal_rate_hz
        #: nominal period, ns; 0 = unknown
        self.nominal = SECOND / rate if rate > 0 else 0.0
        self._period_ns = round(self.nominal)
        self._period_0d = np.asarray(self._period_ns, np.int64)
        self._gap_ns = int(rules.gap_periods * self.nominal * (1 + SLACK)) if self.nominal else _ENDLESS
        self._long_ns = int(rules.gap_long_s * SECOND * (1 + SLACK))
        self._tolerance = rules.synthetic_resolutions * max(1_000, context.stamp_resolution_ns) * (1 + SLACK)
        self.squares = 0
        self.odd, self.odd_sum, self.odd_squares = 0, 0, 0
        self.gaps, self.long_gaps, self.longest, self.gap_ns = Spell(), 0, 0, 0
        #: least and greatest distance of a stamp from first stamp + frames/rate, ns
        self.low, self.high = 0.0, 0.0

    def add(self, bench: Bench, frames: Frames, span: Span, starts: bool) -> int:
        """Add the intervals in ``bench.period`` (its first is none if ``starts``); gives the shortest, ns."""
        period = bench.period[1:] if starts else bench.period
        if not len(period):
            return _ENDLESS
        shortest = int(np.minimum.reduce(period))
        longest = int(np.maximum.reduce(period))
        if not self.nominal:
            return shortest
        usual = self._period_ns
        if shortest > usual - _SAFE and longest < usual + _SAFE:
            deviation = np.subtract(period, self._period_0d, out=bench.deviation[: len(period)])
            self.squares += int(np.dot(deviation, deviation))
        else:
            self.squares += sum((p - usual) ** 2 for p in period.tolist())
        before = int(frames.seq[0]) - 1 if starts else span.last_seq
        if longest > self._gap_ns or int(frames.seq[-1]) - before != len(frames.seq):
            self._set_apart(period, frames, before, starts)
        if self.high - self.low <= 2 * self._tolerance:
            self._compare_with_index(frames, span)
        return shortest

    def _set_apart(self, period: Integers, frames: Frames, before: int, starts: bool) -> None:
        step = np.diff(frames.seq, prepend=before)[-len(period) :]
        for k in np.flatnonzero((period > self._gap_ns) | (step > 1)).tolist():
            at = k + 1 if starts else k
            self._odd_interval(int(period[k]), int(frames.seq[at]), int(frames.t_ns[at]))

    def _odd_interval(self, ns: int, seq: int, t: int) -> None:
        off = ns - self._period_ns
        self.odd += 1
        self.odd_sum += off
        self.odd_squares += off * off
        if ns > self._gap_ns:
            self.gaps.add(1, (seq, t), t)
            self.gap_ns += ns
            self.longest = max(self.longest, ns)
            self.long_gaps += ns > self._long_ns

    def _compare_with_index(self, frames: Frames, span: Span) -> None:
        drift = (frames.t_ns - span.first_t) - (frames.seq - span.first_seq) * self.nominal
        self.low = min(self.low, float(np.minimum.reduce(drift)))
        self.high = max(self.high, float(np.maximum.reduce(drift)))

    def merge(self, later: Timing, span: Span, later_span: Span) -> None:
        """Add a later part; ``span`` still ends at the cut, so the interval over the cut is judged here."""
        if not self.nominal:
            return
        ns = later_span.first_t - span.last_t
        self.squares += (ns - self._period_ns) ** 2 + later.squares
        if ns > self._gap_ns or later_span.first_seq - span.last_seq > 1:
            self._odd_interval(ns, later_span.first_seq, later_span.first_t)
        self.odd += later.odd
        self.odd_sum += later.odd_sum
        self.odd_squares += later.odd_squares
        self.gaps.merge(later.gaps)
        self.gap_ns += later.gap_ns
        self.longest = max(self.longest, later.longest)
        self.long_gaps += later.long_gaps
        shift = (later_span.first_t - span.first_t) - (later_span.first_seq - span.first_seq) * self.nominal
        self.low = min(self.low, later.low + shift)
        self.high = max(self.high, later.high + shift)

    def follows_index(self) -> bool:
        """Whether every stamp so far is index/rate within the tolerance (T11's formula, whatever the length)."""
        return self.nominal > 0 and max(self.high, -self.low) <= self._tolerance

    def rate(self, span: Span) -> float:
        """T1: (n-1)/(t_n - t_1) in Hz; NaN where time does not advance."""
        return (span.frames - 1) / span.seconds if span.last_t > span.first_t else NONE

    def steady_rate(self, span: Span) -> float:
        """The rate without gaps and intervals over missing numbers, Hz: one pause in a short take is no slow loop.

        Where those are half of all intervals they are the rate, and nothing is left out.
        """
        n = span.frames - 1
        ns = span.last_t - span.first_t - self.odd_sum - self.odd * self._period_ns
        if 2 * self.odd >= n or ns <= 0:
            return self.rate(span)
        return (n - self.odd) * SECOND / ns

    def jitter(self, span: Span, *, steady: bool) -> float:
        """T2: std(D)/T0, population, from exact integer sums; NaN without intervals, or with one of 292 years."""
        n = span.frames - 1
        total = span.last_t - span.first_t - n * self._period_ns
        squares = self.squares
        if steady:
            n, total, squares = n - self.odd, total - self.odd_sum, squares - self.odd_squares
        if n < 1 or not self.nominal:
            return NONE
        # squares may exceed what a float holds exactly: take the root of the whole number first
        numerator = n * squares - total * total
        if numerator < 0:  # neighbours further apart than 64 bits of ns: their interval is none
            return NONE
        root = sqrt(numerator) if numerator < 1 << 52 else isqrt(numerator << 40) / (1 << 20)
        return root / n / self.nominal
