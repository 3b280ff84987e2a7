"""The gateway as a process, and a client of its lines: sockets and JSON, nothing of the SDK's."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from kinestream.deploy.local import process

START_S = 30.0
T0 = 1_900_000_000_000_000_000
HELLO = {"type": "hello", "robot_id": "arm-7", "model_id": "m1", "joints": ["a", "b"], "rate_hz": 100}


def frames(first: int, n: int) -> dict[str, Any]:
    """Frames ``first`` to ``first + n - 1`` of the one take these tests know."""
    numbers = range(first, first + n)
    return {
        "type": "frames",
        "seq": first,
        "t_ns": [T0 + k * 10_000_000 for k in numbers],
        "position": [[0.001 * k, 0.5] for k in numbers],
    }


@dataclass
class GatewayProcess:
    """``kinestream ingest`` listening on free ports; start, kill and stop it."""

    folder: Path
    environment: dict[str, str]
    addresses: dict[str, str] = field(default_factory=dict)
    running: subprocess.Popen[bytes] | None = None

    def start(self, *more: str) -> GatewayProcess:
        command = [sys.executable, "-c", "from kinestream.deploy.cli import main; main()", "ingest", "--json"]
        listen = [] if more else ["--tcp", ":0", "--http", ":0"]
        clean = {k: v for k, v in os.environ.items() if not k.startswith("KINESTREAM_")}
        said = self.folder / "gateway.out"
        with said.open("wb") as out, (self.folder / "gateway.log").open("ab") as log:
            self.running = subprocess.Popen(
                [*command, *listen, *more], env={**clean, **self.environment}, stdout=out, stderr=log, cwd=self.folder
            )
        assert process.wait_until(lambda: self.running.poll() is not None or said.stat().st_size, START_S), self.log()
        assert self.running.poll() is None, self.log()
        self.addresses = json.loads(said.read_text())["listening"]
        return self

    @property
    def pid(self) -> int:
        assert self.running is not None
        return self.running.pid

    def log(self) -> str:
        return (self.folder / "gateway.log").read_text()[-4000:]

    def kill(self) -> None:
        """kill -9."""
        assert self.running is not None
        self.running.kill()
        self.running.wait()

    def stop(self, timeout_s: float = 15.0) -> int:
        """SIGTERM; the exit code."""
        assert self.running is not None
        self.running.terminate()
        return self.running.wait(timeout_s)

    def client(self) -> LineClient:
        host, port = self.addresses["tcp"].rsplit(":", 1)
        return LineClient(host, int(port))


class LineClient:
    """Lines over TCP, as a program in any language sends them."""

    def __init__(self, host: str, port: int) -> None:
        self.socket = socket.create_connection((host, port), 10)
        self._reader = self.socket.makefile("rb")
        self.answers: list[dict[str, Any]] = []

    def send(self, *messages: dict[str, Any] | bytes) -> None:
        lines = [m if isinstance(m, bytes) else json.dumps(m).encode() + b"\n" for m in messages]
        self.socket.sendall(b"".join(lines))

    def answer(self, kind: str = "", timeout_s: float = 20.0, **wanted: Any) -> dict[str, Any]:
        """The next answer of a kind (of any, if none is given), with these facts; those before are kept."""
        deadline = time.monotonic() + timeout_s
        while True:
            self.socket.settimeout(max(deadline - time.monotonic(), 0.01))
            try:
                line = self._reader.readline()
            except TimeoutError:
                raise AssertionError(f"no {kind} {wanted} within {timeout_s} s; came: {self.answers[-5:]}") from None
            assert line, f"the gateway closed the connection before {kind} {wanted}; came: {self.answers[-5:]}"
            self.answers.append(json.loads(line))
            found = self.answers[-1]
            if kind in ("", found["type"]) and all(found.get(name) == value for name, value in wanted.items()):
                return found

    def closed(self, timeout_s: float = 10.0) -> bool:
        """The gateway closes the connection; what it still says is kept."""
        self.socket.settimeout(timeout_s)
        self.answers += [json.loads(line) for line in self._reader]
        return True

    def close(self) -> None:
        self._reader.close()
        self.socket.close()

    def __enter__(self) -> LineClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


MakeGateway = Callable[[dict[str, str]], GatewayProcess]


@pytest.fixture
def make_gateway(tmp_path: Path) -> Iterator[MakeGateway]:
    """Gateways of one test, on a spool folder of its own; ended with it."""
    made: list[GatewayProcess] = []

    def make(environment: dict[str, str]) -> GatewayProcess:
        folder = tmp_path / "gateway"
        folder.mkdir(exist_ok=True)
        base = {"KINESTREAM_SPOOL": str(tmp_path / "spools"), "KINESTREAM_HOME": str(tmp_path / "gateway-home")}
        made.append(GatewayProcess(folder, {**base, **environment}))
        return made[-1]

    yield make
    for one in made:
        if one.running is not None and one.running.poll() is None:
            one.kill()
