"""Robot models: what is known is as the maker wrote it, what is not known is NaN."""

import json
import subprocess
import sys
from importlib.resources import files

import numpy as np
import pytest

from kinestream.producers.descriptions.placeholders import DOCUMENTED, ONE_FIGURE, TURN, alike, no_range
from kinestream.schemas.errors import UnknownModelError
from kinestream.schemas.models import find_model, load_model, model_ids

G1_FAMILY = [m for m in model_ids() if m.startswith("unitree-g1")]


def test_there_are_fifty_two_models_and_every_one_loads_under_its_own_name():
    assert len(model_ids()) == 52
    assert [load_model(m).model_id for m in model_ids()] == list(model_ids())


@pytest.mark.parametrize("model_id", model_ids())
def test_every_known_limit_could_be_a_real_one(model_id):
    model = load_model(model_id)
    assert len(set(j.name for j in model.joints)) == len(model.joints)
    assert not np.any(model.lower >= model.upper)
    assert not np.any(np.abs(np.concatenate([model.lower, model.upper])) >= 1000)
    assert not np.any((model.velocity <= 0) | (model.velocity >= 100))
    assert not np.any((model.effort <= 0) | (model.effort >= 1000))
    assert {j.unit for j in model.joints} <= {"rad", "m"}
    assert all([model.source.repo, model.source.path, model.source.licence])


def test_a_g1_knee_reads_as_its_urdf_says():
    model = load_model("unitree-g1-29-dof")
    knee = model.joint_names.index("left_knee_joint")
    assert (model.lower[knee], model.upper[knee]) == (-0.087267, 2.8798)
    assert (model.velocity[knee], model.effort[knee]) == (20.0, 139.0)
    assert len(model.joint_names) == 29
    assert model.joint_names[0] == "left_hip_pitch_joint"


def test_unknown_limits_are_nan_and_never_a_placeholder():
    assert np.isnan(load_model("unitree-h1-2").velocity).all()  # MJCF without velocities
    r2 = load_model("nasa-robonaut-2-r2b")
    waist = r2.joint_names.index("r2/waist/joint0")  # velocity 1000 and effort 1e7 in the file
    assert np.isnan([r2.velocity[waist], r2.effort[waist]]).all()
    assert np.isnan(load_model("halodi-1x-eve-r3").velocity).all()  # -1 in the file


def test_joints_that_only_follow_another_are_described_but_not_actuated():
    model = load_model("unitree-g1-29-dof-inspire-dfq-hands")
    assert (len(model.joint_names), len(model.joints)) == (41, 53)
    assert "L_thumb_distal_joint" not in model.joint_names
    assert model.limits(["L_thumb_distal_joint"]).upper.tolist() == [1.2]


def test_limits_come_in_the_order_asked_and_are_nan_for_a_strange_joint():
    limits = load_model("unitree-g1-29-dof").limits(["right_elbow_joint", "tail_joint", "left_knee_joint"])
    assert limits.joints == ("right_elbow_joint", "tail_joint", "left_knee_joint")
    assert np.isnan([limits.lower[1], limits.upper[1], limits.velocity[1], limits.effort[1]]).all()
    assert limits.upper[2] == 2.8798
    assert limits.lower.dtype == np.float64


@pytest.mark.parametrize("model_id", G1_FAMILY)
def test_the_g1_family_understands_the_dialect_of_the_lerobot_set(model_id):
    model = load_model(model_id)
    assert model.canonical("kLeftShoulderPitch") == "left_shoulder_pitch_joint"
    assert model.canonical("left_elbow_joint") == "left_elbow_joint"
    assert model.canonical("kLeftHandPinky") is None
    names = {joint.name for joint in model.joints}
    for dialect in model.dialects:
        assert dialect.source
        assert set(dialect.joints.values()) <= names


DESCRIBED_OTHERWISE = [model_id for model_id in model_ids() if load_model(model_id).dialects]


@pytest.mark.parametrize("model_id", DESCRIBED_OTHERWISE)
def test_no_other_name_of_a_joint_is_that_of_another(model_id):
    model = load_model(model_id)
    own = {joint.name for joint in model.joints}
    meant = {}
    for dialect in model.dialects:
        assert dialect.source
        assert set(dialect.joints.values()) <= own
        assert len(set(dialect.joints.values())) == len(dialect.joints), "two names of one joint"
        for name, joint in dialect.joints.items():
            assert name not in own or name == joint, f"{name} is another joint of this robot"
            assert meant.setdefault(name, joint) == joint, f"{name} is two joints, by dialect"
            assert model.canonical(name) == joint


