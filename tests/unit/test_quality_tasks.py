"""An episode beside the others of its task: E5, E7, robust z; known answers, and NOT_EVALUATED before 20 takes."""

from __future__ import annotations

from dataclasses import replace
from math import log

import numpy as np
import pytest

from kinestream.streams.quality import EpisodeJudge, Flag
from kinestream.streams.quality.beside import reach_of
from kinestream.streams.quality.tasks import (
    BY_TASK,
    Features,
    Spread,
    Task,
    TaskStatistics,
    UsualPose,
    content_of,
    robust_z,
    spread_of,
    statistics_from,
    statistics_of,
)
from tests.unit.quality_samples import JOINTS, context, only, take, value, whole

TASK = Task("hub", "grasp", "robot", JOINTS)
REACH = np.full(len(JOINTS), 4.0)


def judgement(task: TaskStatistics | None, n: int = 400):
    frames = take(n)
    judge = EpisodeJudge(replace(context(), task=task))
    judge.advance(frames)
    return judge.final(whole(frames))


def features(seconds: float = 4.0, offset: float = 0.0, **metrics: float) -> Features:
    start = take(400).channels["position"][0].astype(np.float64)
    end = take(400).channels["position"][-1].astype(np.float64)
    return Features(seconds, metrics, {"start": start + offset, "end": end + offset})


def usual(episodes: int = 20, **changes: object) -> TaskStatistics:
    """Of takes much like ours."""
    own = {row.id: row.value for row in judgement(None).metrics if row.id in BY_TASK and row.value == row.value}
    rng = np.random.default_rng(1)
    takes = [
        features(
            4.0 * rng.uniform(0.9, 1.1), rng.normal(0, 0.05), **{k: v * rng.uniform(0.9, 1.1) for k, v in own.items()}
        )
        for _ in range(episodes)
    ]
    return replace(statistics_of(TASK, takes, REACH), **changes)


def test_row_23_a_take_of_60_s_among_those_of_20() -> None:
    seconds = (19, 20, 20, 21, 22, 20, 19, 21, 60)
    task = statistics_of(TASK, [features(s) for s in seconds], REACH)
    told = judgement(replace(task, episodes=20), n=6001)
    assert value(told, "E6").value == pytest.approx(60, abs=1e-3)
    row = value(told, "E5")
    assert (row.value, row.flag) == (pytest.approx(10.986, abs=1e-3), Flag.SUSPECT)
    finding = only(f for f in told.findings if f.metric == "E5")
    assert (finding.origin, finding.threshold) == ("task", pytest.approx(6.24, abs=0.01))
    assert finding.message == "The length of the take is 11.0 spreads above this task's usual 20"


def test_the_robust_z_is_that_of_iglewicz_and_hoaglin() -> None:
    spread = spread_of([1.0, 2.0, 3.0, 4.0, 100.0])
    assert (spread.median, spread.mad) == (3.0, 1.0)
    assert robust_z(100.0, spread) == pytest.approx(97 / 1.4826)
    assert robust_z(1.0, Spread(1.0, 0.0)) != robust_z(1.0, Spread(1.0, 0.0)), "no spread, no z"


@pytest.mark.parametrize("task", [None, usual(19)])
def test_before_twenty_takes_nothing_of_it_is_evaluated_and_the_verdict_does_not_ask_for_it(task) -> None:
    told = judgement(task)
    for metric in ("E5", "E7", "E7.end", *BY_TASK):
        assert value(told, metric).flag == Flag.NOT_EVALUATED, metric
    assert value(told, "S1").value == value(told, "S1").value, "the value stands all the same"
    assert (told.findings, told.verdict) == ((), "ACCEPT")
    assert not any(row.id.endswith(".z") for row in told.metrics)


def test_a_usual_take_is_accepted_and_its_rows_say_how_usual() -> None:
    told = judgement(usual())
    assert (told.findings, told.verdict) == ((), "ACCEPT")
    for metric in ("E5", "E7", "E7.end", "K1", "K1.z", "S1", "S1.z"):
        assert value(told, metric).flag == Flag.GOOD, metric


@pytest.mark.parametrize(("factor", "flag"), [(0.5, Flag.SUSPECT), (2.0, Flag.GOOD)])
def test_a_risk_far_off_is_suspect_on_its_worse_side_alone(factor: float, flag: Flag) -> None:
    """Tracking twice as well as usual is no fault."""
    base = usual()
    centre = value(judgement(None), "K1").value * factor
    told = judgement(replace(base, metrics={**base.metrics, "K1": Spread(centre, centre / 20, centre / 20, 400)}))
    assert value(told, "K1").flag == value(told, "K1.z").flag == flag
    assert told.verdict == ("REVIEW" if flag == Flag.SUSPECT else "ACCEPT")
    if flag == Flag.SUSPECT:
        finding = only(told.findings)
        assert (finding.metric, finding.origin, finding.unit) == ("K1", "task", "spreads")
        assert finding.value == pytest.approx(20 / 1.4826, rel=1e-3)


