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
    duration_z,
    outlier,
    pose_distance,
    pose_limit,
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
    is SUSPECT where its robust z exceeds 3.5 on the worse side, and NOT_EVALUATED where its task knows no spread.
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
        z = worse_z(row.id, row.value, usual) if usual else NONE
        if self.task:
            self.scores.append(self._score(f"{row.id}.z", z))
        if usual and z == z and outlier(z, self.rules):
            self._found(row.id, z, "task.less" if row.value < usual.median else "task.more", usual.median)
        return replace(row, flag=self._flag(z))

    def duration(self) -> MetricValue:
        """E5."""
        z = duration_z(self.span.seconds, self.task.log_seconds, self.rules) if self.task else NONE
        if self.task and z == z and outlier(z, self.rules):
            key = "task.less" if z < 0 else "task.more"
            self._found("E5", z, key, exp(self.task.log_seconds.median))
        return self._score("E5", z)

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
        if usual is None or pose is None or len(usual[0]) != len(pose):
            return NONE, NONE
        mean, low, high = usual
        reach = reach_of(self.context)
        distance, limit = pose_distance(pose, mean, reach), pose_limit(low, high, self.rules)
        if distance > limit * (1 + SLACK):
            worst = int(np.nanargmax(np.abs(pose - mean) / reach))
            words = {**say(f"E7.{name}", joint=self.context.joints[worst])}
            at_end = {"first_seq": self.span.last_seq, "t_start_ns": self.span.last_t} if name == "end" else {}
            self._finding("E7", distance, limit, "share", **words, **at_end)
        return distance, limit

    def _score(self, metric: str, z: float) -> MetricValue:
        return MetricValue(metric, "", settled(z), "spreads", self._flag(z))

    def _flag(self, z: float) -> Flag:
        if z != z:
            return Flag.NOT_EVALUATED
        return Flag.SUSPECT if outlier(z, self.rules) else Flag.GOOD

    def _found(self, metric: str, z: float, key: str, usual: float) -> None:
        what = load_messages().quantities[metric]
        words = say(key, what=what.en, what_zh=what.zh, z=abs(z), usual=usual)
        self._finding(metric, settled(z), self.rules.task_z, "spreads", **words)

    def _finding(self, metric: str, value: float, threshold: float, unit: str, **told: object) -> None:
        facts = {"flag": Flag.SUSPECT, "value": value, "unit": unit, "threshold": threshold, "origin": Origin.TASK}
        self.findings.append(make_finding(self.context, self.span, metric, **facts, **told))


def reach_of(context: Context) -> Floats:
    """Each joint's range, float64 (J,); NaN where its limits are unknown."""
    reach: Floats = np.asarray(context.upper, np.float64) - np.asarray(context.lower, np.float64)
    return np.where(reach > 0, reach, NONE) if context.model_known else np.full(len(context.joints), NONE)
