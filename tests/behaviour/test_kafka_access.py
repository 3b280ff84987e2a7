"""A cluster that asks every client for name and password: robot, worker, subscriber, dead letters and commands."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from kinestream.deploy.cli import application
from kinestream.deploy.local import process
from kinestream.deploy.local.jars import cache_folder
from kinestream.deploy.local.kafka import prepare
from kinestream.deploy.topics import broker_kind, ensure_topics
from kinestream.producers.robot import Robot
from kinestream.schemas.errors import BrokerError, SettingError
from kinestream.schemas.settings import Settings
from kinestream.streams.subscription import Subscription
from tests.plugins.broker import START_S, Broker
from tests.plugins.store import Store
from tests.plugins.worker import Pipeline

ACCESS = {
    "KINESTREAM_KAFKA_SECURITY": "SASL_PLAINTEXT",
    "KINESTREAM_KAFKA_USER": "hub",
    "KINESTREAM_KAFKA_PASSWORD": "secret",
}
HUB = Settings.from_env(ACCESS)
#: The port that clients use wants a name; the other one is the broker's own.
GUARDED = {
    "listener.security.protocol.map": "PLAINTEXT:SASL_PLAINTEXT,INSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "listener.name.plaintext.sasl.enabled.mechanisms": "PLAIN",
    "listener.name.plaintext.plain.sasl.jaas.config": "org.apache.kafka.common.security.plain.PlainLoginModule"
    ' required user_hub="secret";',
}


@pytest.fixture
def guarded(kafka_broker: Broker, tmp_path: Path) -> Iterator[str]:
    """The address of an Apache Kafka of this test alone. (``kafka_broker`` skips where there can be none.)"""
    port, home = process.free_port(), tmp_path / "kafka"
    command = prepare(home, port, cache_folder(Settings.from_env().cache), lambda text: None, process.free_port())
    with (home / "kafka.properties").open("a") as properties:
        properties.writelines(f"{key}={value}\n" for key, value in GUARDED.items())
    with (home / "log").open("wb") as log:
        running = process.spawn(command, cwd=home, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    bootstrap = f"127.0.0.1:{port}"

    def answers() -> bool:
        try:
            return broker_kind(bootstrap, 1.0, HUB.kafka_access()) == "kafka"
        except BrokerError:
            return running.poll() is not None

    try:
        assert process.wait_until(answers, START_S), (home / "log").read_text()[-2000:]
        assert running.poll() is None, (home / "log").read_text()[-2000:]
        yield bootstrap
    finally:
        process.stop(running)


@pytest.fixture
def pipeline(guarded: str, database: Store, tmp_path: Path) -> Iterator[Pipeline]:
    ensure_topics(guarded, "guarded", access=HUB.kafka_access())
    made = Pipeline(Broker("kafka", guarded, "guarded"), database, tmp_path, extra=dict(ACCESS))
    yield made
    made.stop_all()


def kinestream(pipeline: Pipeline, *arguments: str) -> Any:
    return CliRunner().invoke(application(), arguments, env=pipeline.environment("cli"))


def test_everybody_who_says_the_name_is_let_in_and_who_does_not_is_told(pipeline: Pipeline) -> None:
    pipeline.start()
    with (
        Robot("r1", model_id="m", joints=["a"], settings=pipeline.settings, spool=None, rate_hz=100) as robot,
        robot.episode(skill="grasp") as episode,
    ):
        for k in range(100):
            episode.send(np.array([k / 100]), t=1_900_000_000_000_000_000 + k * 10_000_000)
    pipeline.wait_for(lambda: pipeline.query("SELECT status FROM episodes FINAL") == [("COMPLETE",)])

    def announced() -> list[str]:
        with Subscription(from_start=True, until_end=True, settings=pipeline.settings) as events:
            return [event.episode_id for event in events]

    assert pipeline.wait_for(announced) == [str(episode.id)]
    done = kinestream(pipeline, "correct", str(episode.id), "skill=pour", "--by", "p7", "--json")
    assert json.loads(done.stdout)["revision"] == 2, done.output
    letters = kinestream(pipeline, "dlq", "list", "--json")
    assert json.loads(letters.stdout) == [], letters.output

    with pytest.raises(SettingError, match="does not let us in"):
        ensure_topics(pipeline.broker.bootstrap, "guarded", access=replace(HUB, kafka_password="guess").kafka_access())
    pipeline.extra = {**ACCESS, "KINESTREAM_KAFKA_PASSWORD": "guess"}
    worker = pipeline.start("stranger", wait=False)
    assert worker.wait(40) == 70
    assert "does not let us in" in pipeline.log("stranger")
    assert "guess" not in pipeline.log("stranger")
