"""The audit: what was promised against what is stored, announced and in the log. Values in, counts out; no I/O.

It shares no code with the worker but the content hash, and believes none of its counts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

import numpy as np

from kinestream.deploy.chaos.justice import EpisodeLog, Limits, injustice
from kinestream.deploy.chaos.promises import Promise
from kinestream.schemas.frames import Float32, Int64

#: What makes two revisions of an episode equal (docs/contract.md, "Revisions").
_CONTENT: Final = ("status", "outcome", "skill", "area", "operator", "task", "frames_unique", "content_hash",
                   "rule_version")  # fmt: skip
#: Lines of trouble that a report quotes.
_QUOTED: Final = 40


@dataclass(frozen=True, slots=True, eq=False)
class Event:
    """One announcement as it lay in its topic; ``value`` its bytes, ``record`` what they say."""

    ce_id: str
    value: bytes
    episode_id: str
    revision: int
    record: Mapping[str, Any]

    @classmethod
    def of(cls, ce_id: str, value: bytes, record: Mapping[str, Any], read_ns: int = 0) -> Event:
        """From a decoded EpisodeCompleted."""
        return cls(ce_id, value, record["episode_id"], record["revision"], record)

    @property
    def content(self) -> tuple[Any, ...]:
        """What must differ between two revisions."""
        return tuple(self.record[name] for name in _CONTENT)


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """An episode as it was read back: its latest row, and its frames (``seq`` and ``t_ns`` int64 (n,))."""

    episode_id: str
    revision: int
    status: str
    content_hash: str
    seq: Int64
    t_ns: Int64
    channels: Mapping[str, Float32]


@dataclass(slots=True)
class Audit:
    """What was counted; everything but ``repeated_events`` of the figures below ``frames`` should be 0."""

    episodes: int = 0
    frames: int = 0
    lost_frames: int = 0
    wrong_frames: int = 0
    episodes_without_event: int = 0
    events_without_episode: int = 0
    visible_duplicates: int = 0
    false_revisions: int = 0
    repeated_events: int = 0
    #: one line each of what is not 0, the first of them
    trouble: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Nothing lost, doubled, invented or untrue."""
        return not any(getattr(self, name) for name in SHOULD_BE_ZERO)

    def note(self, figure: str, text: str, by: int = 1) -> None:
        """Count ``by`` more of ``figure``."""
        setattr(self, figure, getattr(self, figure) + by)
        if by and len(self.trouble) < _QUOTED:
            self.trouble.append(f"{figure}: {text}")


SHOULD_BE_ZERO: Final = (
    "lost_frames",
    "wrong_frames",
    "episodes_without_event",
    "events_without_episode",
    "visible_duplicates",
    "false_revisions",
)


def audit(
    promises: Mapping[str, Promise],
    stored: Mapping[str, Stored],
    events: Sequence[Event],
    log: Mapping[str, EpisodeLog],
    limits: Limits,
) -> Audit:
    """Everything by episode id; ``events`` in the order they were read, repeats included."""
    out = Audit(episodes=len(promises), frames=sum(one.promised for one in promises.values()))
    for promise in promises.values():
        _count_frames(out, promise, stored.get(promise.episode_id))
    for episode_id in stored.keys() - promises.keys():
        out.note("wrong_frames", f"episode {episode_id} is stored, but no robot sent it", len(stored[episode_id].seq))
    spoken = _by_episode(events)
    _count_events(out, promises, stored, spoken)
    for episode_id, revisions in spoken.items():
        if episode_id in promises:
            _count_injustice(out, promises[episode_id], list(revisions.values()), log.get(episode_id), limits)
    return out


def _count_frames(out: Audit, promise: Promise, stored: Stored | None) -> None:
    seq = stored.seq if stored else np.empty(0, np.int64)
    lost = np.setdiff1d(np.arange(promise.promised), seq)
    if len(lost):
        where = f"{promise.episode_id} of {promise.robot_id}: {lost[0]} to {lost[-1]} of {promise.promised}"
        out.note("lost_frames", where + (f" ({stored.status})" if stored else " (no row)"), len(lost))
    if stored is None:
        return
    wrong = wrong_frames(promise, stored)
    if wrong:
        out.note("wrong_frames", f"{promise.episode_id} of {promise.robot_id}: frames {wrong[:5]} ...", len(wrong))


def wrong_frames(promise: Promise, stored: Stored) -> list[int]:
    """Frame numbers that were stored with other bits than were sent, twice, or never sent at all."""
    truth, seq = promise.truth(), stored.seq
    known = (seq >= 0) & (seq < promise.sent)
    wrong = ~known
    wrong[1:] |= seq[1:] <= seq[:-1]
    mine = seq[known]
    differs = stored.t_ns[known] != truth.t_ns[mine]
    for name, values in truth.channels.items():
        read = stored.channels.get(name)
        if read is None or read.shape != (len(seq), values.shape[1]):
            return seq.tolist()
        differs |= (_bits(read[known]) != _bits(values[mine])).any(axis=1)
    wrong[known] |= differs
    if stored.channels.keys() != truth.channels.keys():
        return seq.tolist()
    found: list[int] = seq[wrong].tolist()
    return found


def _bits(values: Float32) -> Any:
    """NaN is NaN and -0.0 is not 0.0. Not-a-number is canonical from the robot on (docs/contract.md)."""
    canonical = np.where(np.isnan(values), np.float32(np.nan), values).astype(np.float32)
    return np.ascontiguousarray(canonical).view(np.uint32)


def _by_episode(events: Iterable[Event]) -> dict[str, dict[str, list[Event]]]:
    """Episode id -> identity -> what was announced under it, by revision."""
    found: dict[str, dict[str, list[Event]]] = defaultdict(dict)
    for event in sorted(events, key=lambda one: one.revision):
        found[event.episode_id].setdefault(event.ce_id, []).append(event)
    return found


def _count_events(
    out: Audit,
    promises: Mapping[str, Promise],
    stored: Mapping[str, Stored],
    spoken: Mapping[str, Mapping[str, list[Event]]],
) -> None:
    for episode_id in promises:
        row = stored.get(episode_id)
        due = range(1, row.revision + 1) if row else [1] if promises[episode_id].promised else []
        for revision in due:
            if f"{episode_id}/{revision}" not in spoken.get(episode_id, {}):
                out.note("episodes_without_event", f"{episode_id}/{revision} was never announced")
    for episode_id, identities in spoken.items():
        row = stored.get(episode_id)
        for ce_id, said in identities.items():
            if episode_id not in promises or row is None or said[0].revision > row.revision:
                out.note("events_without_episode", f"{ce_id} is announced, but not stored")
            others = {one.value for one in said} - {said[0].value}
            out.note("visible_duplicates", f"{ce_id} was announced with {len(others) + 1} contents", len(others))
            out.repeated_events += len(said) - len({one.value for one in said})
        for (earlier, first), (later, second) in pairwise(identities.items()):
            if first[0].content == second[0].content:
                out.note("visible_duplicates", f"{later} says nothing but what {earlier} said")


def _count_injustice(
    out: Audit, promise: Promise, revisions: Sequence[list[Event]], log: EpisodeLog | None, limits: Limits
) -> None:
    for said in revisions:
        for event in {one.value: one for one in said}.values():
            problem = injustice(event.record, promise, log, limits) if log else "nothing of it is in the log"
            if problem:
                out.note(
                    "false_revisions", f"{event.ce_id} of {promise.robot_id} ({event.record['status']}): {problem}"
                )
