"""Owns the demo's verdict: what was published against what was stored, announced and found. Values in, values out."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from kinestream.deploy.demo.published import Fault, Published, Take

COMPLETE = "COMPLETE"
CLEARED = "CLEARED"
#: What makes two revisions of an episode equal (docs/contract.md, "Revisions").
_CONTENT = ("status", "outcome", "skill", "area", "operator", "task", "frames_unique", "content_hash", "rule_version")
#: Episodes that a line about what is missing names.
_NAMED = 3


@dataclass(frozen=True, slots=True)
class Event:
    """An EpisodeCompleted as a consumer read it; ``content`` is all that makes two revisions equal (contract)."""

    episode_id: str
    ce_id: str
    payload: bytes
    read_ns: int
    content: tuple[Any, ...] = ()

    @classmethod
    def of(cls, ce_id: str, payload: bytes, record: Mapping[str, Any], read_ns: int) -> Event:
        """From a decoded EpisodeCompleted."""
        return cls(record["episode_id"], ce_id, payload, read_ns, tuple(record[name] for name in _CONTENT))


@dataclass(frozen=True, slots=True)
class StoredEpisode:
    """What the store holds of an episode: status ("" = no row), unique frames, and the hash of what was read back."""

    episode_id: str
    status: str
    frames: int
    content_hash: str


@dataclass(frozen=True, slots=True)
class FindingSeen:
    """A finding as the store showed it: when first (ns, UTC), and the state it is in now."""

    finding_id: str
    episode_id: str
    robot_id: str
    metric: str
    joint: str
    flag: str
    message: str
    state: str
    seen_ns: int


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds; None without samples."""

    p50: float | None
    p99: float | None
    samples: int

    @classmethod
    def of(cls, nanoseconds: Iterable[int]) -> Latency:
        """Percentiles by linear interpolation, rounded to 0.1 ms."""
        ms = np.array(sorted(nanoseconds), np.float64) / 1e6
        if not len(ms):
            return cls(None, None, 0)
        p50, p99 = np.percentile(ms, (50, 99))
        return cls(round(float(p50), 1), round(float(p99), 1), len(ms))


