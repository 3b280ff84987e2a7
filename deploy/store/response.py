"""What goes back over HTTP; must never end a body whose result is broken as if it were whole."""

from __future__ import annotations

import json
import secrets
import string
from collections.abc import Mapping
from typing import Any

from starlette.types import Send

from kinestream.deploy.store.coding import Encoder, Plain
from kinestream.deploy.store.errors import QueryError

_LETTERS = string.ascii_lowercase
_COUNTS = (
    "read_rows",
    "read_bytes",
    "written_rows",
    "written_bytes",
    "total_rows_to_read",
    "result_rows",
    "result_bytes",
)


class Response:
    """One answer: head, pieces, end; or an error in the form its moment demands."""

    def __init__(self, send: Send, query_id: str) -> None:
        self._send = send
        self._tag = "".join(secrets.choice(_LETTERS) for _ in range(16))
        self._encoder: Encoder = Plain()
        self._headers = {
            "X-ClickHouse-Server-Display-Name": "kinestream",
            "X-ClickHouse-Query-Id": query_id.encode("ascii", "replace").decode().replace("\n", " ").replace("\r", " "),
            "X-ClickHouse-Timezone": "UTC",
            "X-ClickHouse-Exception-Tag": self._tag,
        }
        self.begun = False

    async def begin(self, mime: str, format: str, coding: tuple[str, Encoder], counts: Mapping[str, int]) -> None:
        """Status 200 and headers."""
        name, self._encoder = coding
        headers = {"Content-Type": mime, "X-ClickHouse-Format": format, "X-ClickHouse-Summary": summary(counts)}
        if name:
            headers["Content-Encoding"] = name
        await self._start(200, headers)

    async def piece(self, piece: bytes) -> None:
        """Some bytes of the result."""
        await self._body(self._encoder.encode(piece), more=True)

    async def end(self) -> None:
        """The result is whole."""
        await self._body(self._encoder.end(), more=False)

    async def fail(self, problem: QueryError) -> None:
        """An error: as status and header before the first byte, else as a tagged text after which the body breaks off.

        The coder is flushed, not ended: with an ended frame a client took 2.97 M of 5 M rows for the full result.
        """
        text = f"{problem}\n".encode()
        if self.begun:
            tag = self._tag.encode()
            frame = b"\r\n__exception__\r\n%s\r\n%s%d %s\r\n__exception__\r\n" % (tag, text, len(text), tag)
            await self._body(self._encoder.encode_error(frame), more=True)
            return
        headers = {"Content-Type": "text/plain; charset=UTF-8", "X-ClickHouse-Exception-Code": str(problem.code)}
        if problem.code == 516:
            headers["WWW-Authenticate"] = 'Basic realm="ClickHouse server HTTP API"'
        await self._start(problem.status, headers)
        await self._body(text, more=False)

    async def _start(self, status: int, headers: Mapping[str, str]) -> None:
        self.begun = True
        raw = [
            (name.lower().encode(), value.encode("latin-1", "replace"))
            for name, value in (self._headers | dict(headers)).items()
        ]
        await self._send({"type": "http.response.start", "status": status, "headers": raw})

    async def _body(self, piece: bytes, *, more: bool) -> None:
        message: dict[str, Any] = {"type": "http.response.body", "body": piece, "more_body": more}
        await self._send(message)


def summary(counts: Mapping[str, int]) -> str:
    """X-ClickHouse-Summary: every count as a string, as the server writes them."""
    return json.dumps({name: str(counts.get(name, 0)) for name in _COUNTS})
