"""URDF and MJCF to drafts of ours: what they say is kept, what nobody meant is unknown, what is broken is refused."""

from __future__ import annotations

import resource
import subprocess
import sys
from math import pi
from pathlib import Path

import numpy as np
import pytest

from kinestream.producers.descriptions import Labels, import_description
from kinestream.producers.descriptions.xml_file import MOST_LEVELS
from kinestream.schemas.errors import KinestreamError, ModelError
from kinestream.schemas.model_files import checked, content_of, read_model, text_of
from kinestream.schemas.models import load_model, model_ids

URDF = """<?xml version="1.0"?>
<robot name="Demo Arm">
  <link name="base"/>
  <joint name="mount" type="fixed"><parent link="world"/><child link="base"/></joint>
  <joint name="shoulder" type="revolute"><limit lower="-1.5" upper="2" velocity="3.1" effort="40"/></joint>
  <joint name="elbow" type="revolute"><limit upper="1.2" velocity="1000" effort="0"/></joint>
  <joint name="wrist" type="revolute"><limit lower="-3.14159" upper="3.1416" velocity="-1" effort="1e4"/></joint>
  <joint name="wheel" type="continuous"><limit lower="-1" upper="1" velocity="9" effort="5"/></joint>
  <joint name="slide" type="prismatic"><limit lower="0" upper="0.4" velocity="0.2" effort="90"/></joint>
  <joint name="left_finger" type="prismatic"><limit lower="0" upper="0.04" velocity="0.1" effort="9"/></joint>
  <joint name="right_finger" type="prismatic"><limit lower="0" upper="0.04" velocity="0.1" effort="9"/>
    <mimic joint="left_finger" multiplier="-1"/></joint>
  <joint name="far" type="revolute"><limit lower="-1e10" upper="1e10" velocity="2" effort="5"/></joint>
  <joint name="bare" type="revolute"/>
  <joint name="base_free" type="floating"/>
  <transmission name="t"><joint name="shoulder"><hardwareInterface/></joint></transmission>
</robot>
"""

MJCF = """<mujoco model="demo">
  <compiler angle="{angle}" autolimits="{auto}"/>
  <default>
    <joint range="-90 90"/>
    <motor ctrlrange="-1 1"/>
    <default class="arm">
      <joint range="-45 45"/>
      <default class="tip"><joint limited="false"/></default>
      <position forcerange="-12 12"/>
    </default>
  </default>
  <worldbody>
    <body name="base"><freejoint name="root"/>
      <joint name="hip"/>
      <body childclass="arm">
        <joint name="knee"/>
        <frame><body><joint name="ankle" class="tip"/></body></frame>
        <joint name="own" range="-10 20"/>
        <body><joint name="rail" type="slide" range="-0.1 0.2"/><joint name="follower" range="-30 30"/></body>
      </body>
    </body>
  </worldbody>
  <equality><joint joint1="follower" joint2="own"/></equality>
  <actuator>
    <motor joint="hip" gear="50"/>
    <position joint="knee" class="arm" gear="2" ctrlrange="-3 3"/>
    <position joint="ankle" ctrlrange="-1 1"/>
    <general joint="own" forcerange="-7 7"/>
  </actuator>
</mujoco>
"""


def draft(tmp_path: Path, text: str | bytes, name: str = "robot.xml", **options):
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return import_description(path, Labels(maker="Lab"), **options).model


def mjcf(tmp_path, angle="degree", auto="true"):
    return draft(tmp_path, MJCF.format(angle=angle, auto=auto))


def joints(model):
    return {j.name: (j.type, j.lower, j.upper, j.velocity, j.effort, j.mimic) for j in model.joints}


