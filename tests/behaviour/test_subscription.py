"""What a subscriber sees of the episodes topic: each revision once, its place kept, its end known."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition

from kinestream import Settings, Subscription
from kinestream.schemas.catalogue import EPISODES, topic_name
from kinestream.schemas.codec import Codec
from kinestream.schemas.errors import BrokerError
from kinestream.schemas.registry import Registry
from kinestream.streams.announce import Announcer
from kinestream.streams.messages import Message
from kinestream.streams.subscription import EpisodeCompleted, EpisodeWithdrawn
from tests.plugins.broker import Broker

GOLDEN = json.loads((Path(__file__).parents[2] / "schemas/golden/EpisodeCompleted.v1.json").read_text())
WITHDRAWN = json.loads((Path(__file__).parents[2] / "schemas/golden/EpisodeWithdrawn.v1.json").read_text())


class Hub:
    """Announces on one broker as a worker does, and subscribes to it."""

    def __init__(self, broker: Broker) -> None:
        self.settings = Settings(kafka=broker.bootstrap, tenant=broker.tenant)
        self.topic = topic_name(EPISODES, broker.tenant)
        self._codec = Codec(Registry(), self.topic)
        self._announcer = Announcer(self.settings, broker.bootstrap, Registry())

    def announce(self, episode_id: str, revision: int = 1, **fields: Any) -> str:
        """The ce_id."""
        value = {**GOLDEN, "verdict": "ACCEPT", **fields, "episode_id": episode_id, "revision": revision}
        row = {"episode_id": episode_id, "revision": revision, "ended_at": value["ended_at_ms"]}
        row |= value["lineage"] | {"status": value["status"]}
        self.publish(self._announcer.episode(row, self._codec.encode("EpisodeCompleted", value)))
        return f"{episode_id}/{revision}"

    def withdraw(self, episode_id: str, revision: int) -> None:
        value = {**WITHDRAWN, "episode_id": episode_id, "revision": revision, "by": "p7"}
        row = {"episode_id": episode_id, "revision": revision, "ended_at": 0, "status": "WITHDRAWN"} | value["lineage"]
        self.publish(self._announcer.episode(row, self._codec.encode("EpisodeWithdrawn", value)))

    def publish(self, message: Message) -> None:
        self._announcer.publish([message])

    def subscription(self, **given: Any) -> Subscription:
        return Subscription(settings=self.settings, **{"until_end": True, **given})

    def read(self, **given: Any) -> list[str]:
        with self.subscription(**{"from_start": True, **given}) as subscription:
            return [event.ce_id for event in subscription]

    def committed(self, group: str) -> int:
        """Messages that the group need not see again."""
        consumer = Consumer({"bootstrap.servers": self.settings.kafka, "group.id": group, "log_level": 2})
        try:
            count = len(consumer.list_topics(self.topic, timeout=10).topics[self.topic].partitions)
            places = consumer.committed([TopicPartition(self.topic, n) for n in range(count)], timeout=20)
            return sum(max(one.offset, 0) for one in places)
        finally:
            consumer.close()


@pytest.fixture
def hub(broker: Broker) -> Hub:
    return Hub(broker)


def ids(count: int) -> list[str]:
    return [str(uuid.uuid4()) for _ in range(count)]


def test_each_revision_comes_once_and_only_if_it_is_higher(hub: Hub) -> None:
    a, b = ids(2)
    sent = [hub.announce(a), hub.announce(b), hub.announce(a), hub.announce(a, 2), hub.announce(a)]
    assert sorted(hub.read()) == sorted([f"{a}/1", f"{b}/1", f"{a}/2"])
    assert [ce_id for ce_id in hub.read() if ce_id.startswith(a)] == [f"{a}/1", f"{a}/2"]
    assert sorted(hub.read(repeats=True)) == sorted(sent)


def test_a_withdrawal_is_told_to_who_asks_whatever_the_labels_were_and_nothing_of_the_take_comes_after_it(hub: Hub):
    a, b = ids(2)
    hub.announce(a, skill="pour")
    hub.withdraw(a, 2)
    hub.announce(a, skill="pour")
    hub.announce(b, skill="grasp")
    told: list[EpisodeWithdrawn] = []
    assert set(hub.read(on_withdrawn=told.append)) == {f"{a}/1", f"{b}/1"}
    assert [(one.ce_id, one.by, one.to_json()["status"]) for one in told] == [(f"{a}/2", "p7", "WITHDRAWN")]
    hub.read(on_withdrawn=told.append, skill="grasp")
    hub.read(on_withdrawn=told.append, robot="somebody else")
    assert len(told) == 2


def test_a_withdrawal_that_was_not_taken_is_told_to_its_group_again(kafka_broker: Broker):
    hub, (a,) = Hub(kafka_broker), ids(1)
    hub.withdraw(a, 1)

    def fails(_: EpisodeWithdrawn) -> None:
        raise LookupError("the data set is away")

    with pytest.raises(LookupError):
        hub.read(group="training", on_withdrawn=fails)
    told: list[EpisodeWithdrawn] = []
    hub.read(group="training", on_withdrawn=told.append)
    hub.read(group="training", on_withdrawn=told.append)
    assert [one.episode_id for one in told] == [a]


def test_only_what_was_asked_for_and_only_complete_unless_asked(hub: Hub) -> None:
    a, b, c, d = ids(4)
    hub.announce(a, skill="grasp")
    hub.announce(b, skill="pour", robot_id="r9", area="catering", model_id="franka-panda")
    hub.announce(c, skill="pour", verdict="REVIEW")
    hub.announce(d, skill="grasp", status="INCOMPLETE")
    found = {
        name: {one.partition("/")[0] for one in hub.read(**given)}
        for name, given in {
            "all": {"status": ()},
            "default": {},
            "skill": {"skill": "pour"},
            "skills": {"skill": ["grasp", "pour"], "verdict": ["REVIEW", "REJECT"]},
            "status": {"status": "INCOMPLETE"},
            "robot": {"robot": "r9"},
            "area": {"area": "catering"},
            "model": {"model": "franka-panda"},
            "none": {"skill": "grasp", "area": "catering"},
        }.items()
    }
    assert found == {
        "all": {a, b, c, d},
        "default": {a, b, c},
        "skill": {b, c},
        "skills": {c},
        "status": {d},
        "robot": {b},
        "area": {b},
        "model": {b},
        "none": set(),
    }


def test_the_end_is_where_it_was_when_the_subscription_was_made(hub: Hub) -> None:
    before, after = ids(8), ids(8)
    sent = [hub.announce(one) for one in before]
    with hub.subscription(from_start=True) as subscription:
        for one in after:
            hub.announce(one)
        assert sorted(event.ce_id for event in subscription) == sorted(sent)
    with hub.subscription() as subscription:  # from now on until now
        assert list(subscription) == []


def test_from_now_on_means_from_when_it_was_made(hub: Hub) -> None:
    hub.announce(ids(1)[0])
    with hub.subscription(until_end=False) as subscription:
        sent = hub.announce(ids(1)[0])
        assert next(iter(subscription)).ce_id == sent


def test_a_place_is_committed_when_the_block_returns_and_not_before(hub: Hub) -> None:
    group = f"g{uuid.uuid4().hex[:8]}"
    hub.subscription(group=group).close()  # a new group keeps what comes from now on, even if it dies at once
    for one in ids(3):
        hub.announce(one)
    seen: list[str] = []

    def train(event: EpisodeCompleted) -> None:
        assert hub.committed(group) == len(seen)
        seen.append(event.ce_id)
        if len(seen) == 2:
            raise ZeroDivisionError

    first = hub.subscription(group=group)
    with pytest.raises(ZeroDivisionError):  # noqa: PT012
        for event in first:
            train(event)
    assert hub.committed(group) == 1
    first.close()
    assert hub.committed(group) == 1


def test_the_next_of_a_group_goes_on_where_the_last_one_stopped(kafka_broker: Broker) -> None:
    hub, group = Hub(kafka_broker), f"g{uuid.uuid4().hex[:8]}"
    sent = [hub.announce(one) for one in ids(4)]
    seen = []
    with hub.subscription(group=group, from_start=True) as first:
        for event in first:
            seen.append(event.ce_id)
            if len(seen) == 3:
                break  # left, not returned: it comes again
    with hub.subscription(group=group) as second:
        rest = [event.ce_id for event in second]
    assert sorted([*seen[:2], *rest]) == sorted(sent)
    assert seen[2] in rest
    assert hub.committed(group) == 4


def test_what_a_block_left_undone_comes_again_to_the_same_subscription(hub: Hub) -> None:
    sent = [hub.announce(one) for one in ids(2)]
    group = f"g{uuid.uuid4().hex[:8]}"
    with hub.subscription(group=group, from_start=True) as subscription:
        left = next(iter(subscription)).ce_id
        assert sorted(event.ce_id for event in subscription) == sorted(sent)
        assert left in sent


def test_what_is_no_event_is_passed_over_and_counted(hub: Hub) -> None:
    sent = hub.announce(ids(1)[0])
    for key in (b"a", b"b", b"c"):
        hub.publish(Message(hub.topic, key, b"\0\0\0\0\1nonsense", (("ce_type", b"x"),)))
    with hub.subscription(from_start=True) as subscription:
        assert [event.ce_id for event in subscription] == [sent]
        assert subscription.refused == 3


def test_a_date_is_where_a_replay_begins(kafka_broker: Broker) -> None:
    hub = Hub(kafka_broker)
    hub.announce(ids(1)[0])
    between = broker_time(hub)
    sent = hub.announce(ids(1)[0])
    assert hub.read(from_start=False, since=between) == [sent]


def broker_time(hub: Hub) -> datetime:
    """A moment after what was announced and before what is announced next."""
    last = max(stamps(hub))
    while (now := datetime.now(UTC)).timestamp() * 1000 < last + 2:
        continue
    return now


def stamps(hub: Hub) -> Iterator[int]:
    consumer = Consumer({"bootstrap.servers": hub.settings.kafka, "group.id": "stamps", "log_level": 2})
    try:
        partitions = consumer.list_topics(hub.topic, timeout=10).topics[hub.topic].partitions
        consumer.assign([TopicPartition(hub.topic, n, 0) for n in partitions])
        message = consumer.poll(20)
        assert message is not None
        yield message.timestamp()[1]
    finally:
        consumer.close()


def test_a_topic_that_is_not_there_is_told(kafka_broker: Broker) -> None:
    with pytest.raises(BrokerError, match=r"topic motion.nobody.episodes.v1 is not on .*: `kinestream up` makes it"):
        Subscription(settings=Settings(kafka=kafka_broker.bootstrap, tenant="nobody"))


def test_a_broker_that_is_away_is_told(unused_address: str) -> None:
    with pytest.raises(BrokerError, match=r"cannot read .* start a broker with `kinestream up`"):
        Subscription(settings=Settings(kafka=unused_address))


@pytest.fixture
def unused_address() -> str:
    from kinestream.deploy.local.process import free_port

    return f"127.0.0.1:{free_port()}"


def test_events_can_be_compared_and_kept(hub: Hub) -> None:
    hub.announce(ids(1)[0])
    read: Callable[[], list[EpisodeCompleted]] = lambda: list(hub.subscription(from_start=True))  # noqa: E731
    assert read() == read()
