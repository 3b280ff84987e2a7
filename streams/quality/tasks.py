"""What is usual in a task, and how far off a take is: E5, E7, robust z. Statistics are snapshots of features."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from math import erfc, expm1, isfinite, log, pi, sqrt
from typing import Any, Final

import numpy as np
import xxhash

from kinestream.streams.quality.model import NONE, Floats, MetricValue
from kinestream.streams.quality.rules import Rules

#: risks without a limit of their own: only their task tells what is usual
BY_TASK: Final = ("K1", "S1", "S1v", "S2", "S3", "S4", "S5", "S6", "E4")
#: which side of the usual is the worse one
_WORSE_BELOW = frozenset({"S1", "S1v", "S2", "E4"})
#: a median absolute deviation of normal data times this is its standard deviation
_MAD = 1.4826
#: ... which it tells as well as this share of as many values would in the usual way; fewest degrees of freedom
_MAD_WORTH, _LEAST_FREEDOM = 0.3674, 2.0
#: share of the worse half that a tail is taken from: the farthest takes may be faults that nobody noticed
_SEEN = 0.8

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
    """Median, median absolute deviation, and the tail on the worse side, of a quantity over a task's episodes.

    The tail: mean excess over the median as of an exponential distribution, and of how many values it was taken
    (:func:`tail_of`); none where the worse side is not known.
    """

    median: float
    mad: float
    excess: float = NONE
    count: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class UsualPose:
    """The mean pose, float64 (J,), quartiles of the poses' distances to the mean of the others, and their spread."""

    mean: Floats
    low: float
    high: float
    distances: Spread


@dataclass(frozen=True, slots=True, eq=False)
class TaskStatistics:
    """An immutable snapshot over ``episodes`` of a task, named ``version``; ``log_seconds`` is of ln(duration).

    ``poses`` are the usual first (``start``) and last (``end``) ones.
    """

    version: str
    episodes: int
    log_seconds: Spread
    metrics: Mapping[str, Spread] = field(default_factory=dict)
    poses: Mapping[str, UsualPose] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class StoredStatistics:
    """A snapshot, whose it is, and the broker time at which the newest take in it began, ms."""

    task: Task
    newest_ms: int
    statistics: TaskStatistics


def spread_of(values: Sequence[float], worse: int = 0) -> Spread:
    """Of finite values; NaN for none. ``worse``: 1 = greater ones are the worse, -1 = smaller ones, 0 = no side."""
    known = np.asarray([value for value in values if value == value], np.float64)
    if not len(known):
        return Spread(NONE, NONE)
    median = float(np.median(known))
    excess, count = tail_of((known - median) * worse) if worse else (NONE, 0)
    return Spread(median, float(np.median(np.abs(known - median))), excess, count)


def tail_of(excesses: Floats) -> tuple[float, int]:
    """Mean excess of the positive ones, as if exponential, without looking at the greatest fifth: (mean, r).

    With r of m values seen, (their sum + (m - r) times the greatest seen) / r is the mean, distributed as a Gamma of
    shape r (Epstein and Sobel 1953); two odd takes among twenty do not move it. NaN where there are no two.
    """
    above = np.sort(excesses[excesses > 0])
    seen = int(_SEEN * len(above))
    if seen < 1:
        return NONE, 0
    return float((above[:seen].sum() + (len(above) - seen) * above[seen - 1]) / seen), seen


def tukey_fence(values: Sequence[float]) -> tuple[float, float]:
    """Q1 - 1.5 IQR and Q3 + 1.5 IQR (Tukey 1977)."""
    low, high = np.percentile(np.asarray(values, np.float64), (25, 75))
    return float(low - 1.5 * (high - low)), float(high + 1.5 * (high - low))


def duration_z(seconds: float, usual: Spread, rules: Rules) -> float:
    """E5 duration outlier: z = (ln T - med) / max(1.4826 MAD, 0.1), see :func:`duration_limit`. NaN where T <= 0."""
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


def chance(rules: Rules) -> float:
    """How often a normal quantity is ``task_z`` spreads (3.5) above its mean, 2.3e-4: what a comparison may err."""
    return 0.5 * erfc(rules.task_z / sqrt(2))