def test_a_urdf_keeps_the_order_and_limits_of_its_joints_that_move(tmp_path):
    model = draft(tmp_path, URDF)
    assert (model.model_id, model.maker, model.model) == ("lab-demo-arm", "Lab", "Demo Arm")
    found = joints(model)
    assert list(found) == [
        *("shoulder", "elbow", "wrist", "wheel", "slide", "left_finger", "right_finger", "far", "bare"),
    ]
    assert found["shoulder"] == ("revolute", -1.5, 2.0, 3.1, 40.0, "")
    assert found["slide"] == ("prismatic", 0.0, 0.4, 0.2, 90.0, "")
    assert found["right_finger"][-1] == "left_finger"
    assert model.joint_names == tuple(name for name in found if name != "right_finger")
    assert next(j.unit for j in model.joints if j.name == "slide") == "m"


def test_limits_that_exporters_write_where_nobody_knows_are_unknown_and_told(tmp_path):
    model = draft(tmp_path, URDF)
    found = joints(model)
    assert found["elbow"] == ("revolute", 0.0, 1.2, None, None, "")  # lower left out is 0, as the format says
    assert found["wrist"] == ("revolute", None, None, None, None, "")
    assert found["wheel"] == ("continuous", None, None, 9.0, 5.0, "")
    assert found["far"] == ("revolute", None, None, 2.0, 5.0, "")
    assert found["bare"] == ("revolute", None, None, None, None, "")
    told = "\n".join(model.notes)
    for said in (
        "base_free: floating, left out",
        "half a turn or a whole one each way",
        "(wrist)",
        "of 100 or more",
        "velocity 100/s or more, which no robot has: unknown (elbow)",
        "effort 1000 Nm or N or more",
    ):
        assert said in told
    kept = draft(tmp_path, URDF, keep_turns=True)
    assert joints(kept)["wrist"][1:3] == (-3.14159, 3.1416)
    assert "turns the maker documents: wrist (say where)" in kept.notes


def test_one_velocity_for_every_joint_is_kept_and_told(tmp_path):
    each = "".join(
        f'<joint name="j{i}" type="revolute"><limit lower="-1" upper="{i + 1}" velocity="10" effort="{i + 1}"/></joint>'
        for i in range(6)
    )
    model = draft(tmp_path, f'<robot name="x">{each}</robot>')
    assert model.velocity.tolist() == [10.0] * 6
    assert [note for note in model.notes if "every turning joint" in note] == [
        "velocity is 10 for every turning joint: an exporter's default? Look it up before you rely on it"
    ]


def test_an_mjcf_takes_limits_from_its_default_classes_in_its_own_unit(tmp_path):
    found = joints(mjcf(tmp_path))
    assert list(found) == ["hip", "knee", "own", "ankle", "rail", "follower"]
    degrees = {"hip": (-90, 90), "knee": (-45, 45), "own": (-10, 20), "follower": (-30, 30)}
    for name, (lower, upper) in degrees.items():
        assert found[name][1:3] == pytest.approx((lower * pi / 180, upper * pi / 180))
    assert found["ankle"][1:3] == (None, None)  # class tip: limited="false"
    assert found["rail"] == ("prismatic", -0.1, 0.2, None, None, "")  # metres, whatever the angle
    assert found["follower"][-1] == "own"


def test_degrees_are_the_default_of_mjcf_and_radians_are_taken_as_they_are(tmp_path):
    assert joints(mjcf(tmp_path, angle="radian"))["own"][1:3] == (-10.0, 20.0)
    text = MJCF.format(angle="degree", auto="true").replace('angle="degree" ', "")
    assert joints(draft(tmp_path, text))["own"][1:3] == pytest.approx((-10 * pi / 180, 20 * pi / 180))


def test_without_automatic_limits_only_those_switched_on_hold(tmp_path):
    found = joints(mjcf(tmp_path, auto="false"))
    assert {name: one[1] for name, one in found.items()} == dict.fromkeys(found)
    assert {name: one[4] for name, one in found.items()} == dict.fromkeys(found)


