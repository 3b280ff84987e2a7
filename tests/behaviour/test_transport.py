"""The batch transport by itself: what an agent is given, and what is committed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import confluent_kafka
import pytest
from confluent_kafka import Consumer, TopicPartition

from kinestream.deploy.local import process
from kinestream.schemas.catalogue import FRAMES, topic_name
from tests.plugins.broker import Broker

RECORDS = 200


class CountingApp:
    """``tests.apps.count_fetches`` over a topic, as a process."""

    def __init__(self, broker: Broker, folder: Path) -> None:
        self.group = f"g{uuid.uuid4().hex[:8]}"
        self.topic = topic_name(FRAMES, broker.tenant)
        self.bootstrap = broker.bootstrap
        self._out = folder / "events"
        environment = {
            "TEST_GROUP": self.group,
            "TEST_BOOTSTRAP": broker.bootstrap,
            "TEST_FOLDER": str(folder),
            "TEST_TOPIC": self.topic,
            "TEST_EVENTS": str(self._out),
        }
        command = [sys.executable, "-m", "faust", "-A", "tests.apps.count_fetches", "worker", "--loglevel", "warn"]
        root = Path(__file__).resolve().parents[2]
        self._out.touch()
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                command, env={**os.environ, **environment}, stdout=log, stderr=log, cwd=root
            )

    def events(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self._out.read_text().splitlines()]

    def seen(self) -> int:
        return sum(len(event["offsets"]) for event in self.events())  # type: ignore[arg-type]

    def committed(self) -> int:
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": self.group})
        try:
            return int(consumer.committed([TopicPartition(self.topic, 0)], timeout=10)[0].offset)
        finally:
            consumer.close()


@pytest.fixture
def counting(broker: Broker, tmp_path: Path) -> Iterator[CountingApp]:
    producer = confluent_kafka.Producer({"bootstrap.servers": broker.bootstrap})
    for number in range(RECORDS):
        producer.produce(topic_name(FRAMES, broker.tenant), f"record {number}", partition=0)
    assert producer.flush(20) == 0
    app = CountingApp(broker, tmp_path)
    yield app
    app.process.kill()
    app.process.wait()


def test_an_agent_sees_one_event_a_fetch_and_nothing_it_saw_is_committed_by_itself(counting: CountingApp) -> None:
    assert process.wait_until(lambda: counting.seen() == RECORDS, 60), counting.events()
    events = counting.events()
    assert len(events) <= 3, "two hundred records that lay ready came in more than three fetches"
    assert [offset for event in events for offset in event["offsets"]] == list(range(RECORDS))  # type: ignore[attr-defined]
    assert all(event["end"] == event["offsets"][-1] + 1 for event in events)  # type: ignore[index]
    counting.process.terminate()
    counting.process.wait(20)
    assert counting.committed() == 0, "only where reading began is on record: what is in flight is read again"
