"""The store as a process: start, stop, crash."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.plugins.store import StoreProcess

AUTH = ("writer", "writer")
ENDLESS = "SELECT count() FROM numbers(1000000000000)"


@pytest.fixture
def process(tmp_path: Path) -> Iterator[StoreProcess]:
    made = StoreProcess(tmp_path / "data").start()
    yield made
    made.kill()


def ask(process: StoreProcess, sql: str) -> str:
    answer = requests.post(f"{process.url}/", data=sql, auth=AUTH, timeout=30)
    answer.raise_for_status()
    return answer.text


def refuse(*arguments: str) -> str:
    """Start a store that must not start; its one line."""
    command = [sys.executable, "-m", "kinestream.deploy.store", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done.stderr


def test_it_listens_on_loopback_and_says_where(process: StoreProcess) -> None:
    assert process.url.startswith("http://127.0.0.1:")
    assert process.log.read_text() == f"listening on {process.url}\n"


def test_a_path_has_one_owner(process: StoreProcess) -> None:
    assert f"already owned by process {process.pid}" in refuse("--path", str(process.path), "--port", "0")


def test_a_port_in_use_is_said(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        line = refuse("--path", str(tmp_path / "data"), "--port", port)
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in line


def test_a_path_that_cannot_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot be written" in refuse("--path", str(tmp_path / "file" / "data"), "--port", "0")
    assert "choose a path without" in refuse("--path", str(tmp_path / "a?b"), "--port", "0")


def test_sigterm_ends_running_queries_within_two_seconds(process: StoreProcess) -> None:
    outcome: list[str] = []

    def wait_for_answer() -> None:
        try:
            outcome.append(requests.post(f"{process.url}/", data=ENDLESS, auth=AUTH, timeout=30).text)
        except requests.ConnectionError as gone:
            outcome.append(str(gone))

    waiting = [threading.Thread(target=wait_for_answer) for _ in range(3)]
    for thread in waiting:
        thread.start()
    deadline = time.monotonic() + 10
    while ask(process, "SELECT count() FROM system.processes").strip() != "4":
        assert time.monotonic() < deadline
    begun = time.monotonic()
    assert process.stop() == 0
    assert time.monotonic() - begun < 2
    for thread in waiting:
        thread.join(5)
    assert len(outcome) == 3


def test_what_was_stored_is_there_after_a_stop(process: StoreProcess) -> None:
    ask(process, "CREATE DATABASE d")
    ask(process, "CREATE TABLE d.t (a UInt64) ENGINE = MergeTree ORDER BY a")
    ask(process, "INSERT INTO d.t SELECT number FROM numbers(1000)")
    assert process.stop() == 0
    process.start()
    assert ask(process, "SELECT count() FROM d.t") == "1000\n"


def test_kill_9_loses_no_acknowledged_insert(process: StoreProcess) -> None:
    ask(process, "CREATE DATABASE d")
    ask(process, "CREATE TABLE d.t (a UInt64, s String) ENGINE = MergeTree ORDER BY a")
    acknowledged: set[int] = set()
    tried = 0
    for _ in range(3):
        enough = threading.Event()
        target = len(acknowledged) + 15

        def insert(until: int = target, reached: threading.Event = enough) -> None:
            nonlocal tried
            while True:
                tried += 1
                number = tried
                rows = "".join(f"{number}\t{row}\n" for row in range(1000))
                try:
                    ask(process, f"INSERT INTO d.t FORMAT TSV\n{rows}")
                except requests.RequestException:
                    return
                acknowledged.add(number)
                if len(acknowledged) >= until:
                    reached.set()

        writer = threading.Thread(target=insert)
        writer.start()
        assert enough.wait(30)
        process.kill()
        writer.join(30)
        process.start()
    whole = ask(process, "SELECT a FROM d.t GROUP BY a HAVING uniqExact(s) = 1000").split()
    assert acknowledged <= {int(number) for number in whole}
    assert len(acknowledged) >= 45


FORKED = """
import os, pathlib, sys
from kinestream.deploy.store.engine import Engine
from kinestream.schemas.errors import StoreError
engine = Engine(pathlib.Path(sys.argv[1]))
child = os.fork()
if child == 0:
    try:
        engine.open_handle()
    except StoreError as refused:
        os._exit(7 if "spawn, never fork" in str(refused) else 8)
    os._exit(9)
_, status = os.waitpid(child, 0)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def test_a_forked_child_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FORKED, str(tmp_path / "data")]
    assert subprocess.run(command, timeout=60, check=False).returncode == 7
