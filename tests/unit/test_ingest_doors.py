"""Who is let in: addresses, tokens, pages of browsers, numbers of connections; over real sockets, without a broker."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from kinestream import Settings
from kinestream.producers.ingest.connection import Connections
from kinestream.producers.ingest.gateway import Gateway
from kinestream.producers.ingest.listeners import listener
from kinestream.producers.ingest.tcp import TcpServer
from kinestream.producers.ingest.web import WebServer
from kinestream.producers.spool import promised
from kinestream.schemas.errors import SettingError
from tests.plugins.gateway import HELLO, frames

LINES = {"Content-Type": "application/x-ndjson"}
Visit = Callable[[str, int, aiohttp.ClientSession], Awaitable[None]]


def served(folder: Path, visit: Visit, **settings: Any) -> None:
    """``visit(url, tcp port, client)`` a gateway on free ports."""

    async def run() -> None:
        connections = Connections(Gateway(Settings(kafka="127.0.0.1:1", spool=str(folder), **settings)))
        tcp, web = TcpServer(connections), WebServer(connections)
        connections.start()
        port, url = await tcp.start("127.0.0.1", 0), f"127.0.0.1:{await web.start('127.0.0.1', 0)}"
        async with aiohttp.ClientSession() as client, asyncio.timeout(20):
            try:
                await visit(url, port, client)
            finally:
                connections.hang_up()
                await tcp.stop()
                await web.stop()
                await connections.stop()

    asyncio.run(run())


def body(*messages: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in messages)


async def answer(reader: asyncio.StreamReader) -> dict[str, Any]:
    return dict(json.loads(await reader.readline()))


@pytest.mark.parametrize("address", ["0.0.0.0:7700", "192.168.1.4:7700", "[::]:7700", "robots.example:7700"])
def test_beyond_loopback_a_token_is_needed(address: str):
    with pytest.raises(SettingError, match="KINESTREAM_INGEST_TOKEN"):
        listener("tcp", address, Settings())
    assert listener("tcp", address, Settings(ingest_token="x")).port == 7700


def test_loopback_needs_none_and_an_address_is_host_and_port():
    for address, host in ((":7", "127.0.0.1"), ("7", "127.0.0.1"), ("localhost:7", "localhost"), ("[::1]:7", "::1")):
        assert listener("http", address, Settings()).host == host
    for address in ("", "host", "127.0.0.1:x", "127.0.0.1:70000"):
        with pytest.raises(SettingError, match="HOST:PORT"):
            listener("http", address, Settings())


def test_pages_of_browsers_and_foreign_names_are_refused(tmp_path: Path):
    async def visit(url: str, _: int, client: aiohttp.ClientSession) -> None:
        async def status(**headers: str) -> int:
            async with client.post(f"http://{url}/v1/lines", data=body(HELLO), headers={**LINES, **headers}) as got:
                assert got.headers.get("Access-Control-Allow-Origin") is None
                return got.status

        assert await status() == 200
        assert await status(Origin=f"http://{url}") == 200
        assert await status(Origin="http://evil.example") == 403
        assert await status(Origin="null") == 403
        assert await status(Host="evil.example", Origin="http://evil.example") == 403, (
            "a name made to mean this machine"
        )
        assert await status(**{"Content-Type": "text/plain"}) == 415
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await client.ws_connect(f"ws://{url}/v1/stream", headers={"Origin": "http://evil.example"})

    served(tmp_path, visit)


def test_with_a_token_only_who_shows_it_speaks(tmp_path: Path):
    async def visit(url: str, port: int, client: aiohttp.ClientSession) -> None:
        for shown, expected in (("", 401), ("Bearer wrong", 401), ("Bearer secret", 200)):
            headers = {**LINES, **({"Authorization": shown} if shown else {})}
            async with client.post(f"http://{url}/v1/lines", data=body(HELLO), headers=headers) as got:
                assert got.status == expected, shown
        async with client.get(f"http://{url}/healthz") as got:
            assert await got.json() == {"robots": 1, "recording": 0}
        async with client.ws_connect(f"ws://{url}/v1/stream") as stream:
            await stream.send_str(json.dumps({**HELLO, "token": "wrong"}))
            assert (await stream.receive_json())["reason"] == "UNAUTHORIZED"
            assert (await stream.receive()).type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)
        async with client.ws_connect(f"ws://{url}/v1/stream", headers={"Authorization": "Bearer secret"}) as stream:
            await stream.send_str(json.dumps(HELLO))
            assert (await stream.receive_json())["type"] == "welcome"
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(body({**HELLO, "token": "wrong"}))
        assert (await answer(reader))["reason"] == "UNAUTHORIZED"
        assert await reader.read() == b""
        writer.close()

    served(tmp_path, visit, ingest_token="secret")


def test_connections_are_bounded_and_silent_ones_end(tmp_path: Path):
    async def visit(url: str, port: int, client: aiohttp.ClientSession) -> None:
        first, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(body(HELLO))
        assert (await answer(first))["type"] == "welcome"
        second, other = await asyncio.open_connection("127.0.0.1", port)
        assert (await answer(second))["reason"] == "TOO_MANY"
        assert await second.read() == b""
        async with client.post(f"http://{url}/v1/lines", data=body(HELLO), headers=LINES) as got:
            assert (got.status, got.headers["Retry-After"]) == (429, "1")
        assert (await answer(first))["reason"] == "IDLE"
        assert await first.read() == b""
        writer.close()
        other.close()

    served(tmp_path, visit, ingest_connections=1, ingest_idle_s=0.5)


def test_a_line_without_an_end_is_answered_and_the_connection_closed(tmp_path: Path):
    async def visit(url: str, port: int, client: aiohttp.ClientSession) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(body(HELLO))
        assert (await answer(reader))["type"] == "welcome"
        writer.write(b"x" * 5_000_000)
        refused = await answer(reader)
        assert (refused["reason"], refused.get("closing")) == ("TOO_LONG", None)
        assert "1,000,000 bytes" in refused["text"]
        last = await answer(reader)
        assert (last["reason"], last["closing"]) == ("TOO_LONG", True)
        assert "newline" in last["text"]
        assert await reader.read() == b""
        writer.close()
        endless = io.BytesIO(body(HELLO) + b"x" * 5_000_000)
        async with client.post(f"http://{url}/v1/lines", data=endless, headers=LINES) as got:
            assert got.status == 400
            assert [json.loads(one)["type"] for one in (await got.text()).splitlines()] == ["welcome", *["refused"] * 2]

    served(tmp_path, visit)


def test_who_is_sent_away_hears_why_though_it_goes_on_sending(tmp_path: Path):
    async def visit(_: str, port: int, client: aiohttp.ClientSession) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(body(*(frames(k, 100) for k in range(0, 20_000, 100))))
        told = [json.loads(line) for line in (await reader.read()).splitlines()]
        assert [one["reason"] for one in told] == ["NO_HELLO"] * 3
        assert told[-1]["closing"]
        writer.close()

    served(tmp_path, visit)


def test_a_program_that_speaks_http_to_the_line_port_is_sent_away(tmp_path: Path):
    async def visit(_: str, port: int, client: aiohttp.ClientSession) -> None:
        with pytest.raises(aiohttp.ClientError):
            await client.post(f"http://127.0.0.1:{port}/", data=body(HELLO, {"type": "start"}, frames(0, 5)))

    served(tmp_path, visit)
    assert not (tmp_path / "hub.ingest").exists(), "nothing of its body was taken"


def test_a_message_that_is_too_long_closes_a_websocket_and_not_its_take(tmp_path: Path):
    async def visit(url: str, _: int, client: aiohttp.ClientSession) -> None:
        async with client.ws_connect(f"ws://{url}/v1/stream") as stream:
            for message in (HELLO, {"type": "start", "take": "t"}, frames(0, 20)):
                await stream.send_str(json.dumps(message))
            while (await stream.receive_json()).get("accepted") != 20:
                pass
            await stream.send_str(json.dumps({"type": "mark", "note": "x" * 30_000}))
            while (message := await stream.receive()).type != aiohttp.WSMsgType.CLOSE:
                pass
            assert message.data == aiohttp.WSCloseCode.MESSAGE_TOO_BIG
        async with client.post(f"http://{url}/v1/lines", data=body(HELLO), headers=LINES) as got:
            assert json.loads(await got.text())["open"]["accepted"] == 20

    served(tmp_path, visit, ingest_line_bytes=20_000)


def test_a_gateway_is_stopped_while_a_connection_waits_for_room(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    async def visit(url: str, _: int, client: aiohttp.ClientSession) -> None:
        stream = await client.ws_connect(f"ws://{url}/v1/stream")
        for message in (HELLO, {"type": "start"}, *(frames(first, 500) for first in range(0, 10_000, 500))):
            await stream.send_str(json.dumps(message))
        while (await stream.receive_json())["type"] != "wait":
            pass

    served(tmp_path, visit, spool_bytes=1_000, spool_reserve_bytes=30_000)
    (kept,) = promised(tmp_path / "hub.ingest" / "arm-7").values()
    assert kept.frames > 500
    assert not kept.ended
    assert [line.getMessage() for line in caplog.records if line.levelname == "ERROR"] == []
