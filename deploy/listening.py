"""The independent consumer: every event of the episodes topic, by itself from the first one; it believes no worker."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

import confluent_kafka

from kinestream.schemas.catalogue import EPISODES, topic_name
from kinestream.schemas.codec import Codec
from kinestream.schemas.errors import BrokerError
from kinestream.schemas.registry import Registry
from kinestream.schemas.settings import Settings

E = TypeVar("E")


class Listener(threading.Thread, Generic[E]):
    """Reads committed messages only, as a consumer should.

    ``made`` makes an event of its ce_id, its bytes, what they say (EpisodeCompleted), and when they could be read (ns
    since the epoch).
    """

    def __init__(
        self, settings: Settings, bootstrap: str, made: Callable[[str, bytes, Mapping[str, Any], int], E]
    ) -> None:
        super().__init__(name="independent consumer", daemon=True)
        self._topic = topic_name(EPISODES, settings.tenant)
        self._codec = Codec(Registry(), self._topic)
        self._made = made
        self._consumer = confluent_kafka.Consumer(
            {
                **settings.kafka_client(bootstrap),
                "group.id": f"listener-{uuid.uuid4().hex[:8]}",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                # 1000 by default: an event would be seen that late
                "fetch.queue.backoff.ms": 5,
                "reconnect.backoff.max.ms": 200,
                "log_level": 2,
            }
        )
        self._ended = threading.Event()
        self.events: list[E] = []

    def start(self) -> None:
        """Take every partition from its beginning; raises :class:`BrokerError` when the topic is not there."""
        try:
            found = self._consumer.list_topics(self._topic, timeout=10).topics[self._topic]
        except confluent_kafka.KafkaException as problem:
            raise BrokerError(f"topic {self._topic} cannot be read ({problem.args[0].str()})") from problem
        beginning = confluent_kafka.OFFSET_BEGINNING
        self._consumer.assign(
            [confluent_kafka.TopicPartition(self._topic, partition, beginning) for partition in found.partitions]
        )
        super().start()

    def run(self) -> None:
        """Read until :meth:`stop`."""
        while not self._ended.is_set():
            message = self._consumer.poll(0.1)
            if message is not None and message.error() is None:
                self.events.append(self._event(message, time.time_ns()))
        self._consumer.close()

    def stop(self) -> None:
        """Stop reading."""
        self._ended.set()
        if self.is_alive():
            self.join(5)

    def _event(self, message: Any, read_ns: int) -> E:
        headers = dict(message.headers() or ())
        record = self._codec.decode(message.value()).value
        return self._made(headers["ce_id"].decode(), message.value(), record, read_ns)
