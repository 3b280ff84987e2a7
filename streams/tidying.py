"""Has the journal forget what is announced and old, while a worker has nothing better to do; touches nothing else."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from kinestream.schemas.errors import BrokerError
from kinestream.streams.assigned import Assigned
from kinestream.streams.retrying import is_outage
from kinestream.streams.worker import Worker

log = logging.getLogger("kinestream.worker")

#: Seconds between two looks at the partitions of ours: a day's episodes are a few thousand rows of each.
_EVERY_S: Final = 3600.0
#: Rows below which nothing is deleted: reading them costs a recovery less than 10 ms, deleting some a second.
_LEAST: Final = 20_000


class Tidier:
    """The journal of the partitions that ``worker`` owns. Recovery reads all of it, so it may not grow with history."""

    def __init__(self, worker: Worker, days: int) -> None:
        self._worker, self._days = worker, days

    async def run(self) -> None:
        """For ever; ends at once where the journal is kept."""
        while self._days >= 0:
            await asyncio.sleep(_EVERY_S)
            for one in list(self._worker.assigned.values()):
                if self._worker.ready() and not self._worker.behind:
                    await self.once(one)

    async def once(self, one: Assigned, least: int = _LEAST) -> int:
        """Rows that go; a store that is away, or an ownership nobody confirms, is for others to complain of."""
        try:
            if not one.ownership.holds():
                return 0
            gone = await asyncio.to_thread(self._worker.store.forget, one.place, self._days, least)
        except BrokerError:
            return 0
        except Exception as problem:
            if not is_outage(problem):  # an account that may not delete: the journal grows, and nothing else is wrong
                log.warning("the journal keeps what is announced: %s", problem)
            return 0
        if gone:
            log.info("%s-%d: the journal forgets %d rows of announced episodes", *one.key, gone)
        return gone
