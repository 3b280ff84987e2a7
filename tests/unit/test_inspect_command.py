"""The command ``kinestream inspect``: what is inside, the line to publish it with, and 0 only where that would work."""

import json
import shlex

import pytest
from typer.testing import CliRunner

from kinestream.deploy.cli import application
from tests.plugins.recording_files import FORMATS, mcap


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