@dataclass(frozen=True, slots=True)
class Measurement:
    """The figures of one run, under the names of ``kinestream demo --json``."""

    broker: str
    store: str
    robots: int
    episodes_published: int
    episodes_completed: int
    episodes_announced: int
    episodes_stored: int
    frames_published: int
    frames_stored: int
    lost_frames: int
    hash_mismatches: int
    visible_duplicates: int
    repeated_events: int
    faults_injected: int
    faults_caught: int
    wrong_findings: int
    event_latency_ms: Latency
    finding_latency_ms: Latency
    seconds: float

    def document(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Observed:
    """Everything seen in a run."""

    published: Published
    events: Sequence[Event]
    stored: Mapping[str, StoredEpisode]
    findings: Sequence[FindingSeen]


def measure(seen: Observed, *, broker: str, store: str, robots: int, seconds: float) -> Measurement:
    """The figures of a run."""
    takes, stored = seen.published.takes, seen.stored
    announced = first_read(seen.events)
    repeated, visible = count_repeats(seen.events)
    faults = [(take, fault) for take in takes.values() for fault in take.faults]
    caught = {(take.episode_id, fault): found for take, fault in faults if (found := _caught(take, fault, seen))}
    held = {i: stored[i].frames for i in takes if i in stored}
    event_ns = [announced[i] - take.end_sent_ns for i, take in takes.items() if take.ended and i in announced]
    return Measurement(
        broker=broker,
        store=store,
        robots=robots,
        episodes_published=len(takes),
        episodes_completed=sum(i in stored and stored[i].status == COMPLETE for i in takes),
        episodes_announced=sum(i in announced for i in takes),
        episodes_stored=sum(i in stored and bool(stored[i].status) for i in takes),
        frames_published=seen.published.frames,
        frames_stored=sum(held.values()),
        lost_frames=sum(max(take.frames - held.get(i, 0), 0) for i, take in takes.items()),
        hash_mismatches=len(mismatched(seen)),
        visible_duplicates=visible,
        repeated_events=repeated,
        faults_injected=len(faults),
        faults_caught=len(caught),
        wrong_findings=len(wrong_findings(seen)),
        event_latency_ms=Latency.of(event_ns),
        finding_latency_ms=Latency.of(seen_ns - fault.sent_ns for (_, fault), seen_ns in caught.items()),
        seconds=round(seconds, 1),
    )


def first_read(events: Iterable[Event]) -> dict[str, int]:
    """When each episode's first event was read, ns."""
    first: dict[str, int] = {}
    for event in events:
        first[event.episode_id] = min(event.read_ns, first.get(event.episode_id, event.read_ns))
    return first


def count_repeats(events: Sequence[Event]) -> tuple[int, int]:
    """(repeated, visible): same ce_id and bytes; same ce_id with other bytes, or revisions that say the same."""
    payloads: dict[str, Counter[bytes]] = defaultdict(Counter)
    for event in events:
        payloads[event.ce_id][event.payload] += 1
    repeated = sum(sum(seen.values()) - len(seen) for seen in payloads.values())
    visible = sum(len(seen) - 1 for seen in payloads.values())
    contents: dict[str, dict[str, tuple[Any, ...]]] = defaultdict(dict)
    for event in events:
        contents[event.episode_id][event.ce_id] = event.content
    visible += sum(len(revisions) - len(set(revisions.values())) for revisions in contents.values())
    return repeated, visible


def mismatched(seen: Observed) -> list[Take]:
    """Takes whose frames, read back from the store, hash to something else than the robot said."""
    takes, stored = seen.published.takes, seen.stored
    return [
        t for i, t in takes.items() if i in stored and stored[i].frames and stored[i].content_hash != t.content_hash
    ]


def wrong_findings(seen: Observed) -> list[FindingSeen]:
    """Findings, also provisional ones that went again, that no injected fault of their episode explains."""
    takes = seen.published.takes
    return [
        found
        for found in seen.findings
        if found.episode_id not in takes or not any(_explains(fault, found) for fault in takes[found.episode_id].faults)
    ]


def missing(seen: Observed, figures: Measurement) -> list[str]:
    """What keeps a run from being whole, a line each; empty when every episode and every frame arrived."""
    takes, stored = seen.published.takes, seen.stored
    announced = first_read(seen.events)
    told = [_told("was never ended by its robot", [t for t in takes.values() if not t.ended])]
    for status in sorted({stored[i].status for i in takes if i in stored} - {COMPLETE, ""}):
        told.append(
            _told(f"closed {status}", [t for i, t in takes.items() if i in stored and stored[i].status == status])
        )
    told += [
        _told("was never closed and stored", [t for i, t in takes.items() if i not in stored or not stored[i].status]),
        _told("was never announced", [t for i, t in takes.items() if i not in announced]),
        _told("comes back with another content hash", mismatched(seen)),
    ]
    if figures.lost_frames:
        told.append(f"{figures.lost_frames:,} of {figures.frames_published:,} frames are not in the store")
    if figures.frames_stored > figures.frames_published:
        told.append(f"{figures.frames_stored - figures.frames_published:,} frames are stored that no robot published")
    if figures.visible_duplicates:
        told.append(f"{figures.visible_duplicates} events contradict or repeat another under another name")
    if not takes:
        told.append("no robot published anything")
    strangers = [episode for i, episode in stored.items() if i not in takes]
    if strangers:
        told.append(
            f"{len(strangers)} episodes are stored that no robot published, {strangers[0].episode_id} among them"
        )
    return [line for line in [*told, *seen.published.undelivered] if line]


def _told(what: str, takes: Sequence[Take]) -> str:
    if not takes:
        return ""
    names = ", ".join(f"{take.episode_id} of {take.robot_id}" for take in takes[:_NAMED])
    more = f" and {len(takes) - _NAMED} more" if len(takes) > _NAMED else ""
    return f"{len(takes)} {'episode' if len(takes) == 1 else 'episodes'} {what}: {names}{more}"


def _caught(take: Take, fault: Fault, seen: Observed) -> int:
    """When the fault was first seen in the store, ns; 0 = not, or no longer."""
    found = [f for f in seen.findings if f.episode_id == take.episode_id and _explains(fault, f)]
    held = any(f.state != CLEARED and f.robot_id == take.robot_id for f in found)
    return min(f.seen_ns for f in found) if held else 0


def _explains(fault: Fault, found: FindingSeen) -> bool:
    return (fault.metric, fault.joint) == (found.metric, found.joint)
