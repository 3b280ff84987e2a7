"""What the robot's stamps tell: T1, T2, T4, T11. Whole nanoseconds all the way: sums are exact integers. Pure."""

from __future__ import annotations

from math import isqrt, sqrt

import numpy as np

from kinestream.streams.quality.model import (
    NONE,
    SECOND,
    SLACK,
    Context,
    Finding,
    Flag,
    Frames,
    Integers,
    MetricValue,
    Origin,
    Span,
    make_finding,
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
        """T2: std(D)/T0, population, from exact integer sums; NaN without intervals."""
        n = span.frames - 1
        total = span.last_t - span.first_t - n * self._period_ns
        squares = self.squares
        if steady:
            n, total, squares = n - self.odd, total - self.odd_sum, squares - self.odd_squares
        if n < 1 or not self.nominal:
            return NONE
        # squares may exceed what a float holds exactly: take the root of the whole number first
        numerator = n * squares - total * total
        root = sqrt(numerator) if numerator < 1 << 52 else isqrt(numerator << 40) / (1 << 20)
        return root / n / self.nominal


def rate_finding(timing: Timing, context: Context, rules: Rules, span: Span, live: bool) -> list[Finding]:
    """T1 effective rate: (n-1)/(t_n - t_1), Hz, against the nominal rate.

    10 % is the default tolerance of ROS diagnostics, 30 % our proposal. Judged on :meth:`Timing.steady_rate`.
    """
    nominal = context.nominal_rate_hz
    if live and (span.frames < rules.live_frames or span.seconds < rules.live_s):
        return []
    rate = timing.steady_rate(span)
    error = abs(rate - nominal) / nominal
    if not error > rules.rate_suspect * (1 + SLACK):
        return []
    fail = error > rules.rate_fail * (1 + SLACK)
    limit = nominal * (1 + (1 if rate > nominal else -1) * (rules.rate_fail if fail else rules.rate_suspect))
    message = f"The robot sends {rate:.1f} frames a second instead of {nominal:g}"
    return [
        make_finding(
            context,
            span,
            "T1",
            flag=Flag.FAIL if fail else Flag.SUSPECT,
            value=rate,
            unit="Hz",
            threshold=limit,
            origin=Origin.OURS,
            message=message,
        )
    ]


def jitter_finding(timing: Timing, context: Context, rules: Rules, span: Span) -> list[Finding]:
    """T2 period jitter: std(D)/T0 without gaps, ratio; limit 0.10 after GB/Z 6.2.2.3 (advisory), so a risk."""
    if span.frames - 1 - timing.odd < rules.jitter_intervals:
        return []
    jitter = timing.jitter(span, steady=True)
    if not jitter > rules.jitter_suspect * (1 + SLACK):
        return []
    message = f"The time between frames varies by {jitter:.0%} of its nominal {timing.nominal / 1e6:.1f} ms"
    return [
        make_finding(
            context,
            span,
            "T2",
            flag=Flag.SUSPECT,
            value=jitter,
            unit="ratio",
            threshold=rules.jitter_suspect,
            origin=Origin.STANDARD,
            message=message,
        )
    ]


def gap_finding(timing: Timing, context: Context, rules: Rules, span: Span) -> list[Finding]:
    """T4 gaps: intervals longer than 2.5 T0, s; a gap over 0.5 s or more than 5 over 0.1 s a minute fail.

    The clauses are those of open recording checkers; the minute is never taken shorter than a minute.
    """
    gaps = timing.gaps
    if not gaps.count:
        return []
    minutes = max(1.0, span.seconds / 60)
    fail_ns = rules.gap_fail_s * SECOND * (1 + SLACK)
    fail = timing.longest > fail_ns or timing.long_gaps > rules.gap_long_per_minute * minutes * (1 + SLACK)
    times = "once" if gaps.count == 1 else f"{gaps.count} times"
    message = f"The robot's stamps pause {times}, at most {timing.longest / SECOND:.2f} s"
    return [
        make_finding(
            context,
            span,
            "T4",
            flag=Flag.FAIL if fail else Flag.SUSPECT,
            value=timing.longest / SECOND,
            unit="s",
            threshold=rules.gap_fail_s if timing.longest > fail_ns else rules.gap_periods * timing.nominal / SECOND,
            origin=Origin.OURS,
            first_seq=gaps.first_seq,
            t_start_ns=gaps.first_t,
            t_end_ns=gaps.last_t,
            message=message,
        )
    ]


def timing_findings(timing: Timing, context: Context, rules: Rules, span: Span, live: bool) -> list[Finding]:
    """T1, T2 and T4; none without a nominal rate, nor where stamps were made from the index (T11)."""
    if not timing.nominal or span.frames < 2 or synthetic(timing, rules, span, live):
        return []
    found = rate_finding(timing, context, rules, span, live)
    found += jitter_finding(timing, context, rules, span)
    return found + gap_finding(timing, context, rules, span)


def synthetic(timing: Timing, rules: Rules, span: Span, live: bool) -> bool:
    """T11 synthetic stamps: max |t_k - t_0 - (seq_k - seq_0)/f| <= 2 x max(1 us, resolution) over >= 100 frames.

    Live the length is not waited for: a lamp must not burn for 99 frames over stamps that say nothing.
    """
    return timing.follows_index() and (live or span.frames >= rules.synthetic_frames)


def timing_values(timing: Timing, rules: Rules, span: Span, flags: dict[str, Flag]) -> list[MetricValue]:
    """The rows T1, T2 (each also .steady), T4 (count, .longest, .sum) and T11; ``flags`` are the findings' by metric.

    A value is what its formula gives; NOT_EVALUATED says that nothing was concluded from it.
    """
    made = synthetic(timing, rules, span, live=False)
    known = timing.nominal > 0
    judged = known and span.frames >= 2 and not made
    spread = judged and span.frames - 1 - timing.odd >= rules.jitter_intervals
    rate, steady = timing.rate(span), timing.steady_rate(span)
    rows = [
        ("T1", rate, "Hz", judged and rate == rate),
        ("T1.steady", steady if known else NONE, "Hz", judged and rate == rate),
        ("T2", timing.jitter(span, steady=False), "ratio", spread),
        ("T2.steady", timing.jitter(span, steady=True), "ratio", spread),
        ("T4", float(timing.gaps.count) if known else NONE, "gaps", judged),
        ("T4.longest", timing.longest / SECOND if known else NONE, "s", judged),
        ("T4.sum", timing.gap_ns / SECOND if known else NONE, "s", judged),
    ]
    values = []
    for metric, value, unit, evaluated in rows:
        flag = flags.get(metric.partition(".")[0], Flag.GOOD) if evaluated else Flag.NOT_EVALUATED
        values.append(MetricValue(metric, "", value, unit, flag))
    long_enough = known and span.frames >= rules.synthetic_frames
    flag = (Flag.SUSPECT if made else Flag.GOOD) if long_enough else Flag.NOT_EVALUATED
    return [*values, MetricValue("T11", "", float(made) if long_enough else NONE, "", flag)]
