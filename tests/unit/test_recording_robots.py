"""Which robot a recording is of: declared, by names of its own, or a choice; a robot's type says nothing of units."""

import json

import numpy as np
import pytest

from kinestream.producers.descriptions import import_description
from kinestream.producers.descriptions.differences import differences
from kinestream.producers.recordings import Choices, open_recording
from kinestream.producers.recordings.identify import identify
from kinestream.producers.recordings.inspection import inspect
from kinestream.producers.recordings.mcap_file import mcap_messages
from kinestream.producers.recordings.ros import Decoder
from kinestream.producers.recordings.take import Hint
from kinestream.schemas.errors import RecordingError, UndecidedError, UnknownModelError
from kinestream.schemas.models import load_model
from tests.plugins.recording_files import act
from tests.plugins.recordings import columns, write_episode

SO = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")


@pytest.mark.recordings
def test_a_piper_is_recognised_by_the_description_it_recorded(recordings):
    (episode,) = open_recording(recordings / "robocodec-real-schemas/robocodec_test_12.mcap")
    assert episode.model_id == "agilex-piper-dual"
    assert episode.joints == load_model("agilex-piper-dual").joint_names
    assert float(episode.position[0, 5]) == pytest.approx(1.665, abs=1e-3)  # right_joint_parent
    (channel,) = (c for c in episode.channels if c.name == "joint_command")
    assert set(channel.element_names) == {f"{s}_joint{k}" for s in ("right", "left") for k in range(1, 7)}


def test_a_model_that_does_not_fit_is_refused_with_what_may_stand_behind_model(tmp_path):
    (tmp_path / "x.csv").write_text("t,left_tail.pos\n0,1\n0.1,2\n")
    with pytest.raises(RecordingError) as refused:
        open_recording(tmp_path / "x.csv", choices=Choices("agilex-piper-dual"))
    assert str(refused.value).endswith(
        "left_tail are no joints of agilex-piper-dual; --model takes another model's id, a FILE.json that describes the"
        " robot (docs/robots.md), or provisional:NAME for one nobody has described"
    )


@pytest.mark.parametrize(
    ("robot_type", "model_id"),
    [
        ("so100", "therobotstudio-so-100"),
        ("so101_follower", "therobotstudio-so-101"),
        ("koch", "koch-koch-v1-1-follower"),
    ],
)
def test_lerobots_own_names_of_robots_are_known(robot_type, model_id, data_set):
    info = data_set / "meta" / "info.json"
    features = {n: {"names": [f"{joint}.pos" for joint in SO[:3]]} for n in ("observation.state", "action")}
    info.write_text(json.dumps(json.loads(info.read_text()) | {"robot_type": robot_type, "features": features}))
    with pytest.raises(UndecidedError, match="nobody declares the unit"):
        open_recording(data_set)
    episode = next(iter(open_recording(data_set, choices=Choices(unit="rad"))))
    assert (episode.model_id, len(episode.joints)) == (model_id, 3)


@pytest.mark.parametrize(
    "joints",
    [
        [f"robot0_joint{k}" for k in range(1, 8)],
        ["waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate"],
        [f"main_{joint}" for joint in SO],
    ],
)
def test_names_that_many_robots_bear_are_no_proof_of_one(joints):
    guess = identify(Hint(), joints)
    assert guess.confidence < 0.9
    assert guess.choices


@pytest.mark.recordings
def test_a_robot_that_is_none_of_the_choices_keeps_the_name_it_gives_itself(recordings):
    with pytest.raises(UndecidedError) as undecided:
        open_recording(recordings / "robocodec-real-schemas/robocodec_test_8.mcap")
    assert undecided.value.choices[-1] == "provisional:piper-slave"
    assert str(undecided.value).endswith("--model provisional:piper-slave")


