"""`kinestream fleet`: a floor for a running broker, its truth, its pace and its cost, as docs/fleet.md says."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest

from kinestream.producers.fleet import pace
from kinestream.producers.fleet.faults import KINDS
from kinestream.producers.fleet.pace import Kept, Pace
from kinestream.producers.fleet.report import Summary
from kinestream.schemas.catalogue import FRAMES, topic_name
from tests.plugins.broker import Broker, Brokers
from tests.plugins.topics import read_episodes

PAGE = (Path(__file__).parents[2] / "docs" / "fleet.md").read_text(encoding="utf-8")
(EXAMPLE,) = re.findall(r"^kinestream fleet (.*--faults \S+,.*)$", PAGE, re.M)
SMALL = ("--robots", "2", "--rate", "20", "--seconds", "1.6")


@dataclass
class Run:
    """A fleet that has ended."""

    process: subprocess.Popen[str]
    folder: Path
    summary: dict[str, Any] = field(default_factory=dict)
    errors: str = ""

    def finish(self) -> None:
        out, self.errors = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, self.errors
        self.summary = json.loads(out)

    def events(self, name: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in (self.folder / "truth.jsonl").read_text().splitlines()]
        return [line for line in lines if line["event"] == name]

    @property
    def hashes(self) -> dict[tuple[str, int], str]:
        """Content hash of each take, by robot and number."""
        begun = {line["episode_id"]: (line["robot_id"], line["number"]) for line in self.events("episode_started")}
        return {begun[line["episode_id"]]: line["content_hash"] for line in self.events("episode_ended")}


def begin(broker: Broker, folder: Path, *arguments: str) -> Run:
    env = {**os.environ, "KINESTREAM_TENANT": broker.tenant, "KINESTREAM_KAFKA": broker.bootstrap}
    command = [sys.executable, "-c", "from kinestream.deploy.cli import main; main()", "fleet", *arguments]
    folder.mkdir(exist_ok=True)
    pipe = subprocess.PIPE
    return Run(subprocess.Popen(command, env=env, stdout=pipe, stderr=pipe, text=True, cwd=folder), folder)


@pytest.fixture(scope="module")
def broker_of_all(brokers: Brokers) -> Broker:
    return brokers.get("test")


@pytest.fixture(scope="module")
def runs(broker_of_all: Broker, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """The documented example, two runs without a seed and two with one, all at once: a take lasts seconds."""
    small = (*SMALL, "--truth", "truth.jsonl", "--json")
    asked = {
        "example": shlex.split(EXAMPLE),
        "any": small,
        "another": small,
        "seeded": (*small, "--seed", "7"),
        "again": (*small, "--seed", "7"),
    }
    folder = tmp_path_factory.mktemp("fleets")
    begun = {name: begin(broker_of_all, folder / name, *arguments) for name, arguments in asked.items()}
    try:
        for run in begun.values():
            run.finish()
    finally:
        for run in begun.values():
            run.process.kill()
            run.process.wait()
    return begun


def test_the_documented_plan_is_sent_as_the_truth_says(runs: dict[str, Run], broker_of_all: Broker):
    run = runs["example"]
    on_topic = read_episodes(broker_of_all.bootstrap, topic_name(FRAMES, broker_of_all.tenant))
    faults = run.events("fault")
    assert run.summary["faults"] == {"loss": 1, "repeated_numbers": 1, "frozen": 1}, "half of six takes"
    for fault in faults:
        assert fault["metrics"] == list(KINDS[fault["fault"]].metrics)
        episode = on_topic[fault["episode_id"]]
        numbers = range(episode.end["n_total"])
        if fault["fault"] == "loss":
            assert len(numbers) - len(set(episode.seq)) == max(2, round(0.03 * len(numbers)))
            assert fault["seq"] not in episode.seq
        elif fault["fault"] == "repeated_numbers":
            again = [seq for seq in numbers if episode.seq.count(seq) == 2]
            assert again == list(range(fault["seq"], fault["seq"] + 5))
        else:
            joint = episode.start["joints"].index(fault["joint"])
            assert len(set(episode.values("position")[fault["seq"] :, joint].tolist())) == 1


def test_runs_differ_unless_a_seed_is_given_and_then_it_says_what_that_means(runs: dict[str, Run]):
    one, other, seeded, again = (runs[name] for name in ("any", "another", "seeded", "again"))
    assert one.summary["seed"] != other.summary["seed"]
    assert not set(one.hashes.values()) & set(other.hashes.values())
    assert one.summary["notes"] == []
    both = seeded.hashes.keys() & again.hashes.keys()
    assert len(both) == 2
    assert all(seeded.hashes[take] == again.hashes[take] for take in both)
    (note,) = again.summary["notes"]
    assert "seed 7" in note
    assert "D1" in note
    assert "D1" in again.errors, "a person without --json sees it as well"


def test_a_run_says_its_pace_and_its_cost(runs: dict[str, Run]):
    told = runs["example"].summary
    assert 50 < told["frames_per_s"] <= 6 * 50
    assert 40 < told["take_hz"] < 51
    assert 0 < told["cpu_share"] < 2
    assert 0 <= told["missed_deadlines"] < told["chunks"]
    assert told["chunks"] >= told["frames"] / 10
    assert 0 < told["late_ms"]["p50"] <= told["late_ms"]["p99"] <= told["late_ms"]["max"]


def test_the_page_lists_every_fault_and_every_figure():
    (faults,) = re.findall(r"<!-- begin faults -->(.*?)<!-- end -->", PAGE, re.S)
    rows = [[cell.strip() for cell in row.split("|")[1:4]] for row in faults.strip().splitlines()[2:]]
    assert rows == [[f"`{n}`", ", ".join(k.metrics), "yes" if k.of_joint else ""] for n, k in KINDS.items()]
    (figures,) = re.findall(r"<!-- begin summary -->(.*?)<!-- end -->", PAGE, re.S)
    names = {*Summary.__dataclass_fields__, *Kept.__dataclass_fields__} - {"kept"}
    assert {
        one for row in figures.strip().splitlines()[2:] for one in re.findall(r"`(\w+)`", row.split("|")[1])
    } == names


def test_no_share_of_chunks_is_later_than_the_latest(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pace.time, "monotonic_ns", lambda: 10_449_439)
    kept_time = Pace()
    kept_time.handed(10, due_ns=0, next_due_ns=10**9)
    assert (kept_time.kept().late_ms.p99, kept_time.kept().late_ms.max) == (10.4, 10.4)


def test_deadlines_and_lateness_are_counted_with_the_clock_it_is_given(monkeypatch: pytest.MonkeyPatch):
    now = [0]
    monkeypatch.setattr(pace.time, "monotonic_ns", lambda: now[0])
    kept_time = Pace()
    for late_ms in (0, 2, 4, 150):
        now[0] += 1_000_000_000
        kept_time.handed(10, now[0] - late_ms * 1_000_000, now[0] + (100 - late_ms) * 1_000_000)
    kept_time.took(400, 0)
    kept = kept_time.kept()
    assert (kept.frames_per_s, kept.take_hz, kept.chunks, kept.missed_deadlines) == (10.0, 100.0, 4, 1)
    assert asdict(kept.late_ms) == {"p50": 3.0, "p99": 150.0, "max": 150.0}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--faults", "bang"), "there are nan,"),
        (("--model", "fourier-n1"), "no joint whose limits"),
        (("--truth", "/nowhere/truth"), "--truth /nowhere/truth"),
        (("--json", "--truth", "-"), "name a file"),
    ],
)
def test_what_does_not_fit_is_one_line_and_exit_2(broker_of_all: Broker, tmp_path: Path, arguments, told):
    run = begin(broker_of_all, tmp_path, *arguments)
    _, errors = run.process.communicate(timeout=60)
    assert run.process.returncode == 2
    assert told in errors
    assert len(errors.strip().splitlines()) == 1
