"""Readers of every format: little files written by the formats' own libraries, read and published bit for bit."""

import h5py
import numpy as np
import pytest
from mcap.writer import Writer as McapWriter
from rosbags.typesys import Stores, get_typestore

from kinestream.producers.publish import publish
from kinestream.producers.recordings import Choices, open_recording
from kinestream.producers.recordings.identify import provisional_id
from kinestream.schemas.catalogue import FRAMES_BULK, topic_name
from kinestream.schemas.errors import RecordingError, UndecidedError
from kinestream.schemas.settings import Settings
from tests.plugins.recording_files import (
    FORMATS,
    FRAMES,
    JOINTS,
    START_NS,
    amc,
    bvh,
    interleaved,
    joint_state,
    mcap,
    values,
)
from tests.plugins.topics import read_episodes

ROS = ("mcap", "rosbag2-mcap", "rosbag2-db3", "rosbag1")


def read(name, folder, **choices):
    write, chosen = FORMATS[name]
    return list(open_recording(write(folder), choices=Choices(**choices) if choices else chosen))


def arrays(episode):
    named = {name: getattr(episode, name) for name in ("position", "velocity", "effort", "command")}
    return {name: value for name, value in {**named, **episode.further}.items() if value is not None}


def test_what_is_published_of_each_format_is_on_the_topic_bit_for_bit(tmp_path, test_broker):
    settings = Settings(tenant=test_broker.tenant)
    recorded = {}
    for name, (write, choices) in FORMATS.items():
        (folder := tmp_path / name).mkdir()
        path = write(folder)
        report = publish([path], choices=choices, robot=name, kafka=test_broker.bootstrap, settings=settings)
        episodes = list(open_recording(path, choices=choices))
        assert [e.frames for e in report.episodes] == [len(e) for e in episodes]
        recorded |= dict(zip([e.episode_id for e in report.episodes], episodes, strict=True))
    on_topic = read_episodes(test_broker.bootstrap, topic_name(FRAMES_BULK, test_broker.tenant))
    assert set(on_topic) == set(recorded)
    for episode_id, episode in recorded.items():
        sent = on_topic[episode_id]
        told, many = sent.start["conversions"], len(episode.conversions)
        assert told[:many] == list(episode.conversions)
        assert told[many].startswith(
            f"published as of now: every t_ns moved by {sent.t_ns[0] - episode.t_ns[0]:+d} ns; "
        )
        assert told[many + 1 :] == [f"odd: {text}" for text in episode.oddities]
        assert {c["name"] for c in sent.start["channels"]} == set(arrays(episode))
        assert np.array_equal(sent.t_ns - sent.t_ns[0], episode.t_ns - episode.t_ns[0])
        for channel, expected in arrays(episode).items():
            assert sent.values(channel).tobytes() == expected.tobytes()


@pytest.mark.parametrize("name", ROS)
def test_ros_joints_stand_in_the_models_order_and_commands_are_matched_by_name(name, tmp_path):
    (episode,) = read(name, tmp_path)
    assert episode.joints == ("shoulder_pan_joint", "elbow_joint", "wrist_1_joint")
    assert np.array_equal(episode.position, values()[:, [1, 0, 2]].astype(np.float32))
    assert np.array_equal(episode.command, values(seed=1)[:, [1, 0, 2]].astype(np.float32))
    assert episode.t_ns.tolist() == [START_NS + 3600 * 10**9 + k * 20_000_000 for k in range(FRAMES)]
    assert episode.absolute_time
    assert episode.clocks == ("header stamp", "log time")
    assert "the clock of header stamp is 3600.0 s ahead of that of log time" in episode.oddities


def test_a_robot_whose_names_fit_a_whole_family_is_not_guessed(tmp_path):
    with pytest.raises(RecordingError, match=r"--model universal-robots-ur5e or, if it is none.*provisional:NAME"):
        open_recording(mcap(tmp_path))
    (episode,) = open_recording(tmp_path / "arm.mcap", "provisional:UR 10")
    assert (episode.model_id, episode.joints) == ("ur-10", JOINTS)


def test_a_bag_is_split_only_where_a_person_says_so(tmp_path):
    path = mcap(tmp_path)
    many = list(open_recording(path, choices=Choices("universal-robots-ur5e", split_s=0.01)))
    assert [len(episode) for episode in many] == [1] * FRAMES


