"""What must be said of each real recording, by name; and that nothing else is said of any of them."""

import numpy as np
import pytest

from kinestream.deploy.judging.judged import judge_recorded
from kinestream.producers.recordings import Choices, open_recording
from tests.unit.quality_samples import only, value

pytestmark = pytest.mark.recordings

G1 = "unitree-g1-29-dof"
TIENKUNG = ("tienkung2-amp-json/motion_amp_expert_walk.txt", "tienkung2-amp-json/motion_visualization_walk.txt")
MCAP = "robocodec-real-schemas/robocodec_test_{}.mcap"
#: Path -> what a person says of it, verdict, metrics flagged, and why that is right.
SAID = {
    "g1-inspire-lerobot-v21": (Choices(), "ACCEPT", "", "teleoperation, clean by its makers' choice"),
    "derived/g1_inspire_lerobot_v30_ep040-049": (Choices(), "ACCEPT", "", "the same"),
    "derived/g1_inspire_ep050-054.bag": (Choices(G1, split_s=2), "ACCEPT", "", "the same"),
    "g1-mimic-csv/G1_Take_102.bvh_60hz.csv": (Choices(G1, ("model",), 60, "rad"), "ACCEPT", "", "retargeted, smooth"),
    "derived/g1_inspire_robomimic_ep055-059.hdf5": (Choices(rate_hz=30), "UNASSESSED", "", "names no joint"),
    "lerobot-v1-arrow/aloha_sim_transfer_cube_human.arrow": (Choices(), "UNASSESSED", "", "names no joint"),
    "lerobot-v1-arrow/umi_cup_in_the_wild.arrow": (Choices(), "UNASSESSED", "", "names no joint"),
    "cmu-mocap/01_01.bvh": (Choices(), "UNASSESSED", "", "a human has no limits"),
    "ur10-real-teleop-csv/run_20260514_203014_data.csv": (Choices(unit="rad"), "REVIEW", "E1", "it waits"),
    "derived/ur10_203014_rosbag2_mcap": (Choices("provisional:ur10"), "REVIEW", "E1", "the same"),
    "derived/aloha_sim_transfer_cube_human_episode_0.hdf5": (
        *(Choices(), "REVIEW", "C1"),
        "its velocities are differences of positions two frames apart: filtered, not measured",
    ),
    "g1-mimic-npz/G1_Take_102.bvh_60hz.npz": (
        *(Choices(G1), "REVIEW", "C1"),
        "its velocities are those of the motion before it was resampled from 60 to 50 Hz",
    ),
    "so100-real-telemetry-csv/20250721_092957_robot_state.csv": (
        *(Choices("therobotstudio-so-100"), "REJECT", "T2 T4"),
        "it stalls 13 times, up to 394 ms",
    ),
    **{name: (Choices(), "REJECT", "C1 I4 I9", "its first velocities are positions times the rate; hard steps")
       for name in TIENKUNG},
    **{MCAP.format(n): (Choices(), "REJECT", "E6", "one message a topic is no take") for n in (0, 1, 6, 7, 10, 12)},
    MCAP.format(8): (Choices("arx-r5a"), "REJECT", "E6", "one message a topic is no take"),
    MCAP.format(14): (Choices("provisional:test"), "REJECT", "E6", "two messages are no take"),
}  # fmt: skip


@pytest.fixture(scope="module")
def judged(recordings):
    """Every episode of every real recording, by path; the readers' and the judge's whole way."""
    return {
        path: [judge_recorded(one) for one in open_recording(recordings / path, choices=choices)]
        for path, (choices, *_) in SAID.items()
    }


@pytest.mark.parametrize("path", SAID)
def test_a_real_recording_is_judged_as_it_is(judged, path):
    _, verdict, metrics, why = SAID[path]
    for one in judged[path]:
        assert one.judgement.verdict == verdict, why
        assert {finding.metric for finding in one.findings} == set(metrics.split()), why
        assert all(finding.message and finding.message_zh for finding in one.findings)


