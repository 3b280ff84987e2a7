"""Rows into the store: asked first whose they are, repeated while it is away; a bad row never costs its neighbours.

A refused batch is halved until the episode is found whose row the store does not take; the others' rows are in.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeVar

from kinestream.streams.assigned import Assigned
from kinestream.streams.retrying import Retry, line
from kinestream.streams.store.store import Store

log = logging.getLogger("kinestream.worker")
T = TypeVar("T")
#: Something of a partition: a row or a message, and whose it is.
Owned = tuple[Assigned, T]
#: A partition and an episode of it.
Subject = tuple[Assigned, str]

#: Episodes refused together, all of them and more than these, accuse the table and not each other.
_COINCIDENCE: Final = 2
#: Seconds until rows are tried again that were refused all together.
_AGAIN_S: Final = 2.0


class Inserts:
    """The inserts of one round. ``refused``: why the store did not take an episode's row, by episode."""

    def __init__(self, store: Store, retry: Retry) -> None:
        self._store, self._retry = store, retry
        self.refused: dict[Subject, str] = {}

    async def insert(
        self,
        table: str,
        build: Callable[[list[Any]], Any],
        rows: Sequence[Owned[T]],
        subject: Callable[[T], str],
    ) -> None:
        """Durable when it returns, but for rows of those in ``refused``. ``subject``: the episode of a row."""
        parts: dict[Subject, list[Owned[T]]] = {}
        for one, row in rows:
            parts.setdefault((one, subject(row)), []).append((one, row))
        for known in self.refused:
            parts.pop(known, None)
        while parts:
            refused = await self._halve(table, build, parts)
            if len(refused) <= _COINCIDENCE or len(refused) < len(parts):
                self.refused |= refused
                return
            log.error("the store refuses every row of %s: %s", table, next(iter(refused.values())))
            await asyncio.sleep(_AGAIN_S)

    async def _halve(
        self, table: str, build: Callable[[list[Any]], Any], parts: dict[Subject, list[Owned[Any]]]
    ) -> dict[Subject, str]:
        rows = [row for some in parts.values() for row in some]
        try:
            await self._retry.call(f"write {table}", self._insert, table, build, rows)
            return {}
        except Exception as problem:  # pyarrow raises many kinds for values that do not fit
            if len(parts) == 1:
                (subject,) = parts
                log.error("a row of %s for episode %s is refused: %s", table, subject[1], line(problem))
                return {subject: f"{table}: {line(problem)}"}
        items = list(parts.items())
        halves = items[: len(items) // 2], items[len(items) // 2 :]
        return {k: v for half in halves for k, v in (await self._halve(table, build, dict(half))).items()}

    def _insert(self, table: str, build: Callable[[list[Any]], Any], rows: Sequence[Owned[Any]]) -> None:
        ours = still_ours(rows)
        if ours:
            self._store.insert(table, build(ours))


def still_ours(rows: Iterable[Owned[T]]) -> list[T]:
    """Those of partitions that still are ours; raises :class:`BrokerError` while that is not known."""
    rows = list(rows)
    held = {one: one.ownership.holds() for one in {one for one, _ in rows}}
    return [row for one, row in rows if held[one]]