@pytest.mark.parametrize(
    ("name", "lengths"), [("lerobot-v3.0", [3, 5]), ("lerobot-v1", [3, 5]), ("robomimic", [6] * 12)]
)
def test_episodes_of_one_file_are_told_apart(name, lengths, tmp_path):
    assert [len(episode) for episode in read(name, tmp_path)] == lengths


def test_act_columns_are_named_and_the_grippers_kept_apart(tmp_path):
    (episode,) = read("act", tmp_path)
    source = values(14).astype(np.float32)
    assert (len(episode.joints), episode.joints[6]) == (12, "right_waist")
    assert np.array_equal(episode.position, np.delete(source, [6, 13], axis=1))
    assert np.array_equal(episode.further["gripper_position"], source[:, [6, 13]])
    assert episode.nominal_rate_hz == 50


def test_robomimic_takes_its_rate_and_order_from_the_file(tmp_path):
    episodes = read("robomimic", tmp_path)
    assert [e.source for e in episodes[:3]] == ["demos.hdf5#demo_0", "demos.hdf5#demo_1", "demos.hdf5#demo_2"]
    assert episodes[10].source == "demos.hdf5#demo_10"
    assert episodes[0].t_ns.tolist() == [k * 50_000_000 for k in range(FRAMES)]
    assert np.array_equal(episodes[0].further["robot0_joint_pos"], values().astype(np.float32))
    assert episodes[0].left_out == ("obs/agentview_image",)
    assert (
        episodes[0].oddities[0].startswith("nothing names the columns of obs/robot0_joint_pos (3): each is one channel")
    )


def test_columns_without_names_become_joints_when_a_person_names_them(tmp_path):
    episode = read("robomimic", tmp_path, joints=("a", "b", "c"), model="provisional:x")[0]
    assert episode.joints == ("a", "b", "c")
    assert np.array_equal(episode.position, values().astype(np.float32))
    with pytest.raises(RecordingError, match="has 3 columns, --joints names 2"):
        open_recording(tmp_path / "demos.hdf5", choices=Choices(joints=("a", "b"), model="provisional:x"))


def test_dm_control_is_turned_and_its_quaternion_put_w_last(tmp_path):
    (episode,) = read("dm_control", tmp_path)
    assert np.array_equal(episode.position, values(5).astype(np.float32))
    assert np.array_equal(episode.velocity, values(5, 1).astype(np.float32))
    assert np.array_equal(episode.further["base_orientation"], values(4, 3)[:, [1, 2, 3, 0]].astype(np.float32))


def test_degrees_of_a_bvh_and_an_amc_become_radians_because_they_are_declared(tmp_path):
    (episode,) = open_recording(bvh(tmp_path))
    source = values(9) * 90
    assert np.array_equal(episode.position, (source[:, 3:] * (np.pi / 180)).astype(np.float32))
    assert np.array_equal(episode.further["Hips_position"], source[:, :3].astype(np.float32))
    assert any("degrees to radians" in told for told in episode.conversions)
    (episode,) = open_recording(amc(tmp_path), choices=Choices(rate_hz=120))
    source = values(8) * 90
    assert episode.joints == ("root.RX", "root.RY", "root.RZ", "femur.rx", "femur.ry")
    assert np.array_equal(episode.position, (source[:, 3:] * (np.pi / 180)).astype(np.float32))


def test_a_source_without_time_is_refused_until_a_rate_is_given(tmp_path):
    path = amc(tmp_path)
    with pytest.raises(RecordingError, match="holds no time and no rate of frames; give it with --rate HZ"):
        open_recording(path)


