"""Reads the frames topics back, whole, by a consumer of its own: what the robots really put into the log."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any, Final

import confluent_kafka

from kinestream.deploy.chaos.justice import EpisodeLog, Line
from kinestream.deploy.chaos.signal import LAYOUT
from kinestream.schemas.catalogue import FRAMES, FRAMES_BULK, topic_name
from kinestream.schemas.codec import Codec
from kinestream.schemas.errors import BrokerError, DecodeError
from kinestream.schemas.registry import Registry

#: Seconds without a message after which a log that is not read to its end is given up.
_PATIENCE_S: Final = 20.0


def read_log(bootstrap: str, tenant: str) -> dict[str, EpisodeLog]:
    """Every decodable record of every episode, by episode id, in log order. Raises :class:`BrokerError`."""
    found: dict[str, EpisodeLog] = {}
    for topic in (FRAMES, FRAMES_BULK):
        name = topic_name(topic, tenant)
        codec = Codec(Registry(), name)
        for message in whole_topic(bootstrap, name):
            line = _line(codec, message)
            if line is not None:
                found.setdefault(line[0], EpisodeLog()).lines.append(line[1])
    return found


def _line(codec: Codec, message: Any) -> tuple[str, Line] | None:
    try:
        decoded = codec.decode(message.value() or b"")
    except DecodeError:
        return None  # poison
    at, value = (message.offset(), message.timestamp()[1], decoded.record), decoded.value
    if decoded.record == "FrameChunk":
        if value.layout_id != LAYOUT.layout_id:
            return None
        return value.episode_id, Line(*at, value.first_seq, value.first_seq + len(value))
    if decoded.record == "EpisodeEnd":
        return value["episode_id"], Line(*at, n_total=value["n_total"])
    return (value["episode_id"], Line(*at)) if "episode_id" in value else None


def whole_topic(bootstrap: str, topic: str) -> Iterator[Any]:
    """Every message from the first to the end as it is now. Raises :class:`BrokerError` where the head is gone."""
    config = {
        "bootstrap.servers": bootstrap,
        "group.id": "audit",
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "fetch.queue.backoff.ms": 5,
        "log_level": 2,
    }
    consumer = confluent_kafka.Consumer(config)
    try:
        places = [confluent_kafka.TopicPartition(topic, one, 0) for one in _partitions(consumer, topic)]
        for place in places:
            first, _ = consumer.get_watermark_offsets(place, timeout=20)
            if first > 0:
                raise BrokerError(f"{topic}-{place.partition} begins at {first}: its head is gone, run fewer frames")
        consumer.assign(places)
        yield from _until_end(consumer, {place.partition for place in places}, topic)
    finally:
        consumer.close()


def _partitions(consumer: Any, topic: str) -> Iterable[int]:
    try:
        return list(consumer.list_topics(topic, timeout=20).topics[topic].partitions)
    except confluent_kafka.KafkaException as problem:
        raise BrokerError(f"{topic} cannot be read ({problem.args[0].str()})") from problem


def _until_end(consumer: Any, left: set[int], topic: str) -> Iterator[Any]:
    deadline = time.monotonic() + _PATIENCE_S
    while left:
        for message in consumer.consume(500, 0.2):
            deadline = time.monotonic() + _PATIENCE_S
            if message.error() is None:
                yield message
            elif message.error().code() == confluent_kafka.KafkaError._PARTITION_EOF:
                left.discard(message.partition())
        if time.monotonic() > deadline:
            raise BrokerError(f"{topic}: the end of partitions {sorted(left)} was not reached")