def tail_limit(usual: Spread, rules: Rules) -> float:
    """Distance from the median that the next take exceeds with :func:`chance` where the tail is exponential.

    c times the mean excess with (1 + c/r)^-r / 2 = chance: the prediction interval of an exponential. No log-concave
    distribution (normal, uniform, gamma, logistic ...) has a heavier tail (Barlow and Proschan 1965). NaN without one.
    """
    if not usual.count:
        return NONE
    return usual.excess * usual.count * ((2 * chance(rules)) ** (-1 / usual.count) - 1)


def risk_limit(usual: Spread, rules: Rules) -> float:
    """The robust z beyond which a risk is SUSPECT: 3.5, and the tail as so few takes can tell it. NaN: unknown."""
    if not (usual.mad > 0 and usual.count):
        return NONE
    return max(rules.task_z, tail_limit(usual, rules) / (_MAD * usual.mad))


def duration_limit(episodes: int, rules: Rules) -> float:
    """E5's |z|: 3.5 for many takes; for n what a normal quantity exceeds as rarely, by their median and MAD.

    Student's t with as many degrees of freedom as a MAD of n values is worth, 0.37 n (quantile: Gaver and Kafadar
    1984), times sqrt(1 + pi/2n) for the median's own error.
    """
    freedom = max(_MAD_WORTH * episodes, _LEAST_FREEDOM)
    growth = (freedom - 1.5) / (freedom - 1) ** 2
    return sqrt((1 + pi / (2 * max(episodes, 1))) * freedom * expm1(rules.task_z**2 * growth))


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
            metrics[metric] = spread_of(values, -1 if metric in _WORSE_BELOW else 1)
    poses = {name: _usual_pose([take.poses[name] for take in takes], reach) for name in POSES}
    made = TaskStatistics("", len(takes), seconds, metrics, poses)
    digest = sha256(content_of(made).encode()).hexdigest()[:12]
    return TaskStatistics(f"{task.key:016x}-{digest}", len(takes), seconds, metrics, poses)


def _usual_pose(poses: Sequence[Floats], reach: Floats) -> UsualPose:
    """The mean pose, and the distances from each to the mean of the others.

    A pose draws the mean towards itself, n / (n - 1) of its distance to that of the others is left: one that is judged
    later does not.
    """
    mean: Floats = np.mean(poses, axis=0)
    alone = len(poses) / (len(poses) - 1) if len(poses) > 1 else NONE
    distances = [alone * pose_distance(pose, mean, reach) for pose in poses]
    low, high = np.percentile(distances, (25, 75)) if isfinite(sum(distances)) else (NONE, NONE)
    return UsualPose(mean, float(low), float(high), spread_of(distances, 1))


def content_of(made: TaskStatistics) -> str:
    """Statistics as JSON text, every float as it is; unknown ones are null."""
    told: dict[str, Any] = {
        "episodes": made.episodes,
        "log_seconds": _told(made.log_seconds),
        "metrics": {name: _told(spread) for name, spread in made.metrics.items()},
        "poses": {
            name: [one.mean.tolist(), _known(one.low), _known(one.high), _told(one.distances)]
            for name, one in made.poses.items()
        },
    }
    return json.dumps(told, sort_keys=True)


def statistics_from(version: str, content: str) -> TaskStatistics:
    """Back from :func:`content_of`."""
    told = json.loads(content)
    poses = {
        name: UsualPose(np.array(mean, np.float64), _read(low), _read(high), _spread(distances))
        for name, (mean, low, high, distances) in told["poses"].items()
    }
    metrics = {name: _spread(spread) for name, spread in told["metrics"].items()}
    return TaskStatistics(version, told["episodes"], _spread(told["log_seconds"]), metrics, poses)


def _told(spread: Spread) -> list[float | None]:
    return [_known(spread.median), _known(spread.mad), _known(spread.excess), spread.count]


def _spread(told: Sequence[Any]) -> Spread:
    median, mad, excess, count = told
    return Spread(_read(median), _read(mad), _read(excess), count)


def _known(value: float) -> float | None:
    return value if isfinite(value) else None


def _read(value: float | None) -> float:
    return NONE if value is None else value


def pose_limit(usual: UsualPose, rules: Rules) -> float:
    """E7's limit: 5 % of the range, Tukey's one-sided fence over the task's distances, and the tail so few can tell."""
    fence = usual.high + 1.5 * (usual.high - usual.low)
    tail = usual.distances.median + tail_limit(usual.distances, rules)
    return max(rules.pose_spread, fence, tail if tail == tail else fence)
