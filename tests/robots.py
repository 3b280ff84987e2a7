"""A robot's link that keeps what it is handed, and a reader of topics, for tests of the robot's side."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from confluent_kafka import Consumer, Message, TopicPartition

from kinestream.producers.delivery import Ledger
from kinestream.producers.episode import Episode
from kinestream.producers.intake import ChannelLike, declared_channels
from kinestream.producers.labels import Labels
from kinestream.producers.link import Link
from kinestream.schemas.codec import Codec, Decoded
from kinestream.schemas.content_hash import ContentHasher
from kinestream.schemas.frames import FrameChunk
from kinestream.schemas.layout import Layout
from kinestream.schemas.registry import Registry

TOPIC = "motion.hub.frames.v1"


class Kept:
    """Stands where the broker is: keeps every message; ``refuse`` is raised instead while it is set."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.refuse: BaseException | None = None
        self.has_room = True

    def put(
        self, message: bytes, ledger: Ledger, frames: int = 0, *, wait: bool = True, blocks: Sequence[Any] = ()
    ) -> None:
        if self.refuse is not None:
            raise self.refuse
        self.messages.append(message)
        ledger.records += 1
        ledger.frames += frames

    def check(self) -> None:
        """It takes everything."""

    def poll(self, timeout_s: float) -> None:
        """Nothing is ever acknowledged."""

    def decoded(self) -> list[Decoded]:
        codec = Codec(Registry(), TOPIC)
        return [codec.decode(message) for message in self.messages]

    def records(self) -> list[str]:
        return [one.record for one in self.decoded()]

    def of(self, record: str) -> list[Any]:
        return [one.value for one in self.decoded() if one.record == record]


def kept_episode(
    joints: tuple[str, ...] = ("hip", "knee", "ankle"),
    channels: Mapping[str, ChannelLike] | None = None,
    chunk_frames: int = 10,
    chunk_bytes: int = 256_000,
    **labels: Any,
) -> tuple[Episode, Kept]:
    kept = Kept()
    link = Link(
        tenant="hub",
        robot_id="r1",
        model_id="m1",
        boot_id="b1",
        joints=joints,
        declared=declared_channels(joints, channels or {}),
        codec=Codec(Registry(), TOPIC),
        outlet=kept,  # type: ignore[arg-type]
        chunk_frames=chunk_frames,
        chunk_bytes=chunk_bytes,
    )
    return Episode(link, 7, Labels(**labels), lambda episode: None), kept


def received_hash(start: Mapping[str, Any], chunks: list[FrameChunk], n_total: int) -> str:
    """The content hash as a receiver computes it, from nothing but what came."""
    layout = Layout.from_avro(start)
    hasher = ContentHasher(layout)
    for chunk in chunks:
        hasher.add(chunk.first_seq, chunk.t_ns, chunk.channels)
    return hasher.hexdigest(n_total)


def values(chunks: list[FrameChunk], channel: str, width: int) -> np.ndarray:
    """float32 (n, width) of all chunks."""
    return np.concatenate([chunk.channels[channel].reshape(-1, width) for chunk in chunks])


def wait_until(condition: Callable[[], bool], timeout_s: float, what: str) -> None:
    deadline = time.monotonic() + timeout_s
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        pause.wait(0.02)


def read_topic(
    bootstrap: str, topic: str, until: Callable[[list[Decoded]], bool], timeout_s: float = 30.0, registry: str = ""
) -> tuple[list[Decoded], list[Message]]:
    """Everything in a topic from its start, partition by partition in order, until ``until(decoded)``."""
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": "reader", "enable.auto.commit": False, "log_level": 2}
    )
    try:
        partitions = consumer.list_topics(topic, timeout=timeout_s).topics[topic].partitions
        consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
        codec = Codec(Registry(registry), topic)
        decoded: list[Decoded] = []
        messages: list[Message] = []
        deadline = time.monotonic() + timeout_s
        while not until(decoded):
            assert time.monotonic() < deadline, f"after {timeout_s} s only {[one.record for one in decoded]}"
            for message in consumer.consume(500, 0.2):
                assert message.error() is None, message.error()
                messages.append(message)
                decoded.append(codec.decode(message.value()))
        return decoded, messages
    finally:
        consumer.close()
