"""A person's calibration: the robot's own units become radians as it says, and nothing else does."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from kinestream.deploy.cli import application
from kinestream.producers.recordings import Choices, open_recording
from kinestream.schemas.errors import KinestreamError
from kinestream.schemas.model_files import content_of
from kinestream.schemas.models import load_model

JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll")
RAW = np.linspace([-100, -50, 0, 10, 20], [100, 50, 1, 20, 40], 8)
GRIP = np.linspace(0, 100, 8)
FILE = """
id: bench-3
joints:
  shoulder_pan:  {raw: [-100, 100], rad: [-1.5, 1.5]}
  shoulder_lift: {raw: [100, -100], rad: [0, 3]}
  elbow_flex:    {raw: [0, 1], rad: [-3.1, 0.0]}
  wrist_flex:    {raw: [0, 100], rad: [0, 1]}
  wrist_roll:    {raw: [0, 100], rad: [0, 1]}
  gripper: keep
"""


def recording(tmp_path, suffix=".pos"):
    columns = [f"{name}{suffix}" for name in (*JOINTS, "gripper")]
    rows = np.column_stack([np.arange(8) / 50, RAW, GRIP, np.ones(8)])
    path = tmp_path / "arm.csv"
    lines = [",".join(["timestamp", *columns, "wrist_roll.vel"]), *(",".join(map(repr, row.tolist())) for row in rows)]
    path.write_text("\n".join(lines))
    return path


def read(tmp_path, text=FILE, model="therobotstudio-so-100", **more):
    calibration = tmp_path / "bench.yaml"
    calibration.write_text(text)
    choices = Choices(model=model, calibration=str(calibration), **more)
    return next(iter(open_recording(recording(tmp_path), choices=choices)))


def test_each_column_follows_its_line_and_is_rounded_once(tmp_path):
    episode = read(tmp_path)
    assert episode.joints == JOINTS
    x = RAW.astype(np.float64)
    expected = np.column_stack([
        -1.5 + (x[:, 0] + 100) * (3.0 / 200),
        0 + (x[:, 1] - 100) * (3.0 / -200),
        -3.1 + x[:, 2] * 3.1,
        x[:, 3] / 100,
        x[:, 4] / 100,
    ])  # fmt: skip
    np.testing.assert_array_equal(episode.position, expected.astype(np.float32))
    assert episode.labels["calibration_id"] == "bench-3"
    told = [text for text in episode.conversions if "bench-3" in text]
    assert len(told) == len(JOINTS)
    assert told[0] == "joint_position: shoulder_pan by bench-3, -100 to 100 -> -1.5 to 1.5 rad"


def test_what_is_kept_and_what_a_line_cannot_map_stay_channels_in_their_own_unit(tmp_path):
    episode = read(tmp_path)
    np.testing.assert_array_equal(episode.further["joint_position_raw"][:, 0], GRIP.astype(np.float32))
    assert episode.velocity is None
    assert next(c for c in episode.channels if c.name == "joint_velocity").unit == ""


def test_values_beyond_what_was_measured_are_mapped_and_told(tmp_path):
    episode = read(tmp_path, FILE.replace("raw: [-100, 100]", "raw: [-90, 90]"))
    assert any("shoulder_pan goes from -100 to 100, beyond its calibration of -90 to 90" in t for t in episode.oddities)


def test_a_column_can_be_given_the_models_name(tmp_path):
    content = content_of(load_model("therobotstudio-so-100")) | {"model_id": "bench-arm", "aliases": {}}
    content["joints"][0]["name"] = "base"
    (tmp_path / "arm.json").write_text(json.dumps(content))
    text = FILE.replace("rad: [-1.5, 1.5]", "rad: [-1.5, 1.5], joint: base")
    episode = read(tmp_path, text, model=str(tmp_path / "arm.json"))
    assert (episode.model_id, episode.joints[0]) == ("bench-arm", "base")


def test_without_a_calibration_the_same_values_stay_a_channel(tmp_path):
    episode = next(iter(open_recording(recording(tmp_path), "therobotstudio-so-100")))
    assert (episode.position, episode.joints) == (None, ())


LEROBOT = json.dumps(
    {"shoulder_pan": {"id": 1, "drive_mode": 0, "homing_offset": 5, "range_min": 9, "range_max": 4000}}
)
REFUSED = {
    "a joint nobody maps": (FILE.replace("  gripper: keep\n", ""), "says nothing of gripper in joint_position"),
    "no id": (FILE.replace("id: bench-3", ""), "give the calibration a name"),
    "no joints": ("id: x", "it has id and joints"),
    "nothing of this robot": ("id: x\njoints: {tail: {raw: [0, 1], rad: [0, 1]}}", "says nothing of shoulder_pan"),
    "nothing mapped": ("id: x\njoints: {gripper: keep}", "maps no joint"),
    "one value twice": (FILE.replace("[100, -100]", "[7, 7]"), "raw of shoulder_lift is [7, 7]: give two different"),
    "text": (FILE.replace("[100, -100]", "[a, b]"), "give two different numbers"),
    "infinite": (FILE.replace("[100, -100]", "[0, .inf]"), "give two different numbers"),
    "degrees": (FILE.replace("rad: [0, 3]", "deg: [0, 3]"), "raw and one of rad and m"),
    "no YAML": ("id: [", "is no YAML"),
    "LeRobot's own": (LEROBOT, "not where the model's zero lies"),
    "a list": ("- 1", "is no calibration"),
    "a bomb": (
        "a: &a [x, x]\n"
        + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True))
        + "id: x\njoints: {y: *i}",
        "it has id and joints",
    ),
    "a bomb within": (
        "id: x\njoints:\n  k: &a [x, x]\n"
        + "".join(f"  {b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)),
        "give raw and one of rad and m",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_certain_is_refused_in_one_line_with_what_to_do(name, tmp_path):
    text, said = REFUSED[name]
    with pytest.raises(KinestreamError) as refused:
        read(tmp_path, text)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_signal_declared_in_radians_is_not_mapped_once_more(tmp_path):
    from tests.plugins.recording_files import mcap

    (tmp_path / "c.yaml").write_text("id: x\njoints: {elbow_joint: {raw: [0, 1], rad: [0, 2]}}")
    choices = Choices(model="universal-robots-ur5e", calibration=str(tmp_path / "c.yaml"))
    with pytest.raises(KinestreamError, match="declares rad for elbow_joint"):
        open_recording(mcap(tmp_path), choices=choices)


def test_inspect_gives_the_publish_line_with_it_and_refuses_two_units(tmp_path):
    (tmp_path / "bench.yaml").write_text(FILE)
    words = [
        str(recording(tmp_path)),
        "--model",
        "therobotstudio-so-100",
        "--calibration",
        str(tmp_path / "bench.yaml"),
    ]
    found = CliRunner().invoke(application(), ["inspect", *words, "--json"])
    assert found.exit_code == 0, found.output
    assert f"--calibration {tmp_path / 'bench.yaml'}" in json.loads(found.stdout)["publish"]
    both = CliRunner().invoke(application(), ["inspect", *words, "--unit", "deg"])
    assert (both.exit_code, "give one of them" in both.stderr) == (2, True)


def test_columns_that_declare_a_unit_of_their_own_are_for_a_calibration_to_map(tmp_path):
    (path := tmp_path / "a.csv").write_text("t_s,a.pos [ticks],b.pos [rad]\n0,0,1\n0.1,1024,2\n")
    (line := tmp_path / "c.yaml").write_text("id: c1\njoints:\n  a: {raw: [0, 4096], rad: [0, 4]}\n")
    (episode,) = open_recording(path, choices=Choices(calibration=str(line)))
    assert (episode.joints, episode.position.tolist()) == (("b", "a"), [[1, 0], [2, 1]])
    (path).write_text("t_s,a.pos [ticks]\n0,0\n0.1,1024\n")
    (episode,) = open_recording(path, choices=Choices(calibration=str(line)))
    assert (episode.joints, episode.position.tolist()) == (("a",), [[0], [1]])


def test_columns_of_a_described_robot_may_be_part_in_radians_and_part_in_ticks(tmp_path):
    names = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll")
    header = ",".join([*(f"{name}.pos [rad]" for name in names), "gripper.pos [ticks]"])
    (path := tmp_path / "a.csv").write_text(f"t_s,{header}\n0,0,0,0,0,0,0\n0.1,0,0,0,0,0,1024\n")
    (line := tmp_path / "c.yaml").write_text("id: c1\njoints:\n  gripper: {raw: [0, 4096], rad: [0, 4]}\n")
    choices = Choices(model="therobotstudio-so-100", calibration=str(line))
    (episode,) = open_recording(path, choices=choices)
    assert episode.joints == (*names, "gripper")
    assert episode.position[:, 5].tolist() == [0, 1]
