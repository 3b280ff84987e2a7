"""``kinestream demo`` as a machine and a person meet it: whole, not whole, interrupted; and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import xmlrpc.client
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from supervisor.xmlrpc import SupervisorTransport

from kinestream.deploy.local import process
from kinestream.deploy.local.ports import Remembered
from kinestream.deploy.local.stack import Stack
from kinestream.schemas.settings import Settings
from tests.behaviour.test_stack import KINESTREAM, living
from tests.plugins.broker import Broker
from tests.plugins.store import Store

Start = Callable[..., subprocess.Popen[str]]
PATIENCE_S = 100.0
pytestmark = pytest.mark.slow


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a demo in a process group of its own, as a shell does; keywords are settings."""
    running = []

    def begin(*arguments: str, **settings: str) -> subprocess.Popen[str]:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("KINESTREAM_")}
        ours = {"home": str(tmp_path), "broker": "test", **settings}
        environment |= {f"KINESTREAM_{name.upper()}": value for name, value in ours.items()}
        pipe = subprocess.PIPE
        command = [*KINESTREAM, "demo", *arguments]
        running.append(
            subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True, start_new_session=True)
        )
        return running[-1]

    yield begin
    for one in running:
        one.kill()
        one.communicate()
    assert process.wait_until(lambda: living(tmp_path) == [], 30), living(tmp_path)


def finish(demo: subprocess.Popen[str]) -> tuple[int, dict[str, Any], str]:
    """Exit code, the one document on stdout, and stderr."""
    out, err = demo.communicate(timeout=PATIENCE_S)
    return demo.returncode, json.loads(out), err


def check_whole(code: int, said: dict[str, Any], err: str) -> None:
    assert (code, said["missing"]) == (0, []), err
    assert said["robots"] == 4
    published = said["episodes_published"]
    assert published >= 4
    counted = ("episodes_completed", "episodes_announced", "episodes_stored")
    assert [said[name] for name in counted] == [published] * 3
    assert said["frames_stored"] == said["frames_published"] >= 400 * published
    nothing = ("lost_frames", "hash_mismatches", "visible_duplicates", "repeated_events", "wrong_findings")
    assert {name: said[name] for name in nothing} == dict.fromkeys(nothing, 0)
    assert said["faults_injected"] == said["faults_caught"] >= 1
    for name, samples in (("event_latency_ms", published), ("finding_latency_ms", said["faults_caught"])):
        assert said[name]["samples"] == samples
        assert 0 < said[name]["p50"] <= said[name]["p99"]
    assert said["seconds"] > 6


@pytest.mark.parametrize("kind", ["test", pytest.param("kafka", marks=pytest.mark.kafka)])
def test_every_episode_is_completed_stored_and_announced(start: Start, kind: str, tmp_path: Path) -> None:
    code, said, err = finish(start("--robots", "4", "--seconds", "6", "--json", broker=kind))
    check_whole(code, said, err)
    assert (said["broker"], said["store"]) == (kind, "embedded")
    assert "frames/s" in err
    assert living(tmp_path) == []


def test_services_of_the_settings_are_used(start: Start, test_broker: Broker, store: Store, tmp_path: Path) -> None:
    where = {"kafka": test_broker.bootstrap, "clickhouse": store.url}
    code, said, err = finish(start("--robots", "4", "--seconds", "2", "--json", **where))
    check_whole(code, said, err)
    assert (said["broker"], said["store"]) == ("test", "clickhouse")
    assert not (tmp_path / "demo" / "store").exists()


def started(home: Path) -> bool:
    """Whether the robots began."""
    report = home / "demo" / "fleet.jsonl"
    return report.exists() and "episode_started" in report.read_text()


def test_a_worker_that_never_comes_back_makes_it_exit_1_and_say_what_is_missing(start: Start, tmp_path: Path) -> None:
    short = {"incomplete_after_s": "1", "session_s": "2"}  # how long the last episodes are waited for
    demo = start("--robots", "4", "--seconds", "2", "--json", **short)
    assert process.wait_until(lambda: started(tmp_path) or demo.poll() is not None, PATIENCE_S)
    transport = SupervisorTransport(None, None, f"unix://{Remembered.load(tmp_path / 'demo').socket}")
    with xmlrpc.client.ServerProxy("http://127.0.0.1", transport) as server:
        assert server.supervisor.stopProcess("worker")
    code, said, err = finish(demo)
    assert code == 1, err
    assert said["episodes_published"] >= 4
    assert said["episodes_announced"] == said["episodes_completed"] == 0
    assert said["lost_frames"] == said["frames_published"] - said["frames_stored"] > 0
    assert said["event_latency_ms"] == {"p50": None, "p99": None, "samples": 0}
    assert any("was never announced" in line for line in said["missing"])
    assert any(line.startswith("worker does not work") for line in said["missing"])


@pytest.mark.parametrize("moment", ["broker:", "worker:", "robots at work"])
def test_ctrl_c_at_any_moment_leaves_no_process(start: Start, tmp_path: Path, moment: str) -> None:
    demo = start("--robots", "2", "--seconds", "5")
    assert demo.stderr is not None
    assert any(moment in line for line in demo.stderr)
    os.killpg(demo.pid, signal.SIGINT)
    out, err = demo.communicate(timeout=30)
    assert (demo.returncode, out) == (130, "")
    assert "Traceback" not in err
    assert living(tmp_path) == []


@pytest.mark.skipif(sys.platform != "linux", reason="only the Linux kernel tells a child that its parent was killed")
def test_a_demo_that_is_killed_leaves_no_process(start: Start, tmp_path: Path) -> None:
    demo = start("--robots", "1", "--seconds", "30")
    assert process.wait_until(lambda: started(tmp_path), PATIENCE_S)
    assert len(living(tmp_path)) >= 6
    demo.kill()
    assert process.wait_until(lambda: living(tmp_path) == [], 30), living(tmp_path)


def test_a_stack_that_somebody_runs_in_the_demos_home_is_left_alone(start: Start, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "demo", broker="test")
    Stack(settings).up(workers=0)
    try:
        code = start("--robots", "1", "--seconds", "1")
        out, err = code.communicate(timeout=PATIENCE_S)
        assert (code.returncode, out) == (2, "")
        assert err.splitlines()[-1].startswith(f"error: something runs in {tmp_path / 'demo'}")
        assert all(one.healthy for one in Stack(settings).status())
    finally:
        Stack(settings).down()
