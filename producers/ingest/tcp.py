"""The gateway on a TCP socket: lines both ways; it stops reading while the gateway has no room, and decides nothing."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from kinestream.producers.ingest.connection import Connections, line_of

#: Bytes read at once, and half of what the kernel's buffer is emptied into before reading stops.
_READ: Final = 65_536
#: Seconds in which a client may hear why it is sent away.
_LAST_WORD_S: Final = 1.0


class TcpServer:
    """Serves lines on one address."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()

    async def start(self, host: str, port: int) -> int:
        """Listen; returns the port."""
        self._server = await asyncio.start_server(self._accept, host, port, limit=_READ)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Close every connection."""
        if self._server:
            self._server.close()
        for task in list(self._serving):
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task:
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)
        try:
            await self._serve(reader, writer)
            await _let_read(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # the client is gone, or the gateway is being stopped
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def send(data: bytes) -> None:
            writer.write(data)
            await writer.drain()

        connection = self._connections.connect(send)
        if connection is None:
            await send(line_of(self._connections.refusal()))
            return
        idle_s = self._connections.settings.ingest_idle_s
        try:
            while not connection.session.over:
                try:
                    data = await asyncio.wait_for(reader.read(_READ), idle_s)
                except TimeoutError:
                    await connection.tell([idle_answer(idle_s)])
                    return
                await connection.take(data, last=not data)
                if not data:
                    return
        finally:
            await asyncio.shield(self._connections.disconnect(connection))


async def _let_read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Give the client the time to read the last answers: closing on what it still sends would throw them away."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LAST_WORD_S):
            if writer.can_write_eof():
                writer.write_eof()
            while await reader.read(_READ):
                pass


def idle_answer(idle_s: float) -> dict[str, object]:
    """The last word to a connection without a line."""
    text = f"nothing came for {idle_s:g} s: connect again, and send ping while nothing is recorded"
    return {"type": "refused", "reason": "IDLE", "text": text}
