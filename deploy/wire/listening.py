"""Reads what one robot sends, wherever it sends it; joins no group, commits nothing, checks nothing."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from heapq import merge
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from kinestream.deploy.topics import broker_kind
from kinestream.deploy.wire.capture import Captured
from kinestream.schemas.catalogue import FRAMES, FRAMES_BULK, topic_name
from kinestream.schemas.codec import Codec
from kinestream.schemas.errors import BrokerError, DecodeError
from kinestream.schemas.murmur2 import partition_of
from kinestream.schemas.registry import Registry
from kinestream.schemas.settings import Settings
from kinestream.streams.cluster import describe
from kinestream.streams.reading import consumer_config

#: Messages without the robot's key that are kept until it is known whose they are.
_STRANGERS: Final = 20_000
#: Seconds before now in which the start of the take under way is looked for: takes last 10 to 60 s.
_LOOK_BACK_S: Final = 180.0
#: Seconds between two lines of progress.
_TOLD_S: Final = 5.0
_BATCH: Final = 1000
#: Seconds a broker may take to answer.
_ANSWER_S: Final = 10.0


class Listener:
    """The robot's messages on both lanes, also those with another key or on another partition than they should have.

    Raises :class:`BrokerError` or :class:`SettingError` where the cluster or its topics cannot be reached.
    """

    def __init__(self, settings: Settings, bootstrap: str, registry: Registry, robot_id: str) -> None:
        self._bootstrap, self._robot_id, self._key = bootstrap, robot_id, robot_id.encode()
        topics = [topic_name(one, settings.tenant) for one in (FRAMES, FRAMES_BULK)]
        _, self._counts = describe(settings, bootstrap, topics)
        #: of the live topic; the bulk topic has as many
        self.partitions = self._counts[topics[0]]
        self._config, self._access = consumer_config(settings, bootstrap, ""), settings.kafka_access()
        self._codecs = {topic: Codec(registry, topic) for topic in topics}
        self._episodes: set[str] = set()
        self._strangers: deque[Any] = deque(maxlen=_STRANGERS)

    def messages(
        self, seconds: float, since: datetime | None = None, note: Callable[[str], None] = lambda _: None
    ) -> list[Captured]:
        """The take under way and what comes within ``seconds``; with ``since`` instead what has come since then.

        Each partition in the order of its log, one beside the other by time. Raises :class:`BrokerError` for none.
        """
        consumer = Consumer(self._config)
        try:
            began = since or datetime.now(UTC) - timedelta(seconds=_LOOK_BACK_S)
            found, ends = self._history(consumer, began, note)
            if since is None:
                found = self._under_way(found) + self._listen(consumer, ends, seconds, note)
        except KafkaException as problem:
            raise BrokerError(f"cannot read from {self._bootstrap}: {problem.args[0].str()}") from problem
        finally:
            consumer.close()
        found += [message for message in self._strangers if self._is_ours(message)]
        if not found:
            when = f"since {since.isoformat()}" if since else f"within {seconds:g} s"
            raise BrokerError(
                f"no record of robot {self._robot_id!r} {when} on {', '.join(self._counts)} at {self._bootstrap}:"
                " is it sending, and is KINESTREAM_TENANT its tenant?"
                f"{'' if since else ' --since 10m reads what came before'}"
            )
        return [_captured(number, message) for number, message in enumerate(_in_order(found), 1)]

    def _listen(
        self, consumer: Any, begins: dict[tuple[str, int], int], seconds: float, note: Callable[[str], None]
    ) -> list[Any]:
        consumer.assign([TopicPartition(*place, offset) for place, offset in begins.items()])
        found: list[Any] = []
        deadline = time.monotonic() + seconds
        told = time.monotonic() + _TOLD_S
        while (left := deadline - time.monotonic()) > 0:
            found += self._mine(consumer.consume(_BATCH, min(left, 0.2)))
            if time.monotonic() > told:
                told += _TOLD_S
                note(f"{len(found)} records of {self._robot_id}; {max(left, 0):.0f} s to go")
        return found

    def _history(
        self, consumer: Any, since: datetime, note: Callable[[str], None]
    ) -> tuple[list[Any], dict[tuple[str, int], int]]:
        """What is in the log since then, and where it ends."""
        bounds = self._bounds(consumer)
        ends = {(p.topic, p.partition): high for p, (_, high) in bounds}
        since_ms = int(since.timestamp() * 1000)
        begins = [one for one in self._since(consumer, bounds, since_ms) if 0 <= one.offset < _end(ends, one)]
        left = {(one.topic, one.partition) for one in begins}
        consumer.assign(begins)
        found: list[Any] = []
        told, heard = time.monotonic() + _TOLD_S, time.monotonic()
        while left:
            batch = consumer.consume(_BATCH, 0.2)
            heard = time.monotonic() if batch else heard
            if time.monotonic() - heard > _ANSWER_S:
                raise BrokerError(f"{self._bootstrap} has given nothing for {_ANSWER_S:g} s: is it still there?")
            # What came meanwhile is left to whoever listens from the ends on.
            found += self._mine([m for m in batch if m.error() or _within(m, since_ms, ends)])
            for message in batch:
                place, error = (message.topic(), message.partition()), message.error()
                at_end = error is not None and error.code() == KafkaError._PARTITION_EOF
                if at_end or (error is None and message.offset() + 1 >= ends[place]):
                    left.discard(place)
            if time.monotonic() > told:
                told += _TOLD_S
                note(f"{len(found)} records of {self._robot_id}; {len(left)} partitions to go")
        return found, ends

    def _since(self, consumer: Any, bounds: list[tuple[Any, tuple[int, int]]], since_ms: int) -> list[Any]:
        """Where to begin; the test broker knows no times, and is small."""
        if broker_kind(self._bootstrap, access=self._access) == "test":
            return [TopicPartition(p.topic, p.partition, low) for p, (low, _) in bounds]
        asked = [TopicPartition(p.topic, p.partition, since_ms) for p, _ in bounds]
        return list(consumer.offsets_for_times(asked, timeout=_ANSWER_S))

    def _under_way(self, found: list[Any]) -> list[Any]:
        """Of what came before: the take being recorded, from its start on. What was sent earlier is of no interest."""
        ordered = list(_in_order(found))
        for at in range(len(ordered) - 1, -1, -1):
            value = self._decoded(ordered[at])
            if isinstance(value, dict) and "n_total" in value:
                break
            if isinstance(value, dict) and "joints" in value:
                return ordered[at:]
        return []

    def _bounds(self, consumer: Any) -> list[tuple[TopicPartition, tuple[int, int]]]:
        """Lowest offset kept and end of each; of a topic just made, a broker first says that it is not its own."""
        places = [TopicPartition(topic, number) for topic, count in self._counts.items() for number in range(count)]
        deadline = time.monotonic() + _ANSWER_S
        while True:
            try:
                return [(place, consumer.get_watermark_offsets(place, timeout=_ANSWER_S)) for place in places]
            except KafkaException:
                if time.monotonic() > deadline:
                    raise
                for topic in self._counts:
                    consumer.list_topics(topic, timeout=_ANSWER_S)
                time.sleep(0.05)

    def _mine(self, batch: list[Any]) -> list[Any]:
        """Those with its key; of the others those that may be its own wait."""
        found = []
        for message in batch:
            error = message.error()
            if error is not None:
                if error.code() != KafkaError._PARTITION_EOF and (error.fatal() or not error.retriable()):
                    raise BrokerError(f"cannot read from {self._bootstrap}: {error.str()}")
                continue
            key = message.key()
            if key == self._key:
                found.append(message)
            elif self._names_it(message):
                self._claim(message)
                found.append(message)
            elif self._episodes and self._is_ours(message):
                found.append(message)
            elif key is None or partition_of(key, self.partitions) != message.partition():
                self._strangers.append(message)
        return found

    def _names_it(self, message: Any) -> bool:
        """A start or status with another key, that says the robot's name."""
        value = self._decoded(message) if self._key in (message.value() or b"") else None
        return isinstance(value, dict) and value.get("robot_id") == self._robot_id

    def _claim(self, message: Any) -> None:
        value = self._decoded(message)
        if isinstance(value, dict) and "episode_id" in value:
            self._episodes.add(value["episode_id"])

    def _is_ours(self, message: Any) -> bool:
        """A chunk, mark or end of an episode whose start named the robot under another key."""
        value = self._decoded(message)
        episode_id = value.get("episode_id") if isinstance(value, dict) else getattr(value, "episode_id", None)
        return episode_id in self._episodes

    def _decoded(self, message: Any) -> Any:
        try:
            return self._codecs[message.topic()].decode(message.value() or b"").value
        except DecodeError:
            return None


def _within(message: Any, since_ms: int, ends: dict[tuple[str, int], int]) -> bool:
    at_ms: int = message.timestamp()[1]
    return at_ms >= since_ms and bool(message.offset() < ends[message.topic(), message.partition()])


def _end(ends: dict[tuple[str, int], int], place: Any) -> int:
    return ends[place.topic, place.partition]


def _in_order(found: Iterable[Any]) -> Iterable[Any]:
    """Partitions merged by time; within one, its log's order, whatever its stamps say."""
    by_place: dict[tuple[str, int], list[Any]] = defaultdict(list)
    for message in found:
        by_place[message.topic(), message.partition()].append(message)
    runs = []
    for messages in by_place.values():
        latest = -1
        run = []
        for message in sorted(messages, key=lambda m: int(m.offset())):
            latest = max(latest, message.timestamp()[1])
            run.append((latest, message))
        runs.append(run)
    return [message for _, message in merge(*runs, key=lambda pair: pair[0])]


def _captured(number: int, message: Any) -> Captured:
    place = message.topic(), message.partition(), message.offset(), message.timestamp()[1]
    headers = tuple(message.headers() or ())
    return Captured(number, message.value() or b"", *place, message.key(), True, headers)
