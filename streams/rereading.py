"""Raw records of one episode, read from the log once more for the dead letters of a quarantine; writes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import confluent_kafka
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from kinestream.schemas.codec import Codec
from kinestream.schemas.errors import BrokerError, DecodeError
from kinestream.schemas.reasons import DeadLetterReason
from kinestream.schemas.settings import Settings
from kinestream.streams.assembly.values import DeadLetter, Place

#: Letters handed back at once: a long take is more than fits into memory.
MOST: Final = 500
#: Records asked for at once, and seconds an answer may take.
_BATCH: Final = 500
_ANSWER_S: Final = 10.0


class Log:
    """The partitions of a cluster, readable from any offset by no group."""

    def __init__(self, settings: Settings, bootstrap: str) -> None:
        self._config = {
            **settings.kafka_client(bootstrap),
            "group.id": "kinestream-rereading",  # librdkafka wants one; nothing is committed
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "fetch.queue.backoff.ms": 5,
            "queued.max.messages.kbytes": 8192,
            "log_level": 2,
        }

    def letters(
        self, place: Place, span: tuple[int, int], ids: frozenset[str], codec: Codec, text: str
    ) -> tuple[list[DeadLetter], int]:
        """Records from offset ``span[0]`` to ``span[1]`` of an episode that bears one of ``ids``; where to go on.

        Go on until that is beyond ``span[1]``. What retention took meanwhile is left out. Raises :class:`BrokerError`
        where the broker does not answer.
        """
        found: list[DeadLetter] = []
        for message in self._read(place, span):
            letter = _letter(message, ids, codec, text)
            if letter is not None:
                found.append(letter)
                if len(found) == MOST:
                    return found, letter.offset + 1
        return found, span[1] + 1

    def _read(self, place: Place, span: tuple[int, int]) -> Iterator[Any]:
        first, last = span
        consumer = confluent_kafka.Consumer(self._config)
        try:
            consumer.assign([TopicPartition(place.topic, place.partition, first)])
            while True:
                messages = consumer.consume(_BATCH, _ANSWER_S)
                if not messages:
                    raise BrokerError(f"{place.topic}-{place.partition} cannot be read from offset {first}")
                for message in messages:
                    problem = message.error()
                    if problem is not None and problem.code() != KafkaError._PARTITION_EOF:
                        raise BrokerError(f"{place.topic}-{place.partition} cannot be read: {problem.str()}")
                    if problem is not None or message.offset() > last:
                        return
                    yield message
                    if message.offset() == last:
                        return
        except KafkaException as problem:
            raise BrokerError(f"{place.topic}-{place.partition} cannot be read: {problem.args[0].str()}") from problem
        finally:
            consumer.close()


def _letter(message: Any, ids: frozenset[str], codec: Codec, text: str) -> DeadLetter | None:
    raw = message.value() or b""
    try:
        decoded = codec.decode(raw)
    except DecodeError:
        return None  # has its letter already
    if decoded.record == "RobotStatus":
        return None
    value = decoded.value
    if (value.episode_id if decoded.record == "FrameChunk" else value["episode_id"]) not in ids:
        return None
    where = (message.offset(), message.timestamp()[1], message.key(), message.value())
    headers = tuple(message.headers() or ())
    return DeadLetter(*where, DeadLetterReason.QUARANTINED, text, decoded.schema_id, headers)
