"""Where figures are taken: a stack of its own in a folder of its own, and a tenant and database for each floor."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient

from kinestream.deploy.bench.floor import Message
from kinestream.deploy.local.stack import Stack
from kinestream.deploy.store import migrations
from kinestream.deploy.topics import ensure_topics
from kinestream.schemas.catalogue import CATALOGUE, FRAMES, topic_name
from kinestream.schemas.errors import BrokerError
from kinestream.schemas.settings import PREFIX, Settings
from kinestream.streams.store.client import connect

Progress = Callable[[str], None]
#: A contender is held still while the topic is filled; its group must not give it up for that.
_HELD_S = 600.0


@dataclass(frozen=True, slots=True)
class Site:
    """A running stack; ``settings`` say where everything is."""

    stack: Stack
    settings: Settings
    folder: Path

    @contextmanager
    def tenant(self) -> Iterator[Settings]:
        """Settings of a fresh tenant with its topics; they go at the end."""
        mine = fresh(self.settings)
        ensure_topics(mine.kafka, mine.tenant, access=mine.kafka_access())
        try:
            yield mine
        finally:
            forget_topics(mine)

    @contextmanager
    def database(self, tenant: Settings) -> Iterator[Settings]:
        """The same with a migrated database and a consumer group of its own; the database goes at the end."""
        name = f"bench_{uuid.uuid4().hex[:8]}"
        mine = replace(tenant, clickhouse_database=name, group=name, session_s=_HELD_S, home=self.folder / name)
        mine.home.mkdir()
        with connect(mine.clickhouse, "", mine.clickhouse_user, mine.clickhouse_password) as client:
            migrations.apply(client, name)
            try:
                yield mine
            finally:
                with suppress(ClickHouseError):  # the stack may be on its way down
                    client.command(f"DROP DATABASE {name} SYNC")


@contextmanager
def site(settings: Settings, progress: Progress, workers: int = 0) -> Iterator[Site]:
    """A local stack with Apache Kafka in a temporary folder; what settings name elsewhere is used instead."""
    with tempfile.TemporaryDirectory(prefix="kinestream-bench-") as folder:
        home = Path(folder) / "stack"
        stack = Stack(replace(fresh(settings), home=home, broker="kafka"))
        where = stack.up(progress, workers, foreground=True)
        try:
            found = replace(stack.settings, kafka=where.kafka, clickhouse=where.clickhouse)
            yield Site(stack, found, Path(folder))
        finally:
            if settings.kafka:
                forget_topics(stack.settings)
            stack.down()


def fresh(settings: Settings) -> Settings:
    """The same for a tenant and a group nobody has."""
    name = f"bench{uuid.uuid4().hex[:8]}"
    return replace(settings, tenant=name, group=name, instance_id="")


def environment(settings: Settings) -> dict[str, str]:
    """The settings as KINESTREAM_* variables."""
    return {PREFIX + one.name.upper(): str(getattr(settings, one.name)) for one in fields(settings)}


def frames_topic(settings: Settings) -> str:
    """The topic a floor sends to."""
    return topic_name(FRAMES, settings.tenant)


def publish(settings: Settings, messages: Iterable[Message], topic: str = "") -> tuple[int, int]:
    """Send all, to ``topic`` or the live lane, and wait until the broker has them; how many there were, their bytes."""
    producer = Producer(
        {
            **settings.kafka_client(settings.kafka),
            "enable.idempotence": True,
            "acks": "all",
            "partitioner": "murmur2_random",
            "linger.ms": 5,
            "queue.buffering.max.messages": 1_000_000,
            "queue.buffering.max.kbytes": 65_536,
            "log_level": 3,
        }
    )
    topic, count, size = topic or frames_topic(settings), 0, 0
    for key, value in messages:
        while True:
            try:
                producer.produce(topic, value, key)
                break
            except BufferError:
                producer.poll(0.05)
        count += 1
        size += len(value)
        if count % 1000 == 0:
            producer.poll(0)
    if left := producer.flush(120):
        raise BrokerError(f"{left} of {count} messages were not acknowledged by {settings.kafka}: is it healthy?")
    return count, size


def forget_topics(settings: Settings) -> None:
    """Delete the topics of a tenant; one that is not there or will not go is left."""
    admin = AdminClient({**settings.kafka_client(settings.kafka), "log_level": 2})
    for answer in admin.delete_topics([topic_name(topic, settings.tenant) for topic in CATALOGUE]).values():
        with suppress(KafkaException):
            answer.result(30)


def reader(settings: Settings) -> Client:
    """A client of the account that only reads."""
    return connect(
        settings.clickhouse,
        settings.clickhouse_database,
        settings.clickhouse_reader,
        settings.clickhouse_reader_password,
    )
