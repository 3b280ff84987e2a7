"""The embedded store as a fixture: a real process on a folder of its own, stopped at the end of the session."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client

from kinestream.deploy.store import migrations
from kinestream.schemas.settings import PREFIX, Settings
from kinestream.streams.store.client import connect

_SETTINGS = Settings()
_NUMBERS = itertools.count(1)
START_S = 30.0


@dataclass(frozen=True)
class Store:
    """A running store and the database of one test (or of the session)."""

    url: str
    database: str
    pid: int

    def client(self) -> Client:
        """A client of the account that writes."""
        return connect(self.url, self.database, _SETTINGS.clickhouse_user, _SETTINGS.clickhouse_password)

    def reader_client(self) -> Client:
        """A client of the account that only reads."""
        return connect(self.url, self.database, _SETTINGS.clickhouse_reader, _SETTINGS.clickhouse_reader_password)


class StoreProcess:
    """One store process on ``path``; start, kill and stop it."""

    def __init__(self, path: Path, port: int = 0, keep_free: int = 0) -> None:
        self.path = path
        self.keep_free = keep_free
        self.port = port
        self.log = path.with_name(f"{path.name}.log")
        self.url = ""
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> StoreProcess:
        address = self.path.with_name(f"{self.path.name}.address")
        address.unlink(missing_ok=True)
        command = [sys.executable, "-m", "kinestream.deploy.store", "--path", str(self.path), "--port", str(self.port)]
        with self.log.open("ab") as log:
            # A KINESTREAM_* variable of the person at the keyboard must not change the store's passwords.
            env = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
            command += ["--address-file", str(address), "--keep-free", str(self.keep_free)]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=env)
        deadline = time.monotonic() + START_S
        while not address.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"the store did not start:\n{self.log.read_text()}")
            self._wait(0.02)
        self.url = address.read_text().strip()
        return self

    def kill(self) -> None:
        """SIGKILL, as a crash."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self, timeout_s: float = 10.0) -> int:
        """SIGTERM; the exit code."""
        assert self._process is not None
        self._process.terminate()
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def _wait(self, seconds: float) -> None:
        assert self._process is not None
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """The session's store, its tables in database ``kinestream``."""
    process = StoreProcess(tmp_path_factory.mktemp("store") / "data").start()
    try:
        running = Store(process.url, "", process.pid)
        client = running.client()
        migrations.apply(client, _SETTINGS.clickhouse_database)
        client.close()
        yield replace(running, database=_SETTINGS.clickhouse_database)
    finally:
        process.stop()


@pytest.fixture
def database(store: Store) -> Iterator[Store]:
    """The session's store with a fresh, migrated database for one test; dropped afterwards."""
    name = f"test_{next(_NUMBERS)}"
    client = replace(store, database="").client()
    migrations.apply(client, name)
    yield replace(store, database=name)
    client.command(f"DROP DATABASE {name} SYNC")
    client.close()
