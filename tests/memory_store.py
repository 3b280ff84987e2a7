"""The store of assembler tests: tables in memory, by their keys; and how a paused owner sees them."""

from __future__ import annotations

import json
from copy import copy
from dataclasses import replace
from typing import Any

from kinestream.schemas.codec import Codec
from kinestream.schemas.registry import Registry
from kinestream.streams.assembly.values import BlockRow, DeadLetter, FindingChange, JournalRow

EVENTS = Codec(Registry(), "motion.hub.episodes.v1")


class Died(Exception):
    """The owner's process ended between two durable steps."""


class MemoryStore:
    """The tables by their keys, replaced as ClickHouse's ReplacingMergeTree replaces; what is JSON there is here."""

    def __init__(self) -> None:
        self.blocks: dict[tuple[str, int], BlockRow] = {}
        self.journal: dict[str, JournalRow] = {}
        self.episodes: dict[str, JournalRow] = {}
        self._episode_versions: dict[str, int] = {}
        self.findings: list[FindingChange] = []
        self.dead_letters: list[DeadLetter] = []
        self.robots: list[Any] = []
        self.receipts: list[dict[str, Any]] = []
        #: quarantined episodes, and from where to where their records are to be dead-lettered
        self.rewinds: list[tuple[str, int, int]] = []
        #: what consumers got, in order: (ce_id, bytes)
        self.announced: list[tuple[str, bytes]] = []
        self.block_writes = 0
        self._term = 0

    @property
    def events(self) -> list[dict[str, Any]]:
        return [EVENTS.decode(raw).value for _, raw in self.announced]

    def event(self) -> dict[str, Any]:
        """The only one."""
        (event,) = self.events
        return event

    def together(self) -> None:
        """What is written from here to the next call is on its way at the same time."""

    def put_block(self, row: BlockRow) -> None:
        self.block_writes += 1
        before = self.blocks.get((row.episode_id, row.block))
        if before is None or row.version >= before.version:
            self.blocks[row.episode_id, row.block] = row

    def put_journal(self, row: JournalRow) -> None:
        before = self.journal.get(row.episode_id)
        if before is None or row.version >= before.version:
            facts, closed = json.loads(json.dumps([row.facts, row.closed]))
            self.journal[row.episode_id] = replace(row, facts=facts, closed=closed)

    def put_episode(self, row: JournalRow, generation: int) -> None:
        version = row.closed["revision"] << 32 | generation
        if version >= self._episode_versions.get(row.episode_id, 0):
            self.episodes[row.episode_id], self._episode_versions[row.episode_id] = row, version

    def announce(self, ce_id: str, event: bytes) -> None:
        self.announced.append((ce_id, event))

    def next_term(self) -> int:
        """Above all that anybody has journalled under, and every term given before."""
        self._term += 1
        return self._term

    def in_flight(self) -> list[JournalRow]:
        return [row for row in self.journal.values() if not row.is_deleted]

    def rows(self, episode_id: str) -> list[BlockRow]:
        return sorted((r for (i, _), r in self.blocks.items() if i == episode_id), key=lambda r: r.block)


class LateStore(MemoryStore):
    """What a paused owner writes to: it sees the store as it was, and its writes reach it when it goes on.

    ``through``: so many of its inserts came through before the pause. Those that are sent together are on their way
    then; before the next it finds that it owns nothing. The broker takes no event of it.
    """

    def __init__(self, store: MemoryStore, through: int) -> None:
        super().__init__()
        self.__dict__ |= {name: copy(value) for name, value in vars(store).items()}
        self.findings = store.findings  # what is said of one is ordered by its own version
        self._store, self._through, self._late = store, through, []
        self._insert = ""

    def _write(self, name: str, *arguments: Any) -> None:
        getattr(MemoryStore, name)(self, *arguments)
        if name != self._insert:
            self._insert, self._through = name, self._through - 1
        if self._through >= 0:
            getattr(self._store, name)(*arguments)
        else:
            self._late.append((name, arguments))

    def together(self) -> None:
        if self._late:
            raise Died("not the owner: it asks before each insert")

    def put_block(self, row: BlockRow) -> None:
        self._write("put_block", row)

    def put_journal(self, row: JournalRow) -> None:
        self._write("put_journal", row)

    def put_episode(self, row: JournalRow, generation: int) -> None:
        self._write("put_episode", row, generation)

    def announce(self, ce_id: str, event: bytes) -> None:
        raise Died("fenced")

    def land(self) -> None:
        """The owner has gone on: its writes arrive."""
        for name, arguments in self._late:
            getattr(self._store, name)(*arguments)
