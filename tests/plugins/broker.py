"""Brokers for tests: started when the first test asks, shared by the session, ended with it whatever ends it.

Fixtures: ``broker`` (the test runs on the test broker and on Apache Kafka), ``test_broker``, ``kafka_broker``.
KINESTREAM_KAFKA, if set, replaces both. Every test gets a tenant of its own, so that topics never clash.
"""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from kinestream.deploy.local import process
from kinestream.deploy.local.jars import cache_folder, kafka_jars
from kinestream.deploy.local.java import find_java
from kinestream.deploy.topics import broker_kind, ensure_topics
from kinestream.schemas.errors import BrokerError, KafkaUnavailableError
from kinestream.schemas.settings import Settings

#: How long a broker may take until it answers, seconds: a loaded machine needs several times an idle one's three.
START_S = 60.0
TITLES = {"test": "test broker", "kafka": "Apache Kafka", "cluster": "the cluster of KINESTREAM_KAFKA"}


@dataclass(frozen=True)
class Broker:
    """A running broker: ``kind`` is "kafka" or "test"; the catalogue's topics of ``tenant`` exist."""

    kind: str
    bootstrap: str
    tenant: str


@dataclass
class Brokers:
    """The session's brokers: at most one process of each kind."""

    folder: Path
    settings: Settings
    used: Counter[str] = field(default_factory=Counter)
    refused: dict[str, str] = field(default_factory=dict)
    bootstraps: dict[str, str] = field(default_factory=dict)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def get(self, name: str) -> Broker:
        """A broker with a fresh tenant; skips, or in CI fails, when this machine cannot have it."""
        if self.settings.kafka:
            name = "cluster"
        if name in self.refused:
            self._refuse(self.refused[name])
        if name not in self.bootstraps:
            self.bootstraps[name] = self._start(name)
        bootstrap = self.bootstraps[name]
        tenant = f"t{uuid.uuid4().hex[:12]}"
        ensure_topics(bootstrap, tenant)
        self.used[name] += 1
        kind = broker_kind(bootstrap) if name == "cluster" else name
        return Broker(kind, bootstrap, tenant)

    def stop(self) -> None:
        for one in self.processes:
            process.stop(one)

    def _start(self, name: str) -> str:
        if name == "cluster":
            return self.settings.kafka
        return self._start_kafka() if name == "kafka" else self._start_test()

    def _start_test(self) -> str:
        address = self.folder / "test-broker"
        self._spawn("testbroker", "--address-file", str(address))
        assert process.wait_until(address.exists, START_S), self._log("testbroker")
        return address.read_text()

    def _start_kafka(self) -> str:
        cache = cache_folder(self.settings.cache)
        try:
            find_java()
            kafka_jars(cache)
        except KafkaUnavailableError as problem:
            self.refused["kafka"] = str(problem)
            self._refuse(str(problem))
        port = process.free_port()
        arguments = ["--home", str(self.folder / "kafka"), "--port", str(port), "--cache", str(cache), "--brief"]
        running = self._spawn("kafka", *arguments)
        bootstrap = f"127.0.0.1:{port}"
        assert process.wait_until(lambda: running.poll() is not None or _answers(bootstrap), START_S), self._log(
            "kafka"
        )
        assert running.poll() is None, self._log("kafka")
        return bootstrap

    def _spawn(self, module: str, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"kinestream.deploy.local.{module}", *arguments]
        with (self.folder / f"{module}.log").open("wb") as log:
            self.processes.append(process.spawn(command, stdout=log, stderr=log))
        return self.processes[-1]

    def _log(self, module: str) -> str:
        return f"{module} did not start: " + (self.folder / f"{module}.log").read_text()[-2000:]

    @staticmethod
    def _refuse(reason: str) -> None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI must run on Apache Kafka: {reason}")
        pytest.skip(reason)


_BROKERS = pytest.StashKey[Brokers]()
#: what other processes said, where the tests were shared among several
_ELSEWHERE = pytest.StashKey[list[dict[str, dict[str, Any]]]]()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "broker" in metafunc.fixturenames:
        kafka = pytest.param("kafka", marks=pytest.mark.kafka)
        cluster = bool(Settings.from_env().kafka)
        metafunc.parametrize("broker", ["cluster"] if cluster else ["test", kafka], indirect=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "kafka_broker" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.kafka)


def _say(config: pytest.Config) -> dict[str, dict[str, Any]]:
    """What ran on which broker in this process."""
    brokers = config.stash.get(_BROKERS, None)
    return {"used": dict(brokers.used), "refused": brokers.refused} if brokers else {"used": {}, "refused": {}}


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A process that runs a share of the tests tells the one that prints the summary."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["brokers"] = _say(session.config)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    said = getattr(node, "workeroutput", {}).get("brokers", {"used": {}, "refused": {}})
    node.config.stash.setdefault(_ELSEWHERE, []).append(said)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    used: Counter[str] = Counter()
    refused: dict[str, str] = {}
    for said in (_say(config), *config.stash.get(_ELSEWHERE, [])):
        used.update(said["used"])
        refused |= said["refused"]
    if not used and not refused:
        terminalreporter.write_line("brokers: none was asked for")
        return
    lines = [f"{TITLES[name]} ran {count} {'test' if count == 1 else 'tests'}" for name, count in sorted(used.items())]
    lines += [f"{TITLES[name]} did not run: {reason}" for name, reason in refused.items()]
    known = {*used, *refused} | ({"test", "kafka"} if Settings.from_env().kafka else set())
    lines += [f"{TITLES[name]} was not asked for" for name in ("test", "kafka") if name not in known]
    terminalreporter.write_line("brokers: " + "; ".join(lines))


@pytest.fixture(scope="session")
def brokers(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[Brokers]:
    made = Brokers(tmp_path_factory.mktemp("brokers"), Settings.from_env())
    pytestconfig.stash[_BROKERS] = made
    yield made
    made.stop()


@pytest.fixture
def broker(request: pytest.FixtureRequest, brokers: Brokers) -> Broker:
    """Each test that asks for it runs on the test broker and on Apache Kafka."""
    return brokers.get(request.param)


@pytest.fixture
def test_broker(brokers: Brokers) -> Broker:
    return brokers.get("test")


@pytest.fixture
def kafka_broker(brokers: Brokers) -> Broker:
    """For what only a durable broker can do; marks the test ``kafka``."""
    return brokers.get("kafka")


def _answers(bootstrap: str) -> bool:
    try:
        broker_kind(bootstrap, timeout_s=0.3)
    except BrokerError:
        return False
    return True
