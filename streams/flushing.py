"""How effects become durable: in the order of docs/contract.md, repeated until the store and the broker have them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from kinestream.schemas.errors import BrokerError, StoreError
from kinestream.schemas.registry import RegistryUnavailableError
from kinestream.streams.announce import Announcer
from kinestream.streams.assembly.partition import Due, PartitionAssembler
from kinestream.streams.assembly.values import Closed, FindingChange, JournalRow, JsonDict, Place
from kinestream.streams.dead_letters.sending import Bag
from kinestream.streams.store import tables
from kinestream.streams.store.client import is_passing
from kinestream.streams.store.store import Store

log = logging.getLogger("kinestream.worker")
T = TypeVar("T")


class Retry:
    """Runs a blocking call in a thread, again and again while store or broker are away; other errors pass through."""

    def __init__(self, longest_s: float = 1.0) -> None:
        self._longest_s = longest_s
        #: what is wrong now, in one line; empty = nothing
        self.trouble = ""

    async def call(self, what: str, function: Callable[..., T], *arguments: Any) -> T:
        """The result of ``function(*arguments)``; says once what is wrong, and once that it is over."""
        pause = 0.05
        while True:
            try:
                result = await asyncio.to_thread(function, *arguments)
            except Exception as problem:
                if not _is_outage(problem):
                    raise
                if not self.trouble:
                    log.warning("cannot %s: %s; trying again until it works", what, _line(problem))
                self.trouble = f"cannot {what}: {_line(problem)}"
                await asyncio.sleep(pause)
                pause = min(pause * 2, self._longest_s)
            else:
                if self.trouble:
                    log.warning("over: %s", self.trouble)
                    self.trouble = ""
                return result


def _is_outage(problem: BaseException) -> bool:
    return isinstance(problem, BrokerError | StoreError | RegistryUnavailableError) or is_passing(problem)


def _line(problem: BaseException) -> str:
    return (str(problem).strip() or repr(problem)).splitlines()[0]


class Flush:
    """One round: first what is due everywhere, then the episodes that close."""

    def __init__(self, store: Store, announcer: Announcer, retry: Retry) -> None:
        self._store, self._announcer, self._retry = store, announcer, retry

    async def durable(self, due: Sequence[tuple[Place, Due]]) -> None:
        """Dead letters; journal, then blocks, live findings and robots. The watermark may pass once it returns."""
        await asyncio.gather(self._bury(due), self._rows(due))

    async def _bury(self, due: Sequence[tuple[Place, Due]]) -> None:
        letters = [(place, letter) for place, one in due for letter in one.dead_letters]
        if letters:
            await self._retry.call("deliver dead letters", self._announcer.letters.deliver, Bag(letters))

    async def _rows(self, due: Sequence[tuple[Place, Due]]) -> None:
        await self._journal([(place, row) for place, one in due for row in one.journal])
        words = {(w["tenant"], w["robot_id"]): (ms, w) for _, one in due for ms, w in one.robots}
        await asyncio.gather(
            self._insert("frame_blocks", tables.frame_blocks, [row for _, one in due for row in one.blocks]),
            self._findings([(place, change) for place, one in due for change in one.findings]),
            self._insert("robot_live", tables.robot_live, list(words.values())),
        )

    async def close(self, closing: Sequence[tuple[PartitionAssembler, Place, int, str]]) -> None:
        """Seal, store and announce; an episode that is dirty is judged again from its stored blocks."""
        sealed: list[tuple[Place, int, Closed]] = []
        for assembler, place, generation, episode_id in closing:
            episode = assembler.episodes[episode_id]
            key = (episode.stored_day, episode.robot_id, episode_id)
            rows = await self._retry.call("read blocks", self._store.blocks, [key]) if episode.dirty else None
            closed = assembler.seal(episode_id, rows)
            if closed is not None:
                sealed.append((place, generation, closed))
        await self._findings([(place, change) for place, _, closed in sealed for change in closed.findings])
        outbox = [(place, generation, self._outbox(closed)) for place, generation, closed in sealed]
        await self._journal([(place, row) for place, _, row in outbox])
        await self._announce(outbox)
        for assembler, _, _, episode_id in closing:
            assembler.announced(episode_id)

    async def repeat(self, outbox: Sequence[JournalRow], place: Place, generation: int) -> None:
        """After a crash: everything behind journal CLOSED again, byte for byte, then the tombstones."""
        await self._announce([(place, generation, row) for row in outbox])
        await self._journal([(place, replace(row, version=row.version + 1, is_deleted=True)) for row in outbox])

    def _outbox(self, closed: Closed) -> JournalRow:
        row = closed.journal
        raws = [raw for raw in (row.start, *row.marks, row.end) if raw]
        event = self._announcer.event_bytes(closed, self._announcer.fingerprints(raws))
        return replace(row, phase="CLOSED", closed=closed.row, event=event)

    async def _announce(self, outbox: Sequence[tuple[Place, int, JournalRow]]) -> None:
        if not outbox:
            return
        await self._insert("episodes", tables.episodes, [_episode_row(row, gen) for _, gen, row in outbox])
        messages = [self._announcer.episode(row.closed, row.event) for _, _, row in outbox]
        await self._retry.call("announce episodes", self._announcer.publish, messages)

    async def _journal(self, rows: Sequence[tuple[Place, JournalRow]]) -> None:
        if rows:
            table = tables.journal([row for _, row in rows], [place for place, _ in rows])
            await self._retry.call("write the journal", self._store.insert, "journal", table)

    async def _findings(self, changes: Sequence[tuple[Place, FindingChange]]) -> None:
        if changes:
            messages = [self._announcer.finding(change, place) for place, change in changes]
            await asyncio.gather(
                self._insert("findings", tables.findings, [change for _, change in changes]),
                self._retry.call("announce findings", self._announcer.publish, messages),
            )

    async def _insert(self, table: str, build: Callable[[Any], Any], rows: Sequence[Any]) -> None:
        if rows:
            await self._retry.call(f"write {table}", self._store.insert, table, build(rows))


def _episode_row(row: JournalRow, generation: int) -> JsonDict:
    return {
        **row.closed,
        "generation": generation,
        "event": row.event,
        "start": row.start,
        "marks": list(row.marks),
        "end": row.end,
    }
