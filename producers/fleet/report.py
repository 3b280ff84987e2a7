"""What a run of the floor tells a machine: JSON lines, each written through at once; never anything for people."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TextIO

from kinestream.producers.fleet.faults import Fault


@dataclass(slots=True)
class Tally:
    """What has ended so far."""

    episodes: int = 0
    aborted: int = 0
    frames: int = 0
    faults: dict[str, int] = field(default_factory=dict)


class Report:
    """Writes the events of a run to ``out`` and counts them."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self.tally = Tally()

    def episode_started(self, episode_id: str, robot_id: str, model_id: str, skill: str, area: str) -> None:
        """The take's first frames are about to be sent."""
        self._write(
            "episode_started", episode_id=episode_id, robot_id=robot_id, model_id=model_id, skill=skill, area=area
        )

    def fault(self, episode_id: str, robot_id: str, fault: Fault, sent_ns: int) -> dict[str, object]:
        """The decisive frame was handed over at ``sent_ns`` (UTC); returns what the episode's end repeats."""
        truth: dict[str, object] = {
            "metric": fault.metric,
            "joint": fault.joint,
            "seq": fault.seq,
            "decisive_seq": fault.decisive_seq,
            "sent_ns": sent_ns,
        }
        self._write("fault", episode_id=episode_id, robot_id=robot_id, **truth)
        self.tally.faults[fault.metric] = self.tally.faults.get(fault.metric, 0) + 1
        return truth

    def episode_ended(
        self,
        *,
        episode_id: str,
        robot_id: str,
        model_id: str,
        outcome: str,
        frames: int,
        content_hash: str,
        end_sent_ns: int,
        faults: list[dict[str, object]],
    ) -> None:
        """The end mark was handed over at ``end_sent_ns`` (UTC)."""
        self._write(
            "episode_ended",
            episode_id=episode_id,
            robot_id=robot_id,
            model_id=model_id,
            outcome=outcome,
            frames=frames,
            content_hash=content_hash,
            end_sent_ns=end_sent_ns,
            faults=faults,
        )
        self.tally.episodes += 1
        self.tally.aborted += outcome == "ABORTED"
        self.tally.frames += frames

    def summary(self, *, robots: int, models: int, seconds: float, cpu_seconds: float, undelivered: list[str]) -> None:
        """The last line: totals, and what the broker did not take (one text a robot)."""
        tally = self.tally
        self._write(
            "summary",
            robots=robots,
            models=models,
            episodes=tally.episodes,
            aborted=tally.aborted,
            frames=tally.frames,
            faults=tally.faults,
            seconds=round(seconds, 3),
            cpu_seconds=round(cpu_seconds, 3),
            undelivered=undelivered,
        )

    def _write(self, event: str, **values: object) -> None:
        self._out.write(json.dumps({"event": event, **values}) + "\n")
        self._out.flush()
