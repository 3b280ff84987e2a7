"""Robots that do not speak Kafka: lines over TCP, HTTP and WebSocket become episodes like any other."""

from __future__ import annotations

import pytest

from tests.plugins.broker import Broker
from tests.plugins.gateway import HELLO, GatewayProcess, MakeGateway, frames
from tests.plugins.store import Store
from tests.plugins.worker import Pipeline


@pytest.fixture
def hub(test_broker: Broker, database: Store, tmp_path_factory: pytest.TempPathFactory):
    made = Pipeline(test_broker, database, tmp_path_factory.mktemp("hub"))
    made.start()
    yield made
    made.stop_all()


@pytest.fixture
def gateway(hub: Pipeline, make_gateway: MakeGateway) -> GatewayProcess:
    return make_gateway(hub.environment("gateway"))


def stored(hub: Pipeline) -> list[tuple]:
    return hub.query(
        "SELECT toString(episode_id), robot_id, status, outcome, frames, content_hash, hash_verified, skill"
        " FROM episodes FINAL ORDER BY robot_id"
    )


def test_lines_over_tcp_become_a_whole_episode_with_the_hash_that_was_answered(hub: Pipeline, gateway: GatewayProcess):
    gateway.start()
    with gateway.client() as client:
        client.send(HELLO, {"type": "start", "skill": "pick_place", "take": "t1"})
        assert client.answer("welcome")["open"] is None
        episode_id = client.answer("started")["episode_id"]
        client.send(frames(0, 250))
        client.answer("accepted", accepted=250)
        client.send(frames(250, 50), {"type": "end", "outcome": "SUCCESS", "n_total": 300})
        ended = client.answer("ended")
        assert client.answer("stored", take="t1")["status"] == "COMPLETE"
    (row,) = stored(hub)
    assert row == (episode_id, "arm-7", "COMPLETE", "SUCCESS", 300, ended["content_hash"], 1, "pick_place")
    assert gateway.stop() == 0


def test_a_gateway_killed_within_a_take_goes_on_with_it_where_it_had_accepted(hub: Pipeline, gateway: GatewayProcess):
    gateway.start()
    with gateway.client() as client:
        client.send(HELLO, {"type": "start", "take": "t1", "skill": "grasp"})
        episode_id = client.answer("started")["episode_id"]
        client.send({"type": "mark", "kind": "LABEL", "label": "lifted"}, frames(0, 333))
        accepted = client.answer("accepted", accepted=333)["accepted"]
        client.send(frames(333, 5))  # perhaps kept, never promised to anybody
        gateway.kill()
    gateway.start()
    with gateway.client() as client:
        client.send(HELLO)
        left = client.answer("welcome")["open"]
        assert (left["episode_id"], left["take"]) == (episode_id, "t1")
        assert left["accepted"] >= accepted
        client.send({"type": "resume"}, {"type": "mark", "seq": 0, "kind": "LABEL", "label": "lifted"})
        client.send(frames(300, 200), {"type": "end", "outcome": "SUCCESS", "n_total": 500})
        ended = client.answer("ended")
        client.answer("stored", status="COMPLETE", frames=500)
    (row,) = stored(hub)
    assert row == (episode_id, "arm-7", "COMPLETE", "SUCCESS", 500, ended["content_hash"], 1, "grasp")
    assert hub.query("SELECT length(marks) FROM episodes FINAL") == [(1,)]
