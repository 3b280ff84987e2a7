"""Reads the topic of dead letters: which there are, which were sent back, and what they hold; it writes nothing."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, TopicPartition

from kinestream.schemas.catalogue import FRAMES_DLQ, topic_name
from kinestream.schemas.errors import BrokerError, ContractError
from kinestream.schemas.settings import Settings
from kinestream.streams.dead_letters.form import Letter, letter_of, replayed_source
from kinestream.streams.reading import TopicReader, consumer_config

#: Seconds without a message after which a letter that must be there counts as out of reach.
ANSWER_S: Final = 15.0
#: Messages between two wanted ones that are rather read through than jumped over.
_NEAR: Final = 500


@dataclass(frozen=True, slots=True)
class Choice:
    """Which letters are meant; what is empty leaves all in. ``ids``: ``PARTITION/OFFSET``."""

    reasons: frozenset[str] = frozenset()
    robots: frozenset[str] = frozenset()
    ids: frozenset[str] = frozenset()
    since: datetime | None = None

    def takes(self, letter: Letter, at_ms: int) -> bool:
        """Whether ``letter``, of broker time ``at_ms``, is meant."""
        return (
            (self.since is None or at_ms >= self.since.timestamp() * 1000)
            and (not self.reasons or letter.reason in self.reasons)
            and (not self.robots or letter.robot_id in self.robots)
            and (not self.ids or letter.id in self.ids)
        )


@dataclass
class Scan:
    """One pass over the topic. After it: how many letters of each reason, and which were sent back or repeated."""

    reasons: Counter[str] = field(default_factory=Counter)
    #: hashes of sources: a flood of letters must fit into memory
    seen: set[int] = field(default_factory=set)
    replayed: set[int] = field(default_factory=set)

    def was_replayed(self, letter: Letter) -> bool:
        """Known only when the pass is over: a marker comes after its letter."""
        return hash(letter.source) in self.replayed


class DeadLetters:
    """The dead letters of a tenant. Every method raises :class:`BrokerError` where the broker is away."""

    def __init__(self, settings: Settings, bootstrap: str) -> None:
        self._settings, self._bootstrap = settings, bootstrap
        self.topic = topic_name(FRAMES_DLQ, settings.tenant)

    def letters(self, choice: Choice, scan: Scan) -> Iterator[tuple[Letter, Any]]:
        """Each letter that is meant, and its message, once: what a worker repeated after a crash is passed over."""
        reader = TopicReader(self._settings, self._bootstrap, self.topic, from_start=True)
        try:
            for message in reader.messages(until_end=True):
                if message is None:
                    continue
                headers = message.headers() or []
                letter = letter_of(message.partition(), message.offset(), message.key(), headers)
                if letter is None:
                    if source := replayed_source(headers):
                        scan.replayed.add(hash(source))
                    continue
                source_hash = hash(letter.source)
                # An id that was asked for is meant even where an earlier copy stands before it.
                if choice.takes(letter, message.timestamp()[1]) and (choice.ids or source_hash not in scan.seen):
                    scan.seen.add(source_hash)
                    scan.reasons[letter.reason] += 1
                    yield letter, message
        finally:
            reader.close()

    def newest(self, choice: Choice, last: int) -> tuple[list[tuple[Letter, bool]], Counter[str]]:
        """The ``last`` letters, newest first, and whether each was sent back; with how many there are by reason."""
        scan, tails = Scan(), defaultdict[int, deque[tuple[int, Letter]]](lambda: deque(maxlen=last))
        for letter, message in self.letters(choice, scan):
            tails[letter.partition].append((message.timestamp()[1], letter))
        found = sorted((one for tail in tails.values() for one in tail), key=_age, reverse=True)
        return [(letter, scan.was_replayed(letter)) for _, letter in found[:last]], scan.reasons

    def one(self, letter_id: str) -> tuple[Letter, Any, bool]:
        """A letter by its id, its message, and whether it was sent back; raises :class:`ContractError` without one."""
        scan = Scan()
        for letter, message in self.letters(Choice(ids=frozenset({letter_id})), scan):
            found = (letter, message)
        if not scan.seen:
            raise ContractError(f"no dead letter {letter_id} in {self.topic}: `kinestream dlq list` shows their ids")
        return (*found, scan.was_replayed(found[0]))

    def at(self, partition: int, offsets: Sequence[int]) -> Iterator[Any]:
        """The messages at these offsets, in the order given; those that retention took away meanwhile are left out."""
        consumer = Consumer(consumer_config(self._settings, self._bootstrap, ""))
        try:
            position = -_NEAR - 1  # nowhere yet
            for offset in offsets:
                if not position <= offset <= position + _NEAR:
                    consumer.assign([TopicPartition(self.topic, partition, offset)])
                    position = offset
                while position <= offset:
                    message = self._next(consumer, partition, offset)
                    if message is None:
                        break
                    position = message.offset() + 1
                    if message.offset() == offset:
                        yield message
        finally:
            consumer.close()

    def _next(self, consumer: Any, partition: int, offset: int) -> Any:
        """The next message; None at the end of the log."""
        for _ in range(int(ANSWER_S / 0.5)):
            message = consumer.poll(0.5)
            if message is not None and message.error() is None:
                return message
            if message is not None and message.error().code() == KafkaError._PARTITION_EOF:
                return None
        raise BrokerError(f"cannot read dead letter {partition}/{offset} of {self.topic} from {self._bootstrap}")


def in_log_order(letters: Iterable[Letter]) -> list[Letter]:
    """As their records first stood in the log: by offset within a partition, partitions by broker time."""
    by_place: dict[tuple[str, int], list[Letter]] = defaultdict(list)
    for letter in letters:
        by_place[letter.origin.topic, letter.origin.partition].append(letter)
    keyed: list[tuple[int, Any, Letter]] = []
    for place, group in by_place.items():
        latest = -1
        for letter in sorted(group, key=_offset):
            latest = max(latest, letter.origin.broker_ms)  # a clock that was set back must not turn the log around
            keyed.append((latest, (place, letter.origin.offset), letter))
    keyed.sort(key=_when)
    return [letter for _, _, letter in keyed]


def told(letter: Letter, replayed: bool) -> dict[str, Any]:
    """A letter ready for JSON."""
    facts: Mapping[str, Any] = {
        "id": letter.id,
        "reason": letter.reason,
        "text": letter.text,
        "robot_id": letter.robot_id,
        "topic": letter.source.topic,
        "partition": letter.source.partition,
        "offset": letter.source.offset,
        "time": letter.time,
        "schema_id": letter.schema_id if letter.schema_id >= 0 else None,
        "attempts": letter.attempts,
        "replayed": replayed,
    }
    return dict(facts)


def _age(found: tuple[int, Letter]) -> tuple[int, int, int]:
    return found[0], found[1].partition, found[1].offset


def _offset(letter: Letter) -> int:
    return letter.origin.offset


def _when(keyed: tuple[int, Any, Letter]) -> tuple[int, Any]:
    return keyed[0], keyed[1]
