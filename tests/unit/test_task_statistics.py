"""When the statistics of a task are made anew, and that they are read back as they were: on the real store."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from kinestream.schemas.settings import Settings
from kinestream.streams.assembly.takes import take_key
from kinestream.streams.assembly.values import TakeRow
from kinestream.streams.quality.tasks import Task
from kinestream.streams.retrying import Retry
from kinestream.streams.store import tables
from kinestream.streams.store.statistics import StatisticsStore
from kinestream.streams.store.store import Store as Writer
from kinestream.streams.task_statistics import Closing, TaskBook
from tests.plugins.store import Store
from tests.unit.quality_samples import JOINTS, context

TASK = Task("hub", "grasp", "robot", JOINTS)
HOUR_MS = 3_600_000


class Place:
    """A database with takes of one task, and a worker's book of statistics."""

    def __init__(self, database: Store) -> None:
        settings = Settings(clickhouse_database=database.database)
        self.writer = Writer(settings, database.url)
        self.store = StatisticsStore(self.writer)
        self.book = TaskBook(settings, self.store, Retry())
        self.takes = 0

    def put(self, count: int, start_ms: int, seconds: float = 10.0, gone: bool = False, revision: int = 1) -> None:
        rows = []
        for number in range(count):
            name, pose = f"e{start_ms}-{number}", np.full(len(JOINTS), 0.01 * number, np.float32)
            rows.append(
                TakeRow(TASK.key, start_ms + number, take_key(name), revision, "task", gone, name, seconds=seconds,
                        metrics={"S1": -5.0 + number / 100}, start_pose=pose, end_pose=pose)
            )  # fmt: skip
        self.writer.insert("takes", tables.takes([(1, row) for row in rows]))

    def looked(self) -> tuple[int, int]:
        """Look as after a close; how many takes to wait for next, and those in the newest statistics."""
        lacking = asyncio.run(self.book._refresh(Closing(TASK, context())))
        newest = self.store.newest([TASK.key]).get(TASK.key)
        return lacking, newest.statistics.episodes if newest else 0


@pytest.fixture
def place(database: Store) -> Place:
    return Place(database)


def test_statistics_begin_at_twenty_takes_and_are_made_anew_after_a_hundred_or_a_day(place: Place) -> None:
    place.put(19, 0)
    assert place.looked() == (1, 0)
    place.put(1, 19)
    assert place.looked() == (25, 20)
    place.put(99, 100)
    assert place.looked() == (1, 20)
    place.put(1, 300)
    assert place.looked() == (25, 120)
    place.put(1, 400)
    assert place.looked()[1] == 120
    place.put(1, 25 * HOUR_MS)
    assert place.looked()[1] == 122


def test_an_episode_begins_with_the_newest_and_keeps_what_it_began_with(place: Place) -> None:
    start = {"tenant": "hub", "skill": "grasp", "model_id": "robot", "joints": list(JOINTS)}
    layout = type("Layout", (), {"joints": JOINTS})()
    place.put(20, 0)
    place.looked()
    first = place.book.find(start, layout)
    assert first is not None
    place.put(100, 1000, seconds=20.0)
    place.looked()
    second = place.book.find(start, layout)
    assert second.episodes == 120
    assert place.book.find({**start, "pins": {"task": first.version}}, layout) is first
    assert place.book.find({**start, "pins": {"task": ""}}, layout) is None, "it began before there were any"
    assert place.book.find({**start, "skill": ""}, layout) is None
    again = place.store.named([first.version, second.version])
    assert again[first.version].log_seconds == first.log_seconds
    assert again[second.version].metrics == second.metrics
    assert again[first.version].poses["start"].mean.tolist() == first.poses["start"].mean.tolist()


def test_takes_that_are_gone_or_stored_twice_count_for_nothing(place: Place) -> None:
    place.put(22, 0)
    place.put(22, 0)
    assert len(place.store.takes(TASK.key, 1000)) == 22
    place.put(3, 0, gone=True, revision=2)
    takes = place.store.takes(TASK.key, 1000)
    assert [started_ms for started_ms, _ in takes] == list(range(21, 2, -1))
    assert place.looked() == (1, 0)
    assert len(place.store.takes(TASK.key, 5)) == 5


def test_other_tasks_know_nothing_of_it(place: Place) -> None:
    place.put(20, 0)
    place.looked()
    other = replace(TASK, model_id="another")
    assert place.store.newest([other.key, TASK.key]).keys() == {TASK.key}
