"""What a run of the floor tells a machine: JSON lines, each written through at once; never anything for people."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TextIO

from kinestream.producers.fleet.faults import KINDS, Fault
from kinestream.producers.fleet.floor import Post
from kinestream.producers.fleet.pace import Kept


@dataclass(slots=True)
class Tally:
    """What has ended so far."""

    episodes: int = 0
    aborted: int = 0
    frames: int = 0
    faults: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Summary:
    """A run's totals: ``faults`` by name, the process's CPU, how the floor kept its time, a text for each robot the
    broker has not all of. ``seconds`` and ``cpu_seconds`` are of the whole run, with robots made and ended.
    """

    seed: int
    robots: int
    models: int
    episodes: int
    aborted: int
    frames: int
    faults: dict[str, int]
    seconds: float
    cpu_seconds: float
    kept: Kept
    undelivered: list[str]

    def document(self) -> dict[str, object]:
        """All of it, flat."""
        facts = asdict(self)
        return {**{name: facts[name] for name in facts if name != "kept"}, **facts["kept"]}


class Report:
    """Writes the events of a run to ``out`` and counts them."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self.tally = Tally()

    def episode_started(
        self, episode_id: str, post: Post, *, number: int, skill: str, area: str, begun_ns: int
    ) -> None:
        """The robot's ``number``-th take begins at ``begun_ns`` (UTC); its first frames are about to be sent."""
        self._write(
            "episode_started",
            episode_id=episode_id,
            robot_id=post.robot_id,
            model_id=post.model.model_id,
            robot=post.index,
            number=number,
            skill=skill,
            area=area,
            begun_ns=begun_ns,
        )

    def fault(self, episode_id: str, robot_id: str, fault: Fault, sent_ns: int) -> dict[str, object]:
        """The decisive frame was handed over at ``sent_ns`` (UTC); returns what the episode's end repeats."""
        truth: dict[str, object] = {
            "fault": fault.name,
            "metric": fault.metric,
            "metrics": list(KINDS[fault.name].metrics),
            "joint": fault.joint,
            "seq": fault.seq,
            "decisive_seq": fault.decisive_seq,
            "sent_ns": sent_ns,
        }
        self._write("fault", episode_id=episode_id, robot_id=robot_id, **truth)
        self.tally.faults[fault.name] = self.tally.faults.get(fault.name, 0) + 1
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

    def summary(
        self,
        *,
        seed: int,
        robots: int,
        models: int,
        seconds: float,
        cpu_seconds: float,
        kept: Kept,
        undelivered: list[str],
    ) -> Summary:
        """The last line: totals, and what the broker did not take (one text a robot)."""
        told = Summary(
            seed, robots, models, **asdict(self.tally), seconds=round(seconds, 3), cpu_seconds=round(cpu_seconds, 3),
            kept=kept, undelivered=undelivered,
        )  # fmt: skip
        self._write("summary", **told.document())
        return told

    def _write(self, event: str, **values: object) -> None:
        self._out.write(json.dumps({"event": event, **values}) + "\n")
        self._out.flush()