def test_csv_values_keep_every_digit_that_float32_holds_and_text_columns_are_named(tmp_path):
    (episode,) = read("csv", tmp_path)
    assert episode.joints == ("q0", "q1", "q2")
    assert np.array_equal(episode.position, values().astype(np.float32))
    assert episode.t_ns.tolist() == [k * 20_000_000 for k in range(FRAMES)]
    assert episode.left_out == ("status",)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a,b\n1,2\n", "names no joint's position"),
        ("t,time,q0\n1,2,3\n", "several columns of time"),
        ("t,q0,q0\n1,2,3\n", "gives columns 2 and 3 the same name, q0; give each its own"),
        ("t,q0\n1,2\n3\n", "row 3 has not 2 columns"),
        ("t,q0\n1,2\n2,two\n", "x.csv: row 3, column q0 holds 'two' among numbers"),
        ("t,q0,q3\n1,2,x\n2,3,4\n3,4,5\n", "x.csv: row 2, column q3 holds 'x' among numbers"),
        ("t,q0\n\n1,2\n2,3\n\n3,4_o\n", "x.csv: row 6, column q0 holds '4_o' among numbers"),
        ("t,q0\n1,2\n,3\n", "a frame without a time is none"),
        ("1,2,x,4,5,6,7,8\n1,2,3,0,0,0,1,8\n", "x.csv: row 1, column 3 holds 'x' among numbers: neither a header"),
        ("1,2,3,0,0,0,1,8\n1,2,3,0,0,0,1,x\n", "x.csv: row 2, column 8 holds 'x' among numbers"),
        ("1,2,3,,0,0,1,8\n", "no unit quaternion"),
        ("1,2,3,4,5,6,7,8\n", "no unit quaternion"),
        ("t,q0\nnan,2\n", "a frame without a time is none"),
        ("t,q0\n", "no rows of values"),
    ],
)
def test_a_csv_that_says_too_little_is_refused(text, told, tmp_path):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(RecordingError, match=told):
        open_recording(tmp_path / "x.csv", choices=Choices(rate_hz=60))


def test_empty_cells_of_a_csv_are_nan_and_counted(tmp_path):
    (tmp_path / "x.csv").write_text("t,q0,q1,note\n0,,1,\n0.1,2,nan,odd\n0.2,,3,\n")
    (episode,) = open_recording(tmp_path / "x.csv", choices=Choices(unit="rad"))
    assert np.array_equal(episode.position, np.float32([[np.nan, 1], [2, np.nan], [np.nan, 3]]), equal_nan=True)
    assert "3 cells are empty or nan (q0: 2, q1: 1): NaN there" in episode.oddities
    assert episode.left_out == ("note",)
    (tmp_path / "x.csv").write_text("1,2,3,0,0,.6,.8,.5\n1,2,3,,0,0,1,\n")
    (episode,) = open_recording(tmp_path / "x.csv", choices=Choices("provisional:x", ("a",), 60, "rad"))
    assert "2 cells are empty or nan (column 4: 1, column 8: 1): NaN there" in episode.oddities


def test_normalised_units_stay_a_named_channel_and_degrees_need_a_word(tmp_path):
    (tmp_path / "x.csv").write_text("t,elbow.pos,wrist.pos\n" + "".join(f"0.{k},{-98.5 + k},{k}\n" for k in range(5)))
    (episode,) = open_recording(tmp_path / "x.csv")
    assert episode.position is None
    assert episode.further["joint_position"][0].tolist() == [-98.5, 0]
    assert "say --unit deg" in " ".join(episode.oddities)
    (episode,) = open_recording(tmp_path / "x.csv", choices=Choices(unit="deg"))
    assert np.array_equal(episode.position[0], np.float32([-98.5 * (np.pi / 180), 0]))


def test_an_amp_motion_whose_layout_nothing_proves_is_refused(tmp_path):
    rows = np.random.default_rng(0).normal(size=(20, 52)).tolist()
    (tmp_path / "walk.txt").write_text('{"FrameDuration": 0.03, "Frames": ' + str(rows) + "}")
    with pytest.raises(RecordingError, match="no layout of 52 columns is proven"):
        open_recording(tmp_path / "walk.txt")


def test_hdf5_of_another_layout_says_which_are_known(tmp_path):
    with h5py.File(tmp_path / "x.hdf5", "w") as file:
        file["weights"] = np.zeros(3)
    with pytest.raises(RecordingError, match=r"none of the known layouts: ACT .* it holds weights"):
        open_recording(tmp_path / "x.hdf5")


