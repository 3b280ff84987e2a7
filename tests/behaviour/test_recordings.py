"""Every real recording through the broker and a worker into the store, and back: the values are the source's."""

from dataclasses import asdict

import numpy as np
import pytest

from kinestream.deploy.judging.judged import LIVE_ONLY, judge_recorded
from kinestream.producers.publish import publish
from kinestream.producers.recordings import Choices, open_recording
from kinestream.streams.archive import Archive

G1 = "unitree-g1-29-dof"
#: Path -> what a person has to say of it.
REAL = {
    "derived/g1_inspire_lerobot_v30_ep040-049": Choices(),
    "derived/g1_inspire_ep050-054.bag": Choices(G1, split_s=2),
    "derived/g1_inspire_robomimic_ep055-059.hdf5": Choices(rate_hz=30),
    "derived/aloha_sim_transfer_cube_human_episode_0.hdf5": Choices(),
    "derived/ur10_203014_rosbag2_mcap": Choices("provisional:ur10"),
    "lerobot-v1-arrow/aloha_sim_transfer_cube_human.arrow": Choices(),
    "lerobot-v1-arrow/umi_cup_in_the_wild.arrow": Choices(),
    "robocodec-real-schemas/robocodec_test_0.mcap": Choices(),
    "robocodec-real-schemas/robocodec_test_1.mcap": Choices(),
    "robocodec-real-schemas/robocodec_test_6.mcap": Choices(),
    "so100-real-telemetry-csv/20250721_092957_robot_state.csv": Choices("therobotstudio-so-100"),
    "ur10-real-teleop-csv/run_20260514_203014_data.csv": Choices(),
    "g1-mimic-csv/G1_Take_102.bvh_60hz.csv": Choices(G1, ("model",), 60),
    "g1-mimic-npz/G1_Take_102.bvh_60hz.npz": Choices(G1),
    "tienkung2-amp-json/motion_amp_expert_walk.txt": Choices(),
    "tienkung2-amp-json/motion_visualization_walk.txt": Choices(),
    "cmu-mocap/01_01.bvh": Choices(),
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
    for number, (name, choices) in enumerate(REAL.items()):
        report = publish([recordings / name], choices=choices, robot=f"r{number}", settings=test_pipeline.settings)
        episodes = list(open_recording(recordings / name, choices=choices))
        recorded |= dict(zip([e.episode_id for e in report.episodes], episodes, strict=True))
    closed = "SELECT toString(episode_id), frames, content_hash FROM episodes FINAL"
    rows = test_pipeline.wait_for(lambda: len(found := test_pipeline.query(closed)) == len(recorded) and found, 60)
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
