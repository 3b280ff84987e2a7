"""What lies on a topic, decoded: for tests that look at what a robot really sent."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from kinestream.schemas.codec import Codec, Decoded
from kinestream.schemas.frames import FrameChunk
from kinestream.schemas.layout import Layout
from kinestream.schemas.registry import Registry


@dataclass
class SentEpisode:
    """One episode as its topic holds it, in the order of its partition."""

    start: dict[str, Any]
    chunks: list[FrameChunk] = field(default_factory=list)
    sent_ms: list[int] = field(default_factory=list)
    end: dict[str, Any] | None = None

    @property
    def t_ns(self) -> np.ndarray:
        return np.concatenate([chunk.t_ns for chunk in self.chunks])

    @property
    def seq(self) -> list[int]:
        return [chunk.first_seq + i for chunk in self.chunks for i in range(len(chunk))]

    def values(self, channel: str) -> np.ndarray:
        width = Layout.from_avro(self.start).widths[channel]
        return np.concatenate([chunk.channels[channel].reshape(-1, width) for chunk in self.chunks])


def read_episodes(bootstrap: str, topic: str, timeout_s: float = 20.0) -> dict[str, SentEpisode]:
    """Every episode on ``topic`` up to its present end, by episode id."""
    codec, episodes = Codec(Registry(""), topic), {}
    for message, timestamp_ms in _messages(bootstrap, topic, timeout_s):
        _add(episodes, codec.decode(message), timestamp_ms)
    return episodes


def _add(episodes: dict[str, SentEpisode], decoded: Decoded, timestamp_ms: int) -> None:
    if decoded.record == "EpisodeStart":
        episodes[decoded.value["episode_id"]] = SentEpisode(decoded.value)
    elif decoded.record == "FrameChunk":
        episodes[decoded.value.episode_id].chunks.append(decoded.value)
        episodes[decoded.value.episode_id].sent_ms.append(timestamp_ms)
    elif decoded.record == "EpisodeEnd":
        episodes[decoded.value["episode_id"]].end = decoded.value


def _messages(bootstrap: str, topic: str, timeout_s: float) -> list[tuple[bytes, int]]:
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": uuid.uuid4().hex, "fetch.queue.backoff.ms": 5, "log_level": 3}
    )
    try:
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        ends = {p: consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=10)[1] for p in partitions}
        consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in partitions])
        read: list[tuple[bytes, int]] = []
        deadline = time.monotonic() + timeout_s
        while len(read) < sum(ends.values()) and time.monotonic() < deadline:
            read += [(m.value(), m.timestamp()[1]) for m in consumer.consume(500, 0.2) if not m.error()]
        assert len(read) >= sum(ends.values()), f"{len(read)} of {sum(ends.values())} messages of {topic} in time"
        return read
    finally:
        consumer.close()
