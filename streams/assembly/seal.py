"""A closing episode to its row, its event and its final findings; every value derives from the log."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

import numpy as np
import xxhash

from kinestream.schemas.content_hash import BLOCK, TIME, HashedBlock, content_hash, leaf, presence_bitmap
from kinestream.schemas.errors import ContractError
from kinestream.schemas.frames import Int64
from kinestream.schemas.layout import Layout
from kinestream.streams.assembly.block import hashed
from kinestream.streams.assembly.episode import Episode, History
from kinestream.streams.assembly.findings import final_changes
from kinestream.streams.assembly.journal import facts_of, journal_row
from kinestream.streams.assembly.values import COMPLETE, CORRUPT, BlockRow, Closed, JsonDict, Place
from kinestream.streams.quality import Delivery, EpisodeJudge, Frames, Judgement

JudgeFor = Callable[[Mapping[str, Any], Layout], EpisodeJudge]

#: Missing ranges and findings an event carries, at most.
LISTED: Final = 20
LABELS: Final = ("tenant", "robot_id", "model_id", "boot_id", "episode_no", "skill", "area", "site", "station",
                 "operator", "job", "task")  # fmt: skip


def seal(episode: Episode, rows: Sequence[BlockRow] | None, place: Place, judge_for: JudgeFor) -> Closed | None:
    """Close an episode. ``rows``: all its blocks as stored, needed where it is dirty.

    Returns None where a reopened episode equals its stored revision (docs/contract.md, "Revisions").
    Raises :class:`ContractError` where a dirty one comes without its rows.
    """
    if episode.dirty:
        if rows is None:
            raise ContractError(f"episode {episode.id} is dirty, but its rows are not given: read them from the store")
        episode.judge = _judge_again(episode, rows, judge_for)
    digest = content_hash(episode.layout.widths, _hashed_blocks(episode, rows), episode.n_total)
    claimed = episode.end.value["content_hash"] if episode.end else None
    status = episode.closing_status
    if status == COMPLETE and claimed is not None and claimed != digest:
        status = CORRUPT
    missing = missing_ranges(episode)
    lost = sum(last - first + 1 for first, last in missing)
    first_missing = missing[0][0] if missing else -1
    delivery = Delivery(
        episode.n_total, episode.n_total - lost, episode.duplicates, episode.conflicting, status, first_missing
    )
    judgement = episode.judge.final(delivery)
    compared = _compared(episode, status, digest, judgement)
    if compared == episode.history.compared:
        return None
    return _Sealing(episode, place, status, digest, claimed == digest, missing, judgement, compared).closed()


def missing_ranges(episode: Episode) -> list[tuple[int, int]]:
    """Frame numbers below n_total that are not there, as inclusive ranges, ascending."""
    ranges: list[tuple[int, int]] = []
    expected = 0
    for index in sorted((*episode.blocks, *episode.stored)):
        if index in episode.stored:
            present = np.array([index * BLOCK, (index + 1) * BLOCK - 1], np.int64)
            steps = np.array([present[0] - expected], np.int64)
        else:
            present = episode.blocks[index].seq()
            steps = np.diff(present, prepend=expected - 1) - 1
        for at in np.flatnonzero(steps > 0):
            ranges.append((int(present[at] - steps[at]), int(present[at]) - 1))
        expected = int(present[-1]) + 1
    if expected < episode.n_total:
        ranges.append((expected, episode.n_total - 1))
    return ranges


def _judge_again(episode: Episode, rows: Sequence[BlockRow], judge_for: JudgeFor) -> EpisodeJudge:
    judge = judge_for(episode.start.value, episode.layout)
    for row in sorted(rows, key=lambda r: r.block):
        judge.advance(Frames(row.seq, row.t_ns, dict(row.channels)))
    return judge


def _hashed_blocks(episode: Episode, rows: Sequence[BlockRow] | None) -> list[HashedBlock]:
    if not episode.blocks and not episode.stored:
        return []
    if rows is not None and episode.dirty:
        return hashed_rows(rows)
    base = episode.t_base()
    return [hashed(block, base) for block in episode.all_blocks()]


def hashed_rows(rows: Sequence[BlockRow]) -> list[HashedBlock]:
    """For the content hash, recomputed from the values of stored rows."""
    ordered = sorted(rows, key=lambda r: r.block)
    base = int(ordered[0].t_ns[0])
    return [_hashed_row(row, base) for row in ordered]


def _hashed_row(row: BlockRow, base: int) -> HashedBlock:
    leaves = {name: leaf(values) for name, values in row.channels.items()}
    stamps: Int64 = row.t_ns - base
    return HashedBlock(row.block, presence_bitmap(row.seq), {**leaves, TIME: leaf(stamps)})


def _compared(episode: Episode, status: str, digest: str, judgement: Judgement) -> JsonDict:
    labels = {name: episode.start.value[name] for name in LABELS}
    outcome = episode.end.value["outcome"] if episode.end else "UNKNOWN"
    return {
        "status": status,
        "outcome": outcome,
        "labels": labels,
        "marks": xxhash.xxh3_128_hexdigest(b"".join(mark.raw for mark in episode.marks)),
        "content_hash": digest,
        "rule_version": judgement.rule_version,
    }


class _Sealing:
    """Builds the row and the event of one revision, so that both say the same."""

    def __init__(
        self,
        episode: Episode,
        place: Place,
        status: str,
        digest: str,
        verified: bool,
        missing: list[tuple[int, int]],
        judgement: Judgement,
        compared: JsonDict,
    ) -> None:
        self.episode, self.place, self.status, self.digest, self.verified = episode, place, status, digest, verified
        self.missing, self.judgement, self.compared = missing, judgement, compared
        self.revision = episode.history.revision + 1
        self.start = episode.start.value
        self.ended_ms = episode.ended_ms()
        self.blocks = len(episode.blocks) + len(episode.stored)
        self.duration_s = (episode.t_end() - episode.t_base()) / 1e9 if self.blocks else 0.0
        self.lost = sum(last - first + 1 for first, last in missing)
        self.largest = sorted(missing, key=lambda r: (r[0] - r[1], r[0]))[:LISTED]
        self.offsets = (episode.start.offset, episode.last_offset())
        self.reason = "LATE_FRAMES" if episode.reopened else "CLOSED"

    def closed(self) -> Closed:
        episode = self.episode
        findings = final_changes(episode, self.judgement, self.revision, self.ended_ms)
        first_closed = episode.history.first_closed_ms or episode.closed_ms
        episode.history = History(self.revision, first_closed, self.status, self.compared)
        event, row = self._event(), self._row()
        journal = journal_row(episode)
        # The episode row outlives the tombstone: a later reopening must write above both, and clear these findings
        # where they no longer hold.
        lit = [asdict(finding) for finding in self.judgement.findings]
        row["facts"] = {**facts_of(episode), "journal_version": journal.version + 1, "late_ms": -1, "lit": lit}
        return Closed(episode.id, row, event, findings, journal)

    def _shared(self) -> JsonDict:
        outcome = self.episode.end.value["outcome"] if self.episode.end else "UNKNOWN"
        return {
            **{name: self.start[name] for name in LABELS},
            "episode_id": self.episode.id,
            "status": self.status,
            "outcome": outcome,
            "verdict": self.judgement.verdict,
            "reason": self.reason,
            "revision": self.revision,
            "frames_expected": self.episode.n_total,
            "duration_s": self.duration_s,
            "content_hash": self.digest,
            "rule_version": self.judgement.rule_version,
        }

    def _event(self) -> JsonDict:
        episode = self.episode
        return {
            **self._shared(),
            "final": self.status in (COMPLETE, CORRUPT),
            "started_at_ms": episode.start.broker_ms,
            "ended_at_ms": self.ended_ms,
            "frames_received": episode.unique + episode.duplicates,
            "frames_unique": episode.unique,
            "frames_duplicate": episode.duplicates,
            "frames_late": episode.late_frames,
            "missing_ranges": [{"first": first, "last": last} for first, last in self.largest],
            "missing_range_count": len(self.missing),
            "metrics": [_metric(m) for m in self.judgement.metrics],
            "findings": [_finding(f) for f in self.judgement.findings[:LISTED]],
            "finding_count": len(self.judgement.findings),
            "stored_day": episode.stored_day,
            "blocks": self.blocks,
            "hash_verified": self.verified,
            "lineage": {
                "cluster_id": self.place.cluster_id,
                "topic": self.place.topic,
                "partition": self.place.partition,
                "first_offset": self.offsets[0],
                "last_offset": self.offsets[1],
            },
        }

    def _row(self) -> JsonDict:
        episode, metrics = self.episode, self.judgement.metrics
        shared = {name: value for name, value in self._shared().items() if name != "job"}
        return {
            **shared,
            "stored_day": episode.stored_day,
            "final": int(self.status in (COMPLETE, CORRUPT)),
            "frames": episode.unique,
            "duplicates": episode.duplicates,
            "late": episode.late_frames,
            "missing": self.lost,
            "missing_ranges": [list(r) for r in self.largest],
            "blocks": self.blocks,
            "started_at": episode.start.broker_ms,
            "ended_at": self.ended_ms,
            "nominal_rate_hz": self.start["nominal_rate_hz"],
            "joints": list(episode.layout.joints),
            "channel_names": [c.name for c in episode.layout.channels],
            "channel_widths": [c.width for c in episode.layout.channels],
            "hash_verified": int(self.verified),
            "metric_ids": [m.id for m in metrics],
            "metric_joints": [m.joint for m in metrics],
            "metric_values": [None if math.isnan(m.value) else m.value for m in metrics],
            "metric_flags": [m.flag for m in metrics],
            "findings": len(self.judgement.findings),
            "cluster_id": self.place.cluster_id,
            "topic": self.place.topic,
            "partition": self.place.partition,
            "first_offset": self.offsets[0],
            "last_offset": self.offsets[1],
            "source": self.start["source"],
        }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def _metric(metric: Any) -> JsonDict:
    return {
        "id": metric.id,
        "joint": metric.joint or None,
        "value": _number(metric.value),
        "unit": metric.unit,
        "flag": metric.flag,
    }


def _finding(finding: Any) -> JsonDict:
    names = ("finding_id", "metric", "unit", "origin", "flag", "first_seq", "last_seq", "t_start_ns", "t_end_ns")
    return {
        **{name: getattr(finding, name) for name in names},
        "joint": finding.joint or None,
        "value": _number(finding.value),
        "threshold": _number(finding.threshold),
        "message": finding.message,
    }