def test_every_real_recording_is_in_the_list(recordings):
    readable = {".arrow", ".mcap", ".bag", ".hdf5", ".csv", ".npz", ".txt", ".bvh"}
    files = {p.relative_to(recordings).as_posix() for p in recordings.rglob("*") if p.suffix in readable}
    listed = {name for name in files if any(name.startswith(path) for path in SAID)}
    others = {name for name in files - listed if not name.startswith("LICENSES/")}
    assert others == {"ur10-real-teleop-csv/run_20260514_203014_events.csv"}, "a table of events, no motion"


def test_the_so100_stalls_up_to_394_ms_and_the_place_is_said(judged):
    (one,) = judged["so100-real-telemetry-csv/20250721_092957_robot_state.csv"]
    finding = only(f for f in one.findings if f.metric == "T4")
    assert (finding.flag, finding.unit) == ("FAIL", "s")
    assert finding.value == pytest.approx(0.394, abs=5e-4)
    assert finding.message == "The robot's stamps pause 13 times, at most 0.39 s"
    stamps = one.recorded.t_ns
    assert finding.t_start_ns == stamps[finding.first_seq - 1] or finding.t_start_ns == stamps[finding.first_seq]


def test_the_ur10_runs_at_20_05_ms_and_that_is_no_fault(judged):
    for path in ("ur10-real-teleop-csv/run_20260514_203014_data.csv", "derived/ur10_203014_rosbag2_mcap"):
        (one,) = judged[path]
        rate = value(one.judgement, "T1")
        assert 1e3 / rate.value == pytest.approx(20.05, abs=0.01)
        assert {value(one.judgement, metric).flag for metric in ("T1", "T2", "T4")} == {"GOOD"}
        assert "the period is 20.05 ms (49.87 Hz), not 20.00 ms (50 Hz)" in one.recorded.oddities


def test_the_stamps_of_the_g1_are_synthetic_and_judge_nothing(judged):
    episodes = judged["g1-inspire-lerobot-v21"]
    assert len(episodes) == 60
    for one in episodes:
        assert value(one.judgement, "T11").value == 1.0
        assert {"T1", "T2", "T4"} <= set(one.not_evaluated)
        assert "the stamps are synthetic: frame / 30 Hz, not measured" in one.recorded.oddities


def test_the_two_joint_orders_of_the_tienkung_become_one_and_are_told(judged):
    told = []
    for path in TIENKUNG:
        (one,) = judged[path]
        told += [text for text in one.recorded.oddities if "in the order" in text]
        assert value(one.judgement, "I2").flag == "GOOD"
    assert [text.split("'")[1] for text in told] == ["expert", "shown"]
    first, second = (judged[path][0].recorded for path in TIENKUNG)
    assert first.joints == second.joints
    # one walk, cut differently: each joint of one file is that of the other, whatever its column was
    assert np.median(abs(first.position[:735] - second.position[:735]), axis=0).max() < 0.05


def test_columns_named_in_another_order_than_theirs_are_beyond_their_limits(recordings):
    """The npz holds the simulator's order; who names its columns in the model's finds eight beyond their limits."""
    path = recordings / "g1-mimic-npz" / "G1_Take_102.bvh_60hz.npz"
    (one,) = (judge_recorded(e) for e in open_recording(path, choices=Choices(G1, ("model",))))
    beyond = {finding.joint for finding in one.findings if finding.metric == "I3"}
    assert (one.judgement.verdict, len(beyond)) == ("REJECT", 8)
    assert {"left_knee_joint", "right_ankle_roll_joint"} <= beyond


@pytest.mark.parametrize(("number", "days"), [(1, "6.4"), (10, "8.1"), (12, "7.4")])
def test_mcap_files_whose_robot_is_days_ahead_of_the_log_are_told(judged, number, days):
    (one,) = judged[MCAP.format(number)]
    assert f"the clock of header stamp is {days} days ahead of that of log time" in one.recorded.oddities
    assert value(one.judgement, "T9").flag == "NOT_EVALUATED"
