"""The local stack as its user meets it: up, status, down, Ctrl-C, killed, no network."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from kinestream.deploy.local import process
from kinestream.deploy.local.stack import Stack
from kinestream.deploy.topics import ensure_topics
from kinestream.schemas.catalogue import FRAMES, topic_name
from kinestream.schemas.errors import BrokerError, StackError
from kinestream.schemas.settings import Settings
from tests.behaviour.test_stack_brokers import consume, produce
from tests.plugins.broker import Broker
from tests.stacks import pid_of

KINESTREAM = [sys.executable, "-c", "from kinestream.deploy.cli import main; main()"]
FOREGROUND = """
import signal, sys
from kinestream.deploy.local.stack import Stack
from kinestream.schemas.settings import Settings
Stack(Settings.from_env()).up(workers=0, foreground=True)
print("up", flush=True)
signal.pause()
"""


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    made = Settings(home=tmp_path / "home", broker="test")
    yield made
    Stack(made).down()


def environment(settings: Settings) -> dict[str, str]:
    ours = {"KINESTREAM_HOME": str(settings.home), "KINESTREAM_BROKER": settings.broker}
    return {**{key: value for key, value in os.environ.items() if not key.startswith("KINESTREAM_")}, **ours}


def run(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [*KINESTREAM, *arguments]
    return subprocess.run(command, env=environment(settings), capture_output=True, text=True, timeout=110, check=False)


def living(home: Path) -> list[str]:
    """Command lines of processes that work in the stack's home folder."""
    found = []
    for one in psutil.process_iter():
        try:
            if one.cwd().startswith(str(home)) and one.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(one.cmdline()))
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def test_up_status_down_from_the_command_line(settings: Settings) -> None:
    assert run(settings, "status").returncode == 3
    up = run(settings, "up", "--workers", "0")
    assert up.returncode == 0, up.stderr
    assert "in memory only" in up.stdout

    status = run(settings, "status", "--json")
    assert status.returncode == 0
    said = json.loads(status.stdout)
    assert [(one["name"], one["healthy"]) for one in said["services"]] == [
        ("broker", True),
        ("registry", True),
        ("store", True),
    ]
    assert said["broker"] == "test"
    assert {said[name] for name in ("kafka", "registry", "clickhouse")} == {one["url"] for one in said["services"]}

    down = run(settings, "down")
    assert (down.returncode, down.stdout) == (0, f"down: data stays in {settings.home}\n")
    assert living(settings.home) == []
    assert run(settings, "down").stdout.startswith("nothing was running")


def test_a_second_up_changes_nothing_and_a_restart_keeps_the_ports(settings: Settings) -> None:
    stack = Stack(settings)
    first = stack.up(workers=0)
    pids = [one.pid for one in stack.status()]
    assert Stack(settings).up(workers=0) == first
    assert [one.pid for one in stack.status()] == pids
    assert stack.down()
    again = stack.up(workers=0)
    assert (again.registry, again.clickhouse) == (first.registry, first.clickhouse)
    assert stack.services() == again


def test_what_is_killed_is_started_again(settings: Settings) -> None:
    stack = Stack(settings)
    stack.up(workers=0)
    before = pid_of(stack, "registry")
    os.kill(before, signal.SIGKILL)

    def back() -> bool:
        registry = {one.name: one for one in stack.status()}["registry"]
        return registry.healthy and registry.pid != before

    assert process.wait_until(back, 30)


def test_the_worker_of_each_lane_is_started_again_when_it_is_killed(settings: Settings, kafka_broker: Broker) -> None:
    tenant = kafka_broker.tenant
    stack = Stack(replace(settings, kafka=kafka_broker.bootstrap, tenant=tenant, group=tenant))
    stack.up(workers=1)
    assert [one.name for one in stack.status()[-2:]] == ["worker", "worker-bulk"]
    pids = {pid_of(stack, "worker"), pid_of(stack, "worker-bulk")}
    for pid in pids:
        os.kill(pid, signal.SIGKILL)

    def back() -> bool:
        return all(one.healthy and one.pid not in pids for one in stack.status()[-2:])

    assert process.wait_until(back, 60)


def test_a_second_worker_on_the_test_broker_is_refused_with_the_way_out(settings: Settings) -> None:
    with pytest.raises(BrokerError, match=r"the test broker serves one worker.*KINESTREAM_BROKER=kafka"):
        Stack(settings).up(workers=2)


