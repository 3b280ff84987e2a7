"""What every broker must do for us, on each of them."""

from __future__ import annotations

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from kinestream.deploy.topics import broker_kind, ensure_topics
from kinestream.schemas.catalogue import CATALOGUE, EPISODES, FRAMES, PARTITIONS, topic_name
from kinestream.schemas.errors import BrokerError
from tests.plugins.broker import Broker


def consume(bootstrap: str, topic: str, group: str, count: int) -> list[bytes]:
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": group, "auto.offset.reset": "earliest", "log_level": 3}
    )
    try:
        consumer.subscribe([topic])
        got = []
        while len(got) < count:
            message = consumer.poll(20)
            assert message is not None, f"{len(got)} of {count} messages came within 20 s"
            assert message.error() is None
            got.append(message.value())
        return got
    finally:
        consumer.close()


def produce(bootstrap: str, topic: str, values: list[bytes]) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "partitioner": "murmur2", "log_level": 3})
    errors = []
    for value in values:
        producer.produce(topic, value, key=b"robot-1", on_delivery=lambda error, _: errors.append(error))
    assert producer.flush(20) == 0
    assert errors == [None] * len(values)


def test_the_kind_of_a_broker_is_recognised(broker: Broker) -> None:
    assert broker_kind(broker.bootstrap) == broker.kind


def test_every_topic_of_the_catalogue_is_there(broker: Broker) -> None:
    counts = ensure_topics(broker.bootstrap, broker.tenant)
    assert set(counts) == {topic_name(topic, broker.tenant) for topic in CATALOGUE}
    assert set(counts.values()) == {PARTITIONS if broker.kind == "kafka" else 4}


def test_what_is_produced_is_consumed_in_order(broker: Broker) -> None:
    topic = topic_name(FRAMES, broker.tenant)
    values = [b"%d" % number for number in range(100)]
    produce(broker.bootstrap, topic, values)
    assert consume(broker.bootstrap, topic, broker.tenant, 100) == values


def test_a_topic_with_another_partition_count_is_refused(kafka_broker: Broker) -> None:
    tenant = kafka_broker.tenant + "x"
    admin = AdminClient({"bootstrap.servers": kafka_broker.bootstrap})
    admin.create_topics([NewTopic(topic_name(EPISODES, tenant), 3)])[topic_name(EPISODES, tenant)].result(20)
    with pytest.raises(BrokerError, match=r"episodes\.v1 has 3 partitions, the catalogue says 8"):
        ensure_topics(kafka_broker.bootstrap, tenant)


def test_a_topic_that_is_misspelt_does_not_appear(kafka_broker: Broker) -> None:
    admin = AdminClient({"bootstrap.servers": kafka_broker.bootstrap})
    assert admin.list_topics("motion.hub.framse.v1", timeout=10).topics["motion.hub.framse.v1"].error is not None
    assert "motion.hub.framse.v1" not in admin.list_topics(timeout=10).topics
