"""What the robot's stamps tell: T1, T2, T4, T11. Reads the sums of :mod:`timing`; never looks at a frame."""

from __future__ import annotations

from kinestream.streams.quality.model import (
    NONE,
    SECOND,
    SLACK,
    Context,
    Finding,
    Flag,
    MetricValue,
    Origin,
    Span,
    make_finding,
    say,
)
from kinestream.streams.quality.rules import Rules
from kinestream.streams.quality.timing import Timing


def rate_finding(timing: Timing, context: Context, rules: Rules, span: Span, live: bool) -> list[Finding]:
    """T1 effective rate: (n-1)/(t_n - t_1), Hz, against the nominal rate.

    10 % is the default tolerance of ROS diagnostics, 30 % our proposal. Judged on the nearer to nominal of this and
    :meth:`Timing.steady_rate`: neither a pause nor a loop that catches up after one is a wrong rate.
    """
    nominal = context.nominal_rate_hz
    if live and (span.frames < rules.live_frames or span.seconds < rules.live_s):
        return []
    rate = min(timing.steady_rate(span), timing.rate(span), key=lambda one: abs(one - nominal))
    error = abs(rate - nominal) / nominal
    if not error > rules.rate_suspect * (1 + SLACK):
        return []
    fail = error > rules.rate_fail * (1 + SLACK)
    limit = nominal * (1 + (1 if rate > nominal else -1) * (rules.rate_fail if fail else rules.rate_suspect))
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
            **say("T1", rate=rate, nominal=nominal),
        )
    ]


def jitter_finding(timing: Timing, context: Context, rules: Rules, span: Span) -> list[Finding]:
    """T2 period jitter: std(D)/T0 without gaps, ratio; limit 0.10 after GB/Z 6.2.2.3 (advisory), so a risk."""
    if span.frames - 1 - timing.odd < rules.jitter_intervals:
        return []
    jitter = timing.jitter(span, steady=True)
    if not jitter > rules.jitter_suspect * (1 + SLACK):
        return []
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
            **say("T2", jitter=jitter, period_ms=timing.nominal / 1e6),
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
    often = timing.long_gaps > rules.gap_long_per_minute * minutes * (1 + SLACK)
    fail, shortest_s = timing.longest > fail_ns or often, rules.gap_periods * timing.nominal / SECOND
    key = "T4.once" if gaps.count == 1 else "T4.often"
    return [
        make_finding(
            context,
            span,
            "T4",
            flag=Flag.FAIL if fail else Flag.SUSPECT,
            value=timing.longest / SECOND,
            unit="s",
            threshold=rules.gap_fail_s if timing.longest > fail_ns else rules.gap_long_s if often else shortest_s,
            origin=Origin.OURS,
            first_seq=gaps.first_seq,
            t_start_ns=gaps.first_t,
            t_end_ns=gaps.last_t,
            **say(key, count=gaps.count, longest=timing.longest / SECOND),
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
        told = evaluated and value == value
        flag = flags.get(metric.partition(".")[0], Flag.GOOD) if told else Flag.NOT_EVALUATED
        values.append(MetricValue(metric, "", value, unit, flag))
    long_enough = known and span.frames >= rules.synthetic_frames
    flag = (Flag.SUSPECT if made else Flag.GOOD) if long_enough else Flag.NOT_EVALUATED
    return [*values, MetricValue("T11", "", float(made) if long_enough else NONE, "", flag)]
