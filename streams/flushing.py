"""How effects become durable: in the order of docs/contract.md, repeated until the store and the broker have them.

Every step asks first whether the partition still is ours: what is written for one that was lost meanwhile is dropped.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from kinestream.schemas.errors import FencedError
from kinestream.streams.announce import Announcer
from kinestream.streams.assembly.partition import Due
from kinestream.streams.assembly.values import BlockRow, Closed, FindingChange, JournalRow, JsonDict
from kinestream.streams.assigned import Assigned
from kinestream.streams.dead_letters.sending import Bag
from kinestream.streams.messages import Message
from kinestream.streams.retrying import Retry, line
from kinestream.streams.store import tables
from kinestream.streams.store.store import Store, ranked

log = logging.getLogger("kinestream.worker")
T = TypeVar("T")
#: Something of a partition: a row or a message, and whose it is.
Owned = tuple[Assigned, T]


class Flush:
    """One round: first what is due everywhere, then the episodes that close."""

    def __init__(self, store: Store, announcer: Announcer, retry: Retry) -> None:
        self._store, self._announcer, self._retry = store, announcer, retry

    async def durable(self, due: Sequence[Owned[Due]]) -> None:
        """Dead letters; journal, then blocks, live findings and robots. The watermark may pass once it returns."""
        await asyncio.gather(self._bury(due), self._rows(due))

    async def _bury(self, due: Sequence[Owned[Due]]) -> None:
        letters = [(one.place, letter) for one, d in due for letter in d.dead_letters]
        if letters:
            await self._retry.call("deliver dead letters", self._announcer.letters.deliver, Bag(letters))

    async def _rows(self, due: Sequence[Owned[Due]]) -> None:
        await self._journal([(one, row) for one, d in due for row in d.journal])
        words = {(w["tenant"], w["robot_id"]): (one, (ms, w)) for one, d in due for ms, w in d.robots}
        await asyncio.gather(
            self._insert("frame_blocks", self._blocks_table, [(one, row) for one, d in due for row in d.blocks]),
            self._findings([(one, change) for one, d in due for change in d.findings]),
            self._insert("robot_live", tables.robot_live, list(words.values())),
        )

    async def close(self, closing: Sequence[Owned[str]]) -> None:
        """Seal, store and announce; an episode that is dirty is judged again from its stored blocks."""
        sealed: list[Owned[Closed]] = []
        done: list[Owned[str]] = []
        for one, episode_id in closing:
            episode = one.assembler.episodes[episode_id]
            key = (episode.stored_day, episode.robot_id, episode_id)
            rows = await self._retry.call("read blocks", self._store.blocks, [key]) if episode.dirty else None
            try:
                closed = one.assembler.seal(episode_id, rows)
            except Exception as problem:  # a metric that fails on this episode; its neighbours go on
                log.exception("cannot close episode %s", episode_id)
                one.assembler.failed(episode_id, repr(problem))
                continue
            done.append((one, episode_id))
            if closed is not None:
                sealed.append((one, closed))
        await self._findings([(one, change) for one, closed in sealed for change in closed.findings])
        outbox = [(one, self._outbox(closed)) for one, closed in sealed]
        await self._journal(outbox)
        await self._announce(outbox)
        for one, episode_id in done:
            if not one.ownership.lost:
                one.assembler.announced(episode_id)

    async def repeat(self, one: Assigned, outbox: Sequence[JournalRow]) -> None:
        """After a crash: everything behind journal CLOSED again, byte for byte, then the tombstones."""
        await self._announce([(one, row) for row in outbox])
        await self._journal([(one, one.assembler.tombstone(row.episode_id, row.stored_day)) for row in outbox])

    def _outbox(self, closed: Closed) -> JournalRow:
        row = closed.journal
        return replace(row, phase="CLOSED", closed=closed.row, event=self._announcer.event_bytes(closed))

    async def _announce(self, outbox: Sequence[Owned[JournalRow]]) -> None:
        if not outbox:
            return
        rows = [(one, _episode_row(row, one.generation)) for one, row in outbox]
        await self._insert("episodes", tables.episodes, rows)
        voices: dict[Assigned, list[Message]] = {}
        for one, row in outbox:
            voices.setdefault(one, []).append(self._announcer.episode(row.closed, row.event))
        await asyncio.gather(*(self._publish(one, messages) for one, messages in voices.items()))

    async def _publish(self, one: Assigned, messages: Sequence[Message]) -> None:
        """In one transaction, so that readers see all or nothing of it, and nothing of an owner that was replaced."""

        def attempt() -> None:
            if one.ownership.holds():
                one.outlet.publish(messages)

        while True:
            try:
                return await self._retry.call("announce episodes", attempt)
            except FencedError as problem:
                if not await self._reopened(one, problem):
                    return

    async def _reopened(self, one: Assigned, problem: FencedError) -> bool:
        """Fenced means replaced, but for a transaction that was open too long: only the group's next word can tell."""
        log.warning("%s-%d: %s", one.place.topic, one.place.partition, line(problem))
        fenced_s = time.monotonic()
        if not await self._retry.call("confirm membership", one.ownership.confirmed_after, fenced_s):
            return False
        one.outlet = self._announcer.outlet(one.place)
        await self._retry.call("open the outlet", one.outlet.open)
        return True

    async def _journal(self, rows: Sequence[Owned[JournalRow]]) -> None:
        await self._insert("journal", _journal_table, [(one, (one, row)) for one, row in rows])

    async def _findings(self, changes: Sequence[Owned[FindingChange]]) -> None:
        if changes:
            messages = [self._announcer.finding(change, one.place) for one, change in changes]
            await asyncio.gather(
                self._insert("findings", tables.findings, changes),
                self._retry.call("announce findings", self._announcer.publish, messages),
            )

    def _blocks_table(self, rows: Sequence[BlockRow]) -> Any:
        return tables.frame_blocks(rows, self._store.scratch)  # rounds never overlap: one table at a time

    async def _insert(self, table: str, build: Callable[[list[Any]], Any], rows: Sequence[Owned[Any]]) -> None:
        if not rows:
            return

        def attempt() -> None:
            ours = _still(rows)
            if ours:
                self._store.insert(table, build(ours))

        await self._retry.call(f"write {table}", attempt)


def _still(rows: Iterable[Owned[T]]) -> list[T]:
    """Those of partitions that still are ours; raises :class:`BrokerError` while that is not known."""
    rows = list(rows)
    held = {one: one.ownership.holds() for one in {one for one, _ in rows}}
    return [row for one, row in rows if held[one]]


def _journal_table(rows: Sequence[Owned[JournalRow]]) -> Any:
    return tables.journal([ranked(row, one.term) for one, row in rows], [one.place for one, _ in rows])


def _episode_row(row: JournalRow, generation: int) -> JsonDict:
    return {
        **row.closed,
        "generation": generation,
        "event": row.event,
        "start": row.start,
        "marks": list(row.marks),
        "end": row.end,
    }
