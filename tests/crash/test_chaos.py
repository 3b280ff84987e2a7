"""Chaos in small, and why the transport is ours: the same audit of the same kill, of a plain Faust agent and of us."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import confluent_kafka
import numpy as np
import pytest

from kinestream.deploy.chaos.audit import SHOULD_BE_ZERO, Audit, Stored, audit
from kinestream.deploy.chaos.framelog import read_log
from kinestream.deploy.chaos.justice import Limits
from kinestream.deploy.chaos.promises import Promise
from kinestream.deploy.chaos.readback import ReadBack
from kinestream.deploy.chaos.signal import JOINTS, ODD, measured
from kinestream.deploy.local.process import spawn, stop, wait_until
from kinestream.producers.episode import Episode
from kinestream.schemas.catalogue import FRAMES, topic_name
from tests.plugins.worker import Pipeline, free_port
from tests.robots import Kept, kept_episode
from tests.sending import RawSender

BENCH = Path(__file__).resolve().parents[2] / "bench"
RATE_HZ, SEED, T0_NS = 100.0, 5, 1_900_000_000_000_000_000
LIMITS = Limits(10_000, 60_000, 5_000)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_eight_kills_lose_nothing_double_nothing_and_invent_nothing() -> None:
    """On the test broker, which lives in memory: workers, store and robots are killed, the broker is not."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("KINESTREAM_")}
    command = [sys.executable, "-c", "from kinestream.deploy.cli import main; main()", "chaos"]
    command += ["--kills", "8", "--minutes", "0.5", "--seed", "3", "--json"]
    done = subprocess.run(
        command, env={**environment, "KINESTREAM_BROKER": "test"}, capture_output=True, text=True, check=False
    )
    assert done.stdout, done.stderr
    found = json.loads(done.stdout)
    assert {name: found[name] for name in SHOULD_BE_ZERO} == dict.fromkeys(SHOULD_BE_ZERO, 0), found["trouble"]
    assert done.returncode == 0, found
    assert sum(found["kills"].values()) == 8
    assert (found["broker"], found["workers"], found["kills"]["broker"]) == ("test", 1, 0)
    # Garbage and an unknown schema are always two of four; what names an episode that is closed is only counted.
    assert found["dead_letters"] >= found["poison"] / 2 > 0
    assert found["frames"] > 5_000


@pytest.fixture
def two_takes(test_pipeline: Pipeline) -> TwoTakes:
    return TwoTakes(test_pipeline)


