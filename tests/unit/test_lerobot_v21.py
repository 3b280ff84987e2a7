"""LeRobot v2.1 as a recording: bit for bit, every conversion told, and one clear sentence for what is none."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from kinestream.producers.recordings import Choices, open_recording
from kinestream.schemas.errors import RecordingError, UnknownModelError
from kinestream.schemas.layout import Layout
from kinestream.schemas.models import load_model
from tests.plugins.recordings import columns, write_episode

G1 = "g1-inspire-lerobot-v21"


def change_info(folder, **changes):
    path = folder / "meta" / "info.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.recordings
def test_the_g1_set_says_what_is_there_and_what_is_not(recordings):
    recording = open_recording(recordings / G1)
    assert len(recording.declared) == 100
    assert recording.present == tuple(range(60))
    assert recording.missing == tuple(range(60, 100))
    assert recording.frames == 22042
    assert recording.name == G1


@pytest.mark.recordings
def test_every_g1_episode_is_read_bit_for_bit(recordings):
    frames = 0
    for episode in open_recording(recordings / G1):
        table = pq.read_table(recordings / episode.source)
        for column, joints, hands in (
            ("observation.state", episode.position, episode.further["hand_position"]),
            ("action", episode.command, episode.further["hand_command"]),
        ):
            source = np.stack(table[column].to_numpy())
            assert source.dtype == joints.dtype == hands.dtype == np.float32
            assert np.hstack([joints, hands]).tobytes() == source.tobytes()
        seconds = [float(t) for t in table["timestamp"].to_numpy()]
        assert episode.t_ns.tolist() == [round(t * 1e9) for t in seconds]
        frames += len(episode)
    assert frames == 22042


@pytest.mark.recordings
def test_a_g1_episode_is_fourteen_joints_of_the_model_and_two_hand_channels(recordings):
    episode = next(iter(open_recording(recordings / G1)))
    model = load_model("unitree-g1-29-dof")
    assert episode.model_id == model.model_id
    assert len(episode.joints) == 14
    assert [j for j in model.joint_names if j in episode.joints] == list(episode.joints)
    assert [(c.name, c.width, c.unit) for c in episode.channels] == [
        ("hand_position", 12, "1"),
        ("hand_command", 12, "1"),
    ]
    assert episode.channels[0].element_names[0] == "kLeftHandPinky"
    assert Layout(episode.joints, episode.channels).layout_id
    assert episode.nominal_rate_hz == 30
    assert episode.labels["task"] == "Pick up the yellow bottle on the table."
    assert any("kLeftShoulderPitch -> left_shoulder_pitch_joint" in told for told in episode.conversions)


@pytest.mark.recordings
def test_g1_stamps_are_index_over_fps_within_twice_their_resolution(recordings):
    for episode in open_recording(recordings / G1):
        exact = np.arange(len(episode)) / episode.nominal_rate_hz * 1e9
        assert np.abs(episode.t_ns - episode.t_ns[0] - exact).max() <= 2 * max(episode.stamp_resolution_ns, 1000)


def test_joints_are_put_in_the_models_order_and_missing_episodes_are_named(data_set):
    recording = open_recording(data_set)
    assert (recording.declared, recording.present, recording.missing) == ((0, 1, 2), (0, 2), (1,))
    first, last = recording
    source = columns(seed=2)
    assert last.joints == ("left_elbow_joint", "right_elbow_joint")
    assert np.array_equal(last.position, source["observation.state"][:, [1, 0]])
    assert np.array_equal(last.command, source["action"][:, [1, 0]])
    assert np.array_equal(last.further["hand_command"], source["action"][:, [2]])
    assert first.source == "little/data/chunk-000/episode_000000.parquet"
    assert last.labels["task"] == "task 2"
    assert not last.absolute_time


def test_one_episode_file_is_a_recording_of_one(data_set):
    recording = open_recording(data_set / "data" / "chunk-000" / "episode_000002.parquet")
    assert (recording.declared, recording.present, recording.missing, recording.frames) == ((2,), (2,), (), 5)


def test_nan_and_signed_zero_come_through(data_set):
    values = columns()
    values["observation.state"][1, 0] = np.nan
    values["observation.state"][2, 0] = -0.0
    write_episode(data_set, 0, values)
    episode = next(iter(open_recording(data_set)))
    assert episode.position[:, 1].tobytes() == values["observation.state"][:, 0].tobytes()


def test_float64_is_rounded_once_and_that_is_told(data_set):
    values = columns()
    values["action"] = np.random.default_rng(1).normal(size=(5, 3))
    write_episode(data_set, 0, values)
    episode = next(iter(open_recording(data_set)))
    assert np.array_equal(episode.command, values["action"][:, [1, 0]].astype(np.float32))
    assert "action: float64 rounded to float32" in episode.conversions


def test_stamps_keep_the_float32_they_came_in_and_name_its_resolution(data_set):
    values = columns()
    values["timestamp"] = np.array([0, 0.1, 20.1, 20.2, 20.3], np.float32)
    write_episode(data_set, 0, values)
    episode = next(iter(open_recording(data_set)))
    assert episode.t_ns.tolist() == [0, 100000001, 20100000381, 20200000763, 20299999237]
    assert episode.stamp_resolution_ns == 1908  # 2^-19 s: float32 between 16 and 32


def test_another_model_can_be_named(data_set):
    change_info(data_set, robot_type="somebody's G1")
    with pytest.raises(RecordingError, match=r"robot type \"somebody's G1\".*--model"):
        open_recording(data_set)
    said = Choices("unitree-g1-23-dof", unit="rad")
    assert next(iter(open_recording(data_set, choices=said))).model_id == "unitree-g1-23-dof"
    with pytest.raises(UnknownModelError, match="near it"):
        open_recording(data_set, "unitree-g1")
    with pytest.raises(RecordingError, match=r"kRightElbow, kLeftElbow are no joints of franka-panda"):
        open_recording(data_set, "franka-panda")


def refused(path):
    with pytest.raises(RecordingError) as refusal:
        for _ in open_recording(path):
            pass
    text = str(refusal.value)
    assert "\n" not in text
    assert str(path) in text or path.name in text
    return text


def test_what_is_not_there_or_is_empty_is_refused(tmp_path, data_set):
    assert "does not exist" in refused(tmp_path / "nowhere")
    (tmp_path / "empty.parquet").touch()
    assert "empty file" in refused(tmp_path / "empty.parquet")
    (tmp_path / "notes.txt").write_text("hello")
    assert "no recording" in refused(tmp_path / "notes.txt")
    path = data_set / "data" / "chunk-000" / "episode_000002.parquet"
    path.write_bytes(b"")
    assert "episode_000002.parquet is an empty file" in refused(data_set)


def test_a_folder_that_is_no_data_set_or_of_another_version_is_refused(tmp_path, data_set):
    (tmp_path / "photos").mkdir()
    assert "no recording" in refused(tmp_path / "photos")
    change_info(data_set, codebase_version="v1.6")
    assert "version v1.6; v2.0, v2.1, v3.0 can be read" in refused(data_set)
    change_info(data_set, codebase_version="v2.1", fps="fast")
    assert "not that of a LeRobot" in refused(data_set)
    (data_set / "meta" / "info.json").write_text("{")
    assert "cannot be read as JSON" in refused(data_set)


def test_a_data_set_without_any_of_its_episodes_is_refused(data_set):
    for path in (data_set / "data" / "chunk-000").iterdir():
        path.unlink()
    assert "none of its 3 declared episodes" in refused(data_set)


@pytest.mark.parametrize("column", ["observation.state", "action", "timestamp"])
def test_a_missing_column_is_named(data_set, column):
    values = columns()
    del values[column]
    write_episode(data_set, 0, values)
    assert f"has no column {column}" in refused(data_set)


def test_a_file_cut_short_is_refused_before_anything_is_read(data_set):
    path = data_set / "data" / "chunk-000" / "episode_000002.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(RecordingError, match=r"episode_000002.parquet is cut short"):
        open_recording(data_set)


def test_a_file_damaged_inside_is_refused_when_it_is_read(data_set):
    path = data_set / "data" / "chunk-000" / "episode_000002.parquet"
    content = bytearray(path.read_bytes())
    content[4:200] = b"\xff" * 196
    path.write_bytes(bytes(content))
    episodes = iter(open_recording(data_set))
    assert len(next(episodes)) == 5
    with pytest.raises(RecordingError, match=r"episode_000002.parquet is damaged"):
        next(episodes)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda v: v.update({"action": v["action"][:, :2]}), "does not hold 3 values"),
        (lambda v: v.update({"action": [None, *v["action"][1:]]}), "rows without a value"),
        (lambda v: v.update({"action": v["action"].astype(np.int32)}), "holds int32"),
        (lambda v: v["timestamp"].__setitem__(1, np.nan), "frame without a time"),
        (lambda v: v.update({k: x[:0] for k, x in v.items()}), "has no"),
    ],
)
def test_columns_that_do_not_fit_are_refused(data_set, spoil, told):
    values = columns()
    spoil(values)
    write_episode(data_set, 0, values)
    assert told in refused(data_set)


def test_a_v20_differs_in_its_statistics_only(data_set):
    one = list(open_recording(data_set))
    change_info(data_set, codebase_version="v2.0")
    two = list(open_recording(data_set))
    assert [e.position.tobytes() for e in one] == [e.position.tobytes() for e in two]
    assert open_recording(data_set).format == "LeRobot v2.0"
