"""`kinestream fleet`: a floor for a running broker, its truth as lines, its cost as a share of a core."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from kinestream.producers.fleet.faults import KINDS
from kinestream.schemas.catalogue import FRAMES, topic_name
from tests.plugins.topics import read_episodes


def fleet(test_broker, *arguments):
    env = {**os.environ, "KINESTREAM_TENANT": test_broker.tenant, "KINESTREAM_KAFKA": test_broker.bootstrap}
    command = [sys.executable, "-c", "from kinestream.deploy.cli import main; main()", "fleet", *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)


def test_faults_are_sent_as_the_truth_says_and_their_cost_is_told(test_broker, tmp_path):
    truth = tmp_path / "truth.jsonl"
    plan = ("--robots", "6", "--seconds", "1.5", "--rate", "50", "--faults", "loss,repeated_numbers:1")
    done = fleet(test_broker, *plan, "--truth", str(truth), "--json")
    assert done.returncode == 0, done.stderr
    summary, lines = json.loads(done.stdout), [json.loads(line) for line in truth.read_text().splitlines()]
    assert summary["faults"] == {"loss": 3, "repeated_numbers": 3}
    assert 0 < summary["cpu_share"] < 2
    on_topic = read_episodes(test_broker.bootstrap, topic_name(FRAMES, test_broker.tenant))
    faults = [line for line in lines if line["event"] == "fault"]
    assert len(faults) == 6
    for fault in faults:
        assert fault["metrics"] == list(KINDS[fault["fault"]].metrics)
        episode = on_topic[fault["episode_id"]]
        if fault["fault"] == "loss":
            lost = episode.end["n_total"] - len(set(episode.seq))
            assert lost == max(2, round(0.03 * episode.end["n_total"]))
            assert fault["seq"] not in episode.seq
        else:
            again = [seq for seq in range(episode.end["n_total"]) if episode.seq.count(seq) == 2]
            assert again == list(range(fault["seq"], fault["seq"] + 5))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--faults", "bang"), "there are nan,"),
        (("--model", "fourier-n1"), "no joint whose limits"),
        (("--truth", "/nowhere/truth"), "--truth /nowhere/truth"),
        (("--json", "--truth", "-"), "name a file"),
    ],
)
def test_what_does_not_fit_is_one_line_and_exit_2(test_broker, arguments, told):
    done = fleet(test_broker, *arguments)
    assert done.returncode == 2
    assert told in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