@pytest.mark.recordings
@pytest.mark.parametrize(
    ("number", "model_id", "reviewed"),
    [
        (12, "agilex-piper-dual", {"effort"}),
        (10, "arx-r5a", {"effort"}),
        (6, "realman-dual-rm65-b-v-dexterous-hands-overseas-65-b-v", {"lower", "upper"}),
    ],
)
def test_what_a_recording_says_of_its_robot_is_what_is_shipped_but_for_what_its_notes_say(
    number, model_id, reviewed, recordings, tmp_path
):
    decode = Decoder()
    messages = mcap_messages(recordings / f"robocodec-real-schemas/robocodec_test_{number}.mcap", set())
    (text,) = (str(decode(m).data) for m in messages if m.topic.endswith("robot_description"))
    (tmp_path / "robot.urdf").write_text(text)
    found = differences(load_model(model_id), import_description(tmp_path / "robot.urdf").model)
    assert {difference.field for difference in found if difference.joint} == reviewed
    assert load_model(model_id).notes


@pytest.mark.parametrize(("share", "told"), [(1.0, True), (0.5, True), (0.3, False)])
def test_a_robot_that_stands_beyond_its_models_limits_is_called_odd(share, told, tmp_path):
    model, rows = load_model("franka-fr3"), 20
    middle = (model.lower + model.upper) / 2
    position = np.tile(middle, (rows, 1))
    position[: int(share * rows), 3] = -middle[3]  # its fourth joint with the other sign
    lines = [",".join(map(str, [k / 50, *row])) for k, row in enumerate(position.tolist())]
    header = ",".join(["t", *(f"{name}.pos [rad]" for name in model.joint_names)])
    (tmp_path / "x.csv").write_text("\n".join([header, *lines]))
    (episode,) = open_recording(tmp_path / "x.csv")
    sentence = "fr3_joint4 lie beyond the limits of franka-fr3 in half of the frames or more"
    assert any(sentence in text for text in episode.oddities) is told


def test_a_robot_nobody_described_cannot_take_the_id_of_one_that_is(tmp_path):
    (tmp_path / "x.csv").write_text("t,a.pos [rad]\n0,1\n0.1,2\n")
    with pytest.raises(RecordingError, match="franka-panda is described; say --model franka-panda"):
        open_recording(tmp_path / "x.csv", "provisional:Franka Panda")


def test_fourteen_columns_of_act_are_alohas_only_where_nobody_says_otherwise(tmp_path):
    path = act(tmp_path)
    assert next(iter(open_recording(path))).joints[0] == "left_waist"
    names = tuple(f"{side}_joint{k}" for side in ("left", "right") for k in range(1, 8))
    (episode,) = open_recording(path, choices=Choices("agilex-piper-dual", names, unit="rad"))
    assert set(episode.joints) == set(names)
    assert episode.joints[0] == "right_joint1"
    assert episode.position.shape == (6, 14)


@pytest.mark.parametrize(
    ("names", "nearest"),
    [
        ([f"joint{k}" for k in range(1, 8)], "ufactory-xarm7"),  # a PiPER with its gripper, an xArm 7, many others
        ([f"left_joint{k}" for k in range(1, 7)], "agilex-piper-dual"),
        ([f"joint_{k}.pos" for k in range(1, 7)], "koch-koch-v1-1-follower"),
    ],
)
def test_joints_that_are_only_counted_prove_no_robot(names, nearest):
    guess = identify(Hint(), names)
    assert guess.confidence < 0.9
    assert nearest in guess.choices
    assert identify(Hint("Franka Panda"), [f"panda_joint{k}" for k in range(1, 8)]).confidence >= 0.9


def test_a_robot_nobody_described_is_accepted_by_its_name_and_says_what_is_not_judged(tmp_path):
    rows = "".join(f"{k / 50},{','.join([f'{k / 100}'] * 7)}\n" for k in range(20))
    (path := tmp_path / "piper.csv").write_text(
        "t_s," + ",".join(f"joint{k}.pos [rad]" for k in range(1, 8)) + f"\n{rows}"
    )
    found = inspect(path, Choices("provisional:agilex-piper"))
    assert (found.refused, found.robot["model_id"]) == ("", "agilex-piper")
    assert found.not_judged == ["I2", "I3", "I8", "I9"], "of what is measured"
    with pytest.raises(UnknownModelError, match=r"nobody has described is --model provisional:agilex-piper$"):
        open_recording(path, "agilex-piper")


