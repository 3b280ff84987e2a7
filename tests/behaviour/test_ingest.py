"""Robots that do not speak Kafka: lines over TCP, HTTP and WebSocket become episodes like any other."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import aiohttp
import pytest

from kinestream.deploy.store import migrations
from tests.plugins.broker import Brokers
from tests.plugins.gateway import HELLO, GatewayProcess, MakeGateway, frames
from tests.plugins.store import Store
from tests.plugins.worker import Pipeline

START = {"type": "start", "skill": "pick_place", "take": "t1"}


@pytest.fixture(scope="module", params=["test", pytest.param("kafka", marks=pytest.mark.kafka)])
def hub(
    request: pytest.FixtureRequest, brokers: Brokers, store: Store, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pipeline]:
    """One worker a broker for all tests here: each has robots of its own."""
    database = f"test_ingest_{request.param}"
    migrations.apply(replace(store, database="").client(), database)
    made = Pipeline(brokers.get(request.param), replace(store, database=database), tmp_path_factory.mktemp("hub"))
    made.start()
    yield made
    made.stop_all()


@pytest.fixture
def gateway(hub: Pipeline, make_gateway: MakeGateway) -> GatewayProcess:
    return make_gateway(hub.environment("gateway"))


def hello(robot_id: str, **more: Any) -> dict[str, Any]:
    return {**HELLO, "robot_id": robot_id, **more}


def stored(hub: Pipeline, robot_id: str) -> tuple[Any, ...]:
    rows = hub.wait_for(
        lambda: hub.query(
            "SELECT toString(episode_id), status, outcome, frames, content_hash, hash_verified, skill, length(marks)"
            " FROM episodes FINAL WHERE robot_id = {robot:String}",
            robot=robot_id,
        )
    )
    (row,) = rows
    return tuple(row)


def post(gateway: GatewayProcess, *messages: dict[str, Any], **headers: str) -> tuple[int, list[dict[str, Any]]]:
    """Status and answers of one POST."""
    request = Request(f"http://{gateway.addresses['http']}/v1/lines", b"".join(map(line, messages)), method="POST")
    for name, value in {"Content-Type": "application/x-ndjson", **headers}.items():
        request.add_header(name.replace("_", "-"), value)
    try:
        with urlopen(request, timeout=30) as answer:
            return answer.status, [json.loads(one) for one in answer]
    except HTTPError as answer:
        return answer.code, [json.loads(one) for one in answer]


def line(message: dict[str, Any]) -> bytes:
    return json.dumps(message).encode() + b"\n"


def test_lines_over_tcp_and_a_gateway_killed_within_the_take(hub: Pipeline, gateway: GatewayProcess):
    gateway.start()
    with gateway.client() as client:
        client.send(hello("killed"), START)
        assert client.answer("welcome")["open"] is None
        episode_id = client.answer("started")["episode_id"]
        client.send({"type": "mark", "kind": "LABEL", "label": "lifted"}, frames(0, 333))
        accepted = client.answer("accepted", accepted=333)["accepted"]
        client.send(frames(333, 5))  # perhaps kept, never promised to anybody
        gateway.kill()
    gateway.start()
    with gateway.client() as client:
        client.send(hello("killed"))
        left = client.answer("welcome")["open"]
        assert (left["episode_id"], left["take"]) == (episode_id, "t1")
        assert left["accepted"] >= accepted
        client.send({"type": "resume"}, {"type": "mark", "seq": 0, "kind": "LABEL", "label": "lifted"})
        client.send(frames(300, 200), {"type": "end", "outcome": "SUCCESS", "n_total": 500})
        ended = client.answer("ended")
        client.answer("stored", status="COMPLETE", frames=500, take="t1")
    row = (episode_id, "COMPLETE", "SUCCESS", 500, ended["content_hash"], 1, "pick_place", 1)
    assert stored(hub, "killed") == row
    conflicts = "SELECT count() FROM findings WHERE episode_id = {id:String} AND metric = 'ID_CONFLICT'"
    assert hub.query(conflicts, id=episode_id) == [(0,)], "one process after the other is no conflict"
    assert gateway.stop() == 0


def test_a_take_in_posts_is_whole_and_a_repeated_post_changes_nothing(hub: Pipeline, gateway: GatewayProcess):
    gateway.start()
    robot = hello("posted")
    status, answers = post(gateway, robot, START, frames(0, 100))
    assert (status, [one["type"] for one in answers]) == (200, ["welcome", "started", "accepted"])
    assert answers[-1]["accepted"] == 100
    rest = (robot, START, frames(100, 100), {"type": "end", "outcome": "SUCCESS", "n_total": 200})
    status, answers = post(gateway, *rest)
    assert (status, answers[1]["accepted"], answers[-1]["type"]) == (200, 100, "ended")
    status, repeated = post(gateway, *rest)
    assert (status, repeated[-1]) == (200, answers[-1]), "its answer may have been lost"
    hub.wait_for(lambda: post(gateway, robot)[1][0]["past"][0]["status"] == "COMPLETE")
    assert stored(hub, "posted")[1:4] == ("COMPLETE", "SUCCESS", 200)


def test_a_take_over_a_websocket_is_whole_and_its_findings_come_back(hub: Pipeline, gateway: GatewayProcess):
    gateway.start()
    joints = ["left_shoulder_pitch_joint", "left_elbow_joint"]
    robot = hello("streamed", findings=True, model_id="unitree-g1-29-dof", joints=joints)
    answers: list[dict[str, Any]] = []
    told: dict[str, asyncio.Event] = {kind: asyncio.Event() for kind in ("finding", "stored")}

    async def listen(stream: aiohttp.ClientWebSocketResponse) -> None:
        async for message in stream:
            for answer in map(json.loads, message.data.splitlines()):
                answers.append(answer)
                told.get(answer["type"], asyncio.Event()).set()

    async def record() -> None:
        url = f"ws://{gateway.addresses['http']}/v1/stream"
        async with aiohttp.ClientSession() as session, session.ws_connect(url) as stream:
            listening = asyncio.create_task(listen(stream))
            await stream.send_str(json.dumps(robot))
            await stream.send_bytes(b"\x00\x01")
            await stream.send_str(json.dumps(START))
            first = 0
            while not told["finding"].is_set() and first < 800:
                cut = frames(first, 10)
                cut["position"][0][1] = None  # JSON has no NaN
                await stream.send_str(json.dumps(cut))
                first += 10
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(told["finding"].wait(), 0.03)
            await stream.send_str(json.dumps({"type": "end", "outcome": "FAILURE"}))
            for event in told.values():
                await asyncio.wait_for(event.wait(), 30)
            listening.cancel()

    asyncio.run(record())
    of = {one["type"]: one for one in answers}
    assert of["refused"]["reason"] == "BINARY"
    assert (of["finding"]["metric"], of["finding"]["joint"]) == ("I1", "left_elbow_joint")
    ended = of["ended"]
    row = (ended["episode_id"], "COMPLETE", "FAILURE", ended["frames"], ended["content_hash"])
    assert stored(hub, "streamed")[:5] == row


def test_a_take_whose_robot_does_not_come_back_is_ended_aborted(hub: Pipeline, gateway: GatewayProcess):
    gateway.environment["KINESTREAM_INGEST_RETURN_S"] = "0.5"
    gateway.start()
    with gateway.client() as client:
        client.send(hello("lost"), START, frames(0, 50))
        client.answer("accepted", accepted=50)
    assert stored(hub, "lost")[1:4] == ("COMPLETE", "ABORTED", 50)
    with gateway.client() as client:
        client.send(hello("lost"), {**START, "take": "t2"})
        (past,) = client.answer("welcome")["past"]
        assert (past["take"], past["outcome"], past["frames"]) == ("t1", "ABORTED", 50)
        assert client.answer("started")["take"] == "t2"
