"""`kinestream ingest FILE`: every line to the broker, one clear word on what was not taken, and the exit code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from kinestream.deploy.cli import application
from kinestream.producers.spool import promised
from tests.plugins.gateway import HELLO, frames
from tests.plugins.mockbroker import MockBroker

START = {"type": "start", "take": "t1"}
END = {"type": "end", "outcome": "SUCCESS"}


@pytest.fixture
def kinestream(mock_broker: MockBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KINESTREAM_KAFKA", mock_broker.bootstrap)
    monkeypatch.setenv("KINESTREAM_SPOOL", str(tmp_path / "spools"))
    monkeypatch.setenv("KINESTREAM_HOME", str(tmp_path / "home"))

    def run(*arguments: str, lines: list[dict[str, Any]] = ()) -> Any:  # type: ignore[assignment]
        text = "\n".join(map(json.dumps, lines))
        return CliRunner().invoke(application(), ["ingest", *arguments, "--json"], input=text)

    return run


def test_a_file_is_with_the_broker_when_it_ends_and_a_second_run_sends_nothing_new(kinestream, tmp_path: Path):
    path = tmp_path / "takes.ndjson"
    other = [{**HELLO, "robot_id": "arm-8"}, START, frames(0, 20), END]
    path.write_text("\n".join(json.dumps(one) for one in [HELLO, START, frames(0, 300), END, *other]))
    done = kinestream(str(path))
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert [(one["take"], one["frames"], one["outcome"]) for one in report["episodes"]] == [
        ("t1", 300, "SUCCESS"),
        ("t1", 20, "SUCCESS"),
    ]
    for robot_id in ("arm-7", "arm-8"):
        (kept,) = promised(tmp_path / "spools" / "hub.ingest" / robot_id).values()
        assert kept.acknowledged, "only its receipt is missing"
    again = json.loads(kinestream(str(path)).stdout)
    assert [one["episode_id"] for one in again["episodes"]] == [one["episode_id"] for one in report["episodes"]]


def test_refused_lines_and_a_take_without_an_end_are_told_and_are_exit_code_1(kinestream):
    done = kinestream("-", lines=[HELLO, START, frames(0, 30), {"type": "frame", "position": [1]}])
    assert done.exit_code == 1
    report = json.loads(done.stdout)
    (refused,) = report["refusals"]
    assert (refused["line"], refused["reason"], report["refused"], report["left_open"]) == (4, "LAYOUT", 1, 1)
    (episode,) = report["episodes"]
    assert (episode["frames"], episode["outcome"]) == (30, "ABORTED")


def test_what_cannot_be_begun_is_one_clear_error(kinestream, tmp_path: Path):
    for arguments, says in (
        ((), "give a FILE"),
        (("-", "--tcp", ":0"), "give a FILE"),
        (("--tcp", "0.0.0.0:0"), "KINESTREAM_INGEST_TOKEN"),
        ((str(tmp_path / "none"),), "cannot be read"),
    ):
        done = kinestream(*arguments)
        assert done.exit_code == 2, done.output
        assert says in done.stderr
