"""The command ``kinestream inspect``: what is inside, the line to publish it with, and 0 only where that would work."""

import json
import shlex

import pytest
from typer.testing import CliRunner

from kinestream.deploy.cli import application
from tests.plugins.recording_files import FORMATS, bag1, mcap


def run(*arguments):
    done = CliRunner().invoke(application(), ["inspect", *map(str, arguments)])
    return done.exit_code, done.stdout, done.stderr


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_says_what_it_holds_and_how_to_publish_it(name, tmp_path):
    write, choices = FORMATS[name]
    path = write(tmp_path)
    options = ["--model", choices.model] if choices.model else []
    options += ["--rate", str(choices.rate_hz)] if choices.rate_hz else []
    options += ["--unit", choices.unit] if choices.unit else []
    code, out, err = run(path, *options, "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["refused"] == ""
    assert found["episodes"] > 0
    assert found["frames"] > 0
    assert found["clocks"]
    assert found["channels"]
    assert found["rate_hz"] > 0
    words = shlex.split(found["publish"])
    assert words[:3] == ["kinestream", "publish", str(path)]
    assert all(option in words for option in options[::2])


def test_an_uncertain_robot_is_shown_with_its_choices_and_refused(tmp_path):
    code, out, err = run(mcap(tmp_path), "--json")
    found = json.loads(out)
    assert code == 2
    assert found["robot"]["confidence"] < 0.9
    assert found["robot"]["choices"] == ["universal-robots-ur5e"]
    assert found["publish"] == ""
    assert err.count("\n") == 1
    assert "--model universal-robots-ur5e" in err
    assert found["joints_mapped"]["elbow_joint"] == "elbow_joint"


def test_a_person_reads_it_in_lines(tmp_path):
    code, out, _ = run(mcap(tmp_path), "--model", "universal-robots-ur5e")
    assert code == 0
    assert "6 frames" in out
    assert "header stamp, log time" in out
    assert "odd        the clock of header stamp is 3600.0 s ahead of that of log time" in out
    assert out.splitlines()[-1].startswith("publish    kinestream publish ")


def test_the_path_stands_in_the_line_as_it_was_typed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my arm.csv").write_text("t,q0\n0,0.1\n0.1,0.2\n")
    for typed in ("my arm.csv", "./my arm.csv", str(tmp_path / "my arm.csv")):
        assert run(typed, "--unit", "rad")[1].splitlines()[-1] == f"publish    kinestream publish '{typed}' --unit rad"


def test_stamps_that_go_back_make_no_negative_duration(tmp_path):
    (tmp_path / "x.csv").write_text("t,q0\n10,0.1\n8,0.2\n5,0.3\n")
    code, out, _ = run(tmp_path / "x.csv", "--unit", "rad")
    assert (code, "1, 3 frames, 5.00 s" in out) == (0, True)
    assert "odd        2 stamps lie before the one that precedes them" in out


@pytest.mark.parametrize(
    ("step", "options", "rate"),
    [
        (0.02, (), "rate       50 Hz on average; nominal 50 Hz, that of the median period, for nobody declares one"),
        (0.02, ("--rate", "60"), "rate       50 Hz on average; nominal 60 Hz, declared"),
    ],
)
def test_the_average_rate_and_the_nominal_one_are_told_apart(step, options, rate, tmp_path):
    rows = "".join(f"{k * step:.3f},0.{k}\n" for k in range(20))
    (tmp_path / "x.csv").write_text(f"t,q0\n{rows}")
    assert rate in run(tmp_path / "x.csv", "--unit", "rad", *options)[1].splitlines()


def test_a_refused_recording_is_as_long_as_all_its_episodes(tmp_path):
    found = json.loads(run(bag1(tmp_path), "--split", "0.01", "--json")[1])
    assert (found["episodes"], found["duration_s"]) == (6, 0)
    found = json.loads(run(tmp_path / "arm.bag", "--json")[1])
    assert (found["refused"] != "", found["duration_s"]) == (True, 0.1)
