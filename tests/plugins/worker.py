"""Workers as fixtures: ``faust -A kinestream.streams.app worker`` as a process, with no other way into the code."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from kinestream.deploy.local import process
from kinestream.schemas.settings import Settings
from tests.plugins.broker import Broker
from tests.plugins.store import Store

START_S = 60.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Pipeline:
    """A broker, a store and any number of workers over one tenant, database and group."""

    broker: Broker
    store: Store
    folder: Path
    group: str = field(default_factory=lambda: f"g{uuid.uuid4().hex[:8]}")
    extra: dict[str, str] = field(default_factory=dict)
    lanes: dict[str, str] = field(default_factory=dict)
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)

    @property
    def settings(self) -> Settings:
        return Settings.from_env(self.environment("none"))

    def environment(self, name: str) -> dict[str, str]:
        return {
            "KINESTREAM_KAFKA": self.broker.bootstrap,
            "KINESTREAM_TENANT": self.broker.tenant,
            "KINESTREAM_CLICKHOUSE": self.store.url,
            "KINESTREAM_CLICKHOUSE_DATABASE": self.store.database,
            "KINESTREAM_GROUP": self.group,
            "KINESTREAM_INSTANCE_ID": f"{self.group}-{name}",
            "KINESTREAM_WORKER_PORT": str(self.ports.get(name, 0)),
            "KINESTREAM_HOME": str(self.folder / name),
            # The test broker knows no static members: a killed worker is missed only when its session ends.
            **({"KINESTREAM_SESSION_S": "3"} if self.broker.kind == "test" else {}),
            **({"KINESTREAM_LANE": self.lanes[name]} if name in self.lanes else {}),
            **self.extra,
        }

    def start(self, name: str = "w1", *, wait: bool = True) -> subprocess.Popen[bytes]:
        """Start a worker (again); returns once it says it is ready."""
        self.ports.setdefault(name, free_port())
        environment = {k: v for k, v in os.environ.items() if not k.startswith("KINESTREAM_")}
        command = [sys.executable, "-m", "faust", "-A", "kinestream.streams.app", "worker"]
        with (self.folder / f"{name}.log").open("ab") as log:
            worker = subprocess.Popen(
                command, env={**environment, **self.environment(name)}, stdout=log, stderr=log, cwd=self.folder
            )
        self.running[name] = worker
        if wait:
            assert process.wait_until(lambda: self.healthy(name), START_S), self.log(name)
        return worker

    def healthy(self, name: str = "w1") -> bool:
        assert self.running[name].poll() is None, self.log(name)
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[name]}/readyz", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def page(self, page: str, name: str = "w1") -> tuple[int, Any]:
        """Status and JSON of a page; 0 and None while nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[name]}/{page}", timeout=2) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as answer:
            return answer.code, json.load(answer)
        except OSError:
            return 0, None

    def log(self, name: str = "w1") -> str:
        return (self.folder / f"{name}.log").read_text()

    def kill(self, name: str = "w1") -> None:
        """kill -9."""
        self.running[name].kill()
        self.running.pop(name).wait()

    def stop(self, name: str = "w1", timeout_s: float = 10.0) -> int:
        """SIGTERM; the exit code."""
        worker = self.running.pop(name)
        worker.terminate()
        return worker.wait(timeout_s)

    def stop_all(self) -> None:
        for name in list(self.running):
            self.kill(name)

    def query(self, sql: str, **parameters: Any) -> list[Any]:
        """Rows by the reader's account."""
        client: Client = self.store.reader_client()
        return list(client.query(sql, parameters=parameters).result_rows)

    def wait_for(self, condition: Callable[[], Any], timeout_s: float = 30.0) -> Any:
        """The condition's truth; fails with the workers' logs when it does not come."""
        found: list[Any] = []

        def met() -> bool:
            found[:] = [condition()]
            return bool(found[0])

        logs = lambda: "\n".join(self.log(name) for name in self.ports)  # noqa: E731
        assert process.wait_until(met, timeout_s), f"not within {timeout_s:g} s; the workers say:\n{logs()}"
        return found[0]


@pytest.fixture
def pipeline(broker: Broker, database: Store, tmp_path: Path) -> Iterator[Pipeline]:
    """On both brokers; no worker is running yet."""
    made = Pipeline(broker, database, tmp_path)
    yield made
    made.stop_all()


@pytest.fixture
def test_pipeline(test_broker: Broker, database: Store, tmp_path: Path) -> Iterator[Pipeline]:
    """On the test broker."""
    made = Pipeline(test_broker, database, tmp_path)
    yield made
    made.stop_all()


@pytest.fixture
def kafka_pipeline(kafka_broker: Broker, database: Store, tmp_path: Path) -> Iterator[Pipeline]:
    """On Apache Kafka."""
    made = Pipeline(kafka_broker, database, tmp_path)
    yield made
    made.stop_all()
