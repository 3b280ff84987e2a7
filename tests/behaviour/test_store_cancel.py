"""Ending queries: by the client's absence, by id, by time."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import closing
from urllib.parse import urlencode, urlsplit

import requests

from tests.plugins.store import Store

ENDLESS = "SELECT count() FROM numbers(1000000000000)"
STREAM = "SELECT number FROM numbers(100000000000) FORMAT TSV"


def ask(store: Store, sql: str, account: str = "writer", **params: str) -> requests.Response:
    return requests.post(f"{store.url}/", data=sql, auth=(account, account), params=params, timeout=30)


def running(store: Store, query_id: str) -> bool:
    sql = f"SELECT count() FROM system.processes WHERE Settings['log_comment'] LIKE '%|{query_id}|%'"
    return ask(store, sql).text != "0\n"


def eventually(met: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < deadline, "the condition was not met in time"


def open_request(store: Store, sql: str, query_id: str) -> socket.socket:
    where = urlsplit(store.url)
    connection = socket.create_connection((where.hostname, where.port))
    query = urlencode({"user": "reader", "password": "reader", "query_id": query_id})
    head = f"POST /?{query} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(sql)}\r\n\r\n{sql}"
    connection.sendall(head.encode())
    return connection


def test_a_client_that_hangs_up_before_the_first_row_ends_its_query(store: Store) -> None:
    with closing(open_request(store, ENDLESS, "gone-early")):
        eventually(lambda: running(store, "gone-early"))
    eventually(lambda: not running(store, "gone-early"), 2)


def test_a_client_that_stalls_holds_the_query_and_its_leaving_ends_it(store: Store) -> None:
    with closing(open_request(store, STREAM, "gone-late")) as connection:
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
        assert running(store, "gone-late")
    eventually(lambda: not running(store, "gone-late"), 2)


def test_kill_query_ends_a_query_by_the_clients_id(store: Store) -> None:
    answers: list[requests.Response] = []
    victim = threading.Thread(target=lambda: answers.append(ask(store, ENDLESS, query_id="victim")))
    victim.start()
    eventually(lambda: running(store, "victim"))
    assert ask(store, "SELECT 1", query_id="victim").headers["X-ClickHouse-Exception-Code"] == "216"
    assert ask(store, "KILL QUERY WHERE query_id = 'victim'").status_code == 200
    victim.join(5)
    assert not victim.is_alive()
    assert answers[0].headers["X-ClickHouse-Exception-Code"] == "394"


def test_kill_spares_queries_with_another_id(store: Store) -> None:
    with closing(open_request(store, ENDLESS, "spared-1")):
        eventually(lambda: running(store, "spared-1"))
        ask(store, "KILL QUERY WHERE query_id = 'spared'")
        assert running(store, "spared-1")


def test_time_is_up_after_max_execution_time(store: Store) -> None:
    begun = time.monotonic()
    answer = ask(store, ENDLESS, "reader", max_execution_time="1")
    assert (answer.status_code, answer.headers["X-ClickHouse-Exception-Code"]) == (408, "159")
    assert 0.9 < time.monotonic() - begun < 5


def test_an_insert_cut_off_leaves_no_row_and_nothing_running(database: Store) -> None:
    table = f"{database.database}.cut"
    ask(database, f"CREATE TABLE {table} (a UInt64) ENGINE = MergeTree ORDER BY a")
    where = urlsplit(database.url)
    query = {"user": "writer", "password": "writer", "query_id": "cut", "query": f"INSERT INTO {table} FORMAT TSV"}
    head = f"POST /?{urlencode(query)} HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n"
    with closing(socket.create_connection((where.hostname, where.port))) as connection:
        connection.sendall(head.encode() + b"1\n" * 700_000)
        eventually(lambda: running(database, "cut"))
    eventually(lambda: not running(database, "cut"))
    assert ask(database, f"SELECT count() FROM {table}").text == "0\n"
