"""A gateway whose broker is away or slow: it promises up to its bound, holds back, does not grow, and all arrives."""

from __future__ import annotations

import json
import threading
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import psutil
import pytest

from kinestream.deploy.topics import ensure_topics
from kinestream.schemas.catalogue import FRAMES_BULK, topic_name
from kinestream.schemas.codec import Decoded
from tests.behaviour.test_robot_outage import own_kafka
from tests.plugins.gateway import HELLO, T0, GatewayProcess, LineClient, MakeGateway
from tests.plugins.mockbroker import MockBroker
from tests.plugins.worker import free_port
from tests.robots import read_topic, received_hash

JOINTS = [f"joint_{k}" for k in range(32)]
#: What one spool may hold, with its reserve, bytes.
BOUND = 1_500_000
#: Frames of the take: three times what fits, and less than a partition of the test broker holds.
TOTAL = 32_000


def bounded(bootstrap: str) -> dict[str, str]:
    return {
        "KINESTREAM_KAFKA": bootstrap,
        "KINESTREAM_SPOOL_BYTES": str(BOUND // 2),
        "KINESTREAM_SPOOL_RESERVE_BYTES": str(BOUND // 2),
        "KINESTREAM_SPOOL_KEEP_S": "0.5",  # nobody writes receipts here
        "KINESTREAM_LIVE_WITHIN_S": "0",
    }


@pytest.fixture
def gateway(mock_broker: MockBroker, make_gateway: MakeGateway) -> GatewayProcess:
    return make_gateway(bounded(mock_broker.bootstrap))


def wide(first: int, n: int) -> dict[str, Any]:
    numbers = range(first, min(first + n, TOTAL))
    values = [[(k % 1000 + 1) / 3001] * len(JOINTS) for k in numbers]  # long in JSON: sockets hold megabytes
    return {"type": "frames", "seq": first, "t_ns": [T0 + k * 1_000_000 for k in numbers], "position": values}


class Pusher(threading.Thread):
    """Sends a whole take as fast as the gateway reads; says how far it is."""

    def __init__(self, client: LineClient) -> None:
        super().__init__(daemon=True)
        self.client, self.sent = client, 0

    def run(self) -> None:
        for first in range(0, TOTAL, 200):
            self.client.send(wide(first, 200))
            self.sent = first + 200
        self.client.send({"type": "end", "outcome": "SUCCESS", "n_total": TOTAL})


def test_a_gateway_at_its_bound_stops_reading_stays_small_and_goes_on(mock_broker: MockBroker, gateway: GatewayProcess):
    mock_broker.down()
    gateway.start()
    process = psutil.Process(gateway.pid)
    with gateway.client() as client:
        client.send({**HELLO, "joints": JOINTS}, {"type": "start", "take": "long"})
        client.answer("started")
        before = process.memory_info().rss
        pusher = Pusher(client)
        pusher.start()
        waits = client.answer("wait", 60)
        assert waits["reason"] == "SPOOL_FULL"
        accepted, frame_bytes = waits["accepted"], 4 * len(JOINTS) + 8
        while accepted * frame_bytes < BOUND * 0.8:
            accepted = client.answer("accepted")["accepted"]
        standstill(pusher)
        assert accepted * frame_bytes < BOUND * 1.5, "up to the bound all is promised"
        assert pusher.sent < TOTAL * 0.9, "what does not fit stays with the robot"
        refused = push_one_over_http(gateway, accepted)
        assert process.memory_info().rss - before < 40_000_000
        mock_broker.answer_after(20)
        mock_broker.up()
        ended = client.answer("ended", 60)
        assert process.memory_info().rss - before < 40_000_000
        pusher.join()
    assert refused[0] == 503
    assert ended["frames"] == TOTAL
    arrived(mock_broker.bootstrap, ended)


@pytest.mark.usefixtures("kafka_broker")  # says why, where Apache Kafka cannot run
def test_a_gateway_in_front_of_apache_kafka_holds_back_until_it_comes(make_gateway: MakeGateway, tmp_path: Path):
    """A real broker that is not there yet when robots already send: all that was promised is in it, bit for bit."""
    port = free_port()
    gateway = make_gateway(bounded(f"127.0.0.1:{port}")).start()
    with gateway.client() as client:
        client.send({**HELLO, "joints": JOINTS}, {"type": "start", "take": "long"})
        client.answer("started")
        pusher = Pusher(client)
        pusher.start()
        assert client.answer("wait", 60)["reason"] == "SPOOL_FULL"
        standstill(pusher)
        assert pusher.sent < TOTAL * 0.9, "what does not fit stays with the robot"
        with own_kafka(tmp_path / "kafka", port):
            ensure_topics(f"127.0.0.1:{port}", "hub")
            ended = client.answer("ended", 60)
            pusher.join()
            assert ended["frames"] == TOTAL
            arrived(f"127.0.0.1:{port}", ended)
            gateway.kill()


def standstill(pusher: Pusher) -> None:
    """Until half a second passes in which the robot can send nothing."""
    last, still = -1, threading.Event()
    while pusher.sent != last:
        last = pusher.sent
        still.wait(0.5)


def push_one_over_http(gateway: GatewayProcess, accepted: int) -> tuple[int, str]:
    """A robot of its own fills its spool by POSTs: status and Retry-After of the first that is refused."""

    connection = HTTPConnection(gateway.addresses["http"], timeout=30)
    hello = {**HELLO, "robot_id": "poster", "joints": JOINTS}
    for first in range(0, accepted * 2, 1000):
        start = {"type": "start", "take": "p"}
        body = b"".join(json.dumps(one).encode() + b"\n" for one in (hello, start, wide(first, 1000)))
        connection.request("POST", "/v1/lines", body, {"Content-Type": "application/x-ndjson"})
        answer = connection.getresponse()
        lines = answer.read().splitlines()
        if answer.status != 200:
            assert int(answer.headers["Retry-After"]) > 0
            told = [json.loads(one).get("accepted", 0) for one in lines]
            assert max(told) >= first, "it says how far it is"
            connection.close()
            return answer.status, answer.headers["Retry-After"]
    raise AssertionError("no POST was refused")


def arrived(bootstrap: str, ended: dict[str, Any]) -> None:
    """Every frame, once, with the hash that was answered; the take began without a broker, so it is in bulk."""

    def whole(came: list[Decoded]) -> bool:
        return any(one.record == "EpisodeEnd" for one in came)

    came, _ = read_topic(bootstrap, topic_name(FRAMES_BULK, "hub"), whole)
    mine = [one for one in came if one.record != "RobotStatus"]
    chunks = [one.value for one in mine if one.record == "FrameChunk" and one.value.episode_id == ended["episode_id"]]
    (start,) = [v.value for v in mine if v.record == "EpisodeStart" and v.value["episode_id"] == ended["episode_id"]]
    assert sum(map(len, chunks)) == TOTAL
    assert received_hash(start, chunks, TOTAL) == ended["content_hash"]
