"""How a worker's process ends when it is told to: in order, with 0, within 5 s whatever is away. Decides about no data.

What is not durable by then is read again from the watermark, or repeated from the journal, so nothing is lost by going
without it. Faust's own shutdown is not waited for: it ends only when all threads do, and one of them may be waiting for
the answer of a broker or a store that is frozen.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Final, NoReturn

log = logging.getLogger("kinestream.worker")

#: Seconds for a last flush and commit, and then for leaving the group: well below the five that operators are promised.
_FLUSH_S: Final = 3.0
_LEAVE_S: Final = 0.75
#: What Faust's spinner hides at a start is shown again.
_SHOW_CURSOR: Final = "\x1b[?25h"


class Leaving:
    """Takes SIGTERM and SIGINT over from the running loop.

    ``finish`` flushes and commits, ``leave`` leaves the group within the seconds it is given; an error of either is
    ``failed``'s, which must end the process.
    """

    def __init__(
        self,
        finish: Callable[[], Awaitable[None]],
        leave: Callable[[float], Awaitable[None]],
        failed: Callable[[str, Exception], None],
    ) -> None:
        self._finish, self._leave, self._failed = finish, leave, failed
        self._task: asyncio.Task[None] | None = None
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._begin)

    def _begin(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        try:
            try:
                await asyncio.wait_for(self._finish(), _FLUSH_S)
            except TimeoutError:
                log.warning("left before all was flushed: it is read again from the watermark")
            await self._leave(_LEAVE_S)
        except Exception as problem:
            self._failed("leaving", problem)
        end(0)


def end(code: int) -> NoReturn:
    """End the process now, with what was logged written out."""
    if sys.stdout.isatty():
        print(_SHOW_CURSOR, end="", flush=True)
    logging.shutdown()
    os._exit(code)