def write_mcap(path, messages, encoding="cdr", kind="sensor_msgs/msg/JointState"):
    """One (topic, log time, JointState or bytes) each."""
    store = get_typestore(Stores.ROS2_HUMBLE)
    with path.open("wb") as file:
        writer = McapWriter(file)
        writer.start()
        schema = writer.register_schema(kind, "protobuf" if encoding == "protobuf" else "ros2msg", b"")
        topics = {topic: writer.register_channel(topic, encoding, schema) for topic, *_ in messages}
        for topic, at, message in messages:
            raw = message if isinstance(message, bytes) else bytes(store.serialize_cdr(message, kind))
            writer.add_message(topics[topic], at, raw, at)
        writer.finish()
    return path


def states(topic, log_ns, stamp_ns):
    store = get_typestore(Stores.ROS2_HUMBLE)
    rows = zip(log_ns, stamp_ns, strict=True)
    return [(topic, log, joint_state(store, ["a", "b"], [k, -k], stamp)) for k, (log, stamp) in enumerate(rows)]


def test_protobuf_is_refused_by_name(tmp_path):
    path = write_mcap(tmp_path / "x.mcap", [("/state", 1, b"\x08\x01")], "protobuf", "foxglove.JointStates")
    with pytest.raises(RecordingError, match=r"/state \(foxglove.JointStates in protobuf, which is not read\)"):
        open_recording(path)


def test_the_other_clock_is_kept_where_it_wanders(tmp_path):
    log = [START_NS + at for at in (0, 21_000_000, 40_000_000)]
    path = write_mcap(tmp_path / "x.mcap", states("/s", log, [START_NS + k * 20_000_000 for k in range(3)]))
    (episode,) = open_recording(path)
    assert episode.t_ns.tolist() == [START_NS + k * 20_000_000 for k in range(3)]
    assert episode.further["log_lag"].ravel().tolist() == [0, np.float32(1e-3), 0]


def test_zero_stamps_give_way_to_the_logs_time_and_that_is_told(tmp_path):
    log = [START_NS + k * 20_000_000 for k in range(3)]
    (episode,) = open_recording(write_mcap(tmp_path / "x.mcap", states("/s", log, [0, 0, 0])))
    assert episode.t_ns.tolist() == log
    assert "3 of 3 header stamps are zero: the log's time is used" in episode.oddities


def test_two_topics_of_states_are_a_choice(tmp_path):
    log = [START_NS, START_NS + 1]
    path = write_mcap(tmp_path / "x.mcap", states("/left", log, log) + states("/right", log, log))
    with pytest.raises(RecordingError, match="choose one with --topic /left or --topic /right"):
        open_recording(path)
    (episode,) = open_recording(path, choices=Choices(topic="/right"))
    assert episode.joints == ("a", "b")
    assert np.array_equal(episode.further["left"], episode.position)


def test_frames_before_the_first_command_have_none(tmp_path):
    log = [START_NS + k * 10 for k in range(3)]
    path = write_mcap(tmp_path / "x.mcap", states("/s", log, log) + states("/cmd", [START_NS + 5], [START_NS + 5]))
    (episode,) = open_recording(path)
    assert np.isnan(episode.command[0]).all()
    assert episode.command[1:].tolist() == [[0, 0], [0, 0]]
    assert "1 frames lie before the first message of /cmd: NaN there" in episode.oddities


def test_a_described_robot_whose_units_are_its_own_is_published_without_joints(tmp_path, test_broker):
    names = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
    rows = "".join(f"0.{k},{','.join(str(90 + k + c) for c in range(6))}\n" for k in range(3))
    (tmp_path / "so100.csv").write_text(f"t,{','.join(f'{n}.pos' for n in names)}\n{rows}")
    settings, model = Settings(tenant=test_broker.tenant), "therobotstudio-so-100"
    report = publish([tmp_path / "so100.csv"], model=model, kafka=test_broker.bootstrap, settings=settings)
    sent = read_episodes(test_broker.bootstrap, topic_name(FRAMES_BULK, test_broker.tenant))
    start = sent[report.episodes[0].episode_id].start
    assert (start["model_id"], start["joints"]) == (model, [])
    assert [(c["name"], c["unit"], c["element_names"]) for c in start["channels"]] == [("joint_position", "", [*names])]


