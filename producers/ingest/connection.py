"""A connection between a socket and a session: pressure, answers in order, idle time; knows no kind of socket."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from kinestream.producers.ingest.gateway import Gateway
from kinestream.producers.ingest.session import Answer, Session

#: Seconds between two looks at what is new to tell, and between two tries while a spool is full.
TELL_S: Final = 0.05
FULL_S: Final = 0.2
#: Threads that decode lines and write spools.
_THREADS: Final = 8

log = logging.getLogger("kinestream.ingest")

Send = Callable[[bytes], Awaitable[None]]


class Connections:
    """Every connection of one gateway, of any kind of socket; one loop's."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway, self.settings = gateway, gateway.settings
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="ingest")
        self._open: set[Connection] = set()
        self._closing = self._stopped = False
        self._ticking: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to tell and to see to what is due."""
        self._ticking = asyncio.create_task(self._tick())

    async def run(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """Work that may wait for a disk, beside the loop."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)

    def connect(self, send: Send, *, trusted: bool = False) -> Connection | None:
        """A new connection; None = there are as many as there may be."""
        if self._closing or len(self._open) >= self.settings.ingest_connections:
            return None
        made = Connection(self, self.gateway.session(trusted=trusted), send)
        self._open.add(made)
        return made

    async def disconnect(self, connection: Connection) -> None:
        """It is gone."""
        self._open.discard(connection)
        if not self._stopped:
            await self.run(connection.session.leave)

    def refusal(self) -> Answer:
        """The answer to whom :meth:`connect` has no room for."""
        text = (
            f"the gateway has {len(self._open)} connections, as many as it may: come back in a second, or raise"
            " KINESTREAM_INGEST_CONNECTIONS"
        )
        return {"type": "refused", "reason": "TOO_MANY", "text": text}

    def hang_up(self) -> None:
        """Take nothing more on any connection, not even what waits for room."""
        self._closing = True
        for connection in self._open:
            connection.session.over = True

    async def stop(self) -> None:
        """Tell nobody any more, and let go of every spool."""
        if self._ticking:
            self._ticking.cancel()
            await asyncio.gather(self._ticking, return_exceptions=True)
        await self.run(self.gateway.close)
        self._stopped = True
        self._pool.shutdown()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TELL_S)
            try:
                await self.run(self.gateway.tick)
            except Exception:
                log.exception("looking after robots failed; it goes on")
            for connection in list(self._open):
                connection.nudge()


class Connection:
    """Feeds one session and sends its answers; what reads the socket stops while this waits."""

    def __init__(self, all_: Connections, session: Session, send: Send) -> None:
        self._all, self.session, self._send = all_, session, send
        self._sending = asyncio.Lock()
        self._telling: asyncio.Task[None] | None = None

    async def take(self, data: bytes, *, last: bool = False) -> None:
        """Take bytes of the stream; returns when all their lines are taken or refused, however long that is."""
        await self.take_once(data, last=last)
        while self.session.blocked and not self.session.over:
            await asyncio.sleep(FULL_S)
            await self.tell(await self._all.run(self.session.feed))

    async def take_once(self, data: bytes, *, last: bool = False) -> None:
        """Take bytes of the stream, as far as there is room: the session says if it is blocked."""
        await self.tell(await self._all.run(lambda: self.session.feed(data, last=last)))
        await self.tell(self.session.end_endless())

    async def tell(self, answers: Sequence[Answer]) -> None:
        """Send answers; waits for a client that does not read them."""
        if answers:
            async with self._sending:
                await self._send(b"".join(map(line_of, answers)))

    def nudge(self) -> None:
        """There may be something to tell; one telling at a time, so a slow client costs one task."""
        if self._telling is None or self._telling.done():
            news = self.session.news() if not self._sending.locked() else []
            if news:
                self._telling = asyncio.create_task(self._tell_quietly(news))

    async def _tell_quietly(self, news: Sequence[Answer]) -> None:
        try:
            await self.tell(news)
        except OSError:
            return  # who reads the socket hears of it as well

    async def settle(self, timeout_s: float) -> bool:
        """Wait until what was taken is promised, and tell it; False if it takes longer."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        while not self.session.settled:
            if asyncio.get_running_loop().time() > deadline:
                return False
            await asyncio.sleep(0.01)
        await self.tell(self.session.news())
        return True


def line_of(answer: Answer) -> bytes:
    """An answer as a line."""
    return json.dumps(answer, ensure_ascii=False).encode(errors="backslashreplace") + b"\n"
