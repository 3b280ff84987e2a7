"""The gateway over HTTP: POSTs of lines and WebSockets; it decides nothing, and trusts no page of a browser."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final
from urllib.parse import urlsplit

from aiohttp import WSMsgType, web

from kinestream.producers.ingest.connection import Connection, Connections, line_of
from kinestream.producers.ingest.listeners import is_loopback
from kinestream.producers.ingest.session import Answer
from kinestream.producers.ingest.tcp import idle_answer
from kinestream.schemas.errors import IngestError

LINES: Final = "application/x-ndjson"
#: Seconds a POST waits for the disk, and those after which a refused one should come back.
_KEEP_S: Final = 10.0
_BUSY_S, _FULL_S = 1, 5
#: Bytes of answers to the lines of one POST.
_ANSWER_BYTES: Final = 100_000
_HEARTBEAT_S: Final = 20.0


class WebServer:
    """Serves ``POST /v1/lines``, WebSockets on ``/v1/stream`` and ``GET /healthz``."""

    def __init__(self, connections: Connections) -> None:
        self._connections, self._settings = connections, connections.settings
        app = web.Application(middlewares=[self._guard])
        app.router.add_post("/v1/lines", self._post)
        app.router.add_get("/v1/stream", self._stream)
        app.router.add_get("/healthz", self._health)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        self._streams: set[web.WebSocketResponse] = set()

    async def start(self, host: str, port: int) -> int:
        """Listen; returns the port."""
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Close every connection."""
        for stream in list(self._streams):
            await stream.close(code=1001)
        await self._runner.cleanup()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """Who may not speak: a page of another site in a browser of this machine, and who shows no token."""
        origin = request.headers.get("Origin", "")
        if origin and urlsplit(origin).netloc != request.host:
            return _refused(403, "FORBIDDEN", f"Origin {origin} is another site's: send from a program, not a page")
        token = self._settings.ingest_token
        if not token and not is_loopback(urlsplit(f"//{request.host}").hostname or ""):
            # A page whose name was made to mean this machine: its origin is its host.
            return _refused(403, "FORBIDDEN", f"Host {request.host}: without a token only loopback names are served")
        shown = request.headers.get("Authorization", "")
        needed = token and request.path != "/healthz" and (shown or request.path != "/v1/stream")
        if needed and not (shown.startswith("Bearer ") and self._connections.gateway.admits(shown[7:])):
            text = "the token is missing or wrong: send Authorization: Bearer and KINESTREAM_INGEST_TOKEN"
            return _refused(401, "UNAUTHORIZED", text)
        response: web.StreamResponse = await handler(request)
        return response

    async def _health(self, request: web.Request) -> web.Response:
        seats = self._connections.gateway.seats
        return web.json_response({"robots": len(seats), "recording": sum(seat.episode is not None for seat in seats)})

    # -- one POST ---------------------------------------------------------
    async def _post(self, request: web.Request) -> web.Response:
        if request.content_type != LINES:
            return _refused(415, "BAD_VALUE", f"Content-Type {request.content_type}: send lines as {LINES}")
        answers = _Answers()
        connection = self._connections.connect(answers.keep, trusted=True)
        if connection is None:
            return _answer(429, [line_of(self._connections.refusal())], _BUSY_S)
        try:
            status, after_s = await self._body(request, connection, answers)
        finally:
            await asyncio.shield(self._connections.disconnect(connection))
        return _answer(status, answers.kept, after_s)

    async def _body(self, request: web.Request, connection: Connection, answers: _Answers) -> tuple[int, int]:
        """Take a body; its status, and seconds after which to send the rest again (0 = there is none)."""
        session = connection.session
        while not session.over:
            try:
                data = await asyncio.wait_for(request.content.readany(), self._settings.ingest_idle_s)
            except TimeoutError:
                await connection.tell([idle_answer(self._settings.ingest_idle_s)])
                return 408, 0
            await connection.take_once(data, last=not data)
            if session.blocked or not data:
                break
        answers.last = True
        kept = await connection.settle(_KEEP_S)
        if session.blocked or session.full or not kept:
            return 503, _FULL_S
        return (400 if session.refused else 200), 0

    # -- WebSockets -------------------------------------------------------
    async def _stream(self, request: web.Request) -> web.StreamResponse:
        trusted = "Authorization" in request.headers
        stream = web.WebSocketResponse(
            max_msg_size=self._settings.ingest_line_bytes + 1, heartbeat=_HEARTBEAT_S, compress=False
        )

        async def send(data: bytes) -> None:
            await stream.send_str(data.decode().rstrip("\n"))

        connection = self._connections.connect(send, trusted=trusted)
        if connection is None:
            return _answer(429, [line_of(self._connections.refusal())], _BUSY_S)
        await stream.prepare(request)
        self._streams.add(stream)
        try:
            await self._messages(stream, connection)
        except ConnectionError:
            pass  # the client is gone
        finally:
            self._streams.discard(stream)
            await asyncio.shield(self._connections.disconnect(connection))
        await stream.close()
        return stream

    async def _messages(self, stream: web.WebSocketResponse, connection: Connection) -> None:
        idle_s = self._settings.ingest_idle_s
        while not connection.session.over:
            try:
                message = await stream.receive(idle_s)
            except TimeoutError:
                await connection.tell([idle_answer(idle_s)])
                return
            if message.type == WSMsgType.TEXT:
                await connection.take(message.data.encode() + b"\n")
            elif message.type == WSMsgType.BINARY:
                text = f"a binary message of {len(message.data):,} bytes: send lines as text messages"
                await connection.tell([connection.session.refuse(IngestError("BINARY", text))])
            else:
                return


class _Answers:
    """Those of one POST: of a body of bad lines only the first, and always what became of it."""

    def __init__(self) -> None:
        self.kept: list[bytes] = []
        self.last = False

    async def keep(self, data: bytes) -> None:
        """One more."""
        if self.last or sum(map(len, self.kept)) < _ANSWER_BYTES:
            self.kept.append(data)


def _refused(status: int, reason: str, text: str) -> web.Response:
    said: Answer = {"type": "refused", "reason": reason, "text": text}
    return web.Response(status=status, body=json.dumps(said).encode() + b"\n", content_type=LINES)


def _answer(status: int, answers: list[bytes], after_s: int) -> web.Response:
    headers = {"Retry-After": str(after_s)} if after_s else {}
    return web.Response(status=status, body=b"".join(answers), content_type=LINES, headers=headers)
