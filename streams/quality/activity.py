"""Whether an episode holds anything worth keeping: E6. Judged at the close, never live."""

from __future__ import annotations

from kinestream.streams.quality.model import (
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


def length_finding(context: Context, rules: Rules, span: Span) -> list[Finding]:
    """E6 minimum length: T = t_n - t_1, s; under 1 s fails (an accidental start; open checkers use 50 frames)."""
    if span.seconds >= rules.shortest_s * (1 - SLACK):
        return []
    return [
        make_finding(
            context,
            span,
            "E6",
            flag=Flag.FAIL,
            value=span.seconds,
            unit="s",
            threshold=rules.shortest_s,
            origin=Origin.OURS,
            **say("E6", seconds=span.seconds, frames=span.frames),
        )
    ]


def length_value(span: Span, flags: dict[str, Flag]) -> MetricValue:
    """The row E6."""
    return MetricValue("E6", "", span.seconds, "s", flags.get("E6", Flag.GOOD))
