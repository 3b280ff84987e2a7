"""A disk that fills: nothing that was acknowledged is lost, and all goes on when there is space again.

The disk is the machine's own: the floor lies a little below what is free, and a file of that size pushes it under.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError
from confluent_kafka import Producer

from kinestream.deploy.local import health as probe
from kinestream.deploy.local import process
from kinestream.deploy.local.stack import Stack
from kinestream.deploy.store import migrations
from kinestream.schemas.catalogue import FRAMES, topic_name
from kinestream.schemas.settings import Settings
from kinestream.streams.store.client import connect, is_passing
from tests.assembling import Take
from tests.plugins.broker import Broker
from tests.plugins.store import Store, StoreProcess
from tests.plugins.worker import Pipeline
from tests.sending import RawSender, encode

#: Others write to this disk too, an environment with all it needs at a time: the floor is so far from what is free, and
#: the ballast twice as far. Bytes.
LEAST, MOST = 1_500_000_000, 6_000_000_000


class Ballast:
    """A file that takes the disk's space at once, and gives it back."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "ballast"
        free = shutil.disk_usage(folder).free
        self.margin = min(max(free // 8, LEAST), MOST)
        self.floor = free - self.margin
        if self.floor < 3 * LEAST:
            pytest.skip(f"the disk of {folder} has too little free to pretend that it is full")

    def drop(self) -> None:
        with self.path.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, 2 * self.margin)

    def lift(self) -> None:
        self.path.unlink(missing_ok=True)


@pytest.fixture
def ballast(tmp_path: Path) -> Iterator[Ballast]:
    made = Ballast(tmp_path)
    yield made
    made.lift()


@pytest.fixture
def own_store(tmp_path: Path, ballast: Ballast) -> Iterator[StoreProcess]:
    made = StoreProcess(tmp_path / "store", keep_free=ballast.floor).start()
    yield made
    made.kill()


def test_an_insert_that_was_not_stored_is_never_acknowledged(own_store: StoreProcess, ballast: Ballast) -> None:
    settings = Settings()
    client = connect(own_store.url, "", settings.clickhouse_user, settings.clickhouse_password)
    client.command("CREATE DATABASE full")
    client.command("CREATE TABLE full.t (n UInt32) ENGINE = MergeTree ORDER BY n PARTITION BY n")

    def insert(numbers: list[int]) -> None:
        client.insert_arrow("full.t", pa.table({"n": pa.array(numbers, pa.uint32())}))

    insert([1])
    with pytest.raises(DatabaseError, match="TOO_MANY_PARTS"):
        insert(list(range(200)))
    ballast.drop()
    with pytest.raises(DatabaseError, match="NOT_ENOUGH_SPACE") as full:
        insert([2])
    assert is_passing(full.value), "a worker repeats it"
    ballast.lift()
    insert([3])
    assert client.query("SELECT n FROM full.t ORDER BY n").result_rows == [(1,), (3,)]


def test_a_worker_waits_while_the_stores_disk_is_full_and_goes_on_by_itself(
    test_broker: Broker, own_store: StoreProcess, ballast: Ballast, tmp_path: Path
) -> None:
    database = Settings().clickhouse_database
    with Store(own_store.url, "", own_store.pid).client() as client:
        migrations.apply(client, database)
    pipeline = Pipeline(test_broker, Store(own_store.url, database, own_store.pid), tmp_path)
    pipeline.start()
    try:
        ballast.drop()
        take = Take()
        RawSender(test_broker).send(*take.whole())
        pipeline.wait_for(lambda: not pipeline.healthy())
        assert "NOT_ENOUGH_SPACE" in pipeline.log()
        ballast.lift()
        rows = pipeline.wait_for(lambda: pipeline.query("SELECT episode_id, status, frames FROM episodes"))
        assert rows == [(take.id, "COMPLETE", len(take.t_ns))]
        pipeline.wait_for(pipeline.healthy)
    finally:
        pipeline.stop_all()


def test_robots_are_refused_before_the_brokers_disk_is_full_and_lose_nothing(
    kafka_broker: Broker, ballast: Ballast, tmp_path: Path
) -> None:
    # kafka_broker only because it answers whether this machine can have Kafka at all
    settings = Settings(home=tmp_path / "home", broker="kafka", keep_free_bytes=ballast.floor)
    stack = Stack(settings)
    where = stack.up(workers=1)
    try:
        frames = topic_name(FRAMES, settings.tenant)
        config = {"bootstrap.servers": where.kafka, "enable.idempotence": True, "partitioner": "murmur2_random"}
        robot = Producer({**config, "log_level": 2, "reconnect.backoff.max.ms": 500})
        before, during = Take(seed=1), Take(seed=2)
        for value in before.whole():
            robot.produce(frames, encode(*value), "r1")
        assert robot.flush(20) == 0
        ballast.drop()
        assert process.wait_until(lambda: not health(stack)["guard"], 10)
        assert process.wait_until(lambda: not probe.broker(where.kafka, 0.3).healthy, 20)
        for value in during.whole():
            robot.produce(frames, encode(*value), "r1")
        assert robot.flush(4) > 0, "the broker takes nothing from robots"
        assert process.wait_until(lambda: health(stack)["worker"], 30), "workers read on"
        ballast.lift()
        assert robot.flush(30) == 0, "what was held back arrives by itself"
        reader = connect(where.clickhouse, settings.clickhouse_database, "reader", "reader")
        found = "SELECT episode_id, status FROM episodes FINAL ORDER BY episode_id"
        wanted = sorted((take.id, "COMPLETE") for take in (before, during))
        assert process.wait_until(lambda: reader.query(found).result_rows == wanted, 30)
        # the row is there before its event, and the worker is well when the broker has that, too
        assert process.wait_until(lambda: all(health(stack).values()), 10)
    finally:
        stack.down()


def health(stack: Stack) -> dict[str, bool]:
    return {one.name: one.healthy for one in stack.status()}
