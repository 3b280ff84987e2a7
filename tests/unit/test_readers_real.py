"""The real recordings: each is read, its values the source's as float32, and what is odd of it is said."""

import json

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kinestream.producers.recordings import Choices, open_recording
from kinestream.producers.recordings.inspection import inspect
from kinestream.schemas.errors import RecordingError
from kinestream.schemas.models import load_model

pytestmark = pytest.mark.recordings

G1 = "unitree-g1-29-dof"
MIMIC = {"csv": "g1-mimic-csv/G1_Take_102.bvh_60hz.csv", "npz": "g1-mimic-npz/G1_Take_102.bvh_60hz.npz"}


def read(path, **choices):
    return list(open_recording(path, choices=Choices(**choices)))


def float32(values):
    return np.asarray(values, np.float64).astype(np.float32)


def test_lerobot_v30_holds_what_the_v21_it_was_made_of_holds(recordings):
    new = read(recordings / "derived/g1_inspire_lerobot_v30_ep040-049")
    old = [e for e in open_recording(recordings / "g1-inspire-lerobot-v21")][40:50]
    assert [len(e) for e in new] == [len(e) for e in old]
    for a, b in zip(new, old, strict=True):
        assert a.joints == b.joints
        assert a.position.tobytes() == b.position.tobytes()
        assert a.command.tobytes() == b.command.tobytes()
        assert a.further["hand_command"].tobytes() == b.further["hand_command"].tobytes()
        assert (a.t_ns.tolist(), a.labels["task"]) == (b.t_ns.tolist(), b.labels["task"])
        assert "the stamps are synthetic: frame / 30 Hz, not measured" in a.oddities


def test_a_ros1_bag_of_five_takes_holds_them_when_it_is_split(recordings):
    path = recordings / "derived/g1_inspire_ep050-054.bag"
    found = inspect(path, Choices(model=G1))
    assert (found.episodes, found.frames) == (1, 2016)
    assert any("--split" in text for text in found.oddities)
    old = [e for e in open_recording(recordings / "g1-inspire-lerobot-v21")][50:55]
    new = read(path, model=G1, split_s=2)
    assert [len(e) for e in new] == [len(e) for e in old]
    for a, b in zip(new, old, strict=True):
        assert a.position.tobytes() == b.position.tobytes()
        assert a.command.tobytes() == b.command.tobytes()
        assert a.further["hand_position"].tobytes() == b.further["hand_position"].tobytes()


def test_robomimic_demos_are_the_episodes_they_were_made_of(recordings):
    path = recordings / "derived/g1_inspire_robomimic_ep055-059.hdf5"
    with pytest.raises(RecordingError, match="give it with --rate HZ"):
        open_recording(path)
    old = [e for e in open_recording(recordings / "g1-inspire-lerobot-v21")][55:60]
    for a, b in zip(read(path, rate_hz=30), old, strict=True):
        assert a.further["robot0_joint_pos"].tobytes() == b.position.tobytes()
        assert a.further["robot0_gripper_qpos"].tobytes() == b.further["hand_position"].tobytes()


def test_act_and_arrow_hold_the_same_aloha_episode(recordings):
    (arrow,) = read(recordings / "lerobot-v1-arrow/aloha_sim_transfer_cube_human.arrow")
    (act,) = read(recordings / "derived/aloha_sim_transfer_cube_human_episode_0.hdf5")
    state, arms = arrow.further["observation.state"], [c for c in range(14) if c not in (6, 13)]
    assert act.position.tobytes() == state[:, arms].tobytes()
    assert act.command.tobytes() == arrow.further["action"][:, arms].tobytes()
    assert act.further["gripper_position"].tobytes() == state[:, [6, 13]].tobytes()
    assert np.array_equal(np.rint(arrow.t_ns / 1e6), act.t_ns / 1e6)
    assert "observations/qvel: finite difference of qpos at 50 Hz (not recorded)" in act.oddities
    with h5py.File(recordings / "derived/aloha_sim_transfer_cube_human_episode_0.hdf5") as file:
        assert np.array_equal(act.velocity, file["observations/qvel"][()][:, arms])


