"""A robot whose credentials, registry or disk fail: nothing promised is lost, and it says what is wrong."""

from __future__ import annotations

import json
import socketserver
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from kinestream import Episode, Robot, Settings
from kinestream.deploy.local.process import free_port
from kinestream.deploy.local.registry import look_up
from kinestream.producers.spool import line, promised, writer
from kinestream.schemas.catalogue import FRAMES, topic_name
from kinestream.schemas.codec import Decoded
from kinestream.schemas.errors import SpoolFullError
from kinestream.schemas.registry import committed_ids, committed_schema
from tests.plugins.mockbroker import MockBroker
from tests.robots import read_topic, received_hash, wait_until

JOINTS = ["hip", "knee", "ankle"]
LIVE = topic_name(FRAMES, "hub")
#: What the registry of these tests adds to the committed ids: a registry has numbers of its own.
SHIFT = 1000


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "REFUSED_S", 0.3)
    monkeypatch.setattr(writer, "RETRY_S", 0.1)


def take(sender: Robot, frames: int = 25) -> Episode:
    with sender.episode() as episode:
        episode.send_many(np.random.default_rng(1).normal(size=(frames, 3)), np.arange(frames) * 10_000_000)
    wait_until(lambda: episode.accepted == frames, 5, "every frame is promised")
    return episode


def has_end(came: list[Decoded]) -> bool:
    return any(one.record == "EpisodeEnd" for one in came)


class RefusesEverybody(socketserver.StreamRequestHandler):
    """A broker that speaks just enough Kafka to refuse a name and a password; its server counts ``attempts``."""

    def handle(self) -> None:
        while head := self.rfile.read(4):
            request = self.rfile.read(struct.unpack(">i", head)[0])
            key, version, correlation = struct.unpack(">hhi", request[:8])
            body = {18: self._versions(version), 17: struct.pack(">hih5s", 0, 1, 5, b"PLAIN")}.get(key)
            if body is None:  # SaslAuthenticate
                self.server.attempts += 1  # type: ignore[attr-defined]
                body = struct.pack(">hh5si", 58, 5, b"wrong", 0)
            self.wfile.write(struct.pack(">ii", 4 + len(body), correlation) + body)

    @staticmethod
    def _versions(version: int) -> bytes:
        apis = [(3, 0, 5), (17, 0, 1), (18, 0, 0), (36, 0, 0)]
        return struct.pack(">hi", 35 if version else 0, len(apis)) + b"".join(struct.pack(">hhh", *api) for api in apis)


def test_wrong_credentials_are_told_and_tried_again_slowly(tmp_path: Path):
    socketserver.ThreadingTCPServer.daemon_threads = True
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), RefusesEverybody) as server:
        server.attempts = 0  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        settings = Settings(kafka_security="SASL_PLAINTEXT", kafka_user="robot", kafka_password="guess")
        kafka = f"127.0.0.1:{server.server_address[1]}"
        told: list[str] = []
        sender = Robot(
            *("r1",), model_id="m1", joints=JOINTS, kafka=kafka, spool=tmp_path, settings=settings,
            on_trouble=told.append,
        )  # fmt: skip
        episode = take(sender)
        wait_until(lambda: "does not take this robot's credentials" in sender.trouble, 10, "it says so")
        wait_until(lambda: server.attempts >= 2, 10, "it tries again")  # type: ignore[attr-defined]
        assert sender.delivery_state == "REFUSED"
        sender.close(timeout=0)
        server.shutdown()
    assert "credentials" in told[0]
    assert promised(tmp_path)[episode.id].content_hash == episode.content_hash


class ShiftedRegistry(BaseHTTPRequestHandler):
    """A registry with the committed schemas under other numbers."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer({"id": look_up(self.path.removeprefix("/subjects/"), body)["id"] + SHIFT})

    def do_GET(self) -> None:
        name = committed_ids()[int(self.path.rpartition("/")[2]) - SHIFT]
        self._answer({"schema": json.dumps(committed_schema(name))})

    def _answer(self, document: object) -> None:
        text = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Quiet."""


