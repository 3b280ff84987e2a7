"""The registry over HTTP: ids are asked for once, a missing one is a bad message, a silent one is a pause."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from kinestream.schemas.codec import Codec, frame
from kinestream.schemas.errors import DecodeError
from kinestream.schemas.registry import Registry, RegistryUnavailableError, committed_ids, committed_schema

TOPIC = "motion.hub.frames.v1"
MARK = {"episode_id": "e", "t_ns": 1, "seq": 0, "kind": "NOTE", "label": "", "note": ""}


class TinyRegistry(ThreadingHTTPServer):
    """Confluent's look-up by POST and schema by GET, with ids of its own (committed id + 100)."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[str] = []
        self.answer: tuple[int, bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def look_up(self, path: str, body: Any) -> Any:
        if body is None:
            name = committed_ids().get(int(path.rpartition("/")[2]) - 100)
            return name and {"schema": json.dumps(committed_schema(name))}
        subject = path.removeprefix("/subjects/")
        for schema_id, name in committed_ids().items():
            if json.loads(body["schema"]) == committed_schema(name):
                return {"subject": subject, "id": schema_id + 100, "version": 1}
        return None


class _Handler(BaseHTTPRequestHandler):
    server: TinyRegistry

    def do_GET(self) -> None:
        self._answer(None)

    def do_POST(self) -> None:
        self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def _answer(self, body: Any) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        found = self.server.look_up(self.path, body)
        known = (200, json.dumps(found).encode()) if found else (404, b'{"error_code": 40403}')
        status, text = self.server.answer or known
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def server() -> Iterator[TinyRegistry]:
    with TinyRegistry() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_records_bear_the_registrys_id_and_each_side_asks_once(server: TinyRegistry) -> None:
    writer, reader = (Codec(Registry(server.url + "/"), TOPIC) for _ in range(2))
    messages = [writer.encode("EpisodeMark", MARK) for _ in range(3)]
    assert [int.from_bytes(message[1:5], "big") for message in messages] == [103, 103, 103]
    assert [reader.decode(message).value for message in messages] == [MARK] * 3
    assert server.asked == [
        f"POST /subjects/{TOPIC}-io.kinestream.motion.EpisodeMark",
        "GET /schemas/ids/103",
    ]


def test_an_id_the_registry_does_not_know_is_an_unknown_schema(server: TinyRegistry) -> None:
    with pytest.raises(DecodeError) as caught:
        Codec(Registry(server.url), TOPIC).decode(frame(7, b""))
    assert (caught.value.reason, f"{server.url}/schemas/ids/7" in str(caught.value)) == ("UNKNOWN_SCHEMA", True)


def test_an_unknown_id_is_asked_for_again_because_it_may_be_registered_later(server: TinyRegistry) -> None:
    taker, server.answer = Codec(Registry(server.url, unknown_s=0), TOPIC), (404, b"{}")
    message = Codec(Registry(), TOPIC).encode("EpisodeMark", MARK).replace(b"\0\0\0\0\3", b"\0\0\0\0\147", 1)
    with pytest.raises(DecodeError):
        taker.decode(message)
    server.answer = None
    assert taker.decode(message).value == MARK


def test_a_flood_of_an_unknown_id_is_one_request_and_an_outage_is_never_remembered_as_unknown(
    server: TinyRegistry,
) -> None:
    taker, message = Codec(Registry(server.url), TOPIC), frame(9, b"x")
    server.answer = (503, b"")
    with pytest.raises(RegistryUnavailableError):
        taker.decode(message)
    server.answer = None
    for _ in range(50):
        with pytest.raises(DecodeError):
            taker.decode(message)
    assert len(server.asked) == 2


def test_a_schema_nobody_registered_cannot_be_written(server: TinyRegistry) -> None:
    server.answer = (404, b'{"error_code": 40401, "message": "Subject not found."}')
    with pytest.raises(DecodeError, match="does not know it") as caught:
        Codec(Registry(server.url), TOPIC).encode("EpisodeMark", MARK)
    assert caught.value.reason == "UNKNOWN_SCHEMA"


@pytest.mark.parametrize(
    "answer", [(500, b"oops"), (401, b"{}"), (200, b"<html>"), (200, b"{}"), (200, b"[]"), (200, b"null")]
)
def test_an_answer_that_is_none_is_a_pause_and_never_a_bad_message(
    server: TinyRegistry, answer: tuple[int, bytes]
) -> None:
    server.answer = answer
    for ask in (lambda r: r.schema(103), lambda r: r.id_of(TOPIC, "EpisodeMark")):
        with pytest.raises(RegistryUnavailableError, match=server.url):
            ask(Registry(server.url))


def test_a_refused_connection_is_a_pause() -> None:
    with socket.socket() as bound:  # bound, but nobody listens
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        with pytest.raises(RegistryUnavailableError, match=r"start it, or unset it"):
            Registry(url).schema(1)


def test_a_server_that_speaks_no_http_is_a_pause() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"garbage\r\n\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(RegistryUnavailableError, match="BadStatusLine"):
            Registry(f"http://127.0.0.1:{listener.getsockname()[1]}").schema(1)
        thread.join()


def test_a_registry_that_never_answers_is_a_pause_after_the_timeout() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        pytest.raises(RegistryUnavailableError, match="timed out"),
    ):
        Registry(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout_s=0.1).schema(1)


def test_a_schema_text_that_is_no_json_is_an_unknown_schema(server: TinyRegistry) -> None:
    server.answer = (200, b'{"schema": "syntax = proto3;"}')
    with pytest.raises(DecodeError) as caught:
        Registry(server.url).schema(9)
    assert caught.value.reason == "UNKNOWN_SCHEMA"
