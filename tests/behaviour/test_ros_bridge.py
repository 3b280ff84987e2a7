"""The ROS 2 bridge to the end: recorded CDR messages through its callbacks, a robot, the broker and a worker, and back.

All but rclpy itself, which comes with ROS: what is heard is decoded from the bytes that a robot's middleware wrote.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from rosbags.rosbag2 import Reader, StoragePlugin, Writer

from kinestream import Robot
from kinestream.producers.bridges.joint_states import LAG, JointStateBridge
from kinestream.producers.bridges.ros2 import TakeRecorder
from kinestream.producers.recordings import Choices, RecordedEpisode, open_recording
from kinestream.producers.recordings.ros import JOINT_STATE, TEXT, Decoder, is_command
from kinestream.streams.archive import Archive
from tests.plugins.worker import Pipeline
from tests.unit.test_bridge_ros import REAL, messages

UR10 = "derived/ur10_203014_rosbag2_mcap"


def as_db3(bag: Path, folder: Path) -> Path:
    """The same messages in rosbag2's SQLite storage."""
    with Reader(bag) as reader, Writer(folder, version=9, storage_plugin=StoragePlugin.SQLITE3) as writer:
        known = {
            one.id: writer.add_connection(one.topic, one.msgtype, msgdef=one.msgdef.data, rihs01=one.digest)
            for one in reader.connections
        }
        for connection, log_ns, data in reader.messages():
            writer.write(known[connection.id], log_ns, data)
    return folder


def record(path: Path, model: str, robot_id: str, pipeline: Pipeline, spool: Path) -> str:
    """Hear a recording as a node does, one message after the other; the take's id."""
    decode, heard = Decoder(), messages(path)
    topics = list(dict.fromkeys(one.topic for one in heard if one.type == JOINT_STATE))
    (state,) = [topic for topic in topics if not is_command(topic)] if len(topics) > 1 else topics
    bridge = JointStateBridge(state, [topic for topic in topics if topic != state], model)
    recorder = TakeRecorder(robot_id, bridge, partial(Robot, spool=spool, settings=pipeline.settings))
    for one in heard:
        if one.type == TEXT:
            bridge.describe(one.topic, decode(one).data)
    heard = [one for one in heard if one.type == JOINT_STATE]
    for one in {one.topic: one for one in reversed(heard)}.values():
        recorder.on_joint_state(one.topic, decode(one), one.log_ns)
    episode_id = recorder.on_take('{"type": "start", "skill": "pick_place", "area": "household"}').split()[-1]
    for one in heard:
        recorder.on_joint_state(one.topic, decode(one), one.log_ns)
    recorder.on_take('{"type": "end", "outcome": "SUCCESS"}')
    recorder.close()
    return episode_id


@pytest.mark.recordings
def test_recorded_messages_reach_the_store_as_publish_reads_them(
    recordings: Path, kafka_pipeline: Pipeline, tmp_path: Path
) -> None:
    pipeline = kafka_pipeline
    pipeline.start()
    heard = {
        "bag-mcap": (recordings / UR10, "provisional:ur10"),
        "bag-db3": (as_db3(recordings / UR10, tmp_path / "db3"), "provisional:ur10"),
        **{f"mcap-{number}": (recordings / REAL.format(number), "") for number in (0, 1, 12)},
    }
    taken = {
        record(path, model, robot_id, pipeline, tmp_path / "spools" / robot_id): (path, model)
        for robot_id, (path, model) in heard.items()
    }
    closed = "SELECT toString(episode_id), status, outcome, hash_verified, skill FROM episodes FINAL"
    rows = pipeline.wait_for(lambda: len(found := pipeline.query(closed)) == len(taken) and found, 60)
    assert {row[0] for row in rows} == taken.keys()
    assert {tuple(row[1:]) for row in rows} == {("COMPLETE", "SUCCESS", 1, "pick_place")}
    archive = Archive(pipeline.settings, pipeline.store.url)
    for episode_id, (path, model) in taken.items():
        (read,) = list(open_recording(path, choices=Choices(model=model)))
        same(archive.frames(episode_id), read)


def same(stored: dict[str, np.ndarray], read: RecordedEpisode) -> None:
    """Stamps, joints and every value, bit for bit; beside them only the time of receipt."""
    own = {name: getattr(read, name) for name in ("position", "velocity", "effort", "command")}
    expected = {name: values for name, values in {**own, **read.further}.items() if values is not None}
    np.testing.assert_array_equal(stored["t_ns"], read.t_ns)
    assert list(stored["joints"]) == list(read.joints)
    for name, values in expected.items():
        assert stored[name].tobytes() == values.tobytes(), (read.source, name)
    assert stored.keys() - expected.keys() <= {"t", "t_ns", "seq", "joints", LAG}
