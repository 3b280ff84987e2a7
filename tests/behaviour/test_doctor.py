"""What the doctor says: of a bare machine, of one with something broken, and of a stack that runs."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kinestream.deploy.doctor import FAIL, OK, WARN, Finding, examine
from kinestream.deploy.local import process
from kinestream.deploy.local.jars import VERSION, committed_jars
from kinestream.deploy.local.stack import Stack
from kinestream.schemas.settings import Settings
from tests.stacks import pid_of

KINESTREAM = [sys.executable, "-c", "from kinestream.deploy.cli import main; main()"]


def by_name(settings: Settings) -> dict[str, Finding]:
    return {one.name: one for one in examine(settings)}


def command(settings: Settings, *arguments: str) -> tuple[int, Any]:
    env = {key: value for key, value in os.environ.items() if not key.startswith("KINESTREAM_")}
    env |= {"KINESTREAM_HOME": str(settings.home), "KINESTREAM_BROKER": settings.broker}
    done = subprocess.run([*KINESTREAM, *arguments], env=env, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout


def test_a_bare_machine_is_well_and_is_told_the_next_step(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "none" / "home", broker="test")
    code, said = command(settings, "doctor", "--json")
    document = json.loads(said)
    assert (code, document["healthy"]) == (0, True), said
    found = {one["name"]: one for one in document["findings"]}
    assert "`kinestream up`" in found["stack"]["detail"]
    assert {"python", "java", "kafka jars", "open files", "home", "disk", "clock", "port broker"} <= found.keys()
    assert not settings.home.exists(), "looking changes nothing"


def test_a_machine_without_the_jars_is_told_how_to_get_them(tmp_path: Path) -> None:
    found = by_name(Settings(home=tmp_path, cache=str(tmp_path / "cache")))["kafka jars"]
    assert found.level == WARN
    assert "`kinestream up` fetches them" in found.todo


def test_a_damaged_jar_is_a_failure(tmp_path: Path) -> None:
    folder = tmp_path / "cache" / f"kafka-{VERSION}"
    folder.mkdir(parents=True)
    (folder / committed_jars()[0].name).write_bytes(b"damaged")
    found = by_name(Settings(home=tmp_path, cache=str(tmp_path / "cache")))["kafka jars"]
    assert (found.level, "delete that file" in found.todo) == (FAIL, True)


def test_a_home_that_cannot_hold_anything_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    code, said = command(Settings(home=tmp_path / "file"), "doctor", "--json")
    assert code == 1
    assert FAIL in {one["level"] for one in json.loads(said)["findings"] if one["name"] in ("home", "stack")}


def test_too_little_disk_is_a_failure_with_the_numbers(tmp_path: Path) -> None:
    found = by_name(Settings(home=tmp_path, disk_bytes=1_000_000))["disk"]
    assert found.level == FAIL
    assert "must stay free" in found.detail


def test_a_pinned_port_that_is_taken_is_a_failure(tmp_path: Path) -> None:
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        found = by_name(Settings(home=tmp_path, store_port=stranger.getsockname()[1]))
    assert found["port store"].level == FAIL
    assert found["port registry"].level == OK


def test_services_of_the_settings_that_are_away_are_failures(tmp_path: Path) -> None:
    nobody = f"127.0.0.1:{process.free_port()}"
    found = by_name(Settings(home=tmp_path, kafka=nobody, clickhouse=f"http://{nobody}"))
    assert {found["broker"].level, found["store"].level} == {FAIL}
    assert "unset the KINESTREAM_ variable" in found["broker"].todo


@pytest.fixture
def stack(tmp_path: Path) -> Any:
    made = Stack(Settings(home=tmp_path / "home", broker="test"))
    made.up(workers=1)
    yield made
    made.down()


def test_a_running_stack_is_well_and_a_dead_service_is_found_and_its_log_can_be_read(stack: Stack) -> None:
    found = by_name(stack.settings)
    assert {one.level for one in found.values()} <= {OK, WARN}, found
    assert {"broker", "registry", "store", "worker", "topics", "tables", "worker lag"} <= found.keys()
    assert found["worker lag"].detail == "0 messages behind on 8 partitions"

    elsewhere = by_name(replace(stack.settings, clickhouse_database="elsewhere"))["tables"]
    assert (elsewhere.level, "001_frames_and_episodes.sql" in elsewhere.detail) == (FAIL, True)

    registry = pid_of(stack, "registry")
    os.kill(registry, signal.SIGSTOP)
    try:
        assert by_name(stack.settings)["registry"].level == FAIL
        assert command(stack.settings, "doctor")[0] == 1
    finally:
        os.kill(registry, signal.SIGCONT)

    code, said = command(stack.settings, "logs", "store", "worker", "--last", "5")
    assert code == 0
    assert "store  | listening on http://127.0.0.1:" in said
    assert command(stack.settings, "logs", "stoer")[0] == 2
