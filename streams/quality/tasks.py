"""An episode beside the others of its task: E5, E7 and the task's limits of risks. Statistics come as a snapshot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import log

import numpy as np

from kinestream.streams.quality.model import NONE, SLACK, Floats
from kinestream.streams.quality.rules import Rules

#: risks without a limit of their own: only their task tells what is usual
BY_TASK = ("K1", "S1", "S1v", "S2", "S3", "S4", "S5", "S6", "E4")
#: which side of the usual is the worse one
_WORSE_BELOW = frozenset({"S1", "S1v", "S2", "E4"})
#: a median absolute deviation of normal data times this is its standard deviation
_MAD = 1.4826


@dataclass(frozen=True, slots=True)
class Spread:
    """Median and median absolute deviation of a quantity over a task's episodes."""

    median: float
    mad: float


@dataclass(frozen=True, slots=True, eq=False)
class TaskStatistics:
    """An immutable snapshot over ``episodes`` of a task, named ``version``; ``log_seconds`` is of ln(duration).

    ``starts`` and ``ends`` are the poses' distances to the task's mean pose as (mean pose, quartiles of the distances).
    """

    version: str
    episodes: int
    log_seconds: Spread
    metrics: Mapping[str, Spread] = field(default_factory=dict)
    poses: Mapping[str, tuple[Floats, float, float]] = field(default_factory=dict)


def spread_of(values: Sequence[float]) -> Spread:
    """Median and MAD of finite values; NaN for none."""
    known = np.asarray([value for value in values if value == value], np.float64)
    if not len(known):
        return Spread(NONE, NONE)
    median = float(np.median(known))
    return Spread(median, float(np.median(np.abs(known - median))))


def tukey_fence(values: Sequence[float]) -> tuple[float, float]:
    """Q1 - 1.5 IQR and Q3 + 1.5 IQR (Tukey 1977)."""
    low, high = np.percentile(np.asarray(values, np.float64), (25, 75))
    return float(low - 1.5 * (high - low)), float(high + 1.5 * (high - low))


def duration_z(seconds: float, usual: Spread, rules: Rules) -> float:
    """E5 duration outlier: z = (ln T - med) / max(1.4826 MAD, 0.1); |z| > 3.5 SUSPECT. NaN where T <= 0."""
    if not seconds > 0:
        return NONE
    return (log(seconds) - usual.median) / max(_MAD * usual.mad, rules.task_spread)


def robust_z(value: float, usual: Spread) -> float:
    """(x - median) / (1.4826 MAD); NaN where the task knows no spread."""
    return (value - usual.median) / (_MAD * usual.mad) if usual.mad > 0 else NONE


def worse_z(metric: str, value: float, usual: Spread) -> float:
    """The robust z of ``value`` on the worse side, else 0; NaN where there is none."""
    z = robust_z(value, usual)
    if z != z:
        return z
    return max(0.0, -z if metric in _WORSE_BELOW else z)


def outlier(z: float, rules: Rules) -> bool:
    """Whether |z| > 3.5 (Iglewicz and Hoaglin 1993)."""
    return abs(z) > rules.task_z * (1 + SLACK)


def pose_distance(pose: Floats, mean: Floats, reach: Floats, rules: Rules) -> float:
    """E7: rms over joints of (q - mean) / max(reach, least), reach the joints' ranges (J,), NaN = unknown: left out."""
    known = np.isfinite(reach) & (reach > 0) & np.isfinite(pose) & np.isfinite(mean)
    if not known.any():
        return NONE
    off = (pose[known] - mean[known]) / reach[known]
    return float(np.sqrt(np.mean(off * off)))


def pose_limit(low: float, high: float, rules: Rules) -> float:
    """E7's one-sided Tukey fence over the task's distances, at least 5 % of the range."""
    return max(rules.pose_spread, high + 1.5 * (high - low))
