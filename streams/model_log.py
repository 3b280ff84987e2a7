"""Reads registered robot models from the topic ``robots``, as no member of any group; judges nothing."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any, Final

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaException, TopicPartition

from kinestream.schemas.catalogue import ROBOTS, topic_name
from kinestream.schemas.codec import Codec
from kinestream.schemas.errors import BrokerError, ContractError
from kinestream.schemas.models import Models
from kinestream.schemas.registrations import registered_model
from kinestream.schemas.registry import Registry, RegistryUnavailableError
from kinestream.schemas.settings import Settings

log = logging.getLogger("kinestream.worker")

#: Registrations handed over at once.
_BATCH: Final = 500
_ANSWER_S: Final = 10.0


class ModelLog:
    """What a tenant has registered, in ``models``. Blocking; one thread at a time."""

    def __init__(self, settings: Settings, bootstrap: str, registry: Registry) -> None:
        self.models = Models()
        self._topic = topic_name(ROBOTS, settings.tenant)
        self._codec = Codec(registry, self._topic)
        self._bootstrap = bootstrap
        #: next offset to read, by partition
        self._next: dict[int, int] = {}
        access = {
            **settings.kafka_client(bootstrap),
            "group.id": f"{settings.group}-robots",  # nobody joins it, nothing is committed
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
            "fetch.queue.backoff.ms": 5,
            "log_level": 2,
        }
        self._consumer = Consumer(access)
        #: a connection that no fetch keeps waiting: on the other an answer comes behind half a second of long poll
        self._asking = Consumer(access)

    def read(self, timeout_s: float = _ANSWER_S) -> Models:
        """Read up to what is registered now; raises :class:`BrokerError` where the broker does not answer.

        A cluster without the topic has registered nothing. What is no registration is told in the log and passed.
        """
        try:
            ends = self._ends(timeout_s)
            deadline = time.monotonic() + timeout_s
            while any(self._next[partition] < end for partition, end in ends.items()):
                if time.monotonic() > deadline:
                    raise BrokerError(f"{self._bootstrap} did not give {self._topic} within {timeout_s:g} s: try again")
                self.follow(0.2)
        except KafkaException as problem:
            raise BrokerError(f"no broker answers at {self._bootstrap}: {problem.args[0].str()}") from problem
        return self.models

    def follow(self, timeout_s: float = 0.0) -> None:
        """Take what has come since; a registry that is away loses nothing: :meth:`read` begins again where it was."""
        if not self._next:
            return
        try:
            for message in self._consumer.consume(_BATCH, timeout_s):
                self._take(message)
        except RegistryUnavailableError:
            self._assign(self._next)
            raise

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()
        self._asking.close()

    def _ends(self, timeout_s: float) -> dict[int, int]:
        """Where each partition ends now; those that are new are read from their beginning."""
        found = self._asking.list_topics(self._topic, timeout=timeout_s).topics[self._topic].partitions
        if set(found) != set(self._next):
            self._assign({partition: self._next.get(partition, 0) for partition in found})
        asked = [TopicPartition(self._topic, partition, OFFSET_END) for partition in found]
        ends = self._asking.offsets_for_times(asked, timeout=timeout_s) if asked else []
        for end in ends:
            if end.error is not None:
                raise KafkaException(end.error)
        return {end.partition: end.offset for end in ends}

    def _assign(self, positions: Mapping[int, int]) -> None:
        self._next = dict(positions)
        where = [TopicPartition(self._topic, p, at or OFFSET_BEGINNING) for p, at in positions.items()]
        self._consumer.assign(where)

    def _take(self, message: Any) -> None:
        if message.error():  # the end of a partition: compaction leaves no message at its last offsets
            if message.error().name() == "_PARTITION_EOF":
                self._next[message.partition()] = max(self._next[message.partition()], message.offset())
            return
        try:
            decoded = self._codec.decode(message.value() or b"")
            if decoded.record != "RobotRegistered":
                raise ContractError(f"a {decoded.record} among registrations")
            self.models.register(registered_model(decoded.value), message.timestamp()[1])
        except RegistryUnavailableError:
            raise
        except ContractError as problem:
            place = f"{self._topic}-{message.partition()} offset {message.offset()}"
            log.warning("%s: registration refused: %s", place, problem)
        self._next[message.partition()] = message.offset() + 1
