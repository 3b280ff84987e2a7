"""A member that takes nothing for a while: what it holds meanwhile, and that it reads on afterwards."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from confluent_kafka import Consumer, Producer
from faust.types import TP

from kinestream.deploy.local.process import wait_until
from kinestream.schemas.catalogue import FRAMES, topic_name
from kinestream.streams.transport.fetch import Fetch
from kinestream.streams.transport.joining import Joining
from kinestream.streams.transport.reader import LogReader
from tests.plugins.broker import Broker


@dataclass
class Member:
    """One reader of a topic and what it was given; ``choked``: nobody takes what it delivers."""

    broker: Broker
    choked: bool = False
    owned: set[TP] = field(default_factory=set)
    moved: set[TP] = field(default_factory=set)
    got: set[tuple[TP, int]] = field(default_factory=set)
    problems: list[Exception] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.topic, self.group = topic_name(FRAMES, self.broker.tenant), f"g{uuid.uuid4().hex[:8]}"
        self.reader = LogReader(
            Joining(self.broker.bootstrap, self.group, session_s=6.0, buffer_bytes=1_000_000, fetch_bytes=100_000),
            deliver=self._deliver,
            assigned=lambda places, generation: self.owned.update(places),
            revoked=self._revoked,
            failed=self.problems.append,
        )
        self.reader.start([self.topic])

    def _deliver(self, fetches: list[Fetch]) -> None:
        self.got.update((one.tp, record.offset()) for one in fetches for record in one.records)
        if not self.choked:
            self.reader.taken(sum(one.size for one in fetches))

    def _revoked(self, places: set[TP]) -> None:
        self.owned -= places
        self.moved |= places

    def send(self, count: int) -> None:
        """So many messages of 10 kB to each partition."""
        producer = Producer({"bootstrap.servers": self.broker.bootstrap})
        for number in range(8 * count):
            producer.produce(self.topic, bytes(10_000), partition=number % 8)
        assert producer.flush(10) == 0


@pytest.fixture
def member(kafka_broker: Broker) -> Iterator[Member]:
    made = Member(kafka_broker)
    assert wait_until(lambda: len(made.owned) == 8, 20), made
    yield made
    made.reader.stop()
    assert wait_until(lambda: not made.reader.alive, 10)


def come_and_go(member: Member) -> None:
    """Another member takes half of the partitions, and leaves."""
    other = Consumer(
        {
            "bootstrap.servers": member.broker.bootstrap,
            "group.id": member.group,
            "partition.assignment.strategy": "cooperative-sticky",
        }
    )
    other.subscribe([member.topic])
    assert wait_until(lambda: not other.poll(0.1) and len(other.assignment()) == 4, 20)
    other.close()
    assert wait_until(lambda: len(member.owned) == 8, 20)
    assert len(member.moved) == 4


@pytest.mark.parametrize("why", ["its agent is loading", "there is no room"])
def test_a_pause_ends_with_the_assignment(member: Member, why: str) -> None:
    if why == "there is no room":
        member.choked = True
        member.send(20)
        assert wait_until(lambda: len(member.reader._choked) == 8, 10)
    else:
        for place in member.owned:
            member.reader.hold_back(place, True)
        assert wait_until(lambda: len(member.reader._paused) == 8, 10)
    come_and_go(member)
    member.choked = False
    member.reader.taken(member.reader.waiting_bytes)
    for place in member.owned:
        member.reader.hold_back(place, False)
    before = len(member.got)
    member.got.clear()
    member.send(5)
    assert wait_until(lambda: {place for place, _ in member.got} == member.owned, 10), f"{before} before: {member}"


def test_a_packed_batch_is_handed_on_by_the_piece_however_much_it_unpacks_to(member: Member) -> None:
    member.choked = True
    packed = {"compression.type": "lz4", "linger.ms": 1000, "batch.size": 100_000_000, "message.max.bytes": 100_000_000}
    producer = Producer({"bootstrap.servers": member.broker.bootstrap, **packed})
    for _ in range(100):
        producer.produce(member.topic, bytes(500_000), partition=0)
    assert producer.flush(10) == 0
    most = 0
    while len(member.got) < 100:
        assert wait_until(lambda: member.reader.waiting_bytes > 0, 20), f"{len(member.got)} of 100 came"
        most = max(most, member.reader.waiting_bytes)
        member.reader.taken(member.reader.waiting_bytes)
    assert most <= 3_000_000
