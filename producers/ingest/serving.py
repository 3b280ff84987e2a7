"""The gateway as a process: its listeners, until a signal; it serves nothing itself."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Sequence
from typing import Protocol

from kinestream.producers.ingest.connection import Connections
from kinestream.producers.ingest.gateway import Gateway
from kinestream.producers.ingest.listeners import Listener
from kinestream.producers.ingest.tcp import TcpServer
from kinestream.schemas.errors import SettingError
from kinestream.schemas.settings import Settings


class Server(Protocol):
    """A kind of socket the gateway listens on."""

    async def start(self, host: str, port: int) -> int:
        """Listen; returns the port."""
        ...

    async def stop(self) -> None:
        """Close every connection."""
        ...


async def serve(
    settings: Settings, kafka: str, listeners: Sequence[Listener], ready: Callable[[dict[str, str], int], None]
) -> None:
    """Serve until SIGTERM or SIGINT; ``ready`` hears the addresses by kind, and of how many robots something was left.

    Raises :class:`SettingError` for an address that cannot be listened on.
    """
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for one in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(one, stopped.set)
    connections = Connections(Gateway(settings, kafka))
    servers: list[Server] = []
    try:
        left = await connections.run(connections.gateway.open_left)
        connections.start()
        addresses: dict[str, str] = {}
        for one_listener in listeners:
            server = TcpServer(connections) if one_listener.kind == "tcp" else _web(connections)
            try:
                port = await server.start(one_listener.host, one_listener.port)
            except OSError as problem:
                raise SettingError(
                    f"--{one_listener.kind} {one_listener.host}:{one_listener.port} cannot be listened on ({problem}):"
                    " choose another port, or end who has it"
                ) from problem
            servers.append(server)
            addresses[one_listener.kind] = f"{one_listener.host}:{port}"
        ready(addresses, left)
        await stopped.wait()
    finally:
        connections.hang_up()
        for server in servers:
            await server.stop()
        await connections.stop()


def _web(connections: Connections) -> Server:
    try:
        from kinestream.producers.ingest.web import WebServer
    except ImportError as problem:
        raise SettingError(
            f"--http needs aiohttp, which is not installed ({problem}): install kinestream[ingest]; --tcp needs no more"
        ) from problem
    return WebServer(connections)
