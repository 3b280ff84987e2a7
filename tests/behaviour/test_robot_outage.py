"""A broker killed under recording robots, with and without a spool: nothing is lost, and they go on by themselves."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest

from kinestream import DeliveryError, Episode, Robot, Settings
from kinestream.deploy.local import process
from kinestream.deploy.local.jars import cache_folder
from kinestream.deploy.topics import broker_kind, ensure_topics
from kinestream.schemas.catalogue import FRAMES, topic_name
from kinestream.schemas.codec import Decoded
from kinestream.schemas.errors import BrokerError
from tests.plugins.broker import Broker, Brokers
from tests.robots import read_topic, received_hash, wait_until

JOINTS = [f"joint_{i}" for i in range(32)]


@contextmanager
def own_kafka(home: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Apache Kafka of this test alone, killed with SIGKILL at the end of the block."""
    cache = cache_folder(Settings.from_env().cache)
    command = [sys.executable, "-m", "kinestream.deploy.local.kafka"]
    command += ["--home", str(home), "--port", str(port), "--cache", str(cache), "--brief"]
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
        self.longest_send_s = 0.0

    def run(self) -> None:
        row = np.zeros(len(JOINTS), np.float32)
        try:
            with self.episode as episode:
                while not self.enough.is_set():
                    row[:] = episode.frames
                    began = time.monotonic()
                    episode.send(row)
                    self.longest_send_s = max(self.longest_send_s, time.monotonic() - began)
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
    settings, kafka = Settings(tenant="outage", buffer_bytes=300_000), f"127.0.0.1:{port}"
    with ExitStack() as stack, caplog.at_level(logging.WARNING, "kinestream.robot"):
        first = stack.enter_context(own_kafka(tmp_path / "kafka", port))
        ensure_topics(kafka, "outage")
        robots = [
            stack.enter_context(Robot(name, model_id="m1", joints=JOINTS, kafka=kafka, spool=spool, settings=settings))
            for name, spool in (("r1", None), ("r2", tmp_path / "spool"))
        ]
        recorders = [Recorder(robot) for robot in robots]
        for recorder in recorders:
            recorder.start()
        wait_until(lambda: all(one.episode.accepted >= 100 for one in recorders), 30, "frames are accepted")
        wait_until(lambda: robots[1].delivery_state == "ONLINE", 30, "frames of the second are sent")
        first.kill()
        first.wait()
        wait_until(lambda: any("has been blocked" in r.getMessage() for r in caplog_lines), 60, "send() says it waits")
        while_away = [one.episode.frames for one in recorders]
        wait_until(lambda: recorders[1].episode.accepted > while_away[1] + 100, 30, "with a spool frames are accepted")
        assert robots[0].buffered_bytes <= 300_000
        with own_kafka(tmp_path / "kafka", port):
            wait_until(lambda: recorders[0].episode.accepted > while_away[0], 60, "it goes on by itself")
            for recorder in recorders:
                recorder.enough.set()
                recorder.join(30)
            robots[1].flush(30)
            for robot in robots:
                robot.close()
            assert [one.problem for one in recorders] == [None, None]
            came, _ = read_topic(kafka, topic_name(FRAMES, "outage"), lambda c: sum(map(is_end, c)) == 2)
    told = [line.getMessage() for line in caplog_lines]
    for word in (" is away (", "has been blocked for 1 s", "answers again", "send() goes on after"):
        assert sum(word in line for line in told) == 1, (word, told)
    for recorder in recorders:
        check_whole(recorder.episode, came)
    assert recorders[1].longest_send_s < 1 < recorders[0].longest_send_s


def check_whole(episode: Episode, came: list[Decoded]) -> None:
    """Each frame once, in order, bit for bit."""
    chunks = [one.value for one in came if one.record == "FrameChunk" and one.value.episode_id == episode.id]
    assert [chunk.first_seq for chunk in chunks] == list(np.cumsum([0, *map(len, chunks)]))[:-1]
    start = next(one.value for one in came if one.record == "EpisodeStart" and one.value["episode_id"] == episode.id)
    assert received_hash(start, chunks, episode.frames) == episode.content_hash
    assert episode.accepted == episode.frames == sum(map(len, chunks))


def is_end(one: Decoded) -> bool:
    return one.record == "EpisodeEnd"
