"""What is usual in a task, and how far off a take is: E5, E7, robust z. Statistics are snapshots of features."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from math import isfinite, log
from typing import Any, Final

import numpy as np
import xxhash

from kinestream.streams.quality.model import NONE, SLACK, Floats, MetricValue
from kinestream.streams.quality.rules import Rules

#: risks without a limit of their own: only their task tells what is usual
BY_TASK: Final = ("K1", "S1", "S1v", "S2", "S3", "S4", "S5", "S6", "E4")
#: which side of the usual is the worse one
_WORSE_BELOW = frozenset({"S1", "S1v", "S2", "E4"})
#: a median absolute deviation of normal data times this is its standard deviation
_MAD = 1.4826


#: poses that are compared
POSES: Final = ("start", "end")


@dataclass(frozen=True, slots=True)
class Task:
    """What takes are compared within: only those of one skill, on the same joints of the same model."""

    tenant: str
    skill: str
    model_id: str
    joints: tuple[str, ...]

    @property
    def key(self) -> int:
        """Where its takes are filed, 64 bits."""
        parts = ("task", self.tenant, self.skill, self.model_id, *self.joints)
        return xxhash.xxh3_64_intdigest("\0".join(parts).encode())


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """What the statistics of a task take from one episode; ``poses`` float64 (J,) by name."""

    seconds: float
    metrics: Mapping[str, float]
    poses: Mapping[str, Floats]


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


@dataclass(frozen=True, slots=True, eq=False)
class StoredStatistics:
    """A snapshot, whose it is, and the broker time at which the newest take in it began, ms."""

    task: Task
    newest_ms: int
    statistics: TaskStatistics


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


def pose_distance(pose: Floats, mean: Floats, reach: Floats) -> float:
    """E7: rms over joints of (q - mean) / reach, reach the joints' ranges (J,), NaN = unknown: left out."""
    known = np.isfinite(reach) & (reach > 0) & np.isfinite(pose) & np.isfinite(mean)
    if not known.any():
        return NONE
    off = (pose[known] - mean[known]) / reach[known]
    return float(np.sqrt(np.mean(off * off)))


def features_of(rows: Iterable[MetricValue], seconds: float, poses: Mapping[str, Floats]) -> Features:
    """Of an episode's rows: the risks that only its task judges, as far as they have values."""
    values = {row.id: row.value for row in rows if row.id in BY_TASK and not row.joint}
    return Features(seconds, {name: value for name, value in values.items() if isfinite(value)}, poses)


def statistics_of(task: Task, takes: Sequence[Features], reach: Floats) -> TaskStatistics:
    """The statistics of these takes; named by the task and by what they say, so that equal ones have one name.

    ``reach``: the joints' ranges, float64 (J,), NaN = unknown. A metric that half of the takes lack has no spread.
    """
    seconds = spread_of([log(take.seconds) for take in takes if take.seconds > 0])
    metrics = {}
    for metric in BY_TASK:
        values = [take.metrics[metric] for take in takes if metric in take.metrics]
        if len(values) * 2 > len(takes):
            metrics[metric] = spread_of(values)
    poses = {name: _usual_pose([take.poses[name] for take in takes], reach) for name in POSES}
    made = TaskStatistics("", len(takes), seconds, metrics, poses)
    digest = sha256(content_of(made).encode()).hexdigest()[:12]
    return TaskStatistics(f"{task.key:016x}-{digest}", len(takes), seconds, metrics, poses)


def _usual_pose(poses: Sequence[Floats], reach: Floats) -> tuple[Floats, float, float]:
    """The mean pose, and the quartiles of the distances from each to the mean of the others.

    A pose draws the mean towards itself, n / (n - 1) of its distance to that of the others is left: one that is judged
    later does not.
    """
    mean: Floats = np.mean(poses, axis=0)
    alone = len(poses) / (len(poses) - 1) if len(poses) > 1 else NONE
    distances = [alone * pose_distance(pose, mean, reach) for pose in poses]
    low, high = np.percentile(distances, (25, 75)) if isfinite(sum(distances)) else (NONE, NONE)
    return mean, float(low), float(high)


def content_of(made: TaskStatistics) -> str:
    """Statistics as JSON text, every float as it is; unknown ones are null."""
    told: dict[str, Any] = {
        "episodes": made.episodes,
        "log_seconds": _told(made.log_seconds),
        "metrics": {name: _told(spread) for name, spread in made.metrics.items()},
        "poses": {name: [mean.tolist(), _known(low), _known(high)] for name, (mean, low, high) in made.poses.items()},
    }
    return json.dumps(told, sort_keys=True)


def statistics_from(version: str, content: str) -> TaskStatistics:
    """Back from :func:`content_of`."""
    told = json.loads(content)
    poses = {name: (np.array(m, np.float64), _read(low), _read(high)) for name, (m, low, high) in told["poses"].items()}
    metrics = {name: Spread(*map(_read, spread)) for name, spread in told["metrics"].items()}
    return TaskStatistics(version, told["episodes"], Spread(*map(_read, told["log_seconds"])), metrics, poses)


def _told(spread: Spread) -> list[float | None]:
    return [_known(spread.median), _known(spread.mad)]


def _known(value: float) -> float | None:
    return value if isfinite(value) else None


def _read(value: float | None) -> float:
    return NONE if value is None else value


def pose_limit(low: float, high: float, rules: Rules) -> float:
    """E7's one-sided Tukey fence over the task's distances, at least 5 % of the range."""
    return max(rules.pose_spread, high + 1.5 * (high - low))