def test_e7_measures_in_ranges_from_the_mean_pose_and_names_the_joint() -> None:
    base = usual()
    moved = base.poses["start"].mean.copy()
    moved[2] += 0.8  # of a range of 4 rad, over four joints: sqrt(0.2^2 / 4)
    alike = UsualPose(moved, 0.0, 0.0, Spread(0.0, 0.0))
    told = judgement(replace(base, poses={**base.poses, "start": alike}))
    own = take(400).channels["position"][0].astype(np.float64)
    expected = float(np.sqrt(np.mean(((own - moved) / 4) ** 2)))
    assert value(told, "E7").value == pytest.approx(expected)
    finding = only(told.findings)
    assert (finding.metric, finding.flag, finding.threshold) == ("E7", "SUSPECT", 0.05)
    assert "left wrist most of all" in finding.message
    far = judgement(replace(base, poses={**base.poses, "end": replace(alike, mean=moved + 3)}))
    assert only(far.findings).first_seq == 399
    assert value(far, "E7").flag == value(far, "E7.end").flag == Flag.SUSPECT


@pytest.mark.parametrize(("tail", "fence"), [(Spread(0.04, 0.01), 0.12), (Spread(0.04, 0.01, 0.02, 400), 0.195)])
def test_a_pose_may_be_as_far_as_tukey_s_fence_and_the_tail_of_the_task_say(tail: Spread, fence: float) -> None:
    base = usual()
    usual_pose = UsualPose(base.poses["start"].mean, 0.02, 0.06, tail)  # 0.06 + 1.5 * 0.04 = 0.12

    def flag(distance: float) -> str:
        away = replace(usual_pose, mean=take(400).channels["position"][0].astype(np.float64) + 4 * distance)
        return value(judgement(replace(base, poses={**base.poses, "start": away})), "E7").flag

    assert flag(fence - 0.002) == Flag.GOOD
    assert flag(fence + 0.002) == Flag.SUSPECT


def test_distances_of_the_statistics_leave_the_pose_itself_out() -> None:
    poses = [np.zeros(4), np.full(4, 0.4), np.full(4, -0.4), np.full(4, 0.8)]
    task = statistics_of(TASK, [Features(4.0, {}, {"start": p, "end": p}) for p in poses], REACH)
    others = [np.mean([q for q in poses if q is not p], axis=0) for p in poses]
    distances = [abs(p - other)[0] / 4 for p, other in zip(poses, others, strict=True)]
    assert (task.poses["start"].low, task.poses["start"].high) == pytest.approx(
        tuple(np.percentile(distances, (25, 75)))
    )
    assert task.poses["start"].distances.median == pytest.approx(np.median(distances))


def test_without_limits_there_is_no_range_to_measure_a_pose_in() -> None:
    unknown = replace(context(), model_known=False, task=usual())
    assert np.isnan(reach_of(unknown)).all()
    frames = take(400)
    judge = EpisodeJudge(unknown)
    judge.advance(frames)
    told = judge.final(whole(frames))
    assert value(told, "E7").flag == Flag.NOT_EVALUATED
    assert value(told, "E5").flag == Flag.GOOD


def test_statistics_come_back_from_the_store_as_they_were_and_equal_ones_have_one_name() -> None:
    made = usual()
    again = statistics_from(made.version, content_of(made))
    assert content_of(again) == content_of(made)
    assert judgement(again) == judgement(made)
    assert usual().version == made.version
    assert made.version.startswith(f"{TASK.key:016x}-")
    assert usual(21).version != made.version
    assert replace(TASK, joints=JOINTS[::-1]).key != TASK.key


def test_the_rule_version_names_the_statistics_and_a_judge_pins_them() -> None:
    made = usual()
    judge = EpisodeJudge(replace(context(), task=made))
    assert judge.rule_version.endswith(f"+task-{made.version}")
    assert judge.pins["task"] == made.version
    assert EpisodeJudge(context()).pins["task"] == ""


def test_a_duration_is_compared_by_its_logarithm() -> None:
    assert usual().log_seconds.median == pytest.approx(log(4.0), abs=0.05)