def test_a_failure_on_the_way_up_stops_what_was_started_and_says_why(settings: Settings) -> None:
    settings.home.mkdir()
    (settings.home / "store").write_text("a file where the store wants a folder")
    with pytest.raises(StackError, match=r"ClickHouse did not start: .*store\.log"):
        Stack(settings).up(workers=0)
    assert living(settings.home) == []


def test_ctrl_c_on_the_way_up_leaves_nothing(settings: Settings) -> None:
    command = [*KINESTREAM, "up", "--workers", "0"]
    with subprocess.Popen(command, env=environment(settings), stderr=subprocess.PIPE, text=True) as up:
        assert up.stderr is not None
        assert up.stderr.readline().startswith("broker: test broker")
        up.send_signal(signal.SIGINT)
        assert up.stderr.read().count("Traceback") == 0
        assert up.wait(60) == 130
    assert living(settings.home) == []


@pytest.mark.skipif(sys.platform != "linux", reason="only the Linux kernel tells a child that its parent was killed")
def test_a_stack_in_the_foreground_ends_with_a_caller_that_is_killed(settings: Settings) -> None:
    command = [sys.executable, "-c", FOREGROUND]
    with subprocess.Popen(command, env=environment(settings), stdout=subprocess.PIPE, text=True) as caller:
        assert caller.stdout is not None
        assert caller.stdout.readline() == "up\n"
        assert len(living(settings.home)) >= 4
        caller.kill()
    assert process.wait_until(lambda: living(settings.home) == [], 30), living(settings.home)


def test_without_network_the_stack_falls_back_on_the_test_broker_and_says_so(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")  # a port where nobody answers
    offline = replace(settings, cache=str(tmp_path / "cache"))
    with pytest.raises(BrokerError, match="could not be fetched"):
        Stack(replace(offline, broker="kafka")).up(workers=0)
    said: list[str] = []
    stack = Stack(replace(offline, broker="auto"))
    stack.up(said.append, workers=0)
    assert stack.broker() == "test"
    assert any("using the test broker, in memory only" in line for line in said)


def test_a_broker_of_the_settings_is_used_and_never_started(settings: Settings, broker: Broker) -> None:
    stack = Stack(replace(settings, kafka=broker.bootstrap, tenant=broker.tenant))
    assert stack.up(workers=0).kafka == broker.bootstrap
    found = {one.name: one for one in stack.status()}["broker"]
    assert (found.url, found.healthy, found.pid) == (broker.bootstrap, True, None)
    assert stack.broker() == broker.kind
    stack.down()
    ensure_topics(broker.bootstrap, broker.tenant)  # it still answers


def test_a_broker_of_the_settings_that_does_not_answer_is_one_sentence(settings: Settings) -> None:
    nobody = f"127.0.0.1:{process.free_port()}"
    with pytest.raises(BrokerError, match=f"no broker answers at '{nobody}'"):
        Stack(replace(settings, kafka=nobody)).up(workers=0)
    assert living(settings.home) == []


def test_down_and_up_lose_nothing(settings: Settings, kafka_broker: Broker) -> None:
    # kafka_broker only because it answers whether this machine can have Kafka at all
    stack = Stack(replace(settings, broker="kafka"))
    topic = topic_name(FRAMES, settings.tenant)
    values = [b"%d" % number for number in range(1000)]
    first = stack.up(workers=0)
    produce(first.kafka, topic, values)
    stack.down()
    again = stack.up(workers=0)
    assert again == first
    assert consume(again.kafka, topic, "after", len(values)) == values


def test_a_port_in_use_is_one_line(kafka_broker: Broker, tmp_path: Path) -> None:
    port = kafka_broker.bootstrap.rpartition(":")[2]
    command = [sys.executable, "-m", "kinestream.deploy.local.kafka", "--home", str(tmp_path / "k"), "--port", port]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        f"error: port {port} of 127.0.0.1 is in use: stop what listens there or give another with --port\n"
    )


def test_errors_are_one_line_and_exit_code_two(settings: Settings) -> None:
    (settings.home.parent / "file").write_text("a file where a folder belongs")
    broken = replace(settings, home=settings.home.parent / "file")
    done = run(broken, "up")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert "set KINESTREAM_HOME" in done.stderr
    assert done.stderr.count("\n") == 1
    assert "Traceback" in run(broken, "--debug", "up").stderr
