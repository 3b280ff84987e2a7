"""The independent consumer: every event of the episodes topic, by itself from the first one; it believes no worker."""

from __future__ import annotations

import threading
import time
from typing import Any

import confluent_kafka

from kinestream.deploy.chaos.audit import Event
from kinestream.schemas.catalogue import EPISODES, topic_name
from kinestream.schemas.codec import Codec
from kinestream.schemas.errors import BrokerError
from kinestream.schemas.registry import Registry


class Listener(threading.Thread):
    """Reads committed messages only, as a consumer should; ``read_s``: when it last got one (monotonic)."""

    def __init__(self, bootstrap: str, tenant: str) -> None:
        super().__init__(name="independent consumer", daemon=True)
        self._topic = topic_name(EPISODES, tenant)
        self._codec = Codec(Registry(), self._topic)
        self._consumer = confluent_kafka.Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": f"{tenant}-audit",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "fetch.queue.backoff.ms": 5,
                "reconnect.backoff.max.ms": 200,
                "log_level": 2,
            }
        )
        self._ended = threading.Event()
        self.events: list[Event] = []
        self.read_s = time.monotonic()

    def start(self) -> None:
        """Take every partition from its beginning; raises :class:`BrokerError` when the topic is not there."""
        beginning = confluent_kafka.OFFSET_BEGINNING
        places = [confluent_kafka.TopicPartition(self._topic, one, beginning) for one in self._partitions()]
        self._consumer.assign(places)
        super().start()

    def run(self) -> None:
        """Read until :meth:`stop`."""
        while not self._ended.is_set():
            message = self._consumer.poll(0.1)
            if message is not None and message.error() is None:
                self.events.append(self._event(message))
                self.read_s = time.monotonic()
        self._consumer.close()

    def stop(self) -> None:
        """Stop reading."""
        self._ended.set()
        if self.is_alive():
            self.join(5)

    def _partitions(self) -> list[int]:
        try:
            return list(self._consumer.list_topics(self._topic, timeout=10).topics[self._topic].partitions)
        except confluent_kafka.KafkaException as problem:
            raise BrokerError(f"topic {self._topic} cannot be read ({problem.args[0].str()})") from problem

    def _event(self, message: Any) -> Event:
        headers = dict(message.headers() or ())
        value = self._codec.decode(message.value()).value
        return Event.of(headers["ce_id"].decode(), message.value(), value)
