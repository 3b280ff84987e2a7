"""Questions to the store that many partitions ask at once, asked together; answers are never kept."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from kinestream.schemas.codec import Codec
from kinestream.streams.assembly.values import Loaded
from kinestream.streams.retrying import Retry
from kinestream.streams.store.store import Store


class Lookups:
    """While one query is under way the next ids gather: a query costs the store much the same for one or fifty."""

    def __init__(self, store: Store, retry: Retry) -> None:
        self._store, self._retry = store, retry
        self._asking = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._next: tuple[set[str], asyncio.Future[list[Loaded]]] | None = None

    async def closed(self, episode_ids: Iterable[str], codec: Codec) -> list[Loaded]:
        """What ``episodes`` holds of these ids, asked of the store after this call began."""
        wanted = set(episode_ids)
        if self._next is None:
            self._next = (set(), asyncio.get_running_loop().create_future())
            task = asyncio.create_task(self._ask(codec))
            self._tasks.add(task)  # the loop itself holds tasks only weakly
            task.add_done_callback(self._tasks.discard)
        ids, answer = self._next
        ids |= wanted
        return [one for one in await asyncio.shield(answer) if one.episode_id in wanted]

    async def _ask(self, codec: Codec) -> None:
        async with self._asking:
            assert self._next is not None
            (ids, answer), self._next = self._next, None
            try:
                answer.set_result(await self._retry.call("look episodes up", self._store.closed, ids, codec))
            except Exception as problem:
                answer.set_exception(problem)
