"""From the store back to the state of a partition: what is in flight first, its metrics behind that; writes no frame.

Opening the outlet comes before reading the journal: from then on nobody else can announce for the partition, and what a
former owner still writes has a lower term. So what was read stays true, and need not be read again before a close.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, TypeVar

from kinestream.schemas.codec import Codec
from kinestream.schemas.errors import FencedError
from kinestream.streams.announce import Announcer
from kinestream.streams.assembly.values import BlockRow, JournalRow, Loaded
from kinestream.streams.assigned import Assigned
from kinestream.streams.flushing import Flush
from kinestream.streams.retrying import Retry, line
from kinestream.streams.store.store import Key, Store
from kinestream.streams.task_statistics import TaskBook

log = logging.getLogger("kinestream.worker")
T = TypeVar("T")

#: Episodes whose blocks are asked for together.
_EPISODES: Final = 64
#: Blocks that are read and judged together: 16,384 frames, some 6 MB.
_BLOCKS: Final = 128


class Recovery:
    """Loads partitions of one worker."""

    def __init__(self, store: Store, announcer: Announcer, retry: Retry, tasks: TaskBook) -> None:
        self._store, self._announcer, self._retry, self._tasks = store, announcer, retry, tasks
        # One partition's blocks come while another's are judged; more would only fill memory.
        self._reading = asyncio.Semaphore(2)

    async def load(self, one: Assigned, codec: Codec, flush: Flush) -> None:
        """Repeat what may not have been announced, and hold what is in flight: records can come when it returns."""
        await self._open(one)
        term, open_, outbox = await self._retry.call("read the journal", self._journal, one, codec)
        one.term = max(one.term, term + 1)
        await flush.repeat(one, [row for row, _ in outbox])
        failed = {loaded.episode_id: flush.failed.get((one, loaded.episode_id), "") for _, loaded in outbox}
        await self._restore(one, [*open_, *(loaded for _, loaded in outbox if failed[loaded.episode_id])])
        for episode_id, text in failed.items():
            if text:
                one.assembler.failed(episode_id, text)
        if open_ or outbox:
            log.info("%s-%d: %d episodes in flight restored, %d announcements repeated",
                     one.place.topic, one.place.partition, len(open_), len(outbox))  # fmt: skip

    async def _open(self, one: Assigned) -> None:
        while True:
            try:
                return await self._retry.call("open the outlet", one.outlet.open)
            except FencedError as problem:  # somebody opened it at the same time: the last one has it
                log.warning("%s-%d: %s", one.place.topic, one.place.partition, line(problem))
                one.outlet = self._announcer.outlet(one.place)

    def _journal(self, one: Assigned, codec: Codec) -> tuple[int, list[Loaded], list[tuple[JournalRow, Loaded]]]:
        return (self._store.term(one.place), *self._store.in_flight(one.place, codec))

    async def _restore(self, one: Assigned, open_: Sequence[Loaded]) -> None:
        for some in _parts(open_, _EPISODES):
            rows = await self._retry.call("read blocks", self._store.outlines, [_key(loaded) for loaded in some])
            await self._tasks.prepare(loaded=some)
            for loaded in some:
                mine = [row for row in rows if row.episode_id == loaded.episode_id]
                try:
                    one.assembler.restore(loaded, mine)
                except Exception:  # its rows are not what we wrote: the rest of the partition must live
                    log.critical("episode %s cannot be restored: its records are dead letters from now on",
                                 loaded.episode_id, exc_info=True)  # fmt: skip

    async def catch_up(self, one: Assigned) -> None:
        """Judge what was stored before: behind the records that come, a batch at a time."""
        pairs = [(episode_id, block) for episode_id, blocks in one.assembler.backlog().items() for block in blocks]
        reading: asyncio.Task[list[BlockRow]] | None = None
        for some in [*_parts(pairs, _BLOCKS), []]:
            following = asyncio.create_task(self._read(one, some)) if some else None
            if reading is not None:
                self._judge(one, await reading)
            reading = following

    async def _read(self, one: Assigned, pairs: Sequence[tuple[str, int]]) -> list[BlockRow]:
        waiting = one.assembler.backlog()  # one that closes meanwhile is judged from all its blocks at once
        pairs = [(episode_id, block) for episode_id, block in pairs if episode_id in waiting]
        episodes = [one.assembler.episodes[episode_id] for episode_id in dict.fromkeys(i for i, _ in pairs)]
        keys = [(e.stored_day, e.robot_id, e.id) for e in episodes]
        async with self._reading:
            return await self._retry.call("read blocks", self._store.chosen, keys, pairs)

    def _judge(self, one: Assigned, rows: Iterable[BlockRow]) -> None:
        """In one go: between looking records up and processing them nothing may change, and nothing does here."""
        given: dict[str, list[BlockRow]] = {}
        for row in rows:
            given.setdefault(row.episode_id, []).append(row)
        for episode_id, some in given.items():
            one.assembler.catch_up(episode_id, some)


def _key(loaded: Loaded) -> Key:
    return loaded.stored_day, loaded.start.value["robot_id"], loaded.episode_id


def _parts(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for first in range(0, len(items), size):
        yield items[first : first + size]
