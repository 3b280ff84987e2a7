"""The store's process: owns the path, the port, the signals; must never listen before the engine is open."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from kinestream.deploy.store.engine import Engine
from kinestream.deploy.store.gateway import Gateway
from kinestream.schemas.errors import StoreError
from kinestream.schemas.settings import Settings

log = logging.getLogger(__name__)
#: seconds a stopping server gives its clients; queries are killed at once
GRACE_S = 1


def serve(
    path: Path, host: str, port: int, settings: Settings, announce: Callable[[str], None], keep_free: int = 0
) -> None:
    """Open ``path`` and answer on ``host``:``port`` (0 = chosen by the system) until SIGTERM or SIGINT.

    ``announce`` gets the URL once requests are answered; below ``keep_free`` free bytes on the disk
    inserts are refused. Raises :class:`StoreError` when path or port is taken.
    """
    listener = _listen(host, port)
    owned = own(path)
    try:
        engine = Engine(path, keep_free)
        gateway = Gateway(engine, settings)
        server = _Server(gateway, lambda: announce(_url(listener)))
        # uvicorn raises the signal again when it is done; without these that would skip closing the engine.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        asyncio.run(server.serve(sockets=[listener]))
        if len(gateway.running):
            log.warning("stopped with %d statements still ending; nothing acknowledged is lost", len(gateway.running))
            os._exit(0)
        engine.close()
    finally:
        os.close(owned)
        listener.close()


def own(path: Path) -> int:
    """Lock ``path`` for this process and return the lock's descriptor; :class:`StoreError` when another owns it."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path / "owner", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as problem:
        raise StoreError(f"the store's path {path} cannot be written: {problem.strerror}; choose another") from problem
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.read(descriptor, 32).decode().strip() or "unknown"
        os.close(descriptor)
        raise StoreError(
            f"the store's path {path} is already owned by process {owner}; stop it or choose another"
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


class _Server(uvicorn.Server):
    def __init__(self, gateway: Gateway, listening: Callable[[], None]) -> None:
        routes = [Route("/ping", _ping), Route("/replicas_status", _ping), Mount("/", app=gateway)]
        config = uvicorn.Config(
            Starlette(routes=routes),
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=GRACE_S,
            timeout_keep_alive=30,
            server_header=False,
        )
        super().__init__(config)
        self._gateway = gateway
        self._listening = listening

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._listening()

    def handle_exit(self, sig: int, frame: Any) -> None:
        super().handle_exit(sig, frame)
        # Else uvicorn waits for running queries to end by themselves.
        threading.Thread(target=self._gateway.running.kill_all, name="kill-all", daemon=True).start()


async def _ping(request: Request) -> PlainTextResponse:
    return PlainTextResponse("Ok.\n")


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        # The protocol must be named: asyncio sets TCP_NODELAY only then, and without it every answer takes 40 ms.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as problem:
        raise StoreError(
            f"the store cannot listen on {host}:{port}: {problem.strerror}; choose another port"
        ) from problem
    return listener


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def quiet(record: logging.LogRecord) -> bool:
    """Log filter: a body broken off on purpose (mid-stream error) is no error of the server."""
    return "without completing response" not in record.getMessage()
