"""Owns how much of a disk the local stack may take: shares, retention, and the bytes that stay free. It does no I/O.

Kafka with one data folder ends when its disk is full, and everything on it with it. So its log has a bound in
bytes, and below ``keep_free`` robots are refused while workers go on; below half of it the store takes no more either.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from kinestream.schemas.catalogue import CATALOGUE, Topic
from kinestream.schemas.errors import StackError

MB: Final = 1_000_000
#: Of what the stack may take, the broker's part; the rest is the store's, where episodes stay.
_BROKER_SHARE: Final = 0.4
#: What stays free: a tenth of the disk, but no less and no more than these bytes.
_LEAST_FREE: Final = 256 * MB
_MOST_FREE: Final = 2_000 * MB
#: Kafka deletes whole segments, never the one it writes: four of them make a partition's bound.
_SEGMENTS: Final = 4
_LEAST_SEGMENT: Final = 1024**2
_MOST_SEGMENT: Final = 128 * 1024**2
#: Below this much for broker and store nothing useful can run.
_LEAST_BUDGET: Final = 500 * MB


@dataclass(frozen=True, slots=True)
class Quotas:
    """Bytes: what broker and store may take, and what stays free on the disk for them and everybody else."""

    broker: int
    store: int
    keep_free: int

    @property
    def store_keep_free(self) -> int:
        """Free bytes below which the store takes no more: lower, so that what the log holds can still be stored."""
        return self.keep_free // 2


def quotas(free: int, used: int, total: int, *, disk_bytes: int = 0, keep_free: int = 0) -> Quotas:
    """Shares of a disk with ``free`` bytes, of which the stack has ``used`` already.

    ``disk_bytes`` and ``keep_free`` are the settings, 0 = worked out. Raises :class:`StackError` when nothing is left.
    """
    keep = keep_free or min(max(total // 10, _LEAST_FREE), _MOST_FREE)
    budget = min(disk_bytes or free + used, free + used) - keep
    if free < keep or budget < _LEAST_BUDGET:
        raise StackError(
            f"the disk has {size(free)} free; {size(keep)} must stay free and {size(_LEAST_BUDGET)} be there for "
            "broker and store: free some, set KINESTREAM_HOME to another disk, or change KINESTREAM_KEEP_FREE_BYTES"
        )
    wanted = sum(topic.retention_bytes for topic in CATALOGUE)
    broker = min(int(budget * _BROKER_SHARE), wanted)
    return Quotas(broker, budget - broker, keep)


def retention(broker_bytes: int) -> Mapping[Topic, Mapping[str, str]]:
    """Settings of every topic, so that all of them together stay within ``broker_bytes``."""
    # what is compacted stays small by itself, and needs room for its segments only
    fixed = {topic: 2 * _LEAST_SEGMENT for topic in CATALOGUE if topic.compacted}
    others = [topic for topic in CATALOGUE if topic not in fixed]
    left = broker_bytes - sum(topic.partitions * partition for topic, partition in fixed.items())
    share = min(left / sum(topic.retention_bytes for topic in others), 1.0)
    shared = {topic: int(topic.retention_bytes * share) // topic.partitions for topic in others}
    return {topic: _bounds(partition) for topic, partition in (shared | fixed).items()}


def _bounds(partition_bytes: int) -> Mapping[str, str]:
    segment = min(max(partition_bytes // _SEGMENTS, _LEAST_SEGMENT), _MOST_SEGMENT)
    return {
        # the segment that is being written comes on top
        "retention.bytes": str(max(partition_bytes - segment, _LEAST_SEGMENT)),
        "segment.bytes": str(segment),
        "file.delete.delay.ms": "1000",
    }


def size(count: float) -> str:
    """``1.5 GB``, for people."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
