"""The command ``kinestream publish``: one document or a few plain lines, and one line for what went wrong."""

import json
import os
import subprocess
import sys

import pytest

from kinestream.schemas.catalogue import FRAMES_BULK, topic_name
from tests.plugins.topics import read_episodes


@pytest.fixture
def kinestream(test_broker, tmp_path):
    """Runs the command line against the test broker; without=True: where no broker was ever named."""

    def run(*arguments, without=False):
        env = {name: value for name, value in os.environ.items() if not name.startswith("KINESTREAM_")}
        env |= {"KINESTREAM_TENANT": test_broker.tenant, "KINESTREAM_HOME": str(tmp_path / "home")}
        env |= {} if without else {"KINESTREAM_KAFKA": test_broker.bootstrap}
        command = [sys.executable, "-c", "from kinestream.deploy.cli import main; main()", "publish", *arguments]
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)

    return run


def test_json_is_one_document_about_what_is_on_the_topic(kinestream, data_set, test_broker):
    done = kinestream(str(data_set), "--skill", "pour", "--area", "catering", "--robot", "arm-1", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    on_topic = read_episodes(test_broker.bootstrap, topic_name(FRAMES_BULK, test_broker.tenant))
    assert {e["episode_id"]: e["frames"] for e in document["episodes"]} == {
        i: e.end["n_total"] for i, e in on_topic.items()
    }
    assert {(e.start["skill"], e.start["area"], e.start["robot_id"]) for e in on_topic.values()} == {
        ("pour", "catering", "arm-1")
    }
    assert document["frames"] == 10
    assert document["bytes"] > 0
    assert document["seconds"] > 0
    odd = "odd: the stamps are synthetic: frame / 30 Hz, not measured"
    assert document["notes"] == ["little declares 3 episodes; 2 are there and were published, 1 are not (1)", odd]
    assert done.stderr == f"{odd}\n"


def test_a_person_reads_what_happened_what_is_missing_and_what_to_do_next(kinestream, data_set):
    done = kinestream(str(data_set), "--skill", "juggle")
    assert done.returncode == 0, done.stderr
    assert "published 2 episodes, 10 frames" in done.stdout
    assert "1 are not (1)" in done.stdout
    assert "skill 'juggle' is not listed" in done.stdout
    assert done.stderr == "odd: the stamps are synthetic: frame / 30 Hz, not measured\n"
    assert "next: `kinestream episodes`" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["{here}/nowhere"], "nowhere does not exist"),
        (["{here}/little", "--speed", "fast"], "allowed are max and a number above 0"),
    ],
)
def test_what_cannot_be_published_is_one_line_and_exit_2(kinestream, data_set, arguments, told):
    done = kinestream(*(argument.format(here=data_set.parent) for argument in arguments), "--json")
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_without_a_broker_it_says_how_to_get_one(kinestream, data_set):
    done = kinestream(str(data_set), without=True)
    assert done.returncode == 2
    assert done.stderr == "error: no broker: run `kinestream up`, or set KINESTREAM_KAFKA to one that runs\n"
