"""Rows of the assembler to Arrow tables, column by column as schemas/clickhouse declares them; opens no connection."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from kinestream.schemas.layout import JOINT_CHANNELS
from kinestream.streams.assembly.values import BlockRow, FindingChange, JournalRow, Place, TakeRow
from kinestream.streams.quality.tasks import StoredStatistics, content_of

# pyarrow loads the rest of itself at its first conversion: better now than in the worker's loop.
pa.array([""])

_F32 = pa.float32()
_TEXTS = pa.list_(pa.string())
_MILLIS = pa.timestamp("ms", tz="UTC")
_STATES = {"RAISED": 0, "UPDATED": 1, "CLEARED": 2}


class Scratch:
    """Memory for the values of one table at a time: fresh pages for every flush cost more than filling them."""

    def __init__(self) -> None:
        self._kept: dict[str, NDArray[np.float32]] = {}

    def floats(self, name: str, size: int) -> NDArray[np.float32]:
        """``size`` float32 of the column ``name``, uninitialised; what it gave before for that name is overwritten."""
        kept = self._kept.get(name)
        if kept is None or len(kept) < size or size < len(kept) // 8:
            kept = self._kept[name] = np.empty(size + size // 4, np.float32)
        return kept[:size]


def frame_blocks(rows: Sequence[BlockRow], scratch: Scratch | None = None) -> pa.Table:
    """``frame_blocks``: values joint-major. With ``scratch`` the table is good until the next one is built in it."""
    scratch = scratch or Scratch()
    return pa.table(
        {
            "stored_day": days([r.stored_day for r in rows]),
            "robot_id": [r.robot_id for r in rows],
            "episode_id": [r.episode_id for r in rows],
            "block": pa.array([r.block for r in rows], pa.uint32()),
            "version": pa.array([r.version for r in rows], pa.uint64()),
            "last_offset": pa.array([r.last_offset for r in rows], pa.int64()),
            "frames": pa.array([len(r.seq) for r in rows], pa.uint16()),
            "duplicates": pa.array([r.duplicates for r in rows], pa.uint32()),
            "conflicts": pa.array([r.conflicts for r in rows], pa.uint32()),
            "reordered": pa.array([r.reordered for r in rows], pa.uint32()),
            "seq": _lists([r.seq for r in rows], np.uint32),
            "t_ns": _lists([r.t_ns for r in rows], np.int64),
            "broker_ms": _lists([r.broker_ms for r in rows], np.int64),
            **{name: _channel(rows, name, scratch) for name in JOINT_CHANNELS},
            "channel_names": pa.array([_extra_names(r) for r in rows], pa.list_(pa.string())),
            "channel_values": _extra_values(rows, scratch),
            "leaf_names": pa.array([sorted(r.leaves) for r in rows], pa.list_(pa.string())),
            "leaves": pa.array([[r.leaves[n] for n in sorted(r.leaves)] for r in rows], pa.list_(pa.binary(16))),
        }
    )


def journal(rows: Sequence[JournalRow], place: Sequence[Place]) -> pa.Table:
    """``journal``: one place a row."""
    return pa.table(
        {
            "cluster_id": [p.cluster_id for p in place],
            "topic": [p.topic for p in place],
            "partition": pa.array([p.partition for p in place], pa.uint16()),
            "episode_id": [r.episode_id for r in rows],
            "version": pa.array([r.version for r in rows], pa.uint64()),
            "is_deleted": pa.array([int(r.is_deleted) for r in rows], pa.uint8()),
            "stored_day": days([r.stored_day for r in rows]),
            "phase": [r.phase for r in rows],
            "facts": [json.dumps(r.facts) for r in rows],
            "start": pa.array([r.start for r in rows], pa.binary()),
            "marks": pa.array([list(r.marks) for r in rows], pa.list_(pa.binary())),
            "end": pa.array([r.end for r in rows], pa.binary()),
            "closed": [json.dumps(r.closed) for r in rows],
            "event": pa.array([r.event for r in rows], pa.binary()),
        }
    )


def findings(changes: Sequence[FindingChange]) -> pa.Table:
    """``findings``: the version lets a final word beat a provisional one, and a later state an earlier one."""
    found = [c.finding for c in changes]
    return pa.table(
        {
            "stored_day": days([c.episode["stored_day"] for c in changes]),
            "episode_id": [c.episode["episode_id"] for c in changes],
            "finding_id": [f.finding_id for f in found],
            "version": pa.array([finding_version(c) for c in changes], pa.uint64()),
            **{name: [c.episode[name] for c in changes] for name in ("tenant", "robot_id", "model_id", "skill")},
            **{name: [str(getattr(f, name)) for f in found] for name in ("metric", "joint", "flag", "unit", "origin")},
            "state": [str(c.state) for c in changes],
            "provisional": pa.array([int(c.provisional) for c in changes], pa.uint8()),
            "value": pa.array([f.value for f in found], pa.float64()),
            "threshold": pa.array([f.threshold for f in found], pa.float64()),
            **{
                name: pa.array([getattr(f, name) for f in found], pa.int64())
                for name in ("first_seq", "last_seq", "t_start_ns", "t_end_ns")
            },
            "broker_ms": pa.array([c.broker_ms for c in changes], pa.int64()),
            "rule_version": [c.episode["rule_version"] for c in changes],
            "message": [f.message for f in found],
            "message_zh": [f.message_zh for f in found],
        }
    )


def finding_version(change: FindingChange) -> int:
    """Final << 63 | revision << 48 | last frame judged << 2 | state."""
    last = min(max(change.finding.last_seq, 0), (1 << 45) - 1)
    final = int(not change.provisional)
    return final << 63 | change.revision << 48 | last << 2 | _STATES[str(change.state)]


def episodes(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """``episodes``: rows as :class:`Closed` gives them, with generation, event and framed records added."""
    plain = ("tenant", "robot_id", "model_id", "boot_id", "skill", "area", "site", "station", "operator", "task",
             "episode_id", "status", "outcome", "verdict", "machine_verdict", "review_verdict", "reviewed_by",
             "review_note", "reason", "content_hash", "rule_version", "cluster_id",
             "topic", "source")  # fmt: skip
    typed = {
        **dict.fromkeys(("frames_expected", "frames", "duplicates", "late", "missing"), pa.uint64()),
        **dict.fromkeys(("revision", "generation", "blocks", "findings", "reviewed_revision"), pa.uint32()),
        **dict.fromkeys(("episode_no", "first_offset", "last_offset"), pa.int64()),
        **dict.fromkeys(("final", "hash_verified"), pa.uint8()),
        **dict.fromkeys(("duration_s", "nominal_rate_hz"), pa.float64()),
        **dict.fromkeys(
            ("joints", "channel_names", "metric_ids", "metric_joints", "metric_flags"), pa.list_(pa.string())
        ),
        **dict.fromkeys(("started_at", "ended_at", "reviewed_at"), _MILLIS),
        **dict.fromkeys(("event", "start", "end"), pa.binary()),
        "partition": pa.uint16(),
        "channel_widths": pa.list_(pa.uint32()),
        "marks": pa.list_(pa.binary()),
    }
    return pa.table(
        {
            "stored_day": days([r["stored_day"] for r in rows]),
            "version": pa.array([r["revision"] << 32 | r["generation"] for r in rows], pa.uint64()),
            **{name: [str(r[name]) for r in rows] for name in plain},
            **{name: pa.array([r[name] for r in rows], kind) for name, kind in typed.items()},
            "missing_ranges": pa.array(
                [[{"first": a, "last": b} for a, b in r["missing_ranges"]] for r in rows],
                pa.list_(pa.struct([("first", pa.uint64()), ("last", pa.uint64())])),
            ),
            "metric_values": pa.array(
                [[float("nan") if v is None else v for v in r["metric_values"]] for r in rows], pa.list_(pa.float64())
            ),
            "facts": [json.dumps(r["facts"]) for r in rows],
        }
    )


def takes(rows: Sequence[tuple[int, TakeRow]]) -> pa.Table:
    """``takes``: (generation, row) each."""
    given = [row for _, row in rows]
    return pa.table(
        {
            "bucket": pa.array([r.bucket for r in given], pa.uint64()),
            "started_ms": pa.array([r.started_ms for r in given], pa.int64()),
            "take": pa.array([r.take for r in given], pa.uint64()),
            "version": pa.array([r.revision << 32 | generation for generation, r in rows], pa.uint64()),
            "kind": [r.kind for r in given],
            "gone": pa.array([int(r.gone) for r in given], pa.uint8()),
            "episode_id": [r.episode_id for r in given],
            "digest": [r.digest for r in given],
            "seconds": pa.array([r.seconds for r in given], pa.float64()),
            "signature": _lists([r.signature for r in given], np.int16),
            "metric_ids": pa.array([list(r.metrics) for r in given], _TEXTS),
            "metric_values": pa.array([list(r.metrics.values()) for r in given], pa.list_(pa.float64())),
            "start_pose": _lists([r.start_pose for r in given], np.float32),
            "end_pose": _lists([r.end_pose for r in given], np.float32),
        }
    )


def task_statistics(rows: Sequence[StoredStatistics]) -> pa.Table:
    """``task_statistics``: snapshots as they are for ever."""
    return pa.table(
        {
            "task": pa.array([r.task.key for r in rows], pa.uint64()),
            "newest_ms": pa.array([r.newest_ms for r in rows], pa.int64()),
            "statistics": [r.statistics.version for r in rows],
            **{name: [getattr(r.task, name) for r in rows] for name in ("tenant", "skill", "model_id")},
            "joints": pa.array([list(r.task.joints) for r in rows], _TEXTS),
            "episodes": pa.array([r.statistics.episodes for r in rows], pa.uint32()),
            "content": [content_of(r.statistics) for r in rows],
        }
    )


def robot_live(words: Sequence[tuple[int, Mapping[str, Any]]]) -> pa.Table:
    """``robot_live``: (broker time in ms, fields of a RobotStatus) each."""
    times = [broker_ms for broker_ms, _ in words]
    said = [status for _, status in words]
    return pa.table(
        {
            "tenant": [s["tenant"] for s in said],
            "robot_id": [s["robot_id"] for s in said],
            "version": pa.array(times, pa.uint64()),
            "model_id": [s["model_id"] for s in said],
            "boot_id": [s["boot_id"] for s in said],
            "seen_at": pa.array(times, _MILLIS),
            "recording": [s["recording"] for s in said],
            "unsent": pa.array([len(s["unsent_episodes"]) for s in said], pa.uint32()),
            "buffered_bytes": pa.array([max(s["buffered_bytes"], 0) for s in said], pa.uint64()),
            "clock_source": [s["clock_source"] for s in said],
            "clock_offset_s": pa.array([s["clock_offset_s"] or 0.0 for s in said], pa.float64()),
        }
    )


def days(numbers: Sequence[int]) -> pa.Array:
    """Days since the epoch as dates."""
    return pa.array(np.asarray(numbers, np.int32)).cast(pa.date32())


def _offsets(sizes: Sequence[int]) -> pa.Array:
    return pa.array(np.concatenate(([0], np.cumsum(sizes, dtype=np.int64))).astype(np.int32))


def _lists(arrays: Sequence[Any], kind: type) -> pa.Array:
    offsets = _offsets([len(a) for a in arrays])
    return pa.ListArray.from_arrays(offsets, pa.array(np.concatenate(arrays, dtype=kind, casting="unsafe")))


def _joint_major(blocks: Sequence[Any], into: Callable[[int], NDArray[np.float32]]) -> pa.Array:
    """A list a block: all frames' values of the first element, then of the second; each value is copied once."""
    offsets = _offsets([block.size for block in blocks])
    values = into(offsets[-1].as_py())
    end = 0
    for block in blocks:
        begin, end = end, end + block.size
        values[begin:end].reshape(block.shape[::-1])[...] = block.T
    return pa.ListArray.from_arrays(offsets, pa.array(values))


_NOTHING = np.empty((0, 0), np.float32)


def _channel(rows: Sequence[BlockRow], name: str, scratch: Scratch) -> pa.Array:
    return _joint_major([r.channels.get(name, _NOTHING) for r in rows], partial(scratch.floats, name))


def _extra_names(row: BlockRow) -> list[str]:
    return sorted(name for name in row.channels if name not in JOINT_CHANNELS)


def _extra_values(rows: Sequence[BlockRow], scratch: Scratch) -> pa.Array:
    names = [_extra_names(row) for row in rows]
    blocks = [row.channels[name] for row, some in zip(rows, names, strict=True) for name in some]
    inner = _joint_major(blocks, partial(scratch.floats, "channel_values")) if blocks else pa.array([], pa.list_(_F32))
    return pa.ListArray.from_arrays(_offsets([len(some) for some in names]), inner)
