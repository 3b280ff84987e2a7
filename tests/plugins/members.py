"""Members of a group as processes (`tests.apps.member`): no store, so that a handful of them start in two seconds."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from kinestream.deploy.local import process
from kinestream.schemas.catalogue import FRAMES, topic_name
from tests.plugins.broker import Broker

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Members:
    """A group over one tenant's frames; every member is a process."""

    broker: Broker
    folder: Path
    #: Apache Kafka allows no session below this
    session_s: float = 6.0
    max_poll_s: float = 300.0
    on_log_gap: str = "go-on"
    group: str = field(default_factory=lambda: f"g{uuid.uuid4().hex[:8]}")
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    sent: dict[int, int] = field(default_factory=dict)

    @property
    def topic(self) -> str:
        return topic_name(FRAMES, self.broker.tenant)

    def start(self, name: str, member_id: str | None = "", topics: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
        """Start ``name``; its static id is its name unless another is given, its topic the frames."""
        settings = {
            "group": self.group,
            "bootstrap": self.broker.bootstrap,
            "id": name if member_id == "" else member_id,
            "session_s": self.session_s,
            "max_poll_s": self.max_poll_s,
            "on_log_gap": self.on_log_gap,
            "folder": str(self.folder / name),
            "topics": topics or (self.topic,),
            "said": str(self.folder / f"{name}.said"),
            "stall": str(self.stall(name)),
        }
        (self.folder / name).mkdir(exist_ok=True)
        command = [
            sys.executable,
            "-m",
            "faust",
            "-A",
            "tests.apps.member",
            "worker",
            "--without-web",
            "--loglevel",
            "warn",
        ]
        with (self.folder / f"{name}.log").open("ab") as log:
            environment = {**os.environ, "TEST_MEMBER": json.dumps(settings)}
            self.running[name] = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=ROOT)
        return self.running[name]

    def stall(self, name: str) -> Path:
        """While this file is there, the member's agent takes nothing."""
        return self.folder / f"{name}.stall"

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def said(self, name: str, kind: str) -> list[dict[str, Any]]:
        path = self.folder / f"{name}.said"
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        found = [json.loads(line) for line in lines if line.endswith("\n")]
        return [one for one in found if one["kind"] == kind]

    def last(self, name: str) -> dict[str, Any]:
        """What it said last of itself; nothing owned before the first word."""
        return (self.said(name, "owns") or [{"owned": [], "lag": -1, "waiting_bytes": 0, "gap": 0, "lost_tail": 0}])[-1]

    def owned(self, name: str) -> set[tuple[str, int]]:
        return {tuple(one) for one in self.last(name)["owned"]}  # type: ignore[misc]

    def shares(self, *names: str) -> list[int]:
        """How many partitions each owns; empty unless every one has exactly one owner."""
        owned = [self.owned(name) for name in names]
        once = sum(map(len, owned)) == len(set().union(*owned)) == 8
        return [len(one) for one in owned] if once else []

    def send(self, count: int, value: bytes = b"x", partitions: int = 8) -> None:
        """``count`` messages to each partition."""
        producer = Producer({"bootstrap.servers": self.broker.bootstrap, "linger.ms": 5})
        for number in range(count * partitions):
            producer.produce(self.topic, value, partition=number % partitions)
            if number % 100 == 0:
                producer.poll(0)
        assert producer.flush(30) == 0
        for partition in range(partitions):
            self.sent[partition] = self.sent.get(partition, 0) + count

    def handed(self) -> dict[int, list[int]]:
        """Every offset any member was handed, by partition, as often as it was."""
        found: dict[int, list[int]] = {partition: [] for partition in self.sent}
        for path in self.folder.glob("*.said"):
            for one in self.said(path.stem, "handed"):
                found[one["partition"]] += one["offsets"]
        return found

    def all_handed(self) -> bool:
        return all(set(offsets) == set(range(self.sent[p])) for p, offsets in self.handed().items())

    def committed(self) -> dict[int, int]:
        asking = Consumer({"bootstrap.servers": self.broker.bootstrap, "group.id": self.group})
        try:
            asked = [TopicPartition(self.topic, partition) for partition in self.sent]
            return {one.partition: one.offset for one in asking.committed(asked, timeout=10)}
        finally:
            asking.close()

    def commit(self, offsets: dict[int, int]) -> None:
        """As if an earlier member had come so far."""
        earlier = Consumer({"bootstrap.servers": self.broker.bootstrap, "group.id": self.group})
        parts = [TopicPartition(self.topic, *one) for one in offsets.items()]
        assert all(one.error is None for one in earlier.commit(offsets=parts, asynchronous=False))
        earlier.close()

    def signal(self, name: str, number: signal.Signals) -> None:
        self.running[name].send_signal(number)

    def kill(self, name: str) -> None:
        self.running[name].kill()
        self.running.pop(name).wait()

    def wait_for(self, condition: Callable[[], Any], timeout_s: float = 30.0) -> None:
        logs = lambda: "\n".join(f"{p.name}: {p.read_text()[-2000:]}" for p in self.folder.glob("*.log"))  # noqa: E731
        assert process.wait_until(condition, timeout_s), f"not within {timeout_s:g} s\n{logs()}"


@pytest.fixture
def members(kafka_broker: Broker, tmp_path: Path) -> Iterator[Members]:
    """On Apache Kafka: the test broker knows one member a group, and no static ones."""
    made = Members(kafka_broker, tmp_path)
    yield made
    for name in list(made.running):
        made.signal(name, signal.SIGCONT)
        made.kill(name)