class TwoTakes:
    """A long take and, inside it, a short one, first on their partition: the short one is done while the other runs."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.settings = pipeline.settings
        self.promises: dict[str, Promise] = {}
        self._sender = RawSender(pipeline.broker)
        self.head = 0

    def play(self, short_is_done: Callable[[str], None]) -> None:
        (long, of_long), (short, of_short) = (kept_episode(JOINTS, {ODD.name: ODD}) for _ in range(2))
        self._send(long, 0, 150)
        self.head = len(of_long.messages)
        self._send(short, 0, 100)
        short.end()
        self._deliver(of_long, of_short)
        short_is_done(short.id)
        self._send(long, 150, 260)
        long.end()
        self._deliver(of_long)

    def _send(self, episode: Episode, first: int, last: int) -> None:
        promise = self.promises.setdefault(episode.id, Promise(episode.id, "r1", SEED, T0_NS, RATE_HZ))
        promise.sent = promise.promised = last
        part = measured(SEED, episode.id, T0_NS, RATE_HZ).part(first, last)
        odd = {ODD.name: part.channels[ODD.name]}
        episode.send_many(part.channels["position"], part.t_ns, velocity=part.channels["velocity"], channels=odd)

    def _deliver(self, *all_kept: Kept) -> None:
        for kept in all_kept:
            self._sender.send_raw(kept.messages)
            kept.messages.clear()

    def audited(self, stored: dict[str, Stored]) -> Audit:
        log = read_log(self.settings.kafka, self.settings.tenant)
        return audit(self.promises, stored, [], log, LIMITS)


def test_a_plain_faust_agent_that_holds_its_acks_loses_frames(two_takes: TwoTakes, tmp_path: Path) -> None:
    """Faust commits behind the short take's acknowledged events, over the head of the long take's, which are held."""
    home, environment = tmp_path / "agent", {k: v for k, v in os.environ.items() if not k.startswith("KINESTREAM_")}
    agent = HeldAcks(home, environment, two_takes)
    agent.start()
    try:
        two_takes.play(agent.dies_after)
        agent.wait_for(lambda: len(agent.stored()) == 2)
        found = two_takes.audited(agent.stored())
    finally:
        agent.kill()
    assert found.lost_frames == 150
    assert found.wrong_frames == 0  # what it has is right: it is the rest that is gone


def test_the_worker_loses_nothing_at_the_same_kill(two_takes: TwoTakes, test_pipeline: Pipeline) -> None:
    reader = ReadBack(two_takes.settings)

    def dies_after(short: str) -> None:
        test_pipeline.wait_for(lambda: short in reader.revisions())
        test_pipeline.kill()
        test_pipeline.start(wait=False)

    test_pipeline.start()
    two_takes.play(dies_after)
    test_pipeline.wait_for(lambda: len(reader.revisions()) == 2)
    found = two_takes.audited(reader.stored())
    assert (found.lost_frames, found.wrong_frames) == (0, 0)


class HeldAcks:
    """The agent of bench/held_acks.py as a process."""

    def __init__(self, home: Path, environment: dict[str, str], takes: TwoTakes) -> None:
        self.takes, mine = takes, takes.settings
        self.home, self.log = home, home.with_suffix(".log")
        self.topic = topic_name(FRAMES, mine.tenant)
        self.group = f"held-{uuid.uuid4().hex[:8]}"
        self.kafka = mine.kafka
        self.environment = environment | {
            "KINESTREAM_KAFKA": mine.kafka,
            "KINESTREAM_TENANT": mine.tenant,
            "KINESTREAM_GROUP": self.group,
            "KINESTREAM_HOME": str(home),
            "KINESTREAM_SESSION_S": "3",
        }

    def start(self) -> None:
        command = [sys.executable, "-m", "faust", "-A", "held_acks", "--workdir", str(BENCH), "worker"]
        with self.log.open("ab") as log:
            port = {"KINESTREAM_WORKER_PORT": str(free_port())}
            self.process = spawn(command, env=self.environment | port, stdout=log, stderr=log)

    def dies_after(self, short: str) -> None:
        """Once the short take is stored and Faust has committed behind it, over the long take's held head."""
        self.wait_for(lambda: short in self.stored())
        self.wait_for(lambda: self.committed() > self.takes.head)
        self.kill()
        self.start()

    def kill(self) -> None:
        self.process.kill()
        stop(self.process)

    def committed(self) -> int:
        """The highest offset the group has committed on any partition."""
        consumer = confluent_kafka.Consumer({"bootstrap.servers": self.kafka, "group.id": self.group, "log_level": 3})
        try:
            partitions = consumer.list_topics(self.topic, timeout=10).topics[self.topic].partitions
            places = consumer.committed([confluent_kafka.TopicPartition(self.topic, p) for p in partitions], 10)
            return max(place.offset for place in places)
        finally:
            consumer.close()

    def stored(self) -> dict[str, Stored]:
        return {path.stem: self._stored(path) for path in (self.home / "stored").glob("*.npz")}

    @staticmethod
    def _stored(path: Path) -> Stored:
        with np.load(path) as arrays:
            channels = {name: arrays[name] for name in arrays.files if name not in ("seq", "t_ns")}
            return Stored(path.stem, 1, "COMPLETE", "", arrays["seq"], arrays["t_ns"], channels)

    def wait_for(self, condition: Callable[[], bool]) -> None:
        assert wait_until(condition, 80), self.log.read_text()[-2000:]
