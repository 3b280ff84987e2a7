"""Names a person gives for columns (--joints): of those without one, of those only counted, and never wrongly taken."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from kinestream.deploy.cli import application
from kinestream.producers.recordings import Choices, open_recording
from kinestream.schemas.errors import RecordingError, UndecidedError
from kinestream.schemas.models import load_model, model_ids
from kinestream.schemas.nearest import nearest

UR = "universal-robots-ur5e"
JOINTS = load_model(UR).joint_names


def written(path, header, rows=12, scale=0.1):
    """t_s and columns that differ, of as many numbers as the header has names."""
    width = header.count(",")
    lines = [",".join(map(str, [0.02 * k, *(scale * (k % 5 + j + 0.5) for j in range(width))])) for k in range(rows)]
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def read(path, **choices):
    (episode,) = open_recording(path, choices=Choices(**choices))
    return episode


def looked(path, *options):
    done = CliRunner().invoke(application(), ["inspect", str(path), "--json", *options])
    return done.exit_code, json.loads(done.stdout), done.stderr


def test_columns_that_are_only_counted_become_a_models_joints_where_a_person_says_so(tmp_path):
    path = written(tmp_path / "a.csv", "t_s,q0,q1,q2,q3,q4,q5,qd0,qd1,qd2,qd3,qd4,qd5")
    with pytest.raises(UndecidedError, match=r"no names of joints of .*, but numbers: --joints model"):
        open_recording(path, UR)
    for joints in (("model",), JOINTS):
        episode = read(path, model=UR, joints=joints, unit="rad")
        assert episode.joints == JOINTS
        assert episode.position[0].tolist() == pytest.approx([0.05, 0.15, 0.25, 0.35, 0.45, 0.55])
        assert episode.velocity[0].tolist() == pytest.approx([0.65, 0.75, 0.85, 0.95, 1.05, 1.15])
        assert any("q0 -> shoulder_pan_joint, q1 -> " in told for told in episode.conversions)
        assert not any("changes nothing" in odd for odd in episode.oddities)
    code, found, _ = looked(path, "--model", UR)
    assert (code, f"kinestream publish {path} --model {UR} --joints model --unit rad" in found["choose"]) == (2, True)
    code, found, _ = looked(path, "--model", UR, "--joints", "model", "--unit", "rad")
    assert (code, found["joints_mapped"]["q3"], found["joints_not_mapped"]) == (0, "wrist_1_joint", [])


def test_a_robot_nobody_has_described_may_be_named_so_too(tmp_path):
    path = written(tmp_path / "a.csv", "t_s,q0 [deg],q1 [rad]")
    episode = read(path, joints=("base", "tip"))
    assert episode.joints == ("base", "tip")
    assert episode.position[0].tolist() == pytest.approx([np.deg2rad(0.05), 0.15])


@pytest.mark.parametrize(
    ("header", "choices", "told"),
    [
        ("t_s,q1,q0", {"joints": ("a", "b")}, "counts its columns q1, q0, not in the order of their numbers"),
        ("t_s,q0,q1", {"joints": ("a", "b", "c")}, "has 2 columns, --joints names 3"),
        (
            "t_s,q0,q1",
            {"joints": ("model",)},
            "--joints model means the names of a described robot: say which with",
        ),
        ("t_s,a.pos,a.position,b.pos", {}, "a.pos, a.position name a joint's position twice; leave one of them"),
        ("t_s,q0,q1", {"model": UR}, "but numbers: --joints A,B,C names them in order"),
        ("t_s,elbow_jont.pos [rad]", {"model": UR}, r"no joints of .*-ur5e \(is elbow_jont elbow_joint\?\)"),
    ],
)
def test_names_that_could_be_two_things_or_fit_nothing_are_refused(tmp_path, header, choices, told):
    with pytest.raises(RecordingError, match=told):
        read(written(tmp_path / "a.csv", header), unit="rad", **choices)


def test_a_name_of_no_column_is_told_with_the_nearest_and_the_line_that_would_be_right(tmp_path):
    path = written(tmp_path / "a.csv", "t_s,base,shoulder,elbow,wrist")
    code, found, err = looked(path, "--joints", "base,sholder,elbow,xyz")
    assert (code, err.count("\n")) == (2, 1)
    assert "no column sholder (near it: shoulder); xyz (near it: nothing), which --joints names; it has base," in err
    _, found, _ = looked(path, "--joints", "base,sholder,elbow,wrist")
    line = f"kinestream publish {path} --joints base,shoulder,elbow,wrist"
    assert found["choose"] == [f"{line} --unit {unit}" for unit in ("rad", "deg", "own")]


def test_a_robot_of_ones_own_is_offered_beside_the_one_that_has_some_of_the_names(tmp_path):
    path = written(tmp_path / "a.csv", "t_s,base,shoulder,elbow,wrist,load [N]", scale=20)
    code, found, _ = looked(path)
    own = f"kinestream publish {path} --joints base,shoulder,elbow,wrist"
    assert code == 2
    assert [line for line in found["choose"] if line.startswith(own)] == [
        f"{own} --unit deg",
        f"{own} --unit own",
        f"{own} --calibration FILE",
    ]
    assert all("--unit " in line or "--calibration FILE" in line for line in found["choose"]), "none without joints"
    assert found["oddities"][0].startswith("seen as if --joints shoulder,elbow were said")
    episode = read(path, joints=("base", "shoulder", "elbow", "wrist"), unit="deg")
    assert np.allclose(episode.position[0], np.deg2rad([10, 30, 50, 70]))


def test_columns_of_whole_numbers_among_joints_are_called_odd(tmp_path):
    (path := tmp_path / "a.csv").write_text("t_s,tilt,station,count\n0,0.1,3,0\n0.1,0.2,3,1\n")
    odd = read(path, joints=("tilt", "station", "count"), unit="rad").oddities
    assert "of the joints station, count alone in whole numbers, as counts and ids are: are they joints?" in odd
    assert not any("whole numbers" in text for text in read(path, joints=("tilt",), unit="rad").oddities)


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("ur5e", UR),
        ("UR5", UR),
        ("franca", "franka-fr3"),
        ("unitree-g1", "unitree-g1-23-dof"),
        ("h1-2", "unitree-h1-2"),
    ],
)
def test_of_the_models_the_one_that_holds_the_name_is_the_nearest(name, first):
    assert nearest(name, model_ids(), 5, 0.5)[0] == first


def test_columns_nobody_names_are_one_channel_and_that_and_made_stamps_are_called_odd(tmp_path):
    rows = [",".join(map(str, [0.1, 0.2, 0.8, 0, 0, np.sin(k / 50), np.cos(k / 50), 0.1 * k, 0.2])) for k in range(9)]
    (path := tmp_path / "a.csv").write_text("\n".join(rows))
    episode = read(path, rate_hz=50.0)
    assert (episode.joints, episode.further["source_joints"].shape) == ((), (9, 2))
    told = " ".join(episode.oddities)
    assert (
        "nothing names the columns of joints (2), nor says their unit: each is one channel, and there are no joints"
        in told
    )
    assert "the stamps are computed, not measured: the source holds no time; the rate is given with --rate" in told
    assert "one channel" not in " ".join(read(path, rate_hz=50.0, joints=("a", "b"), unit="rad").oddities)


def test_bare_columns_that_are_only_counted_are_a_models_joints_too(tmp_path):
    path = written(tmp_path / "a.csv", "t_s,joint1,joint2,joint3,joint4,joint5,joint6")
    episode = read(path, model=UR, joints=("model",), unit="rad")
    assert episode.joints == JOINTS
    _, found, _ = looked(path)
    own = [line for line in found["choose"] if "provisional:NAME" in line]
    assert len(own) == 3, "the robot of one's own is among the choices, however many models bear such names"


def test_a_number_more_is_no_name_misspelt(tmp_path):
    path = written(tmp_path / "a.csv", "t_s," + ",".join(f"joint_{k}.pos [rad]" for k in range(6)))
    _, found, _ = looked(path)
    assert "misspelt" not in found["robot"]["why"]


def test_columns_that_declare_angles_are_offered_as_joints_and_lengths_are_told_in_metres(tmp_path):
    path = written(tmp_path / "a.csv", "t_s,turn [deg],lift [mm]")
    _, found, _ = looked(path)
    assert found["choose"] == [f"kinestream publish {path} --joints turn,lift"]
    _, found, _ = looked(path, "--joints", "turn,lift")
    assert found["channels"] == [{"name": "position", "width": 2, "unit": "rad and m"}]
