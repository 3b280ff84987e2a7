"""SIGTERM while something is away: the worker leaves at once and in order, and nothing is lost by it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.assembling import Take
from tests.plugins.broker import Broker
from tests.plugins.mockbroker import MockBroker
from tests.plugins.store import Store
from tests.plugins.worker import Pipeline
from tests.sending import RawSender


@pytest.fixture
def alone(mock_broker: MockBroker, database: Store, tmp_path: Path) -> Iterator[Pipeline]:
    """A pipeline over a broker of this test alone."""
    made = Pipeline(Broker("test", mock_broker.bootstrap, "hub"), database, tmp_path)
    yield made
    made.stop_all()


@pytest.mark.parametrize("outage", ["frozen", "down"])
def test_sigterm_while_the_broker_is_away_ends_within_five_seconds_and_the_next_worker_goes_on(
    alone: Pipeline, mock_broker: MockBroker, outage: str
) -> None:
    alone.start()
    running, ended = Take(), Take(no=2, seed=1, robot="r2")
    sender = RawSender(alone.broker)
    sender.send(running.start(), *running.chunks()[:15])
    sender.send(ended.start(), *ended.chunks(), robot="r2")
    alone.wait_for(lambda: len(alone.query("SELECT DISTINCT episode_id FROM journal")) == 2)
    sender.send(ended.end(), robot="r2")  # as likely as not, its event is under way when the broker goes
    if outage == "down":
        mock_broker.down()
    else:
        mock_broker.answer_after(60_000)
    alone.wait_for(lambda: not alone.healthy())
    asked = time.monotonic()
    assert alone.stop(timeout_s=20) == 0, alone.log()
    assert time.monotonic() - asked < 5, alone.log()
    mock_broker.answer_after(0)
    mock_broker.up()
    RawSender(alone.broker).send(*running.chunks()[15:], running.end())
    alone.start()
    rows = "SELECT status, revision, frames FROM episodes FINAL ORDER BY episode_no"
    alone.wait_for(lambda: alone.query(rows) == [("COMPLETE", 1, one.frames) for one in (running, ended)])


def test_a_worker_that_starts_while_the_broker_is_away_waits_says_so_and_can_be_told_to_leave(
    alone: Pipeline, mock_broker: MockBroker
) -> None:
    mock_broker.down()
    waiting = alone.start(wait=False)
    alone.wait_for(lambda: alone.page("healthz")[0] == 200)
    assert alone.page("readyz") == (503, {"ready": False, "reasons": ["not started: waiting for broker and store"]})
    other = alone.start("w2", wait=False)
    alone.wait_for(lambda: alone.page("healthz", "w2")[0] == 200)
    asked = time.monotonic()
    assert alone.stop("w2", timeout_s=20) == 0, alone.log("w2")
    assert time.monotonic() - asked < 5, alone.log("w2")
    mock_broker.up()
    alone.wait_for(alone.healthy)
    assert waiting.poll() is None
    assert other.returncode == 0