def test_a_registry_that_is_away_holds_up_delivery_and_nothing_else(mock_broker: MockBroker, tmp_path: Path):
    port = free_port()
    settings = Settings(registry=f"http://127.0.0.1:{port}", live_within_s=60)
    with Robot(
        "r1", model_id="m1", joints=JOINTS, kafka=mock_broker.bootstrap, spool=tmp_path, settings=settings
    ) as sender:
        episode = take(sender)
        wait_until(lambda: "does not answer as a registry" in sender.trouble, 10, "it says so")
        with ThreadingHTTPServer(("127.0.0.1", port), ShiftedRegistry) as registry:
            threading.Thread(target=registry.serve_forever, daemon=True).start()
            sender.flush(20)
            came, messages = read_topic(mock_broker.bootstrap, LIVE, has_end, registry=settings.registry)
            registry.shutdown()
    chunks = [one.value for one in came if one.record == "FrameChunk"]
    start = next(one.value for one in came if one.record == "EpisodeStart")
    assert received_hash(start, chunks, 25) == episode.content_hash
    assert all(int.from_bytes(message.value()[1:5], "big") > SHIFT for message in messages)


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"a small disk needs the right to mount one: {mounted.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_refuses_frames_keeps_what_was_promised_and_goes_on_when_there_is_room(
    mock_broker: MockBroker, tmp_path: Path
):
    mock_broker.down()
    with small_disk(tmp_path / "disk", "18m"):
        other = tmp_path / "disk" / "other"
        settings = Settings(live_within_s=60)
        kafka, spool = mock_broker.bootstrap, tmp_path / "disk" / "spool"
        with Robot("r1", model_id="m1", joints=JOINTS, kafka=kafka, spool=spool, settings=settings) as sender:
            first = take(sender)
            other.write_bytes(bytes(4_000_000))
            full = sender.episode()
            with pytest.raises(SpoolFullError, match=r"cannot be written .*what was accepted before is kept"):
                fill(full)
            assert "full" in sender.trouble
            with pytest.raises(SpoolFullError):
                full.send(np.zeros(3))
            assert promised(spool)[first.id].content_hash == first.content_hash
            full.end("ABORTED")  # an end mark has its place
            wait_until(lambda: promised(spool)[full.id].ended, 10, "it is kept")
            with pytest.raises(SpoolFullError):
                sender.episode()
            other.unlink()
            wait_until(lambda: not sender.spool_full, 10, "it takes frames again")
            last = take(sender)
            mock_broker.up()
            sender.flush(20)
            kept = promised(spool)
    for episode in (first, full, last):
        assert (kept[episode.id].frames, kept[episode.id].content_hash) == (episode.frames, episode.content_hash)


def test_what_the_broker_has_makes_room_on_a_full_disk(mock_broker: MockBroker, tmp_path: Path):
    """Nobody makes room: frames leave the spool, their pages the file, and that is enough."""
    mock_broker.down()
    with small_disk(tmp_path / "disk", "11m"):
        settings = Settings(live_within_s=60, spool_keep_s=0.5)
        kafka, spool = mock_broker.bootstrap, tmp_path / "disk" / "spool"
        with Robot("r1", model_id="m1", joints=JOINTS, kafka=kafka, spool=spool, settings=settings) as sender:
            full = sender.episode()
            with pytest.raises(SpoolFullError):
                fill(full)
            full.end("ABORTED")
            assert sender.spool_full
            mock_broker.up()
            wait_until(lambda: not sender.spool_full, 20, "it takes frames again")
            last = take(sender)
            sender.flush(20)
            assert promised(spool)[last.id].content_hash == last.content_hash


def fill(episode: Episode) -> None:
    position, n = np.zeros((1000, 3), np.float32), 0
    while n < 10_000_000:
        episode.send_many(position, np.arange(n, n + 1000))
        n += 1000
