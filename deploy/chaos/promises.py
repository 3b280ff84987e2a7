"""What the robots promised: each robot's own file of it, written through before the next frame; never the signal.

A line is written by one system call into the page cache, which kill -9 of the writer does not touch.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinestream.deploy.chaos.signal import Measured, measured


@dataclass(slots=True)
class Promise:
    """One take: frames [0, ``promised``) must be stored, [``promised``, ``sent``) may be, and no others."""

    episode_id: str
    robot_id: str
    seed: int
    t0_ns: int
    rate_hz: float
    promised: int = 0
    sent: int = 0

    def truth(self) -> Measured:
        """What was measured, all frames that can have been sent."""
        return measured(self.seed, self.episode_id, self.t0_ns, self.rate_hz).part(0, self.sent)


class PromiseFile:
    """The robot's side. ``promise`` writes only what is new."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._promised: dict[str, int] = {}

    def begin(self, promise: Promise) -> None:
        """A take is about to begin."""
        names = ("episode_id", "robot_id", "seed", "t0_ns", "rate_hz")
        self._write({"begin": {name: getattr(promise, name) for name in names}})

    def sending(self, episode_id: str, frames: int) -> None:
        """Frames up to ``frames`` are about to be handed over: from now on they may be found."""
        self._write({"id": episode_id, "sent": frames})

    def promise(self, episode_id: str, frames: int) -> None:
        """Frames up to ``frames`` have been accepted: from now on they must be found."""
        if self._promised.get(episode_id, 0) < frames:
            self._promised[episode_id] = frames
            self._write({"id": episode_id, "promised": frames})

    def _write(self, line: dict[str, Any]) -> None:
        os.write(self._file, json.dumps(line).encode() + b"\n")


def read_promises(files: Iterable[Path]) -> dict[str, Promise]:
    """Of every episode of every robot, by id; a last line that was cut by a kill is nobody's promise."""
    found: dict[str, Promise] = {}
    for line in _lines(files):
        if begun := line.get("begin"):
            found[begun["episode_id"]] = Promise(**begun)
            continue
        promise = found[line["id"]]
        for name in ("sent", "promised"):
            setattr(promise, name, max(getattr(promise, name), line.get(name, 0)))
    return found


def _lines(files: Iterable[Path]) -> Iterator[dict[str, Any]]:
    for path in files:
        for line in path.read_bytes().splitlines(keepends=True):
            if line.endswith(b"\n"):
                yield json.loads(line)
