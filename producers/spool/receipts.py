"""What the hub says it has of this robot's episodes: a light reader of one partition; judges and removes nothing.

It joins no group and is open only while an episode waits for its receipt.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from kinestream.schemas.codec import Codec
from kinestream.schemas.errors import ContractError
from kinestream.schemas.murmur2 import partition_of
from kinestream.schemas.registry import RegistryUnavailableError
from kinestream.schemas.settings import Settings

log = logging.getLogger("kinestream.robot")

_FETCH: Final = 200


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the hub has of one episode."""

    episode_id: str
    revision: int
    status: str
    frames: int
    #: frames announced by the end mark; -1 = the hub has no end mark
    n_total: int
    #: first and last missing frame number: the largest ranges
    missing: tuple[tuple[int, int], ...]
    missing_ranges: int
    #: no later revision is expected
    final: bool

    @classmethod
    def from_avro(cls, value: dict[str, Any]) -> Receipt:
        """Of a decoded EpisodeReceipt."""
        missing = tuple((one["first"], one["last"]) for one in value["missing"])
        same = ("episode_id", "revision", "status", "frames", "n_total", "missing_ranges", "final")
        return cls(**{name: value[name] for name in same}, missing=missing)

    @property
    def whole(self) -> bool:
        """Nothing needs to be sent again."""
        return self.final or (self.missing_ranges == 0 and self.frames >= self.n_total >= 0)

    def lacks(self, first: int, frames: int) -> bool:
        """Some of the ``frames`` from number ``first`` on are not there, as far as the receipt tells."""
        last = first + frames - 1
        if any(begin <= last and end >= first for begin, end in self.missing):
            return True
        if self.missing_ranges > len(self.missing):
            return False  # those it does not name come with a later receipt
        return last >= self.frames + sum(end - begin + 1 for begin, end in self.missing)


class Receipts:
    """Reads the receipts of one robot. Used by one thread."""

    def __init__(self, kafka: str, topic: str, robot_id: str, codec: Codec, settings: Settings) -> None:
        self._topic, self._robot_id, self._codec = topic, robot_id, codec
        self._config = {
            **settings.kafka_client(kafka),
            "client.id": "kinestream-robot",
            "group.id": f"kinestream-spool-{robot_id}",  # demanded by librdkafka; nothing joins it
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "fetch.queue.backoff.ms": 5,
            "queued.max.messages.kbytes": 1024,
            "reconnect.backoff.max.ms": 1000,
            "log_level": 2,
        }
        self._consumer: Consumer | None = None
        self._next = 0
        self._partition = -1

    @property
    def is_open(self) -> bool:
        """Reading."""
        return self._consumer is not None

    @property
    def position(self) -> str:
        """Where reading goes on, for :meth:`open`; what came before was handed out."""
        return json.dumps([self._topic, self._partition, self._next])

    def open(self, partitions: int, position: str) -> None:
        """Begin to read at ``position``, or at the beginning where that is of another topic or partition."""
        self._partition = partition_of(self._robot_id.encode(), partitions)
        *place, offset = json.loads(position) if position else ("", -1, 0)
        self._next = offset if place == [self._topic, self._partition] else OFFSET_BEGINNING
        self._consumer = Consumer(self._config)
        self._consumer.assign([TopicPartition(self._topic, self._partition, self._next)])

    def poll(self) -> list[Receipt]:
        """Receipts of this robot that came; never waits. Closes itself where the topic is gone."""
        if self._consumer is None:
            return []
        found: list[Receipt] = []
        try:
            for message in self._consumer.consume(_FETCH, 0):
                error = message.error()
                if error is not None:
                    if error.code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_PARTITION):
                        self.close()
                        return found
                    continue
                self._next = message.offset()
                if message.key() == self._robot_id.encode():
                    found += self._decoded(message.value())
                self._next += 1
        except (KafkaException, RegistryUnavailableError) as problem:
            log.warning("receipts of robot %s: %s", self._robot_id, problem)
            self.close()
        return found

    def _decoded(self, message: bytes) -> list[Receipt]:
        try:
            decoded = self._codec.decode(message)
        except RegistryUnavailableError:
            raise
        except ContractError as problem:
            log.warning("a receipt that cannot be read (%s): its episode waits for the next one", problem)
            return []
        return [Receipt.from_avro(decoded.value)] if decoded.record == "EpisodeReceipt" else []

    def close(self) -> None:
        """Stop reading; :attr:`position` stays."""
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None