def test_actuators_of_an_mjcf_say_how_strong_a_joint_is(tmp_path):
    model = mjcf(tmp_path)
    effort = {name: one[4] for name, one in joints(model).items()}
    assert effort == {"hip": 50.0, "knee": 24.0, "ankle": None, "own": 7.0, "rail": None, "follower": None}
    assert any("ankle: only the commands of the actuator are limited" in note for note in model.notes)
    assert any("root: free or ball, left out" in note for note in model.notes)


def test_an_included_file_of_the_same_folder_is_read_once_and_no_other(tmp_path):
    (tmp_path / "arm.xml").write_text('<mujocoinclude><joint name="a" range="-1 1"/></mujocoinclude>')
    body = '<mujoco><compiler angle="radian"/><worldbody><body>{}</body></worldbody></mujoco>'
    assert joints(draft(tmp_path, body.format('<include file="arm.xml"/>')))["a"][1:3] == (-1.0, 1.0)
    with pytest.raises(ModelError, match="includes a file once"):
        draft(tmp_path, body.format('<include file="arm.xml"/><include file="arm.xml"/>'))
    for outside in ("../secret.xml", "/etc/passwd", "gone.xml", ""):
        with pytest.raises(ModelError, match="not in its folder"):
            draft(tmp_path, body.format(f'<include file="{outside}"/>'))


