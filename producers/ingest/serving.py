"""The gateway as a process: its listeners, until a signal; a listener beyond loopback needs a token."""

from __future__ import annotations

import asyncio
import ipaddress
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from kinestream.producers.ingest.connection import Connections
from kinestream.producers.ingest.gateway import Gateway
from kinestream.producers.ingest.tcp import TcpServer
from kinestream.schemas.errors import SettingError
from kinestream.schemas.settings import Settings

_LOOPBACK: Final = "127.0.0.1"


class Server(Protocol):
    """A kind of socket the gateway listens on."""

    async def start(self, host: str, port: int) -> int:
        """Listen; returns the port."""
        ...

    async def stop(self) -> None:
        """Close every connection."""
        ...


@dataclass(frozen=True, slots=True)
class Listener:
    """An address the gateway listens on; port 0 = a free one."""

    kind: Literal["tcp", "http"]
    host: str
    port: int


def listener(kind: Literal["tcp", "http"], address: str, settings: Settings) -> Listener:
    """Of ``HOST:PORT``, ``:PORT`` or ``PORT``; raises :class:`SettingError`, also for an open door without a token."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]") or _LOOPBACK
    if not port.isdigit() or int(port) > 65_535:
        raise SettingError(f"--{kind} {address!r}: give HOST:PORT or :PORT, such as :7700 (0 = a free port)")
    if not is_loopback(host) and not settings.ingest_token:
        raise SettingError(
            f"--{kind} {address!r} is no loopback address, and KINESTREAM_INGEST_TOKEN is not set: whoever reaches it"
            " could send in any robot's name. Set a token, or listen on 127.0.0.1"
        )
    return Listener(kind, host, int(port))


def is_loopback(host: str) -> bool:
    """Only this machine reaches it."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


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
