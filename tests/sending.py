"""A sender with nothing between it and the log: what a broken or foreign producer may put there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import confluent_kafka

from kinestream.schemas.catalogue import FRAMES, Topic, topic_name
from tests.assembling import CODEC
from tests.plugins.broker import Broker


def encode(record: str, value: Any) -> bytes:
    """Framed bytes of what ``tests.assembling.Take`` makes."""
    return CODEC.encode_chunk(value) if record == "FrameChunk" else CODEC.encode(record, value)


class RawSender:
    """Messages to one lane, in order, keyed by robot."""

    def __init__(self, broker: Broker, topic: Topic = FRAMES) -> None:
        self.topic = topic_name(topic, broker.tenant)
        self._producer = confluent_kafka.Producer(
            {"bootstrap.servers": broker.bootstrap, "partitioner": "murmur2_random", "enable.idempotence": True}
        )

    def send(self, *values: tuple[str, Any], robot: str = "r1") -> None:
        self.send_raw([encode(record, value) for record, value in values], robot)

    def send_raw(self, messages: Sequence[bytes], robot: str = "r1", **where: Any) -> None:
        for message in messages:
            self._producer.produce(self.topic, message, robot, **where)
        assert self._producer.flush(20) == 0
