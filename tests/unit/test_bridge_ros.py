"""The ROS bridge maps message by message; replaying the same bag from its file gives the same frames."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from kinestream import ContractError, Robot, Settings
from kinestream.producers.bridges import ros2
from kinestream.producers.bridges.joint_states import LAG, BridgedFrame, JointStateBridge
from kinestream.producers.bridges.ros2 import TakeRecorder
from kinestream.producers.recordings import Choices, RecordedEpisode, open_recording
from kinestream.producers.recordings.columns import library
from kinestream.producers.recordings.mcap_file import mcap_messages
from kinestream.producers.recordings.ros import JOINT_STATE, TEXT, Decoder, Message, is_command, wanted
from kinestream.producers.spool import promised
from kinestream.schemas.errors import LayoutError, RecordingError
from tests.plugins.recording_files import interleaved

REAL = "robocodec-real-schemas/robocodec_test_{}.mcap"
#: recording, and its model where only a person can say it
FILES = [
    ("derived/ur10_203014_rosbag2_mcap", "provisional:ur10"),
    ("derived/g1_inspire_ep050-054.bag", "unitree-g1-29-dof"),
    *((REAL.format(number), "") for number in (0, 1, 6, 7, 10, 12)),
    *((REAL.format(number), "provisional:arm") for number in (8, 14)),
]


def messages(path: Path) -> list[Message]:
    """What a node hears of a recording: in the order of its log, a state behind its commands."""
    if path.suffix == ".mcap":
        found = list(mcap_messages(path, set()))
    else:
        bag = library("rosbags.rosbag1" if path.suffix == ".bag" else "rosbags.rosbag2").Reader(path)
        wire = "ros1" if path.suffix == ".bag" else "cdr"
        with bag:
            raw = [(c, log_ns, bytes(data)) for c, log_ns, data in bag.messages()]
        found = [Message(c.topic, c.msgtype, wire, log_ns, data) for c, log_ns, data in raw]
    return sorted(filter(lambda one: wanted(one.topic, one.type), found), key=lambda one: (one.log_ns, order(one)))


def order(message: Message) -> bool:
    """What is logged in the same nanosecond holds for the state."""
    return not is_command(message.topic)


def bridged(path: Path, model: str) -> tuple[JointStateBridge, list[BridgedFrame]]:
    heard, decode = messages(path), Decoder()
    said = [(one.topic, decode(one).data) for one in heard if one.type == TEXT]
    heard = [one for one in heard if one.type == JOINT_STATE]
    topics = list(dict.fromkeys(one.topic for one in heard))
    (state,) = [topic for topic in topics if not is_command(topic)] if len(topics) > 1 else topics
    bridge = JointStateBridge(state, [topic for topic in topics if topic != state], model)
    for topic, text in said:
        bridge.describe(topic, text)
    for one in heard:
        bridge.learn(one.topic, decode(one))
    frames = [bridge.take(one.topic, decode(one), one.log_ns) for one in heard]
    return bridge, [frame for frame in frames if frame is not None]


@pytest.mark.recordings
@pytest.mark.parametrize(("name", "model"), FILES)
def test_bridged_messages_are_the_frames_that_publish_reads_from_the_file(recordings: Path, name: str, model: str):
    recording = open_recording(recordings / name, model, Choices(model=model))
    (read,) = list(recording)
    bridge, frames = bridged(recordings / name, model)
    robot = bridge.robot()
    assert (robot["model_id"], robot["joints"]) == (read.model_id, read.joints)
    assert [frame.t_ns for frame in frames] == read.t_ns.tolist()
    check_values(read, frames)
    channels = {channel.name: channel for channel in read.channels}
    assert {**channels, LAG: robot["channels"][LAG]} == robot["channels"]


def check_values(read: RecordedEpisode, frames: list[BridgedFrame]) -> None:
    """Bit for bit; the lag of a recording whose clocks never part is all zero, and left out of it."""
    for role in ("position", "velocity", "effort", "command"):
        of_file, live = getattr(read, role), [getattr(frame, role) for frame in frames]
        if of_file is None:
            assert set(map(type, live)) == {type(None)}
        else:
            np.testing.assert_array_equal(np.array(live), of_file, strict=True)
    for channel, live in {name: np.array([f.channels[name] for f in frames]) for name in frames[0].channels}.items():
        expected = read.further.get(channel)
        if expected is None:
            assert channel == LAG
            assert not live.any()
        else:
            np.testing.assert_array_equal(live, expected, strict=True)
    assert set(read.further) <= set(frames[0].channels)


def joint_state(stamp_ns: int = 10**18, **fields: Any) -> Any:
    stamp = SimpleNamespace(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
    empty = {"name": [], "position": [], "velocity": [], "effort": []}
    return SimpleNamespace(header=SimpleNamespace(stamp=stamp), **{**empty, **fields})


NAMES = ["left_elbow_joint", "left_shoulder_pitch_joint"]


def test_joints_are_put_in_the_model_s_order_and_commands_hold_until_the_next():
    bridge = JointStateBridge("/joint_states", ["/joint_cmd"], "unitree-g1-29-dof")
    state = joint_state(name=NAMES, position=[0.1, 0.2])
    command = joint_state(name=NAMES, position=[1.0, 2.0])
    bridge.learn("/joint_states", state)
    assert bridge.missing == ("/joint_cmd",)
    bridge.learn("/joint_cmd", command)
    first = bridge.take("/joint_states", state, 10**18 + 5)
    assert bridge.take("/joint_cmd", command, 10**18 + 6) is None
    second = bridge.take("/joint_states", joint_state(10**18 + 10, name=NAMES, position=[0.3, 0.4]), 10**18 + 20)
    assert first is not None
    assert second is not None
    assert bridge.robot()["joints"] == ("left_shoulder_pitch_joint", "left_elbow_joint")
    assert first.position.tolist() == np.float32([0.2, 0.1]).tolist()
    assert np.isnan(first.command).all(), "nothing was commanded yet"
    assert second.command.tolist() == [2.0, 1.0]
    assert (first.t_ns, second.t_ns) == (10**18, 10**18 + 10)
    assert second.channels[LAG].tolist() == np.float32([5e-9]).tolist(), "when it was received is kept"


def test_a_take_without_stamps_is_stamped_when_received():
    bridge = JointStateBridge("/joint_states", model="provisional:arm")
    frame = bridge.take("/joint_states", joint_state(0, name=["a"], position=[0.5]), 1234)
    assert frame is not None
    assert (frame.t_ns, frame.channels[LAG].tolist()) == (1234, [0.0])
    with pytest.raises(LayoutError, match="named 1 joints"):
        bridge.take("/joint_states", joint_state(0, name=["b"], position=[0.5]), 1235)


def test_a_robot_that_would_be_a_guess_is_refused_with_the_choices():
    bridge = JointStateBridge("/joint_states")
    bridge.learn("/joint_states", joint_state(name=["joint1"], position=[0.0]))
    with pytest.raises(RecordingError, match="--model"):
        bridge.robot()


@pytest.mark.recordings
def test_a_recorded_take_is_in_the_spool_as_it_was_heard(recordings: Path, tmp_path: Path):
    path = recordings / "derived/ur10_203014_rosbag2_mcap"
    (read,) = list(open_recording(path, "", Choices(model="provisional:ur10")))
    heard, decode = [one for one in messages(path) if one.type == JOINT_STATE], Decoder()
    topics = list(dict.fromkeys(one.topic for one in heard))
    (state,) = [topic for topic in topics if not is_command(topic)]
    bridge = JointStateBridge(state, [topic for topic in topics if topic != state], "provisional:ur10")
    settings = Settings(kafka="127.0.0.1:1")
    recorder = TakeRecorder("ur10", bridge, partial(Robot, spool=tmp_path, settings=settings))
    for one in {one.topic: one for one in reversed(heard)}.values():
        bridge.learn(one.topic, decode(one))
    recorder.on_take('{"type": "start", "skill": "pick_place"}')
    for one in heard:
        recorder.on_joint_state(one.topic, decode(one), one.log_ns)
    recorder.on_take('{"type": "mark", "kind": "LABEL", "label": "done"}')
    assert f"{len(read)} frames, SUCCESS" in recorder.on_take('{"type": "end", "outcome": "SUCCESS"}')
    with pytest.raises(ContractError, match="no take"):
        recorder.on_take('{"type": "end"}')
    recorder.close()
    (kept,) = promised(tmp_path).values()
    assert kept.start["skill"] == "pick_place"
    assert any("float64 rounded to float32" in step for step in kept.start["conversions"])
    np.testing.assert_array_equal(kept.t_ns, read.t_ns)
    np.testing.assert_array_equal(kept.channels["position"], read.position)


def test_a_message_that_does_not_fit_ends_the_take_aborted(tmp_path: Path):
    bridge = JointStateBridge("/joint_states", model="provisional:arm")
    recorder = TakeRecorder("r1", bridge, partial(Robot, spool=tmp_path, settings=Settings(kafka="127.0.0.1:1")))
    with pytest.raises(LayoutError, match="nothing was heard on /joint_states"):
        recorder.on_take('{"type": "start"}')
    recorder.on_joint_state("/joint_states", joint_state(name=["a"], position=[0.1]), 10**18)
    recorder.on_take('{"type": "start"}')
    episode = recorder.episode
    assert episode is not None
    recorder.on_joint_state("/joint_states", joint_state(name=["a"], position=[0.1]), 10**18)
    recorder.on_joint_state("/joint_states", joint_state(name=["a", "b"], position=[0.1, 0.2]), 10**18 + 1)
    assert (episode.frames, episode.outcome, recorder.episode) == (1, "ABORTED", None)
    recorder.close()


def test_the_bridge_is_imported_without_ros():
    assert "rclpy" not in sys.modules
    with pytest.raises(SystemExit, match="rclpy comes with ROS 2, not from a package index"):
        ros2.main([])


def test_the_node_hears_every_topic_and_answers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Against names of ROS only: what rclpy does with them is ROS's."""
    heard: dict[str, Any] = {}
    said: list[str] = []
    given = {"robot_id": "r1", "model": "provisional:arm", "state_topic": "/js", "command_topics": ["/cmd"]}
    log = SimpleNamespace(info=said.append, error=said.append)
    node = SimpleNamespace(
        declare_parameter=lambda name, default: SimpleNamespace(value=given[name]),
        create_publisher=lambda kind, topic, depth: SimpleNamespace(publish=lambda message: said.append(message.data)),
        create_subscription=lambda kind, topic, callback, qos: heard.update({topic: callback}),
        get_logger=lambda: log,
    )

    def spin(_: Any) -> None:
        heard["/js"](joint_state(name=["a"], position=[0.5]))
        heard["~/take"](SimpleNamespace(data='{"type": "start"}'))
        heard["/cmd"](joint_state(name=["a"], position=[0.6]))
        heard["~/take"](SimpleNamespace(data='{"type": "start"}'))
        heard["/js"](joint_state(name=["a"], position=[0.5]))
        heard["~/take"](SimpleNamespace(data='{"type": "end", "outcome": "SUCCESS"}'))
        raise KeyboardInterrupt

    some = SimpleNamespace(BEST_EFFORT=1, TRANSIENT_LOCAL=1)
    modules = {
        "rclpy": SimpleNamespace(init=lambda args: None, create_node=lambda name: node, spin=spin),
        "rclpy.executors": SimpleNamespace(ExternalShutdownException=InterruptedError),
        "rclpy.qos": SimpleNamespace(QoSProfile=dict, DurabilityPolicy=some, ReliabilityPolicy=some),
        "sensor_msgs.msg": SimpleNamespace(JointState=object),
        "std_msgs.msg": SimpleNamespace(String=SimpleNamespace),
    }
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setenv("KINESTREAM_KAFKA", "127.0.0.1:1")
    monkeypatch.setenv("KINESTREAM_SPOOL", str(tmp_path))
    ros2.main([])
    assert set(heard) == {"/js", "/cmd", "/robot_description", "~/take"}
    (kept,) = promised(tmp_path / "hub" / "r1").values()
    assert (kept.frames, kept.ended, said[0]) == (1, True, said[1])
    assert "nothing was heard on /cmd" in said[0]
    assert "1 frames, SUCCESS" in said[-1]


@pytest.mark.parametrize("beside", [(), ("/joint_states:finger",)])
def test_one_of_several_sets_of_joints_on_a_topic_is_bridged_as_it_is_read(tmp_path: Path, beside: tuple[str, ...]):
    path = interleaved(tmp_path / "a.mcap", [[f"panda_joint{k}" for k in range(1, 8)], ["finger"]])
    (read,) = open_recording(path, choices=Choices(topic="/joint_states:panda_joint1"))
    bridge, decode = JointStateBridge("/joint_states:panda_joint1", beside), Decoder()
    assert bridge.heard == ("/joint_states",)
    heard = messages(path)
    for one in heard:
        bridge.learn(one.topic, decode(one))
    frames = [bridge.take(one.topic, decode(one), one.log_ns) for one in heard]
    frames = [frame for frame in frames if frame is not None]
    assert np.array_equal(np.stack([frame.position for frame in frames]), read.position)
    if beside:
        fingers = np.stack([frame.channels["joint_states_finger"] for frame in frames])
        assert np.array_equal(fingers, read.further["joint_states_finger"], equal_nan=True)