def test_umi_keeps_its_end_effector_as_named_channels(recordings):
    path = recordings / "lerobot-v1-arrow/umi_cup_in_the_wild.arrow"
    (episode,) = read(path)
    with pa.memory_map(str(path)) as file:
        table = pa.ipc.open_stream(file).read_all()
    assert (episode.joints, len(episode), episode.nominal_rate_hz) == ((), 400, 10)
    for name in ("observation.state", "end_pose", "gripper_width"):
        assert np.array_equal(episode.further[name], np.stack(table[name].to_numpy()).reshape(400, -1))


def test_ur10_is_read_alike_from_csv_and_bag_and_its_true_period_is_told(recordings):
    path = recordings / "ur10-real-teleop-csv/run_20260514_203014_data.csv"
    table = np.genfromtxt(path, delimiter=",", names=True)
    (from_csv,) = read(path, unit="rad")
    (from_bag,) = read(recordings / "derived/ur10_203014_rosbag2_mcap", model="provisional:ur10")
    joints = np.stack([table[f"q{k}"] for k in range(6)], axis=1)
    assert np.array_equal(from_csv.position, float32(joints))
    assert np.array_equal(from_csv.velocity, float32(np.stack([table[f"qd{k}"] for k in range(6)], axis=1)))
    assert np.array_equal(from_csv.further["tcp_speed"][:, 0], float32(table["tcp_speed"]))
    assert from_bag.position.tobytes() == from_csv.position.tobytes()
    apart = (from_bag.t_ns - from_bag.t_ns[0]) - (from_csv.t_ns - from_csv.t_ns[0])
    assert np.abs(apart).max() <= 1  # whoever wrote the bag cut its stamps where we round
    for episode in (from_csv, from_bag):
        assert "the period is 20.05 ms (49.87 Hz), not 20.00 ms (50 Hz)" in episode.oddities
    with pytest.raises(RecordingError, match="names no joint's position"):
        open_recording(path.with_name("run_20260514_203014_events.csv"))


def test_so100_keeps_its_own_units_and_its_stalls_are_told(recordings):
    (path,) = (recordings / "so100-real-telemetry-csv").iterdir()
    with pytest.raises(RecordingError, match="--model therobotstudio-so-100 or --model therobotstudio-so-101"):
        open_recording(path)
    (episode,) = read(path, model="therobotstudio-so-100")
    table = np.genfromtxt(path, delimiter=",", names=True, deletechars="")
    names = load_model("therobotstudio-so-100").joint_names
    assert (len(episode), episode.position) == (726, None)
    assert np.array_equal(episode.further["joint_position"], float32([table[f"{n}.pos"] for n in names]).T)
    assert np.array_equal(episode.further["temp"], float32([table[f"{n}_temp"] for n in names]).T)
    assert (
        "13 stalls: two frames lie more than 83 ms apart (2.5 periods), up to 394 ms; mostly 34 ms" in episode.oddities
    )


def test_g1_motion_is_read_alike_from_csv_and_npz_though_their_orders_differ(recordings):
    from_csv = read(recordings / MIMIC["csv"], model=G1, joints=("model",), rate_hz=60, unit="rad")[0]
    from_npz = read(recordings / MIMIC["npz"], model=G1)[0]
    table = np.loadtxt(recordings / MIMIC["csv"], delimiter=",")
    assert from_csv.joints == from_npz.joints == load_model(G1).joint_names
    assert np.array_equal(from_csv.position, float32(table[:, 7:]))
    assert np.array_equal(from_csv.further["base_orientation"], float32(table[:, 3:7]))
    assert np.abs(from_csv.position[0] - from_npz.position[0]).max() < 2e-6
    turned = from_npz.further["body_quat_w"][0, :4]
    assert np.abs(turned - table[0, 3:7]).max() < 1e-5
    assert "the file's name says 60 Hz, its fps 50: fps is used" in from_npz.oddities


