"""Only the newest owner of a partition announces: proven on a real broker, message by message."""

from __future__ import annotations

import uuid

import confluent_kafka
import pytest

from kinestream.schemas.catalogue import EPISODES, topic_name
from kinestream.schemas.errors import FencedError, RefusedError
from kinestream.schemas.settings import Settings
from kinestream.streams.messages import Message
from kinestream.streams.outlet import Outlet
from tests.plugins.broker import Broker
from tests.reading import read_messages


def outlet(broker: Broker, name: str) -> Outlet:
    made = Outlet(Settings(), broker.bootstrap, name, [topic_name(EPISODES, broker.tenant)])
    made.open()
    return made


def said(broker: Broker, text: str) -> Message:
    return Message(topic_name(EPISODES, broker.tenant), b"key", text.encode(), (("ce_id", text.encode()),))


def seen(broker: Broker) -> list[str]:
    return [one.value.decode() for one in read_messages(broker.bootstrap, topic_name(EPISODES, broker.tenant))]


def test_what_an_outlet_publishes_can_be_read_when_it_returns(broker: Broker) -> None:
    name = uuid.uuid4().hex
    one = outlet(broker, name)
    one.publish([said(broker, "a"), said(broker, "b")])
    one.publish([said(broker, "c")])
    assert seen(broker) == ["a", "b", "c"]


def test_former_owners_are_fenced_and_what_one_left_open_is_never_read(kafka_broker: Broker) -> None:
    name = uuid.uuid4().hex
    oldest = outlet(kafka_broker, name)
    oldest.publish([said(kafka_broker, "first")])
    killed = confluent_kafka.Producer({"bootstrap.servers": kafka_broker.bootstrap, "transactional.id": name})
    killed.init_transactions(20)
    killed.begin_transaction()
    killed.produce(said(kafka_broker, "").topic, b"left open", b"key")
    assert killed.flush(20) == 0
    newest = outlet(kafka_broker, name)
    newest.publish([said(kafka_broker, "second")])
    for _ in range(2):
        with pytest.raises(FencedError, match=name):
            oldest.publish([said(kafka_broker, "paused")])
    assert seen(kafka_broker) == ["first", "second"]


def test_a_message_no_broker_would_take_is_refused_and_the_outlet_goes_on(broker: Broker) -> None:
    one = outlet(broker, uuid.uuid4().hex)
    big = Message(topic_name(EPISODES, broker.tenant), b"key", bytes(3_000_000), (), "the-episode")
    with pytest.raises(RefusedError, match="the-episode"):
        one.publish([said(broker, "kept back"), big])
    one.publish([said(broker, "fine")])
    assert seen(broker) == ["fine"]