BOMB = '<!DOCTYPE b [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]><robot name="&b;"/>'
REFUSED = {
    "no XML": ("hello", "no whole XML file"),
    "cut short": (URDF[:400], "no whole XML file"),
    "empty": ("", "no whole XML file"),
    "an entity bomb": (BOMB, "declares a document type"),
    "an outside entity": ('<!DOCTYPE r SYSTEM "file:///etc/passwd"><robot/>', "declares a document type"),
    "an encoding nobody knows": ('<?xml version="1.0" encoding="klingon"?><robot/>', "no whole XML file"),
    "a page": ("<html/>", "a URDF begins with <robot>, an MJCF with <mujoco>"),
    "a xacro": ('<robot xmlns:xacro="x"><xacro:macro name="m"/></robot>', "xacro robot.xml > robot.urdf"),
    "no joints": ('<robot name="r"><joint name="f" type="fixed"/></robot>', "no joint that moves"),
    "a joint without a name": ('<robot><joint type="revolute"/></robot>', "has no name"),
    "a strange type": ('<robot><joint name="a" type="screw"/></robot>', "'screw': URDF has revolute"),
    "a limit that is no number": (
        '<robot><joint name="a" type="revolute"><limit lower="low" upper="1"/></joint></robot>', "lower of joint 'a'"),
    "two of one name": (
        '<robot><joint name="a" type="revolute"/><joint name="a" type="revolute"/></robot>', "'a' is there twice"),
    "a joint that follows nobody": (
        '<robot><joint name="a" type="revolute"><mimic joint="b"/></joint></robot>', "follows 'b'"),
    "a class nobody declares": (
        '<mujoco><worldbody><joint name="a" class="x"/></worldbody></mujoco>', "class 'x' of a joint"),
    "a range of three": (
        '<mujoco><worldbody><joint name="a" range="1 2 3"/></worldbody></mujoco>', "two numbers are needed"),
    "copies only MuJoCo makes": (
        '<mujoco><worldbody><replicate count="9"><joint name="a"/></replicate></worldbody></mujoco>', "mj_saveLastXML"),
    "too deep": ("<robot>" + "<a>" * MOST_LEVELS + "</a>" * MOST_LEVELS + "</robot>", "levels deep"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_description_is_refused_in_one_line(name, tmp_path):
    text, said = REFUSED[name]
    with pytest.raises(ModelError) as refused:
        draft(tmp_path, text)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize("text", [URDF, MJCF.format(angle="degree", auto="true")], ids=["URDF", "MJCF"])
def test_damaged_copies_are_read_or_refused_in_one_line(text, tmp_path):
    rng, sound, refused = np.random.default_rng(3), text.encode(), []
    for copy in range(300):
        spoilt = bytearray(sound[: rng.integers(len(sound))] if copy % 3 == 0 else sound)
        for at in rng.integers(max(len(spoilt), 1), size=(0, 1, 4)[copy % 3]):
            spoilt[at] = rng.integers(256)
        try:
            draft(tmp_path, bytes(spoilt))
        except KinestreamError as problem:
            refused.append(str(problem))
    assert not [text for text in refused if "\n" in text]
    assert 100 < len(refused) < 300  # some damage leaves a robot


def test_a_file_of_millions_of_elements_is_refused_within_little_memory(tmp_path):
    path = tmp_path / "huge.urdf"
    path.write_text("<robot>" + "<a/>" * 3_000_000 + "</robot>")
    code = (
        "import sys; from kinestream.producers.descriptions import import_description; import_description(sys.argv[1])"
    )
    code = code.replace("sys.argv[1]", "__import__('pathlib').Path(sys.argv[1])")
    limit = lambda: resource.setrlimit(resource.RLIMIT_DATA, (300 * 2**20, 300 * 2**20))  # noqa: E731
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=30, preexec_fn=limit
    )
    assert "ModelError" in done.stderr.splitlines()[-1]
    assert "has more than 100,000 elements" in done.stderr


def test_a_draft_is_a_file_of_the_project_and_reads_back_as_the_same_model(tmp_path):
    model = mjcf(tmp_path)
    path = tmp_path / "draft.json"
    path.write_text(text_of(model))
    again = read_model(path)
    assert again.version == model.version
    assert content_of(again) == content_of(model)
    assert path.read_text().count('{"name": ') == len(model.joints)  # one line a joint


@pytest.mark.parametrize("model_id", model_ids())
def test_every_described_model_passes_the_check_of_strangers_and_is_written_as_it_stands(model_id):
    path = Path(__file__).parents[2] / "schemas" / "robots" / f"{model_id}.json"
    assert text_of(read_model(path)) == path.read_text(encoding="utf-8")
    assert read_model(path).version == load_model(model_id).version


def changed(**fields):
    content = content_of(load_model("universal-robots-ur5e"))
    joint = fields.pop("joint", {})
    content["joints"][0] |= joint
    return content | fields


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([], "an object with"),
        (changed(extra=1), "has extra: allowed are"),
        ({k: v for k, v in changed().items() if k != "maker"}, "lacks maker"),
        (changed(model_id="UR 5"), "2 to 100 of a-z"),
        (changed(source={"repo": "x"}), "source must have"),
        (changed(joints=[]), "a list of 1 to"),
        (changed(joint={"lower": "-1"}), "lower of 'shoulder_pan_joint' is '-1'"),
        (changed(joint={"lower": float("nan")}), "give a number in SI units"),
        (changed(joint={"lower": 7.0}), "lower is below upper"),
        (changed(joint={"velocity": 0}), "above 0, or null"),
        (changed(joint={"unit": "deg"}), "allowed are revolute in rad"),
        (changed(joint={"name": "elbow_joint"}), "'elbow_joint' is there twice"),
        (changed(joint={"mimic": "tail"}), "follows 'tail'"),
        (changed(aliases={"x": {"source": "s", "joints": {"a": "tail"}}}), "'tail', which is no joint"),
        (changed(notes="a"), "a list of sentences"),
    ],
)
def test_a_description_that_contradicts_itself_is_refused_with_what_is_allowed(content, said):
    with pytest.raises(ModelError, match="my file") as refused:
        checked(content, "my file")
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_no_json_is_refused(tmp_path):
    for text in ("{", "[" * 100_000, "\xff"):
        (tmp_path / "m.json").write_bytes(text.encode("latin-1"))
        with pytest.raises(ModelError, match="is no JSON"):
            read_model(tmp_path / "m.json")
    with pytest.raises(ModelError, match="cannot be read"):
        read_model(tmp_path / "gone.json")
