"""What arrived of what was sent: T5, T6. Counts are the assembler's; nothing is counted here."""

from __future__ import annotations

from kinestream.streams.quality.model import (
    NONE,
    SLACK,
    Context,
    Delivery,
    Finding,
    Flag,
    MetricValue,
    Origin,
    Span,
    make_finding,
    say,
)
from kinestream.streams.quality.rules import Rules


def loss_rate(delivery: Delivery) -> float:
    """T5 loss rate: (expected - unique) / expected, share (RFC 3550 A.3); NaN when nothing is expected."""
    return (delivery.expected - delivery.unique) / delivery.expected if delivery.expected > 0 else NONE


def loss_finding(context: Context, rules: Rules, span: Span, delivery: Delivery, live: bool) -> list[Finding]:
    """T5: any lost frame is SUSPECT, more than 1 % (GB/Z's figure) fails."""
    lost = delivery.expected - delivery.unique
    if lost <= 0:
        return []
    rate = loss_rate(delivery)
    enough = not live or delivery.expected >= rules.live_frames
    fail = enough and rate > rules.loss_fail * (1 + SLACK)
    first = max(0, delivery.missing_first)
    # a frame that never came has no stamp: before the first frame the first one's, else the last one's
    t_start = span.last_t if first > span.last_seq else span.first_t
    return [
        make_finding(
            context,
            span,
            "T5",
            flag=Flag.FAIL if fail else Flag.SUSPECT,
            value=rate,
            unit="share",
            threshold=rules.loss_fail if fail else 0.0,
            origin=Origin.STANDARD if fail else Origin.OURS,
            first_seq=first,
            t_start_ns=t_start,
            **say("T5.one" if lost == 1 else "T5.many", lost=lost, expected=delivery.expected),
        )
    ]


def conflict_finding(context: Context, span: Span, delivery: Delivery) -> list[Finding]:
    """T6: repeats are only counted (RFC 3550, 4737); a repeat with another payload fails."""
    if delivery.conflicting <= 0:
        return []
    return [
        make_finding(
            context,
            span,
            "T6",
            flag=Flag.FAIL,
            value=float(delivery.conflicting),
            unit="frames",
            threshold=0.0,
            origin=Origin.OURS,
            first_seq=max(0, delivery.conflicting_first),
            **say("T6.one" if delivery.conflicting == 1 else "T6.many", count=delivery.conflicting),
        )
    ]


def delivery_values(delivery: Delivery, flags: dict[str, Flag]) -> list[MetricValue]:
    """The rows T5 and T6 (duplicates of any payload)."""
    loss = flags.get("T5", Flag.GOOD) if delivery.expected > 0 else Flag.NOT_EVALUATED
    return [
        MetricValue("T5", "", loss_rate(delivery), "share", loss),
        MetricValue("T6", "", float(delivery.duplicates), "frames", flags.get("T6", Flag.GOOD)),
    ]
