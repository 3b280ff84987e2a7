"""Every real recording through the broker and a worker into the store, and back: the values are the source's."""

import json
import re
from dataclasses import asdict
from inspect import getsource
from typing import NamedTuple

import numpy as np
import pytest

from kinestream.deploy.judging.judged import LIVE_ONLY, judge_recorded
from kinestream.producers.publish import publish
from kinestream.producers.recordings import Choices, open_recording
from kinestream.producers.recordings.inspection import inspect
from kinestream.schemas.errors import RecordingError
from kinestream.streams.archive import Archive
from tests.crash import test_worker_killed as killed

G1 = "unitree-g1-29-dof"
COMPUTED = "the stamps are computed, not measured"
SYNTHETIC = "the stamps are synthetic: frame / "
NO_JOINTS = "nor says their unit: each is one channel, and there are no joints"
UNNAMED = "the columns of state and action have no names in the file"
UR10_PERIOD = "the period is 20.05 ms (49.87 Hz), not 20.00 ms (50 Hz)"
FIRST_SPEED = "the velocities of the first frame are its positions times the rate"
WRONG_RATE = "the velocities are differences at 30.0 Hz, FrameDuration says 30.3 Hz"


class Real(NamedTuple):
    """One recording: what a person has to say of it, and all that `inspect` has to call odd, a phrase each."""

    choices: Choices = Choices()
    odd: tuple[str, ...] = ()


MCAP = "robocodec-real-schemas/robocodec_test_{}.mcap"
REAL = {
    "g1-inspire-lerobot-v21/data/chunk-000/episode_000000.parquet": Real(odd=(SYNTHETIC,)),
    "derived/g1_inspire_lerobot_v30_ep040-049": Real(odd=(SYNTHETIC,)),
    "derived/g1_inspire_ep050-054.bag": Real(Choices(G1, split_s=2)),
    "derived/g1_inspire_robomimic_ep055-059.hdf5": Real(
        Choices(rate_hz=30), ("nothing names the columns of obs/robot0_joint_pos (14)", COMPUTED)
    ),
    "derived/aloha_sim_transfer_cube_human_episode_0.hdf5": Real(
        odd=("observations/qvel: finite difference of qpos at 50 Hz (not recorded)", COMPUTED)
    ),
    "derived/ur10_203014_rosbag2_mcap": Real(Choices("provisional:ur10"), (UR10_PERIOD,)),
    "lerobot-v1-arrow/aloha_sim_transfer_cube_human.arrow": Real(odd=(UNNAMED, NO_JOINTS, SYNTHETIC)),
    "lerobot-v1-arrow/umi_cup_in_the_wild.arrow": Real(odd=(UNNAMED, NO_JOINTS, SYNTHETIC)),
    MCAP.format(0): Real(odd=("only numbered (joint_0 to joint_27)",)),
    MCAP.format(1): Real(odd=("header stamp is 6.4 days ahead", "joint_cmd has 7 of the 9 joints")),
    MCAP.format(6): Real(odd=("joint_cmd has 12 of the 13 joints",)),
    MCAP.format(7): Real(odd=("joint_cmd has 16 of the 20 joints",)),
    MCAP.format(8): Real(Choices("provisional:piper")),
    MCAP.format(10): Real(odd=("header stamp is 8.1 days ahead",)),
    MCAP.format(12): Real(
        odd=("header stamp is 7.4 days ahead", "joint_cmd has 12 of the 16 joints", "another robot, zero or sign?")
    ),
    MCAP.format(14): Real(Choices("provisional:arm"), ("header stamp is 4.1 s behind", "only numbered")),
    "so100-real-telemetry-csv/20250721_092957_robot_state.csv": Real(
        Choices("therobotstudio-so-100"),
        ("13 stalls: two frames lie more than 83 ms apart", "in a unit nobody declares"),
    ),
    "ur10-real-teleop-csv/run_20260514_203014_data.csv": Real(
        Choices(unit="rad"), (UR10_PERIOD, "only numbered (q0 to q5)")
    ),
    "g1-mimic-csv/G1_Take_102.bvh_60hz.csv": Real(
        Choices(G1, ("model",), 60, "rad"), ("no names and no time in the file", COMPUTED)
    ),
    "g1-mimic-npz/G1_Take_102.bvh_60hz.npz": Real(
        Choices(G1), ("the file's name says 60 Hz, its fps 50", "names neither joints nor bodies", COMPUTED)
    ),
    "tienkung2-amp-json/motion_amp_expert_walk.txt": Real(odd=("order 'expert'", FIRST_SPEED, WRONG_RATE, COMPUTED)),
    "tienkung2-amp-json/motion_visualization_walk.txt": Real(odd=("order 'shown'", FIRST_SPEED, WRONG_RATE, COMPUTED)),
    "cmu-mocap/01_01.bvh": Real(odd=("human motion", COMPUTED)),
}
#: Folders published whole elsewhere -> by which test; all 60 episodes come back bit for bit there.
ELSEWHERE = {
    "g1-inspire-lerobot-v21": (killed.test_sixty_real_episodes_come_back_bit_for_bit_though_the_worker_dies_three_times)
}
#: What is refused as it is -> the sentence; those of REAL are refused only until a person names the robot.
REFUSED = {
    "ur10-real-teleop-csv/run_20260514_203014_data.csv": "nobody declares the unit of joint_position",
    "ur10-real-teleop-csv/run_20260514_203014_events.csv": "names no joint's position, velocity or command",
    MCAP.format(8): "6 of 7 joints are named as those of 4 models; name the robot with --model arx-r5a or --model",
    MCAP.format(14): "3 of 3 joints are named as those of 4 models; name the robot with --model arx-r5a or --model",
}
#: Recordings that are copies of another of these in another format, and are found as such.
COPIES = {
    ("run_20260514_203014_data.csv", "ur10_203014_rosbag2_mcap"),
    ("motion_visualization_walk.txt", "motion_amp_expert_walk.txt"),
}


