"""A broker killed under a recording robot without a spool: nothing is lost, and the robot goes on by itself."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest

from kinestream import DeliveryError, Robot, Settings
from kinestream.deploy.local import process
from kinestream.deploy.local.jars import cache_folder
from kinestream.deploy.topics import broker_kind, ensure_topics
from kinestream.schemas.catalogue import FRAMES, topic_name
from kinestream.schemas.errors import BrokerError
from tests.plugins.broker import Broker, Brokers
from tests.robots import read_topic, received_hash, wait_until

JOINTS = [f"joint_{i}" for i in range(32)]


@contextmanager
def own_kafka(home: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Apache Kafka of this test alone, killed with SIGKILL at the end of the block."""
    cache = cache_folder(Settings.from_env().cache)
    command = [sys.executable, "-m", "kinestream.deploy.local.kafka"]
    command += ["--home", str(home), "--port", str(port), "--cache", str(cache)]
    with (home.parent / "kafka.log").open("ab") as log:
        running = process.spawn(command, stdout=log, stderr=log)
    try:
        wait_until(lambda: running.poll() is not None or answers(port), 60, "Apache Kafka answers")
        assert running.poll() is None, (home.parent / "kafka.log").read_text()[-2000:]
        yield running
    finally:
        running.kill()
        running.wait()


def answers(port: int) -> bool:
    try:
        broker_kind(f"127.0.0.1:{port}", timeout_s=0.3)
    except BrokerError:
        return False
    return True


class Recorder(threading.Thread):
    """Sends one take until told to stop: what a robot's own loop does."""

    def __init__(self, robot: Robot) -> None:
        super().__init__(daemon=True)
        self.episode = robot.episode(skill="grasp")
        self.enough = threading.Event()
        self.problem: BaseException | None = None

    def run(self) -> None:
        row = np.zeros(len(JOINTS), np.float32)
        try:
            with self.episode as episode:
                while not self.enough.is_set():
                    row[:] = episode.frames
                    episode.send(row)
                    self.enough.wait(0.0005)
        except DeliveryError as problem:
            self.problem = problem


@pytest.mark.slow
def test_a_broker_killed_and_started_again_loses_nothing(
    kafka_broker: Broker, brokers: Brokers, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    if brokers.settings.kafka:
        pytest.skip("KINESTREAM_KAFKA names a cluster that is not this test's to kill")
    port, caplog_lines = process.free_port(), caplog.records
    settings = Settings(tenant="outage", buffer_bytes=300_000)
    with ExitStack() as stack, caplog.at_level(logging.WARNING, "kinestream.robot"):
        first = stack.enter_context(own_kafka(tmp_path / "kafka", port))
        ensure_topics(f"127.0.0.1:{port}", "outage")
        robot = stack.enter_context(
            Robot("r1", model_id="m1", joints=JOINTS, kafka=f"127.0.0.1:{port}", spool=None, settings=settings)
        )
        recorder = Recorder(robot)
        recorder.start()
        wait_until(lambda: recorder.episode.accepted >= 100, 30, "frames are acknowledged")
        first.kill()
        first.wait()
        wait_until(lambda: any("has been blocked" in r.getMessage() for r in caplog_lines), 60, "send() says it waits")
        taken_while_away = recorder.episode.frames
        assert robot.buffered_bytes <= 300_000
        again = own_kafka(tmp_path / "kafka", port)
        with again:
            wait_until(lambda: recorder.episode.accepted > taken_while_away, 60, "it goes on by itself")
            recorder.enough.set()
            recorder.join(30)
            robot.close()
            assert recorder.problem is None
            came, _ = read_topic(f"127.0.0.1:{port}", topic_name(FRAMES, "outage"), lambda c: ended(c))
    told = [line.getMessage() for line in caplog_lines]
    for word in (" is away (", "has been blocked for 1 s", "answers again", "send() goes on after"):
        assert sum(word in line for line in told) == 1, (word, told)
    episode = recorder.episode
    chunks = [one.value for one in came if one.record == "FrameChunk"]
    assert [chunk.first_seq for chunk in chunks] == list(np.cumsum([0, *map(len, chunks)]))[:-1]  # each once, in order
    start = next(one.value for one in came if one.record == "EpisodeStart")
    assert received_hash(start, chunks, episode.frames) == episode.content_hash
    assert episode.accepted == episode.frames == sum(map(len, chunks))


def ended(came: list) -> bool:
    return any(one.record == "EpisodeEnd" for one in came)