def test_tienkungs_two_orders_are_told_apart_by_proof(recordings):
    folder = recordings / "tienkung2-amp-json"
    expert, shown = (read(folder / f"motion_{name}_walk.txt")[0] for name in ("amp_expert", "visualization"))
    assert expert.joints == shown.joints == load_model("x-humanoid-tienkung-2-0-lite").joint_names
    frames = float32(json.loads((folder / "motion_visualization_walk.txt").read_text())["Frames"])
    assert np.array_equal(shown.position, frames[:, 6:26])
    assert np.array_equal(shown.velocity, frames[:, 32:52])
    assert np.abs(expert.position[0] - shown.position[0]).max() < 1e-6
    assert (len(expert), len(shown)) == (735, 736)
    assert any("order 'expert'" in text for text in expert.oddities)
    assert any("order 'shown'" in text for text in shown.oddities)
    assert "the velocities are differences at 30.0 Hz, FrameDuration says 30.3 Hz" in shown.oddities


def test_a_cmu_figure_is_read_in_radians(recordings):
    path = recordings / "cmu-mocap/01_01.bvh"
    (episode,) = read(path)
    rows = np.array([line.split() for line in path.read_text().split("Frame Time:")[1].splitlines()[1:] if line], float)
    assert episode.position.shape == (2752, 93)
    assert np.array_equal(episode.position, float32(rows[:, 3:] * (np.pi / 180)))


def test_mcap_of_real_robots_says_whose_clock_is_ahead_and_what_is_not_commanded(recordings):
    folder = recordings / "robocodec-real-schemas"
    panda, arx, realman = (read(folder / f"robocodec_test_{k}.mcap")[0] for k in (1, 10, 6))
    assert panda.model_id == "franka-panda"
    assert "the clock of header stamp is 6.4 days ahead of that of log time" in panda.oddities
    assert panda.further["joint_command"].shape == (1, 7)
    assert arx.model_id == "arx-r5a"
    assert "the clock of header stamp is 8.1 days ahead of that of log time" in arx.oddities
    assert realman.model_id.startswith("realman-dual-rm65")
    assert realman.joints.index("r_joint1") < realman.joints.index("l_joint1")
    (channel,) = (c for c in realman.channels if c.name == "joint_command")
    commanded = dict(zip(channel.element_names, realman.further["joint_command"][0], strict=True))
    # the message holds l_joint1 to l_joint6 first, the state r_joint1 to r_joint6
    assert commanded["l_joint1"] == pytest.approx(-0.8206, abs=5e-5)
    assert commanded["r_joint1"] == pytest.approx(0.8106, abs=5e-5)


@pytest.mark.parametrize("number", [0, 1, 6, 7, 8, 10, 12, 14])
def test_every_mcap_is_read_and_no_image_is_taken(recordings, number):
    path = recordings / f"robocodec-real-schemas/robocodec_test_{number}.mcap"
    choices = Choices(model="provisional:x") if number in (8, 14) else Choices()
    (episode,) = open_recording(path, choices=choices)
    assert len(episode) == (2 if number == 14 else 1)
    assert np.isfinite(episode.position).all()
    assert all("image" not in channel.name for channel in episode.channels)


def test_every_file_is_read_or_refused_in_one_sentence(recordings):
    listed = json.loads((recordings.parent / "manifest.json").read_text())
    outcomes = {}
    for row in listed:
        path = recordings / row["file"]
        if "g1-inspire-lerobot-v21/data" in row["file"] and not path.stem.endswith("0"):
            continue
        try:
            outcomes[row["file"]] = sum(map(len, open_recording(path)))
        except RecordingError as refused:
            outcomes[row["file"]] = str(refused)
    refused = {name: text for name, text in outcomes.items() if isinstance(text, str)}
    assert all("\n" not in text and len(text) < 700 for text in refused.values())
    parquet = pq.read_metadata(recordings / "g1-inspire-lerobot-v21/data/chunk-000/episode_000010.parquet").num_rows
    assert outcomes["g1-inspire-lerobot-v21/data/chunk-000/episode_000010.parquet"] == parquet
    assert len(outcomes) - len(refused) >= 18
