"""What became of a take, and who says so: O1. Never inferred from motion, and never part of a verdict."""

from __future__ import annotations

from kinestream.streams.quality.model import NONE, Delivery, Flag, MetricValue

_VALUES = {"SUCCESS": 1.0, "FAILURE": 0.0}


def outcome_value(delivery: Delivery) -> MetricValue:
    """O1 success: 1, 0, or NOT_EVALUATED where nobody said; a failed attempt may move as smoothly as a good one."""
    value = _VALUES.get(delivery.outcome, NONE)
    return MetricValue("O1", "", value, delivery.outcome_by, Flag.GOOD if value == value else Flag.NOT_EVALUATED)
