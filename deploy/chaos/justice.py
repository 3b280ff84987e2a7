"""Whether a revision is justified: what it says of an episode against the log up to there. Values only, no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from kinestream.deploy.chaos.promises import Promise
from kinestream.deploy.chaos.signal import LAYOUT, Measured
from kinestream.schemas.content_hash import BLOCK, TIME, HashedBlock, content_hash, leaf, presence_bitmap


class Line(NamedTuple):
    """One record of an episode in the log; a chunk has frames [first, last), an end mark ``n_total``."""

    offset: int
    broker_ms: int
    record: str
    first: int = 0
    last: int = 0
    n_total: int = -1


@dataclass(slots=True)
class EpisodeLog:
    """All records of one episode, in log order (it never spans two partitions)."""

    lines: list[Line] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Limits:
    """Deadlines of closing, ms of broker time."""

    incomplete_ms: int
    silence_ms: int
    superseded_ms: int


def injustice(event: Mapping[str, Any], promise: Promise, log: EpisodeLog, limits: Limits) -> str:
    """What is untrue of an EpisodeCompleted, in words; empty = every word of it follows from the log."""
    upto = event["lineage"]["last_offset"]
    heard = [line for line in log.lines if line.offset <= upto]
    later = [line for line in log.lines if line.offset > upto]
    there = {seq for line in heard if line.record == "FrameChunk" for seq in range(line.first, line.last)}
    end = next((line for line in heard if line.record == "EpisodeEnd"), None)
    if event["frames_unique"] != len(there):
        return f"it counts {event['frames_unique']} frames, the log up to offset {upto} has {len(there)}"
    n_total = end.n_total if end else max(there, default=-1) + 1
    if event["content_hash"] != hash_of(promise.truth(), there, n_total):
        return f"its hash is not that of the {len(there)} frames up to offset {upto}"
    return _status(event["status"], there, heard, later, end, limits)


def _status(
    status: str, there: set[int], heard: list[Line], later: list[Line], end: Line | None, limits: Limits
) -> str:
    fresh = [line for line in later if not there.issuperset(range(line.first, line.last))]
    ended = [line for line in later if line.record == "EpisodeEnd"] if end is None else []
    next_ms = min((line.broker_ms for line in (*fresh, *ended)), default=None)
    if status == "COMPLETE":
        return "" if end and len(there) == end.n_total else "not all of it is in the log up to there"
    last_ms = max(line.broker_ms for line in heard)
    # A broker that stamps no records keeps the robot's time, which lags by the batch it waited in.
    waits = {"INCOMPLETE": limits.incomplete_ms, "TIMED_OUT": limits.silence_ms, "SUPERSEDED": limits.superseded_ms}
    if status not in waits:
        return f"no robot here gives reason for {status}"
    if (status == "INCOMPLETE") != (end is not None):
        return "there is an end mark" if end else "there is no end mark"
    if status == "INCOMPLETE" and end and len(there) == end.n_total:
        return "all frames are in the log up to there"
    since_ms = end.broker_ms if status == "INCOMPLETE" and end else last_ms
    if next_ms is not None and status != "SUPERSEDED" and next_ms < since_ms + waits[status]:
        return f"more of it came {next_ms - since_ms} ms later, within the {waits[status]} ms it had to wait"
    return ""


def hash_of(truth: Measured, there: Iterable[int], n_total: int) -> str:
    """Content hash of the frames ``there`` of what was measured, made from nothing a worker touched."""
    seq = np.array(sorted(there), np.int64)
    blocks = []
    for index in np.unique(seq // BLOCK):
        mine = seq[seq // BLOCK == index]
        leaves = {name: leaf(_canonical(values[mine])) for name, values in truth.channels.items()}
        leaves[TIME] = leaf(truth.t_ns[mine] - truth.t_ns[seq[0]])
        blocks.append(HashedBlock(int(index), presence_bitmap(mine), leaves))
    return content_hash(LAYOUT.widths, blocks, n_total)


def _canonical(values: Any) -> Any:
    return np.where(np.isnan(values), np.float32(np.nan), values).astype(np.float32)
