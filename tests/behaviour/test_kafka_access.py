"""A cluster that asks every client for name and password: robot, worker, subscriber, dead letters and commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from kinestream.deploy.cli import application
from kinestream.deploy.local import process
from kinestream.deploy.local.jars import cache_folder
from kinestream.deploy.local.java import find_java
from kinestream.deploy.local.kafka import prepare
from kinestream.deploy.topics import broker_kind, ensure_topics
from kinestream.producers.robot import Robot
from kinestream.producers.spool import promised
from kinestream.schemas.errors import BrokerError, SettingError
from kinestream.schemas.settings import Settings
from kinestream.streams.subscription import Subscription
from tests.plugins.broker import START_S, Broker
from tests.plugins.store import Store
from tests.plugins.worker import Pipeline

HUB, STRANGER = {"USER": "hub", "PASSWORD": "secret"}, {"USER": "hub", "PASSWORD": "guess"}
#: The port that clients use wants TLS and a name; the other one is the broker's own.
GUARDED = {
    "listener.security.protocol.map": "PLAINTEXT:SASL_SSL,INSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "listener.name.plaintext.ssl.keystore.location": "broker.p12",
    "listener.name.plaintext.ssl.keystore.password": "changeit",
    "listener.name.plaintext.ssl.keystore.type": "PKCS12",
    "listener.name.plaintext.sasl.enabled.mechanisms": "PLAIN",
    "listener.name.plaintext.plain.sasl.jaas.config": "org.apache.kafka.common.security.plain.PlainLoginModule"
    ' required user_hub="secret";',
}


@dataclass(frozen=True)
class Guarded:
    """A cluster that lets nobody in without a name, and the file that says which broker to trust."""

    bootstrap: str
    ca: Path

    def variables(self, who: dict[str, str] = HUB) -> dict[str, str]:
        said = {"SECURITY": "SASL_SSL", "CA": str(self.ca), **who}
        return {f"KINESTREAM_KAFKA_{name}": value for name, value in said.items()}

    def settings(self, who: dict[str, str] = HUB) -> Settings:
        return Settings.from_env(self.variables(who))


def make_certificate(home: Path) -> Path:
    """A key and a certificate for 127.0.0.1 into ``home``; the certificate as PEM."""
    tool = str(Path(find_java()).with_name("keytool"))
    store = ["-keystore", "broker.p12", "-storetype", "PKCS12", "-storepass", "changeit", "-alias", "broker"]
    made = ["-genkeypair", "-keyalg", "EC", "-dname", "CN=broker", "-ext", "san=ip:127.0.0.1", "-validity", "2"]
    for arguments in (made, ["-exportcert", "-rfc", "-file", "ca.pem"]):
        subprocess.run([tool, *arguments, *store], cwd=home, check=True, capture_output=True)
    return home / "ca.pem"


@pytest.fixture
def guarded(kafka_broker: Broker, tmp_path: Path) -> Iterator[Guarded]:
    """An Apache Kafka of this test alone. (``kafka_broker`` skips where there can be none.)"""
    port, home = process.free_port(), tmp_path / "kafka"
    command = prepare(home, port, cache_folder(Settings.from_env().cache), lambda text: None, process.free_port())
    made = Guarded(f"127.0.0.1:{port}", make_certificate(home))
    with (home / "kafka.properties").open("a") as properties:
        properties.writelines(f"{key}={value}\n" for key, value in GUARDED.items())
    with (home / "log").open("wb") as log:
        running = process.spawn(command, cwd=home, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def answers() -> bool:
        try:
            return broker_kind(made.bootstrap, 1.0, made.settings().kafka_access()) == "kafka"
        except (BrokerError, SettingError):
            return running.poll() is not None

    try:
        assert process.wait_until(answers, START_S), (home / "log").read_text()[-2000:]
        assert running.poll() is None, (home / "log").read_text()[-2000:]
        yield made
    finally:
        process.stop(running)


@pytest.fixture
def pipeline(guarded: Guarded, database: Store, tmp_path: Path) -> Iterator[Pipeline]:
    ensure_topics(guarded.bootstrap, "guarded", access=guarded.settings().kafka_access())
    made = Pipeline(Broker("kafka", guarded.bootstrap, "guarded"), database, tmp_path, extra=guarded.variables())
    yield made
    made.stop_all()


def kinestream(pipeline: Pipeline, *arguments: str) -> Any:
    return CliRunner().invoke(application(), arguments, env=pipeline.environment("cli"))


def one_line(pipeline: Pipeline, *arguments: str) -> str:
    """What a command says that fails, as a process of its own."""
    said = [sys.executable, "-c", "from kinestream.deploy.cli import main; main()", *arguments]
    done = subprocess.run(said, env={**os.environ, **pipeline.environment("cli")}, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, ""), done
    (line,) = done.stderr.strip().splitlines()
    return line


def test_everybody_who_says_the_name_is_let_in_and_who_does_not_is_told(
    pipeline: Pipeline, guarded: Guarded, tmp_path: Path
) -> None:
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

    pipeline.extra = guarded.variables(STRANGER)
    worker = pipeline.start("stranger", wait=False)
    told = f"{guarded.bootstrap} does not let us in"
    for command in (
        ("subscribe",),
        ("dlq", "list"),
        ("correct", str(episode.id), "skill=fold", "--by", "p7"),
    ):
        assert told in one_line(pipeline, *command)
    stranger = Robot("r2", model_id="m", joints=["a"], settings=pipeline.settings, spool=tmp_path / "spool")
    with stranger.episode() as kept:
        kept.send(np.array([0.5]))
    pipeline.wait_for(lambda: "does not take this robot's credentials" in stranger.trouble)
    assert stranger.delivery_state == "REFUSED"
    stranger.close(timeout=0)
    assert promised(tmp_path / "spool")[str(kept.id)].frames == 1
    assert worker.wait(40) == 70
    assert sum(told in one for one in pipeline.log("stranger").splitlines()) == 1
    assert "guess" not in pipeline.log("stranger")

    pipeline.extra = guarded.variables() | {"KINESTREAM_KAFKA_CA": ""}  # the system trusts others
    assert told in one_line(pipeline, "subscribe")
