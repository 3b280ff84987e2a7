"""The statistics of tasks that a worker judges by: snapshots in the store, kept in memory, made anew in time.

What is judged by one is fixed when an episode begins (its pins); nothing here ever changes a snapshot. Never judges.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from kinestream.schemas.errors import RefusedError
from kinestream.schemas.layout import Layout
from kinestream.schemas.settings import Settings
from kinestream.streams.assembly.values import Loaded, LogRecord
from kinestream.streams.quality import Context
from kinestream.streams.quality.beside import reach_of
from kinestream.streams.quality.rules import BUILTIN
from kinestream.streams.quality.tasks import StoredStatistics, Task, TaskStatistics, statistics_of
from kinestream.streams.retrying import Retry
from kinestream.streams.store import tables
from kinestream.streams.store.statistics import StatisticsStore

log = logging.getLogger("kinestream.worker")

_DAY_MS: Final = 86_400_000
#: Tasks whose statistics are in memory, at most, and those looked at in one round.
_KEPT: Final = 4_096
_ROUND: Final = 8
#: Seconds between two rounds.
_PAUSE_S: Final = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class Closing:
    """A take of a task was closed: what its statistics need of the robot."""

    task: Task
    context: Context


class TaskBook:
    """For the loop of one worker. ``find`` answers at once, from memory: ``prepare`` brings what it needs before."""

    def __init__(self, settings: Settings, store: StatisticsStore, retry: Retry) -> None:
        self._settings, self._store, self._retry = settings, store, retry
        #: the newest snapshot of each task that was asked for, None = there is none; and pinned ones by name
        self._newest: dict[int, StoredStatistics | None] = {}
        self._pinned: dict[str, TaskStatistics] = {}
        self._closed: Counter[int] = Counter()
        self._needed: dict[int, int] = {}
        self._contexts: dict[int, Closing] = {}
        self._round: asyncio.Task[None] | None = None

    def find(self, start: Mapping[str, Any], layout: Layout) -> TaskStatistics | None:
        """What an episode is judged by: the snapshot it is pinned to, else the newest of its task."""
        pinned = start.get("pins", {}).get("task")
        if pinned is not None:
            return self._pinned.get(pinned)
        task = task_for(start, layout.joints)
        newest = self._newest.get(task.key) if task else None
        if newest is None:
            return None
        self._pin({newest.statistics.version: newest.statistics})
        return newest.statistics

    def _pin(self, found: Mapping[str, TaskStatistics]) -> None:
        """Keep those that open episodes may ask for again; the ones that were asked for longest ago go."""
        for version, statistics in found.items():
            self._pinned.pop(version, None)
            self._pinned[version] = statistics
        for version in list(self._pinned)[: max(0, len(self._pinned) - _KEPT)]:
            del self._pinned[version]

    async def prepare(self, records: Sequence[LogRecord] = (), loaded: Iterable[Loaded] = ()) -> None:
        """Bring what episodes are judged by that begin with ``records``, are ``loaded``, or that commands name."""
        starts = [record.value for record in records if record.record == "EpisodeStart"]
        tasks = {task.key for start in starts if (task := task_for(start, tuple(start["joints"])))}
        if fresh := sorted(tasks - self._newest.keys()):
            found = await self._retry.call("read statistics of tasks", self._store.newest, fresh)
            if len(self._newest) > _KEPT:
                self._newest.clear()
            self._newest |= {key: found.get(key) for key in fresh}
        wanted = [one.facts.get("pins", {}) for one in loaded]
        wanted += [record.value["pins"] for record in records if record.record == "EpisodeCommand"]
        pins = {one.get("task", "") for one in wanted} - {"", *self._pinned}
        if pins:
            self._pin(await self._retry.call("read statistics of tasks", self._store.named, sorted(pins)))

    def closed(self, closings: Sequence[Closing]) -> None:
        """Takes of these tasks were stored: their statistics may be due. Looks in the background."""
        for one in closings:
            self._closed[one.task.key] += 1
            self._contexts[one.task.key] = one
        if self._due() and (self._round is None or self._round.done()):
            self._round = asyncio.create_task(self._look())

    def stop(self) -> None:
        """Leave what is under way: the next worker makes it."""
        if self._round is not None:
            self._round.cancel()

    def _due(self) -> list[int]:
        ready = [key for key, count in self._closed.most_common() if count >= self._needed.get(key, 1)]
        return ready[:_ROUND]

    async def _look(self) -> None:
        while due := self._due():
            for key in due:
                self._closed.pop(key, None)
                closing = self._contexts.pop(key)
                try:
                    if len(self._needed) > _KEPT:
                        self._needed.clear()
                    self._needed[key] = await self._refresh(closing)
                except RefusedError as problem:
                    log.error("statistics of %s: %s", closing.task.skill, problem)
            await asyncio.sleep(_PAUSE_S)

    async def _refresh(self, closing: Closing) -> int:
        """Make a new snapshot where one is due; returns how many more takes to wait for before looking again.

        A quarter of what lacks: other workers close takes of the task as well.
        """
        task, settings = closing.task, self._settings
        takes = await self._retry.call("read takes of a task", self._store.takes, task.key, settings.task_takes)
        if len(takes) < BUILTIN.task_episodes and not self._newest.get(task.key):
            return max(1, (BUILTIN.task_episodes - len(takes)) // 4)  # nobody can have made one
        found = await self._retry.call("read statistics of tasks", self._store.newest, [task.key])
        before = self._newest[task.key] = found.get(task.key)
        fresh = [started_ms for started_ms, _ in takes if before is None or started_ms > before.newest_ms]
        lacking = (settings.task_refresh if before else BUILTIN.task_episodes) - len(fresh)
        aged = before is not None and bool(fresh) and max(fresh) - before.newest_ms >= _DAY_MS
        if lacking > 0 and not aged:
            return max(1, lacking // 4)
        statistics = await asyncio.to_thread(
            statistics_of, task, [features for _, features in takes], reach_of(closing.context)
        )
        made = StoredStatistics(task, max(started_ms for started_ms, _ in takes), statistics)
        table = tables.task_statistics([made])
        await self._retry.call("write statistics of a task", self._store.insert, table)
        self._newest[task.key] = made
        return max(1, settings.task_refresh // 4)


def task_for(start: Mapping[str, Any], joints: tuple[str, ...]) -> Task | None:
    """The task of an episode with these labels; None without a skill."""
    skill = start.get("skill", "")
    return Task(start["tenant"], skill, start["model_id"], joints) if skill else None
