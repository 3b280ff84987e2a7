"""An episode beside the others of its task: rows and findings of E5, E7 and of unusual risks. At the close."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp

import numpy as np

from kinestream.schemas.messages import load_messages
from kinestream.streams.quality.model import (
    NONE,
    SLACK,
    Context,
    Finding,
    Flag,
    Floats,
    MetricValue,
    Origin,
    Span,
    make_finding,
    say,
    settled,
)
from kinestream.streams.quality.rules import Rules
from kinestream.streams.quality.tasks import (
    BY_TASK,
    POSES,
    TaskStatistics,
    duration_limit,
    duration_z,
    pose_distance,
    pose_limit,
    risk_limit,
    worse_z,
)

_E7 = {"start": "E7", "end": "E7.end"}


@dataclass(frozen=True, slots=True)
class Beside:
    """``rows``: what was given, with the flags that the task gives them, and the rows of E5, E7 and each risk's z."""

    rows: list[MetricValue]
    findings: list[Finding]


def beside_task(
    context: Context, rules: Rules, span: Span, rows: Sequence[MetricValue], poses: Mapping[str, Floats]
) -> Beside:
    """Compare with the task's statistics: none, or of fewer than 20 episodes, and all of it is NOT_EVALUATED.

    ``rows``: the other metrics'; ``poses``: first and last position, float64 (J,). A risk that only its task judges
    is SUSPECT where its robust z on the worse side exceeds what so many takes can tell to be unusual (tasks.risk_limit,
    at least 3.5), and NOT_EVALUATED where its task knows no spread.
    """
    task = context.task if context.task is not None and context.task.episodes >= rules.task_episodes else None
    judged = _Judged(context, rules, span, task)
    flagged = [judged.risk(row) if row.id in BY_TASK and not row.joint else row for row in rows]
    return Beside([*flagged, *judged.scores, judged.duration(), *judged.poses(poses)], judged.findings)


class _Judged:
    def __init__(self, context: Context, rules: Rules, span: Span, task: TaskStatistics | None) -> None:
        self.context, self.rules, self.span, self.task = context, rules, span, task
        self.findings: list[Finding] = []
        self.scores: list[MetricValue] = []

    def risk(self, row: MetricValue) -> MetricValue:
        """The row with its task's flag."""
        if row.flag == Flag.NOT_EVALUATED:
            return row
        usual = self.task.metrics.get(row.id) if self.task else None
        limit = risk_limit(usual, self.rules) if usual else NONE
        z = worse_z(row.id, row.value, usual) if usual and limit == limit else NONE
        if self.task:
            self.scores.append(_score(f"{row.id}.z", z, limit))
        if usual and _outlier(z, limit):
            self._found(row.id, z, limit, "task.less" if row.value < usual.median else "task.more", usual.median)
        return replace(row, flag=_flag(z, limit))

    def duration(self) -> MetricValue:
        """E5."""
        if self.task is None:
            return _score("E5", NONE, NONE)
        z = duration_z(self.span.seconds, self.task.log_seconds, self.rules)
        limit = duration_limit(self.task.episodes, self.rules)
        if _outlier(z, limit):
            self._found("E5", z, limit, "task.less" if z < 0 else "task.more", exp(self.task.log_seconds.median))
        return _score("E5", z, limit)

    def poses(self, poses: Mapping[str, Floats]) -> list[MetricValue]:
        """E7 of the first position, E7.end of the last."""
        rows = []
        for name in POSES:
            distance, limit = self._distance(name, poses.get(name))
            far = distance > limit * (1 + SLACK)
            flag = Flag.NOT_EVALUATED if distance != distance else Flag.SUSPECT if far else Flag.GOOD
            rows.append(MetricValue(_E7[name], "", settled(distance), "share", flag))
        if rows[1].flag == Flag.SUSPECT and rows[0].flag != Flag.NOT_EVALUATED:
            rows[0] = replace(rows[0], flag=Flag.SUSPECT)  # the metric's flag is that of its worse pose
        return rows

    def _distance(self, name: str, pose: Floats | None) -> tuple[float, float]:
        usual = self.task.poses.get(name) if self.task else None
        if usual is None or pose is None or len(usual.mean) != len(pose):
            return NONE, NONE
        reach = reach_of(self.context)
        distance, limit = pose_distance(pose, usual.mean, reach), pose_limit(usual, self.rules)
        if distance > limit * (1 + SLACK):
            worst = int(np.nanargmax(np.abs(pose - usual.mean) / reach))
            words = {**say(f"E7.{name}", joint=self.context.joints[worst])}
            at_end = {"first_seq": self.span.last_seq, "t_start_ns": self.span.last_t} if name == "end" else {}
            self._finding("E7", distance, limit, "share", **words, **at_end)
        return distance, limit

    def _found(self, metric: str, z: float, limit: float, key: str, usual: float) -> None:
        what = load_messages().quantities[metric]
        words = say(key, what=what.en, what_zh=what.zh, z=abs(z), usual=usual)
        self._finding(metric, settled(z), limit, "spreads", **words)

    def _finding(self, metric: str, value: float, threshold: float, unit: str, **told: object) -> None:
        facts = {"flag": Flag.SUSPECT, "value": value, "unit": unit, "threshold": settled(threshold)}
        self.findings.append(make_finding(self.context, self.span, metric, origin=Origin.TASK, **facts, **told))


def _outlier(z: float, limit: float) -> bool:
    return abs(z) > limit * (1 + SLACK)


def _flag(z: float, limit: float) -> Flag:
    if z != z:
        return Flag.NOT_EVALUATED
    return Flag.SUSPECT if _outlier(z, limit) else Flag.GOOD


def _score(metric: str, z: float, limit: float) -> MetricValue:
    return MetricValue(metric, "", settled(z), "spreads", _flag(z, limit))


def reach_of(context: Context) -> Floats:
    """Each joint's range, float64 (J,); NaN where its limits are unknown."""
    reach: Floats = np.asarray(context.upper, np.float64) - np.asarray(context.lower, np.float64)
    return np.where(reach > 0, reach, NONE) if context.model_known else np.full(len(context.joints), NONE)