def a_set(folder, **features):
    info = folder / "meta" / "info.json"
    told = {name: {"dtype": "float32", "shape": [len(names)], "names": names} for name, names in features.items()}
    info.write_text(json.dumps(json.loads(info.read_text()) | {"robot_type": "x", "features": told}))
    rng = np.random.default_rng(3)
    values = {name: rng.uniform(-1, 1, (5, len(names))).astype(np.float32) for name, names in features.items()}
    for number in (0, 2):
        write_episode(folder, number, columns(seed=number) | values)
    return values


def test_columns_of_a_lerobot_state_that_name_a_speed_are_no_positions(data_set):
    names = ["arm_elbow.pos", "x.vel", "arm_wrist.pos", "theta.vel"]
    values = a_set(data_set, **{"observation.state": names, "action": names})
    episode = next(iter(open_recording(data_set, choices=Choices(unit="deg"))))
    assert episode.joints == ("arm_elbow.pos", "arm_wrist.pos")
    assert np.array_equal(episode.further["observation.state.vel"], values["observation.state"][:, [1, 3]])
    assert np.array_equal(episode.further["action.vel"], values["action"][:, [1, 3]])
    assert np.allclose(episode.command, np.radians(values["action"][:, [0, 2]]))
    assert any("x.vel, theta.vel are no positions by their names" in odd for odd in episode.oddities)


def test_a_lerobot_set_of_other_feature_names_is_read_by_them_or_kept_as_channels(data_set):
    values = a_set(data_set, **{"observation.states.joint.position": ["a", "b"], "actions.joint.position": ["b", "a"]})
    episode = next(iter(open_recording(data_set, choices=Choices(unit="rad"))))
    assert np.array_equal(episode.position, values["observation.states.joint.position"])
    assert np.array_equal(episode.command, values["actions.joint.position"][:, ::-1])
    assert "actions.joint.position: columns put in the order of the position's, by name" in episode.conversions
    a_set(data_set, **{"observation.pose": ["x", "y"]})
    episode = next(iter(open_recording(data_set)))
    assert (episode.position, list(episode.further)) == (None, ["observation.pose"])
    assert any("there is no observation.state" in odd for odd in episode.oddities)
    a_set(data_set)
    with pytest.raises(RecordingError, match=r"declares no observation.state and no other list of float32, but"):
        open_recording(data_set)


def test_a_command_of_more_joints_than_the_position_is_kept_whole_under_their_names(data_set):
    values = a_set(data_set, **{"observation.state": ["a", "b"], "action": ["c", "b", "a"]})
    episode = next(iter(open_recording(data_set, choices=Choices(unit="rad"))))
    assert np.array_equal(episode.further["joint_command"], values["action"][:, [2, 1, 0]])
    (channel,) = (c for c in episode.channels if c.name == "joint_command")
    assert channel.element_names == ("a", "b", "c")
    assert "action names joints the position has not (c): kept as the channel joint_command" in episode.oddities


@pytest.mark.parametrize(("unit", "position"), [("degrees", np.pi / 180), ("Radians", 1.0), ("ticks", None)])
def test_a_unit_a_converter_wrote_down_is_understood_or_stays_with_its_channel(data_set, unit, position):
    values = a_set(data_set, **{"observation.state": ["a", "b"]})["observation.state"]
    info = data_set / "meta" / "info.json"
    said = json.loads(info.read_text())
    said["features"]["observation.state"]["unit"] = unit
    info.write_text(json.dumps(said))
    episode = next(iter(open_recording(data_set)))
    if position is None:
        assert [(c.name, c.unit) for c in episode.channels] == [("observation.state", "ticks")]
    else:
        assert np.allclose(episode.position, values * position)


def test_an_arm_recorded_without_its_hand_has_no_name_misspelt(tmp_path):
    rows = "".join(f"{k / 50},{','.join([f'{k / 100}'] * 7)}\n" for k in range(20))
    names = ",".join(f"panda_joint{k}.pos [rad]" for k in range(1, 8))
    (path := tmp_path / "panda.csv").write_text(f"t_s,{names}\n{rows}")
    found = inspect(path)
    assert (found.refused, found.robot["model_id"]) == ("", "franka-panda")
    assert not any("misspelt" in odd for odd in found.oddities)