@pytest.mark.recordings
def test_every_real_recording_is_stored_as_its_source_holds_it_and_judged_as_its_file_is(recordings, test_pipeline):
    test_pipeline.start()
    recorded = {}
    closed = "SELECT toString(episode_id), frames, content_hash FROM episodes FINAL"

    def all_closed():
        return test_pipeline.wait_for(lambda: len(found := test_pipeline.query(closed)) == len(recorded) and found, 60)

    for number, (name, (choices, odd)) in enumerate(REAL.items()):
        oddities = inspect(recordings / name, choices).oddities
        assert told_by(oddities, odd) == sorted(oddities), name
        report = publish([recordings / name], choices=choices, robot=f"r{number}", settings=test_pipeline.settings)
        episodes = list(open_recording(recordings / name, choices=choices))
        recorded |= dict(zip([e.episode_id for e in report.episodes], episodes, strict=True))
        if any(name.endswith(original) for _, original in COPIES):
            all_closed()  # a copy that closes before the take it repeats is not told (docs/metrics.md, D1)
    rows = all_closed()
    assert {row[0]: row[1] for row in rows} == {key: len(episode) for key, episode in recorded.items()}
    archive = Archive(test_pipeline.settings, test_pipeline.store.url)
    copies = set()
    for episode_id, episode in recorded.items():
        frames = archive.frames(episode_id)
        own = {name: getattr(episode, name) for name in ("position", "velocity", "effort", "command")}
        for channel, expected in {**own, **episode.further}.items():
            if expected is not None:
                assert frames[channel].tobytes() == expected.tobytes(), (episode.source, channel)
        assert np.array_equal(frames["t_ns"] - frames["t_ns"][0], episode.t_ns - episode.t_ns[0])
        assert list(frames["joints"]) == list(episode.joints)
        live = archive.episode(episode_id)
        copies |= {(episode.source, recorded[o].source) for f in live["findings"] for o in [other_of(f)] if o}
        assert same_judgement(live, int(frames["t_ns"][0]), judge_recorded(episode)), episode.source
    assert copies == COPIES


def told_by(oddities, phrases):
    """The sentence each phrase is of, or the phrase itself where nothing says so."""
    return sorted(next((sentence for sentence in oddities if phrase in sentence), phrase) for phrase in phrases)


@pytest.mark.recordings
def test_no_recording_is_neither_published_nor_refused(recordings):
    there = {path.relative_to(recordings).as_posix() for path in recordings.rglob("*") if path.is_file()}
    there |= {row["file"] for row in json.loads((recordings.parent / "manifest.json").read_text())}
    known = {*REAL, *ELSEWHERE, *REFUSED, "LICENSES"}
    assert {name for name in there if not any(f"{name}/".startswith(f"{one}/") for one in known)} == set()
    assert [one for one in known if not (recordings / one).exists()] == []
    for folder, test in ELSEWHERE.items():
        assert f'"{folder}"' in getsource(test)


@pytest.mark.recordings
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_says_why_and_what_to_do(recordings, name):
    with pytest.raises(RecordingError, match=re.escape(REFUSED[name])) as refused:
        list(open_recording(recordings / name))
    assert str(refused.value).startswith(str(recordings / name))


def other_of(finding):
    """The episode that one repeats; empty where the finding says no such thing."""
    words = finding["message"].split() if finding["metric"] in ("D1", "D2") else []
    return next((word for word in words if word.count("-") == 4), "")


def same_judgement(live, live_ns, judged):
    """A worker's judgement and that of the file: verdict, rules, every row a file can have, every finding.

    A copy of another take is rejected for that, which no file knows.
    """
    mine = judged.judgement
    found = [finding for finding in live["findings"] if finding["metric"] not in LIVE_ONLY]
    verdict = mine.verdict if found == live["findings"] else live["verdict"]
    assert (live["verdict"], live["rule_version"]) == (verdict, mine.rule_version)
    rows = {(m["id"], m["joint"] or ""): m for m in live["metrics"]}
    assert rows.keys() == {(m.id, m.joint) for m in mine.metrics}
    for row in mine.metrics:
        if row.id.partition(".")[0] in LIVE_ONLY:
            assert row.flag == "NOT_EVALUATED", row.id
            continue
        other = rows[row.id, row.joint]
        assert (other["flag"], other["unit"]) == (row.flag, row.unit), row
        assert other["value"] is None if np.isnan(row.value) else other["value"] == pytest.approx(row.value, rel=1e-9)
    start_ns = int(judged.recorded.t_ns[0])
    assert shown(found, live_ns) == shown([asdict(f) for f in judged.findings], start_ns)
    return True


def shown(findings, start_ns):
    """Findings without their ids, which hold the episode's; stamps from the episode's first."""
    names = ("metric", "joint", "flag", "unit", "origin", "first_seq", "last_seq", "message", "message_zh")
    told = [
        (
            *(one[name] or "" for name in names),
            *(
                None if value is None or np.isnan(value) else float(f"{value:.9g}")
                for value in (one["value"], one["threshold"])
            ),
            one["t_start_ns"] - start_ns,
            one["t_end_ns"] - start_ns,
        )
        for one in findings
    ]
    return sorted(told)
