"""Whether retention may take what no worker has read: asked of the broker itself, so also where no worker runs."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import Consumer, KafkaException, TopicPartition

from kinestream.deploy.doctor.finding import FAIL, OK, WARN, Finding
from kinestream.deploy.topics import broker_kind
from kinestream.schemas.catalogue import FRAMES, FRAMES_BULK, topic_name
from kinestream.schemas.errors import BrokerError
from kinestream.schemas.settings import Settings
from kinestream.streams import outlook
from kinestream.streams.cluster import kept
from kinestream.streams.outlook import Kept, Outlook, Unread, level

#: Seconds the broker may take for an answer, and for the oldest unread messages of all partitions.
_ANSWER_S: Final = 5.0
#: Messages of a partition that are looked at.
_SAMPLE: Final = 50
_LEVELS: Final = {outlook.OK: OK, outlook.WARN: WARN, outlook.FAIL: FAIL}
_TODO: Final = "more workers (`kinestream up --workers N`), or longer retention.ms and retention.bytes of the topics"
#: Of a partition: the age of its oldest unread message in seconds, and bytes of an unread message, as a mean.
Oldest = Mapping[tuple[str, int], tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Part:
    """A partition that was not read to its end: offsets ``first`` to ``end`` - 1 are there; ``gone`` are deleted."""

    topic: str
    partition: int
    first: int
    end: int
    gone: int = 0


def unread(bootstrap: str, settings: Settings) -> Iterator[Finding]:
    """One line on the frames topics; none on the test broker, which deletes by a rule of its own."""
    topics = [topic_name(topic, settings.tenant) for topic in (FRAMES, FRAMES_BULK)]
    try:
        if broker_kind(bootstrap, _ANSWER_S, settings.kafka_access()) == "test":
            return
        bounds = kept(settings, bootstrap, topics, _ANSWER_S)
        parts, oldest = _look(bootstrap, settings, topics)
    except (BrokerError, KafkaException):
        return
    yield judge(bounds, parts, oldest)


def judge(bounds: Mapping[str, Kept], parts: list[Part], oldest: Oldest) -> Finding:
    """What the worst of these partitions means."""
    if gone := sum(one.gone for one in parts):
        return Finding("unread", FAIL, f"retention has deleted {gone:,} messages before they were read", _TODO)
    worst, where = 1.0, ""
    for one in parts:
        age_s, size = oldest.get((one.topic, one.partition), (0.0, 0.0))
        seen = Outlook()
        waiting = Unread(one.end - one.first, one.end, size, age_s)
        seen.see(0.0, waiting, bounds.get(one.topic, Kept(math.inf, math.inf)))
        if seen.margin < worst:
            worst, where = seen.margin, f"{one.topic}-{one.partition}"
    if level(worst) == outlook.OK:
        count = sum(one.end - one.first for one in parts)
        return Finding("unread", OK, f"{count:,} messages are unread, all far from the end of their retention")
    said = f"{where}: {worst:.0%} of what the log keeps is left before unread messages are deleted"
    return Finding("unread", _LEVELS[level(worst)], said, _TODO)


def _look(bootstrap: str, settings: Settings, topics: list[str]) -> tuple[list[Part], Oldest]:
    consumer = Consumer(
        {
            **settings.kafka_client(bootstrap),
            "group.id": settings.group,  # asked, never joined
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "fetch.queue.backoff.ms": 5,
            "log_level": 0,
        }
    )
    try:
        parts = [one for one in _parts(consumer, topics) if one.end > one.first or one.gone]
        return parts, _oldest(consumer, [one for one in parts if one.end > one.first])
    finally:
        consumer.close()


def _parts(consumer: Any, topics: list[str]) -> Iterator[Part]:
    for topic in topics:
        count = len(consumer.list_topics(topic, timeout=_ANSWER_S).topics[topic].partitions)
        asked = [TopicPartition(topic, number) for number in range(count)]
        for one in consumer.committed(asked, timeout=_ANSWER_S):
            low, high = consumer.get_watermark_offsets(one, timeout=_ANSWER_S)
            done = one.offset if one.offset >= 0 else low
            yield Part(topic, one.partition, max(done, low), high, max(low - done, 0))


def _oldest(consumer: Any, parts: list[Part]) -> Oldest:
    """From the first messages of each: a status of its robot weighs a hundredth of a chunk."""
    consumer.assign([TopicPartition(one.topic, one.partition, one.first) for one in parts])
    wanted = {(one.topic, one.partition): min(one.end - one.first, _SAMPLE) for one in parts}
    ages: dict[tuple[str, int], float] = {}
    sizes: dict[tuple[str, int], list[int]] = {place: [] for place in wanted}
    deadline = time.monotonic() + _ANSWER_S
    while any(len(sizes[place]) < count for place, count in wanted.items()) and time.monotonic() < deadline:
        for message in consumer.consume(_SAMPLE, 0.2):
            if message.error() is None:
                place = message.topic(), message.partition()
                ages.setdefault(place, max(time.time() - message.timestamp()[1] / 1000, 0.0))
                sizes[place].append(len(message.value() or b""))
    return {place: (age_s, sum(sizes[place]) / len(sizes[place])) for place, age_s in ages.items()}
