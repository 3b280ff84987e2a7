"""A hub's day in the store: rows shaped by the real assembler and judge, then placed at any hour, robot and verdict."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any

import numpy as np
from clickhouse_connect.driver.client import Client

from kinestream.streams.assembly.values import FindingChange, JournalRow
from kinestream.streams.store import tables
from tests.assembling import PLACE, Log, Owner, Take

G1, R1 = "unitree-g1-29-dof", "galaxea-r1"


@cache
def judged() -> tuple[JournalRow, tuple[FindingChange, ...]]:
    """The outbox row of a good take, and the final findings of one with a jump and one with values that are none."""
    good, bad, log, owner = Take(frames=150), Take(frames=150, robot="r2"), Log(), Owner()
    bad.values["position"][80:, 1] += 1.0
    bad.values["velocity"][20:120, 0] = np.nan
    owner.feed(log.append(*good.whole()))
    owner.feed(log.append(*bad.whole()))
    final = tuple(c for c in owner.store.findings if not c.provisional and c.state != "CLEARED")
    return owner.store.episodes[good.id], final


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def _day(moment: datetime) -> int:
    return (moment.astimezone(UTC).date() - date(1970, 1, 1)).days


@dataclass
class Floor:
    """Collects rows; ``write`` inserts them. Times are broker times."""

    episodes: list[dict[str, Any]] = field(default_factory=list)
    findings: list[FindingChange] = field(default_factory=list)
    robots: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    journal: list[JournalRow] = field(default_factory=list)

    def episode(self, ended: datetime, robot: str = "g1-01", *, seconds: float = 30, **fields: Any) -> str:
        """A closed episode: COMPLETE and ACCEPT unless ``fields`` say otherwise. Its id."""
        outbox = judged()[0]
        started = ended - timedelta(seconds=seconds)
        row = {
            **outbox.closed,
            "generation": 1,
            "event": outbox.event,
            "start": outbox.start,
            "marks": [],
            "end": outbox.end,
            "episode_id": str(uuid.uuid4()),
            "robot_id": robot,
            "model_id": G1,
            "area": "household",
            "started_at": _ms(started),
            "ended_at": _ms(ended),
            "stored_day": _day(started),
            **fields,
        }
        self.episodes.append(row)
        return str(row["episode_id"])

    def finding(
        self, at: datetime, robot: str = "g1-01", *, kind: int = 0, state: str = "RAISED", **fields: Any
    ) -> None:
        """A finding of its own take; ``fields`` change the finding (metric, joint, flag, message)."""
        change = judged()[1][kind]
        labels = {name: fields.pop(name) for name in ("skill", "model_id") if name in fields}
        episode = {**change.episode, "model_id": G1, **labels, "robot_id": robot, "episode_id": str(uuid.uuid4())}
        episode["stored_day"] = _day(at)
        finding = replace(change.finding, finding_id=str(uuid.uuid4()), **fields)
        self.findings.append(replace(change, state=state, finding=finding, episode=episode, broker_ms=_ms(at)))

    def robot(self, seen: datetime, robot: str, *, recording: bool = False, model: str = G1) -> None:
        """The last word of a robot."""
        said = Take(robot=robot, model=model).status("some-episode" if recording else "")[1]
        self.robots.append((_ms(seen), {**said, "buffered_bytes": 0, "clock_source": "NTP", "clock_offset_s": 0.0}))

    def in_flight(self, phase: str, count: int = 1) -> None:
        """Episodes of the journal."""
        for _ in range(count):
            row = replace(judged()[0], episode_id=str(uuid.uuid4()), phase=phase, is_deleted=False)
            self.journal.append(row)

    def write(self, client: Client) -> None:
        """Into the tables of the client's database."""
        client.insert_arrow("episodes", tables.episodes(self.episodes))
        client.insert_arrow("findings", tables.findings(self.findings))
        client.insert_arrow("robot_live", tables.robot_live(self.robots))
        client.insert_arrow("journal", tables.journal(self.journal, [PLACE] * len(self.journal)))


def busy_day(now: datetime, goal: int, seed: int = 1) -> Floor:
    """A plausible day until ``now``: three areas, a night shift, a late morning dip, one cell with a worn elbow."""
    rng, floor = np.random.default_rng(seed), Floor()
    start = now.replace(hour=0, minute=0, second=0, microsecond=0)
    kinds = (("household", "grasp", G1), ("logistics", "place", R1), ("healthcare", "handover", G1))
    names = [(f"{('g1', 'r1', 'care')[i % 3]}-{i:02d}", *kinds[i % 3]) for i in range(104)]
    minutes = int((now - start).total_seconds() / 60)
    for minute in range(minutes + 1):
        hour = minute / 60
        shift = 0.86 + 0.22 * np.sin((hour - 5) / 24 * 2 * np.pi) - 0.35 * np.exp(-((hour - 11.5) ** 2) / 0.15)
        for _ in range(rng.poisson(goal / 1440 * shift * 1.06)):
            name, area, skill, model = names[rng.integers(len(names))]
            ended = start + timedelta(minutes=minute, seconds=float(rng.uniform(0, 60)))
            if ended > now:
                continue
            odds = (0.9, 0.06, 0.03, 0.01) if area != "logistics" or hour < 9 else (0.72, 0.14, 0.13, 0.01)
            verdict = rng.choice(["ACCEPT", "REVIEW", "REJECT", "UNASSESSED"], p=odds)
            status = rng.choice(["COMPLETE", "INCOMPLETE", "TIMED_OUT"], p=[0.998, 0.0015, 0.0005])
            fields = {"area": area, "skill": skill, "model_id": model, "verdict": str(verdict), "status": str(status)}
            floor.episode(ended, name, **fields)
    for number, (name, _, _, model) in enumerate(names):
        seen = now - timedelta(seconds=300 if number in (31, 70) else float(rng.uniform(0.1, 1.1)))
        floor.robot(seen, name, recording=rng.random() < 0.7, model=model)
    floor.in_flight("OPEN", 71)
    _troubles(floor, now)
    return floor


def _troubles(floor: Floor, now: datetime) -> None:
    text = "left_elbow_joint: position jumps 3 times, at most 14.2 rad/s where 3.9 is possible"
    elbow = ("left_elbow_joint", "I8", "FAIL", text)
    text = "left_shoulder_roll_joint: rests within 2% of a position limit for 34% of the time"
    roll = ("left_shoulder_roll_joint", "I3", "SUSPECT", text)
    rows: Sequence[tuple[float, str, str, str, str, str]] = (
        (12, "r1-31", *elbow),
        (95, "r1-31", *elbow),
        (170, "r1-31", *elbow),
        (41, "g1-06", "right_wrist_yaw_joint", "I1", "FAIL", "right_wrist_yaw_joint: 212 values are not numbers"),
        (260, "care-50", "", "T5", "FAIL", "4.1 % of the frames are missing, at most 1 % may be"),
        (25, "g1-87", *roll),
        (410, "r1-70", "", "T4", "SUSPECT", "2 pauses in the frames, the longest 0.42 s"),
        (900, "care-11", "", "E6", "SUSPECT", "The take is only 1.90 s long (190 frames)"),
    )
    for seconds, robot, joint, metric, flag, message in rows:
        at = now - timedelta(seconds=seconds)
        floor.finding(at, robot, joint=joint, metric=metric, flag=flag, message=message)