def test_well_known_names_are_understood():
    for model_id, name, joint in (
        ("therobotstudio-so-101", "main_gripper", "gripper"),
        ("koch-koch-v1-1-follower", "elbow_flex", "joint_3"),
        ("trossen-aloha-viperx-300s-left-aloha", "left_wrist_rotate", "vx300s_left/wrist_rotate"),
        ("unitree-h1-2", "WaistYaw", "torso_joint"),
        ("franka-panda", "robot0_joint4", "panda_joint4"),
        ("universal-robots-ur5e", "robot0_elbow_joint", "elbow_joint"),
        ("booster-robotics-k1-22-dof", "kLeftShoulderPitch", "ALeft_Shoulder_Pitch"),
        ("enactic-openarm-bimanual", "right_joint_7", "openarm_right_joint7"),
        ("agilex-piper-dual", "left_joint_parent", "left_joint6"),
    ):
        assert load_model(model_id).canonical(name) == joint
    assert len(DESCRIBED_OTHERWISE) == 17


def test_an_unknown_model_is_refused_with_the_near_names_or_simply_not_found():
    with pytest.raises(UnknownModelError, match=r"'unitree-g1-29'.*unitree-g1-29-dof"):
        load_model("unitree-g1-29")
    with pytest.raises(UnknownModelError, match="not described"):
        load_model("../settings")
    assert find_model("my-own-robot") is None
    assert find_model("franka-panda").maker == "Franka"


def test_models_are_shared_and_cannot_be_altered():
    model = load_model("franka-panda")
    assert load_model("franka-panda") is model
    with pytest.raises(ValueError, match="read-only"):
        model.lower[0] = 0.0


def test_models_load_without_the_packages_of_the_command_line():
    blocked = "import sys; sys.modules['yaml'] = None; sys.modules['pyarrow'] = None; "
    code = blocked + "from kinestream.schemas.models import load_model; load_model('franka-panda')"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


def test_every_file_names_itself_and_no_field_is_missing():
    for file in (files("kinestream.schemas") / "robots").iterdir():
        described = json.loads(file.read_text(encoding="utf-8"))
        assert file.name == f"{described['model_id']}.json"
        assert set(described) - {"notes"} == {"model_id", "maker", "model", "category", "source", "aliases", "joints"}


@pytest.mark.parametrize("model_id", model_ids())
def test_no_shipped_limit_is_a_placeholder_and_every_turn_has_a_witness(model_id):
    """The rule that imports obey; exceptions stand in the file, with who documents them."""
    model = load_model(model_id)
    witnessed = [note.removeprefix(DOCUMENTED) for note in model.notes if note.startswith(DOCUMENTED)]
    named = {name for note in witnessed for name in note.partition(" (")[0].split(", ")}
    reasons = {joint.name: no_range(joint.type, joint.lower, joint.upper) for joint in model.joints}
    assert {name for name, reason in reasons.items() if reason == TURN} == named
    assert {reason for reason in reasons.values()} <= {"", TURN}
    assert all("(" in note and "say where" not in note for note in witnessed)


@pytest.mark.parametrize("model_id", model_ids())
@pytest.mark.parametrize("what", ["velocity", "effort"])
def test_one_figure_for_all_joints_has_a_witness(model_id, what):
    model = load_model(model_id)
    figure = alike([getattr(j, what) for j in model.joints if not j.mimic and j.unit == "rad"])
    witnessed = any(note.startswith(f"{ONE_FIGURE}{what} (") for note in model.notes)
    assert witnessed == (figure is not None)


@pytest.mark.parametrize(
    ("kind", "lower", "upper", "placeholder"),
    [
        ("revolute", -3.14, 3.14, True),
        ("revolute", -6.28, 6.2832, True),
        ("revolute", -3.15, 3.15, True),
        ("revolute", -3.11, 3.11, False),  # 178 degrees is a stop
        ("revolute", -3.14, 2.5, False),  # somebody measured the other end
        ("revolute", 0.0, 3.14, False),
        ("prismatic", -3.14, 3.14, False),
        ("continuous", None, None, False),
    ],
)
def test_a_turn_each_way_is_a_placeholder_unless_somebody_documents_it(kind, lower, upper, placeholder):
    assert (no_range(kind, lower, upper) == TURN) is placeholder
