"""Reads partitions of ``commands`` without being a member of any group; it decodes nothing and decides nothing."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

from confluent_kafka import OFFSET_STORED, Consumer, KafkaException, TopicPartition

log = logging.getLogger("kinestream.worker")

#: Commands handed over at once.
_BATCH: Final = 100


class CommandLog:
    """Blocking; one thread at a time. ``client``: where the cluster is, and how it is let in.

    ``group``: only what is done is on record under it, so nobody may join it.
    """

    def __init__(self, client: Mapping[str, Any], group: str, topic: str) -> None:
        self.topic = topic
        #: offsets the broker has on record for us, by partition
        self.committed: dict[int, int] = {}
        self._said = ""
        self._consumer = Consumer(
            {
                **client,
                "group.id": group,
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "earliest",
                "on_commit": self._on_commit,
                "queued.max.messages.kbytes": 1024,
                "log_level": 2,
            }
        )

    def assign(self, positions: Mapping[int, int]) -> None:
        """Read these partitions and no others, from these offsets; -1: from what is on record, else the beginning."""
        self.committed = {partition: offset for partition, offset in self.committed.items() if partition in positions}
        where = [(partition, at if at >= 0 else OFFSET_STORED) for partition, at in positions.items()]
        self._consumer.assign([TopicPartition(self.topic, *one) for one in where])

    def read(self, timeout_s: float) -> dict[int, list[Any]]:
        """Messages by partition, in the order of the log; waits up to ``timeout_s`` for the first."""
        found: dict[int, list[Any]] = {}
        first = self._consumer.poll(timeout_s)
        for message in [first, *self._consumer.consume(_BATCH, 0)] if first is not None else []:
            if message.error():
                self._say(message.error().str())
            else:
                found.setdefault(message.partition(), []).append(message)
        return found

    def commit(self, offsets: Mapping[int, int]) -> None:
        """Ask for these positions to be put on record; ``committed`` shows later whether they are."""
        parts = [TopicPartition(self.topic, *one) for one in offsets.items()]
        try:
            self._consumer.commit(offsets=parts, asynchronous=True)
        except KafkaException as problem:  # asked again with the next
            self._say(problem.args[0].str())

    def _on_commit(self, error: Any, parts: list[TopicPartition]) -> None:
        for one in parts if error is None else []:
            if one.error is None:
                self.committed[one.partition] = one.offset

    def _say(self, text: str) -> None:
        if text != self._said:
            log.warning("reading %s: %s; trying again until it works", self.topic, text)
        self._said = text
