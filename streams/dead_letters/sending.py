"""Delivers dead letters, each until the broker has it; must never let one that is too large stop the others."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import confluent_kafka
from confluent_kafka import KafkaError, KafkaException

from kinestream.schemas.catalogue import FRAMES_DLQ, topic_name
from kinestream.schemas.errors import BrokerError
from kinestream.schemas.settings import Settings
from kinestream.streams.assembly.values import DeadLetter, Place
from kinestream.streams.dead_letters.form import headers_of

log = logging.getLogger("kinestream.worker")

#: Letters handed to the producer at once: what is repeated, at most, when the broker goes away.
BATCH: Final = 10_000
#: Seconds until the producer gives a letter back as not delivered; the caller then tries again.
ANSWER_S: Final = 5.0
#: The most librdkafka allows: the topic's own limit decides, and it counts what is left after compression.
_ANY_SIZE: Final = 1_000_000_000


class Bag:
    """Letters on their way; ``left`` are those the broker has not acknowledged."""

    def __init__(self, letters: Sequence[tuple[Place, DeadLetter]]) -> None:
        self.left: dict[int, tuple[Place, DeadLetter]] = dict(enumerate(letters))
        #: those whose value the topic does not hold: they go without it
        self.too_large: set[int] = set()


class DeadLetterSender:
    """A producer of its own, made with the first letter: a flood of them must not delay the announcements."""

    def __init__(self, settings: Settings, bootstrap: str) -> None:
        self._topic = topic_name(FRAMES_DLQ, settings.tenant)
        self._client = settings.kafka_client(bootstrap)
        self._producer: Any = None

    def deliver(self, bag: Bag) -> None:
        """Deliver what is left of ``bag``; raises :class:`BrokerError` where the broker did not take all of it."""
        while bag.left:
            problems = self._deliver(bag, list(bag.left)[:BATCH])
            if problems:
                raise BrokerError(f"{len(problems)} dead letters not acknowledged: {problems[0].str()}")

    def _deliver(self, bag: Bag, numbers: Sequence[int]) -> list[KafkaError]:
        """One batch; returns what went wrong, but for letters that are too large: those go again without value."""
        producer, problems = self._made(), list[KafkaError]()

        def done(number: int, problem: KafkaError | None, _: Any) -> None:
            if problem is None:
                del bag.left[number]
            elif problem.code() == KafkaError.MSG_SIZE_TOO_LARGE and number not in bag.too_large:
                bag.too_large.add(number)
            else:
                problems.append(problem)

        for number in numbers:
            self._produce(producer, *bag.left[number], number in bag.too_large, partial(done, number))
        producer.flush(ANSWER_S + 10)
        if any(problem.fatal() for problem in problems):
            self._producer = None  # a fatal error is for ever: the next attempt has another
        return problems

    def _produce(self, producer: Any, place: Place, letter: DeadLetter, slim: bool, done: Callable[..., None]) -> None:
        headers, value, key = headers_of(letter, place), letter.raw, letter.key
        if slim:
            size = len(value or b"")
            log.error("%s-%d offset %d: a record of %d bytes fits into no dead letter: it is only where it was",
                      place.topic, place.partition, letter.offset, size)  # fmt: skip
            headers, value, key = [*headers[:8], ("omitted", str(size).encode())], None, None
        while True:
            try:
                producer.produce(self._topic, value, key, on_delivery=done, headers=headers)
                return
            except BufferError:
                producer.poll(0.1)
            except KafkaException as problem:
                done(problem.args[0], None)
                return

    def _made(self) -> Any:
        if self._producer is None:
            self._producer = confluent_kafka.Producer(
                {
                    **self._client,
                    "enable.idempotence": True,
                    "acks": "all",
                    # As Java clients and the worker's own check have it, a missing key included.
                    "partitioner": "murmur2",
                    "linger.ms": 5,
                    # What was a small batch when it came must be one again.
                    "compression.type": "zstd",
                    "message.max.bytes": _ANY_SIZE,
                    "message.timeout.ms": int(ANSWER_S * 1000),
                    "log_level": 3,
                }
            )
        return self._producer
