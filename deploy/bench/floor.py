"""The floor every figure is measured on: which messages it sends, in which order. It never sends them itself.

A real model of 32 joints, three channels, 100 Hz, minimum-jerk reaches with sensor noise: nothing for a judge to find,
so that every frame is looked at and no figure rests on how cheap a bad frame is.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from kinestream.producers.fleet.motion import known_model, plan_reaches
from kinestream.producers.fleet.take import Take, sense, stamps
from kinestream.schemas.codec import Codec
from kinestream.schemas.content_hash import ContentHasher
from kinestream.schemas.frames import Float32, FrameChunk
from kinestream.schemas.layout import Channel, Layout

MODEL: Final = "fourier-gr-1-t1"
RATE_HZ: Final = 100.0
ROBOTS: Final = 100
#: Frames of a take: 15 to 35 seconds.
SHORTEST, LONGEST = 1500, 3500
#: Larger chunks are a replay's, which sends an hour in seconds: at one RobotStatus a second there are next to none.
LIVE_CHUNK: Final = 10
#: How many motions there are; each take mirrors other joints of one, or the same motions would be duplicates.
_MOTIONS: Final = 8
_UNITS: Final = {"position": "rad", "velocity": "rad/s", "effort": "Nm"}

Message = tuple[bytes, bytes]


def layout() -> Layout:
    """32 joints x 3 channels."""
    joints = known_model(MODEL).joint_names
    return Layout(joints, tuple(Channel(name, len(joints), unit) for name, unit in _UNITS.items()))


def motions(count: int, frames: int, seed: int = 1) -> list[Take]:
    """``count`` takes of ``frames`` frames each, always the same ones."""
    rng, model = np.random.default_rng(seed), known_model(MODEL)
    plans = [plan_reaches(rng, model, frames / RATE_HZ + 1) for _ in range(count)]
    return [sense(rng, model, plan, stamps(rng, frames, RATE_HZ)) for plan in plans]


def lengths(frames: int, seed: int = 2) -> list[int]:
    """Frames of each take, until there are at least ``frames`` in all."""
    rng, chosen = np.random.default_rng(seed), [0]
    while sum(chosen) < frames:
        chosen.append(int(rng.integers(SHORTEST, LONGEST + 1)))
    return chosen[1:]


@dataclass(frozen=True, slots=True, eq=False)
class Mirror:
    """Joints that move the other way about the middle of their range: ``sides`` 1 or -1, ``about`` rad, (J,)."""

    sides: Float32
    about: Float32

    @classmethod
    def drawn(cls, seed: Sequence[int]) -> Mirror:
        """Half of the joints, others for each seed."""
        model = known_model(MODEL)
        sides = np.random.default_rng(seed).choice(np.array([-1, 1], np.float32), len(model.joint_names))
        return cls(sides, np.where(sides < 0, model.lower + model.upper, 0).astype(np.float32))


def cut(
    motion: Take,
    whose: Layout,
    episode_id: str,
    begins_ns: int,
    first: int,
    last: int,
    mirror: Mirror | None = None,
) -> FrameChunk:
    """Frames ``first`` to ``last - 1`` of a motion, as a chunk of an episode that began at ``begins_ns``."""
    part = slice(first, last)
    t_ns = motion.t_ns[part]
    values = {name: getattr(motion, name)[part] for name in _UNITS}
    if mirror is not None:
        values = {name: channel * mirror.sides for name, channel in values.items()}
        values["position"] += mirror.about
    offset_s = (t_ns - t_ns[0]) / 1e9
    return FrameChunk(episode_id, whose.layout_id, first, begins_ns + int(t_ns[0]), offset_s, values)


@dataclass(frozen=True, slots=True)
class _Episode:
    """One take on its way out; ``motion`` may be longer than its ``frames``."""

    robot: str
    number: int
    id: str
    motion: Take
    frames: int
    mirror: Mirror


class Floor:
    """Robots whose takes overlap, with their chunks interleaved as a floor sends them."""

    def __init__(self, codec: Codec, tenant: str, chunk: int, *, robots: int = ROBOTS) -> None:
        self._codec, self._tenant, self._chunk, self._robots = codec, tenant, chunk, robots
        self._layout = layout()
        self._begins_ns = time.time_ns()

    def send(self, takes: Sequence[int], *, together: bool = False, end: bool = True) -> Iterator[Message]:
        """Key and value of every message, in order; ``takes`` are the takes' frames, dealt out to the robots in turn.

        Robots begin at different moments, or ``together``; without ``end`` their takes stay open.
        """
        pool = motions(min(_MOTIONS, len(takes)), max(takes))
        streams = [
            (f"bench-{robot}".encode(), self._robot(robot, takes[robot :: self._robots], pool, together, end))
            for robot in range(min(self._robots, len(takes)))
        ]
        while streams:
            still = []
            for key, stream in streams:
                values = next(stream, None)
                if values is not None:
                    yield from ((key, value) for value in values)
                    still.append((key, stream))
            streams = still

    def _robot(
        self, robot: int, takes: Sequence[int], pool: Sequence[Take], together: bool, end: bool
    ) -> Iterator[list[bytes]]:
        """What one robot sends, a list a turn: a turn is as long as a chunk."""
        if not together:
            yield from ([] for _ in range(int(np.random.default_rng(robot).integers(LONGEST) / self._chunk)))
        for number, frames in enumerate(takes):
            motion, mirror = pool[(robot + number) % len(pool)], Mirror.drawn((robot, number))
            yield from self._take(_Episode(f"bench-{robot}", number, str(uuid.uuid4()), motion, frames, mirror), end)

    def _take(self, episode: _Episode, end: bool) -> Iterator[list[bytes]]:
        hasher, heard = ContentHasher(self._layout), 0
        values = [self._codec.encode("EpisodeStart", self._start(episode))]
        for first in range(0, episode.frames, self._chunk):
            last = min(first + self._chunk, episode.frames)
            chunk = cut(episode.motion, self._layout, episode.id, self._begins_ns, first, last, episode.mirror)
            hasher.add(first, chunk.t_ns, chunk.channels)
            values.append(self._codec.encode_chunk(chunk))
            if self._chunk <= LIVE_CHUNK and last >= heard + RATE_HZ:
                heard = last
                values.append(self._codec.encode("RobotStatus", self._status(episode)))
            yield values
            values = []
        if end:
            yield [self._codec.encode("EpisodeEnd", self._end(episode, hasher))]

    def _start(self, episode: _Episode) -> dict[str, Any]:
        return {
            "tenant": self._tenant,
            "robot_id": episode.robot,
            "model_id": MODEL,
            "boot_id": "bench",
            "episode_id": episode.id,
            "episode_no": episode.number,
            "started_at_ns": self._begins_ns,
            "nominal_rate_hz": RATE_HZ,
            "skill": "grasp",
            **self._layout.to_avro(),
        }

    def _status(self, episode: _Episode) -> dict[str, Any]:
        return {
            "tenant": self._tenant,
            "robot_id": episode.robot,
            "model_id": MODEL,
            "boot_id": "bench",
            "sent_at_ns": self._begins_ns,
            "recording": episode.id,
        }

    def _end(self, episode: _Episode, hasher: ContentHasher) -> dict[str, Any]:
        ended = self._begins_ns + int(episode.motion.t_ns[episode.frames - 1])
        return {
            "episode_id": episode.id,
            "n_total": episode.frames,
            "content_hash": hasher.hexdigest(),
            "ended_at_ns": ended,
        }
