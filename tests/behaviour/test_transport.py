"""The batch transport by itself: what an agent is given, and what is committed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import confluent_kafka
import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from kinestream.deploy.local import process
from kinestream.schemas.catalogue import FRAMES, FRAMES_BULK, topic_name
from tests.plugins.broker import Broker
from tests.plugins.members import Members

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


def delete_before(members: Members, offset: int) -> None:
    """As retention would."""
    admin = AdminClient({"bootstrap.servers": members.broker.bootstrap})
    parts = [TopicPartition(members.topic, partition, offset) for partition in members.sent]
    for future in admin.delete_records(parts).values():
        future.result(10)


def test_a_log_that_starts_after_the_committed_offset_is_read_from_there_and_the_gap_counted(members: Members) -> None:
    members.send(10)
    members.commit({0: 4, 1: 10, 2: 10})
    delete_before(members, 6)
    members.on_log_gap = "stop"
    stopped = members.start("strict")
    assert stopped.wait(30) == 70
    assert "2 messages were deleted before they were read" in members.log("strict")
    assert "KINESTREAM_ON_LOG_GAP" in members.log("strict")
    members.on_log_gap = "go-on"
    members.start("a")
    members.wait_for(lambda: sum(map(len, members.handed().values())) == 6 * 4)
    assert members.handed()[0] == [6, 7, 8, 9]
    assert members.handed()[1] == members.handed()[2] == []
    assert members.handed()[3] == [6, 7, 8, 9], "without a committed offset all there is is read, and nothing is missed"
    members.wait_for(lambda: members.last("a")["gap"] == 2)


def test_an_offset_the_broker_no_longer_has_at_its_end_is_counted_and_reading_goes_on_at_the_end(
    members: Members,
) -> None:
    members.send(10)
    members.commit(dict.fromkeys(range(8), 10) | {0: 13})
    members.start("a")
    members.wait_for(lambda: len(members.owned("a")) == 8 and members.last("a")["lost_tail"] == 3)
    members.send(5)
    members.wait_for(lambda: all(one == list(range(10, 15)) for one in members.handed().values()))


def test_retention_that_overtakes_a_member_at_work_is_noticed(members: Members) -> None:
    members.send(10)
    members.start("a")
    members.wait_for(members.all_handed)
    members.stall("a").touch()
    members.send(2_000, b"x" * 10_000)
    members.wait_for(lambda: members.last("a")["waiting_bytes"] > 8_000_000)
    members.wait_for(lambda: members.last("a")["lag"] > 1000)
    delete_before(members, 2_005)
    members.stall("a").unlink()
    members.wait_for(
        lambda: members.last("a")["gap"] > 0 and all(one[-1] == 2_009 for one in members.handed().values())
    )
    assert all(offsets == sorted(set(offsets)) for offsets in members.handed().values())
    missed = sum(members.sent.values()) - sum(map(len, members.handed().values()))
    members.wait_for(lambda: members.last("a")["gap"] == missed)


def test_topics_that_are_not_there_are_one_clear_line(members: Members) -> None:
    lost = members.start("a", topics=("motion.nobody.frames.v1",))
    assert lost.wait(30) == 70
    assert members.log("a").count("motion.nobody.frames.v1 are not there") == 1


def test_members_of_one_lane_take_over_from_members_of_both_where_those_had_come(members: Members) -> None:
    bulk = topic_name(FRAMES_BULK, members.broker.tenant)
    members.send(10)
    members.start("both", topics=(members.topic, bulk))
    members.wait_for(lambda: len(members.owned("both")) == 16)
    members.wait_for(lambda: members.committed() == members.sent)
    members.signal("both", signal.SIGTERM)
    assert members.running["both"].wait(10) == 0
    members.start("both")  # the same id, now for the live lane alone
    members.start("bulk", topics=(bulk,))
    members.send(10)
    members.wait_for(lambda: {topic for topic, _ in members.owned("bulk")} == {bulk})
    members.wait_for(lambda: len(members.owned("bulk")) == len(members.owned("both")) == 8)
    members.wait_for(members.all_handed)
    assert all(len(offsets) == 20 for offsets in members.handed().values()), "nothing was read again"
