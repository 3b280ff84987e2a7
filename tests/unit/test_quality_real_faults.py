"""What real recordings have wrong with them, and what must be said of it; arrays are read from the raw files."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from kinestream.schemas.models import load_model
from kinestream.streams.quality import BUILTIN, Context, Delivery, EpisodeJudge, Frames
from kinestream.streams.quality.arrival import Arrivals
from tests.unit.quality_samples import only, value

START_NS = 1_790_000_000 * 10**9


def table(path, *columns):
    with path.open(newline="") as file:
        return np.array([[float(row[name]) for name in columns] for row in csv.DictReader(file)])


def judged(seconds, position, rate, velocity=None):
    width, n = position.shape[1], len(position)
    channels = {"position": position.astype(np.float32)}
    if velocity is not None:
        channels["velocity"] = velocity.astype(np.float32)
    unknown = np.full(width, np.nan)
    names = tuple(f"joint_{k}" for k in range(width))
    known = Context("x", names, tuple((c, width) for c in channels), *(unknown,) * 3, False, rate)
    judge = EpisodeJudge(known)
    judge.advance(Frames(np.arange(n), START_NS + np.rint(seconds * 1e9).astype(np.int64), channels))
    return judge.final(Delivery(n, n, status="COMPLETE"))


@pytest.mark.recordings
def test_so100_stalls_of_up_to_394_ms_are_gaps(recordings):
    joints = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
    rows = table(
        recordings / "so100-real-telemetry-csv" / "20250721_092957_robot_state.csv",
        "timestamp", *(f"{joint}.pos" for joint in joints),
    )  # fmt: skip
    judgement = judged(rows[:, 0], rows[:, 1:], 30.0)
    assert value(judgement, "T4.longest").value == pytest.approx(0.394, abs=5e-4)
    assert value(judgement, "T4").flag in ("SUSPECT", "FAIL")
    # its positions are in -100..100, which is no angle
    assert value(judgement, "I11").flag == "SUSPECT"


@pytest.mark.recordings
def test_ur10_has_a_period_of_20_05_ms_and_is_clean(recordings):
    names = [f"q{k}" for k in range(6)] + [f"qd{k}" for k in range(6)]
    rows = table(recordings / "ur10-real-teleop-csv" / "run_20260514_203014_data.csv", "t_rel_s", *names)
    judgement = judged(rows[:, 0], rows[:, 1:7], 50.0, rows[:, 7:])
    assert 1e3 / value(judgement, "T1").value == pytest.approx(20.05, abs=0.01)
    assert value(judgement, "T1").flag == "GOOD"
    assert value(judgement, "I11").flag == "GOOD"
    gates = {f.metric for f in judgement.findings if BUILTIN.classes[f.metric] == "G"}
    assert gates == set()
    # it stands still for most of the record, waiting for its operator: a risk, and true
    assert {f.metric for f in judgement.findings} <= {"E1", "E2"}


def test_joints_in_another_order_than_an_earlier_file_are_named():
    model = load_model("x-humanoid-tienkung-2-0-lite")
    joints = model.joint_names
    other = (*joints[6:12], *joints[:6], *joints[12:])
    limits = (model.lower, model.upper, model.velocity)
    known = Context("x", other, (("position", len(joints)),), *limits, True, 30.0, declared=joints)
    finding = only(f for f in EpisodeJudge(known).final(Delivery(0, 0)).findings if f.metric == "I2")
    assert (finding.flag, finding.joint) == ("FAIL", "hip_roll_r_joint")
    assert "hip roll left is expected" in finding.message


def test_a_robot_clock_seven_days_ahead_of_the_log_is_named():
    known = Context("x", (), (), np.zeros(0), np.zeros(0), np.zeros(0), False, 100.0)
    arrivals, day = Arrivals(known, BUILTIN), 86_400 * 10**9
    log = START_NS + np.arange(200) * 10_000_000
    arrivals.add(np.arange(200), log + 7 * day, log)
    judge = EpisodeJudge(known)
    finding = only(f for f in arrivals.findings(judge.span) if f.metric == "T9")
    assert finding.flag == "SUSPECT"
    assert finding.message == "The robot's clock is 7.0 d ahead of the broker's"
    assert _ages(arrivals) == [0.0] * 4, "no frame is older than none"


def test_no_quantile_of_the_ages_is_above_the_greatest():
    arrivals = Arrivals(Context("x", (), (), np.zeros(0), np.zeros(0), np.zeros(0), False, 100.0), BUILTIN)
    log = START_NS + np.arange(200) * 10_000_000
    arrivals.add(np.arange(200), log - 500_000_000, log)
    assert _ages(arrivals) == [0.5] * 4


def _ages(arrivals):
    """Median, p95, p99 and greatest."""
    return [row.value for row in arrivals.values(Delivery(0, 0), {}) if row.id.startswith("T9")]
