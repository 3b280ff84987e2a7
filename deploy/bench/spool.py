"""How many frames a robot's spool takes a CPU-second: the whole way from send() to a committed chunk, no broker."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from kinestream.deploy.bench.floor import MODEL, motions
from kinestream.producers.episode import Episode
from kinestream.producers.fleet.take import Take
from kinestream.producers.robot import Robot
from kinestream.schemas.settings import Settings

#: Nobody listens there: what is measured is the spool alone.
_NOWHERE: Final = "127.0.0.1:1"
_FRAMES: Final = 3000


@dataclass(frozen=True, slots=True)
class SpoolFigure:
    """Frames of 32 joints x 3 channels, medians over the repeats."""

    chunk: int
    #: send_many (a chunk a call) or send (a frame a call)
    call: str
    #: process: survives a killed process; power: each commit is written through
    durable: str
    frames_per_s: float
    frames_per_cpu_s: float
    #: seconds from the last send to the promise of its frame, the longest of the repeats
    promised_s: float


def measure_spool(chunks: Sequence[int], frames: int, repeats: int, folder: str = "") -> list[SpoolFigure]:
    """At each chunk size, way of sending and durability; ``folder``: a place on the disk that is to be measured."""
    (motion,) = motions(1, _FRAMES)
    ways = [("send_many", False), ("send_many", True), ("send", False)]
    return [_measure(motion, size, call, power, frames, repeats, folder) for size in chunks for call, power in ways]


def _measure(motion: Take, chunk: int, call: str, power: bool, frames: int, repeats: int, folder: str) -> SpoolFigure:
    wall, cpu, promised = [], [], []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory(prefix="kinestream-spool-", dir=folder or None) as place:
            robot = _robot(Path(place), chunk, power)
            began, spent = time.perf_counter(), time.process_time()
            episode = robot.episode()
            taken = (_send_many if call == "send_many" else _send)(episode, motion, frames, chunk)
            last = time.perf_counter()
            while episode.accepted < taken:
                time.sleep(0.0005)
            ended = time.perf_counter()
            cpu.append(taken / (time.process_time() - spent))
            wall.append(taken / (ended - began))
            promised.append(ended - last)
            robot.close(timeout=0)
    durable = "power" if power else "process"
    return SpoolFigure(chunk, call, durable, median(wall), median(cpu), max(promised))


def _robot(place: Path, chunk: int, power: bool) -> Robot:
    settings = Settings(chunk_frames=chunk, spool_bytes=50_000_000_000)
    durable = "power" if power else "process"
    return Robot("bench", model_id=MODEL, kafka=_NOWHERE, spool=place, durable=durable, settings=settings)  # type: ignore[arg-type]


def _send_many(episode: Episode, motion: Take, frames: int, chunk: int) -> int:
    """A chunk a call; returns how many frames it were."""
    for sent in range(0, frames, _FRAMES):
        for first in range(0, _FRAMES, chunk):
            part = slice(first, min(first + chunk, _FRAMES))
            episode.send_many(
                motion.position[part], motion.t_ns[part] + sent, motion.velocity[part], motion.effort[part]
            )
    return -(-frames // _FRAMES) * _FRAMES


def _send(episode: Episode, motion: Take, frames: int, _: int) -> int:
    """A frame a call, as a robot's own loop does."""
    stamps = motion.t_ns.tolist()
    for _sent in range(0, frames, _FRAMES):
        for i, t in enumerate(stamps):
            episode.send(motion.position[i], t, motion.velocity[i], motion.effort[i])
    return -(-frames // _FRAMES) * _FRAMES