def test_what_kinestream_frames_wrote_is_read_as_it_was(tmp_path):
    position = values().astype(np.float32)
    t_ns = START_NS + np.arange(FRAMES) * 20_000_000
    named = {"t_ns": t_ns, "t": t_ns / 1e9, "seq": np.arange(FRAMES), "joints": np.array(JOINTS)}
    np.savez(tmp_path / "take.npz", **named, position=position, grip=position[:, :1])
    (episode,) = open_recording(tmp_path / "take.npz", "provisional:arm")
    assert episode.joints == JOINTS
    assert np.array_equal(episode.position, position)
    assert np.array_equal(episode.further["grip"], position[:, :1])
    assert episode.t_ns.tolist() == t_ns.tolist()


def test_robots_nobody_described_share_an_id_only_with_those_of_the_same_joints(tmp_path):
    def model_id(header):
        (tmp_path / "x.csv").write_text(f"t,{header}\n0,1,2\n0.1,1,2\n")
        return next(iter(open_recording(tmp_path / "x.csv", choices=Choices(unit="rad")))).model_id

    one, same, other = map(model_id, ("left.pos,right.pos", "right.pos,left.pos", "left.pos,centre.pos"))
    assert one == same != other
    assert one == "provisional-96e7ae6f"  # sha256(b"left\nright"): it is the same tomorrow, and on the bridge
    assert provisional_id("My Arm", ("left", "right")) == "provisional-my-arm-96e7ae6f"


def test_robots_without_names_of_joints_are_told_apart_by_what_they_measure(tmp_path):
    ids = set()
    for name in ("lerobot-v1", "robomimic", "npz", "dm_control", "bvh", "amc"):
        (tmp_path / name).mkdir()
        ids |= {episode.model_id for episode in read(name, tmp_path / name)}
    assert len(ids) == 6


def test_bare_names_of_joints_are_positions_where_a_person_says_so(tmp_path):
    (tmp_path / "x.csv").write_text("t,elbow_joint,note,wrist_1_joint\n0,0.1,7,0.2\n0.1,0.3,8,0.4\n")
    with pytest.raises(RecordingError, match="say which are positions with --joints A,B,C"):
        open_recording(tmp_path / "x.csv")
    model = "universal-robots-ur5e"
    for joints in (("model",), ("wrist_1_joint", "elbow_joint")):
        (episode,) = open_recording(tmp_path / "x.csv", choices=Choices(model, joints, unit="rad"))
        assert episode.joints == ("elbow_joint", "wrist_1_joint")
        assert np.array_equal(episode.position, np.float32([[0.1, 0.2], [0.3, 0.4]]))
        assert episode.further["note"].ravel().tolist() == [7, 8]
    (tmp_path / "x.csv").write_text("t,a [deg],b [deg]\n0,90,180\n0.1,0,0\n")
    (episode,) = open_recording(tmp_path / "x.csv", choices=Choices(joints=("b", "a")))
    assert np.allclose(episode.position[0], [np.pi, np.pi / 2])


def test_joints_that_several_nodes_publish_on_one_topic_are_told_apart(tmp_path):
    arm, fingers = [f"panda_joint{k}" for k in range(1, 8)], ["panda_finger_joint1", "panda_finger_joint2"]
    path = interleaved(tmp_path / "a.mcap", [arm, fingers])
    with pytest.raises(UndecidedError, match="2 topics of joint states") as doubt:
        open_recording(path)
    assert doubt.value.choices == ("/joint_states:panda_joint1", "/joint_states:panda_finger_joint1")
    (episode,) = open_recording(path, choices=Choices(topic="/joint_states:panda_joint1"))
    assert (episode.model_id, len(episode)) == ("franka-panda", FRAMES)
    (channel,) = (c for c in episode.channels if c.name == "joint_states_panda_finger_joint1")
    assert channel.element_names == tuple(fingers)
    assert np.isnan(episode.further[channel.name][0]).all(), "none was logged before the first frame"
    assert episode.further[channel.name][1].tolist() == [0.0, 1.0], "the last that was"


def test_sets_of_joints_on_one_topic_that_share_some_are_damage(tmp_path):
    path = interleaved(tmp_path / "a.mcap", [["a", "b"], ["b", "c"]])
    with pytest.raises(RecordingError, match=r"names the joint 'b' where those before it name 'a'.*share none"):
        open_recording(path)
