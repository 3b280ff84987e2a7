"""Fetches that wait for one partition, bounded; a partition that takes none is held back alone. Reads no fetch."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, Generic, TypeVar

T = TypeVar("T")
#: Seconds that all partitions wait for one; then only that one is no longer fetched. Holding back drops what the
#: client has fetched ahead, so a partition that is merely busy must not be held back.
PATIENCE_S: Final = 1.0


class Inbox(Generic[T]):
    """One fetch waits while another is worked on.

    ``hold_back`` is asked to fetch no more of the partition (True) and to go on (False); what was under way until then
    still comes in. With None, :meth:`offer` waits until there is room, and so do all partitions.
    """

    def __init__(self, hold_back: Callable[[bool], None] | None, patience_s: float = PATIENCE_S) -> None:
        self._hold_back, self._patience_s = hold_back, patience_s
        self._waiting: deque[T] = deque()
        self._arrived, self._room = asyncio.Event(), asyncio.Event()
        self._held = self._closed = False

    async def offer(self, fetch: T) -> None:
        """Hand a fetch in; returns when the next may come, of this partition or another."""
        if self._closed:
            return
        self._waiting.append(fetch)
        self._arrived.set()
        if len(self._waiting) <= 1 or self._held:
            return
        self._room.clear()
        try:
            await asyncio.wait_for(self._room.wait(), self._patience_s if self._hold_back else None)
        except TimeoutError:
            if not self._closed and len(self._waiting) > 1:
                self._hold(True)

    async def take(self) -> T:
        """The next fetch, in their order."""
        while not self._waiting:
            self._arrived.clear()
            await self._arrived.wait()
        fetch = self._waiting.popleft()
        if len(self._waiting) <= 1:
            self._room.set()
        if self._held and not self._waiting:
            self._hold(False)
        return fetch

    def close(self) -> None:
        """The partition was given up: nobody waits for it any more, and what waited is its next owner's."""
        self._closed = True
        self._waiting.clear()
        self._room.set()

    def _hold(self, held: bool) -> None:
        self._held = held
        if self._hold_back is not None:
            self._hold_back(held)
