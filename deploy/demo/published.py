"""Owns what the fleet says it did, read line by line from its report; it never asks broker or store."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault the fleet put into a take: ``sent_ns`` is when its decisive frame was handed over (UTC)."""

    metric: str
    joint: str
    sent_ns: int


@dataclass(slots=True)
class Take:
    """An episode the fleet began; ``content_hash`` is empty and ``end_sent_ns`` 0 until it ended."""

    episode_id: str
    robot_id: str
    frames: int = 0
    content_hash: str = ""
    end_sent_ns: int = 0
    faults: list[Fault] = field(default_factory=list)

    @property
    def ended(self) -> bool:
        """Its end mark was handed over."""
        return self.end_sent_ns > 0


@dataclass(slots=True)
class Published:
    """Everything the fleet reported so far."""

    takes: dict[str, Take] = field(default_factory=dict)
    undelivered: list[str] = field(default_factory=list)

    @property
    def open(self) -> int:
        """Takes under way."""
        return sum(not take.ended for take in self.takes.values())

    @property
    def frames(self) -> int:
        """Frames of the takes that ended."""
        return sum(take.frames for take in self.takes.values())

    def add(self, line: Mapping[str, Any]) -> None:
        """Take in one line of the report (producers/fleet/report.py); lines of other events change nothing."""
        event = line["event"]
        if event == "episode_started":
            self.takes[line["episode_id"]] = Take(line["episode_id"], line["robot_id"])
        elif event == "fault":
            fault = Fault(line["metric"], line["joint"], line["sent_ns"])
            self.takes[line["episode_id"]].faults.append(fault)
        elif event == "episode_ended":
            take = self.takes[line["episode_id"]]
            take.frames, take.content_hash = line["frames"], line["content_hash"]
            take.end_sent_ns = line["end_sent_ns"]
        elif event == "summary":
            self.undelivered = list(line["undelivered"])


class ReportReader:
    """Follows a report while it is written; half a line is left for the next call."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._position = 0

    def read(self, published: Published) -> None:
        """Add to ``published`` what was written since the last call."""
        if not self.path.exists():
            return
        with self.path.open("rb") as report:
            report.seek(self._position)
            for line in report:
                if not line.endswith(b"\n"):
                    break
                self._position += len(line)
                published.add(json.loads(line))
