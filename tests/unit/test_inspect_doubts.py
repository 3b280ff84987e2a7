"""``kinestream inspect`` of a recording that leaves a thing to a person: all else is shown, and the line to fill in."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from kinestream.deploy.cli import application
from kinestream.schemas.models import load_model

UR = "shoulder_pan_joint,shoulder_lift_joint,elbow_joint,wrist_1_joint,wrist_2_joint,wrist_3_joint"
ROWS = "".join(f"0.{k},0.2,0.3,0.4,0.5,0.{k}\n" for k in range(9))


def run(*arguments):
    done = CliRunner().invoke(application(), [*map(str, arguments)])
    return done.exit_code, done.stdout, done.stderr


def looked(path, *options):
    code, out, err = run("inspect", path, "--json", *options)
    assert (code, err.count("\n")) == (2, 1)
    return json.loads(out), err


def test_without_a_rate_all_else_is_shown(tmp_path):
    (path := tmp_path / "a.csv").write_text("a.pos [rad],b.pos [rad],load [N]\n0.1,0.2,3\n0.2,0.3,4\n")
    found, err = looked(path)
    assert err == f"error: {path} holds no time and no rate of frames; give it with --rate HZ\n"
    assert (found["frames"], found["joints_not_mapped"]) == (2, ["a", "b"])
    assert [(c["name"], c["unit"]) for c in found["channels"]] == [("joint_position", "rad"), ("load", "N")]
    assert (found["rate_hz"], found["nominal_rate_hz"], found["duration_s"], found["clocks"]) == (0, 0, 0, [])
    assert found["robot"]["model_id"].startswith("provisional-")
    assert (found["publish"], found["choose"]) == ("", [f"kinestream publish {path} --rate HZ"])
    _, out, _ = run("inspect", path)
    assert "rate       unknown: say --rate HZ" in out
    assert "episodes   1, 2 frames\n" in out
    assert run("inspect", path, "--rate", "50")[0] == 0, "the line, filled in, works"


def test_an_npz_without_fps_lacks_a_rate_and_nothing_else(tmp_path):
    np.savez(path := tmp_path / "a.npz", joint_pos=np.zeros((5, 3), np.float32))
    found, err = looked(path)
    assert (found["frames"], found["choose"]) == (5, [f"kinestream publish {path} --rate HZ"])
    assert "holds no time and no rate" in err


def test_bare_columns_are_shown_as_the_joints_they_are_named_as_and_each_way_to_say_it(tmp_path):
    (path := tmp_path / "a.csv").write_text(f"{UR}\n{ROWS}")
    found, err = looked(path)
    assert "say which are positions with --joints A,B,C" in err
    assert found["robot"]["choices"] == ["universal-robots-ur5e"]
    assert list(found["joints_mapped"]) == UR.split(",")
    assert (
        f"kinestream publish {path} --model universal-robots-ur5e --joints {UR} --rate HZ --unit rad" in found["choose"]
    )


def test_a_folder_of_recordings_is_told_to_be_given_by_its_files(tmp_path):
    assert "neither meta/info.json nor metadata.yaml in it; readable" in run("inspect", tmp_path)[2]
    for name in ("b.csv", "a.csv"):
        (tmp_path / name).write_text("t_s,q0_rad\n0,1\n")
    (tmp_path / "01.asf").write_text(":version 1.10\n")
    code, _, err = run("inspect", tmp_path)
    assert (code, "it holds a.csv and 1 more: give its files" in err) == (2, True)
    assert "give the .amc beside it" in run("inspect", tmp_path / "01.asf")[2]


def test_bare_columns_nobody_knows_are_left_to_fill_in(tmp_path):
    (path := tmp_path / "a.csv").write_text("t_s,foo,bar\n0,1,2\n0.1,2,3\n")
    found, _ = looked(path)
    assert {line.split(" --unit")[0] for line in found["choose"]} == {f"kinestream publish {path} --joints A,B,C"}
    assert found["duration_s"] == pytest.approx(0.1)


def test_a_line_that_is_not_filled_in_is_told(tmp_path):
    np.savez(path := tmp_path / "a.npz", fps=50, joint_pos=np.zeros((5, 3), np.float32))
    for option in (("--model", "provisional:NAME"), ("--joints", "A,B,C")):
        code, _, err = run("inspect", path, *option)
        assert (code, "put the robot's name for NAME" in err) == (2, True)


def test_columns_nobody_names_of_a_known_robot_are_left_to_fill_in_or_are_the_models(tmp_path):
    for joints, line in ((6, "--joints model"), (4, "--joints A,B,C")):
        np.savez(path := tmp_path / "a.npz", fps=50, joint_pos=np.zeros((5, joints), np.float32))
        model = "universal-robots-ur5e"
        assert len(load_model(model).joint_names) == 6
        found, _ = looked(path, "--model", model)
        assert found["choose"] == [f"kinestream publish {path} --model {model} {line}"]


def test_a_unit_of_some_columns_only_is_asked_for_with_all_else_shown(tmp_path):
    (path := tmp_path / "a.csv").write_text("t_s,q0_rad,q1,load [N]\n0,0.1,0.2,3\n0.1,0.2,0.3,4\n")
    found, err = looked(path)
    assert "nothing for q1; declare the unit of each" in err
    assert (found["frames"], found["joints_not_mapped"]) == (2, ["q0", "q1"])
    assert found["choose"] == [f"kinestream publish {path} --unit {unit}" for unit in ("rad", "deg", "own")]
