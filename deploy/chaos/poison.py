"""Messages no robot of ours sends: each must become a dead letter and harm no neighbour; it keeps count of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import confluent_kafka
import numpy as np

from kinestream.schemas.catalogue import FRAMES, topic_name
from kinestream.schemas.codec import Codec, frame
from kinestream.schemas.frames import FrameChunk
from kinestream.schemas.layout import Channel, Layout
from kinestream.schemas.registry import Registry
from kinestream.schemas.settings import Settings

#: An id no registry has given.
_UNKNOWN_SCHEMA: Final = 999_999
_OTHER: Final = Layout(("nobody",), (Channel("position", 1, "rad"),))


class Poisoner:
    """Puts four bad messages at a time beside the records of a robot, on its partition."""

    def __init__(self, settings: Settings, seed: int) -> None:
        self._topic = topic_name(FRAMES, settings.tenant)
        self._codec = Codec(Registry(), self._topic)
        self._rng = np.random.default_rng([seed, 7])
        self._limit = settings.chunk_bytes
        self._producer = confluent_kafka.Producer(
            {
                "bootstrap.servers": settings.kafka,
                "partitioner": "murmur2_random",
                "enable.idempotence": True,
                "message.timeout.ms": settings.message_timeout_ms,
                "log_level": 2,
            }
        )
        self.sent = 0

    def poison(self, robot_id: str, episode_id: str) -> None:
        """Garbage, an unknown schema, a chunk that contradicts its episode's layout, and one far too large."""
        for message in self._messages(episode_id):
            self._producer.produce(self._topic, message, robot_id)
            self.sent += 1
        self._producer.poll(0)

    def flush(self, timeout_s: float) -> None:
        """Wait for the broker."""
        self._producer.flush(timeout_s)

    def _messages(self, episode_id: str) -> Iterable[bytes]:
        yield self._rng.bytes(int(self._rng.integers(1, 200)))
        yield frame(_UNKNOWN_SCHEMA, self._rng.bytes(64))
        yield self._codec.encode_chunk(self._chunk(episode_id, 3, 0))
        yield self._codec.encode_chunk(self._chunk(episode_id, 2 * self._limit // 12, 500))

    def _chunk(self, episode_id: str, frames: int, first_seq: int) -> FrameChunk:
        values = {"position": np.zeros((frames, 1), np.float32)}
        return FrameChunk(episode_id, _OTHER.layout_id, first_seq, 0, np.arange(frames) / 100, values)
