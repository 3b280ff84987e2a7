"""A closing episode to its row, its event and its final findings; every value derives from the log."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, Final

import numpy as np

from kinestream.schemas.content_hash import BLOCK, TIME, HashedBlock, content_hash, leaf, presence_bitmap
from kinestream.schemas.errors import ContractError
from kinestream.schemas.frames import Int64
from kinestream.schemas.layout import Layout
from kinestream.streams.assembly.block import hashed
from kinestream.streams.assembly.episode import Episode, History
from kinestream.streams.assembly.findings import conflict_of_ids, final_changes, unlisted_labels
from kinestream.streams.assembly.frontier import judge_rows
from kinestream.streams.assembly.journal import facts_of, journal_row
from kinestream.streams.assembly.revisions import LABELS, compared_of, outcome_of, reason_of, says_more
from kinestream.streams.assembly.takes import print_of, take_rows
from kinestream.streams.assembly.values import (
    COMPLETE,
    CORRUPT,
    QUARANTINED,
    WITHDRAWN,
    BlockRow,
    Closed,
    JsonDict,
    Place,
)
from kinestream.streams.quality import Delivery, EpisodeJudge, Judgement, Print, Twins

JudgeFor = Callable[[Mapping[str, Any], Layout], EpisodeJudge]

#: Missing ranges and findings an event carries, at most.
LISTED: Final = 20
#: Statuses after which no revision is expected, and nothing is waited for.
FINAL: Final = (COMPLETE, CORRUPT, QUARANTINED, WITHDRAWN)


def look(episode: Episode, rows: Sequence[BlockRow] | None, judge_for: JudgeFor) -> Print | None:
    """Have all frames of a closing episode judged, and say what others are to be compared with (None: with nothing).

    ``rows``: all its blocks as stored, needed where it is dirty. Raises as :func:`seal` does.
    """
    return None if episode.discarded else print_of(episode, _all_judged(episode, rows, judge_for))


def _all_judged(episode: Episode, rows: Sequence[BlockRow] | None, judge_for: JudgeFor) -> list[HashedBlock]:
    """Its blocks as the hashes need them; a dirty one's judge is made anew. Once: nothing joins a closing episode."""
    if episode.hashed is None:
        if episode.dirty:
            if rows is None:
                raise ContractError(
                    f"episode {episode.id} is dirty, but its rows are not given: read them from the store"
                )
            rows = _as_known(episode, rows)
            episode.frontier.judge = _judge_again(episode, rows, judge_for)
        episode.hashed = _hashed_blocks(episode, rows)
    return episode.hashed


def seal(
    episode: Episode,
    rows: Sequence[BlockRow] | None,
    place: Place,
    judge_for: JudgeFor,
    versions: Iterator[int],
    twins: Twins | None = None,
) -> Closed | None:
    """Close an episode. ``rows``: as for :func:`look`; ``twins``: what it repeats, None = nobody looked.

    Returns None where a reopened episode equals its stored revision (docs/contract.md, "Revisions").
    Raises :class:`ContractError` where a dirty one comes without its rows, and whatever a metric raises.
    """
    if episode.discarded:
        return _discarded(episode, place, versions)
    hashed_blocks = _all_judged(episode, rows, judge_for)
    digest = content_hash(episode.layout.widths, hashed_blocks, episode.n_total)
    claimed = episode.end.value["content_hash"] if episode.end else None
    status = episode.closing_status
    if status == COMPLETE and claimed is not None and claimed != digest:
        status = CORRUPT
    missing = missing_ranges(episode)
    lost = sum(last - first + 1 for first, last in missing)
    first_missing = missing[0][0] if missing else -1
    delivery = Delivery(
        episode.n_total,
        episode.n_total - lost,
        episode.duplicates,
        episode.conflicting,
        status,
        first_missing,
        episode.first_conflict,
        sum(block.reordered for block in episode.all_blocks()),
        outcome_of(episode),
        "robot" if episode.end else "",
    )
    judgement = episode.frontier.judge.final(delivery, twins)
    judgement = replace(judgement, findings=conflict_of_ids(episode) + judgement.findings + unlisted_labels(episode))
    compared = compared_of(episode, status, digest, judgement)
    if not says_more(compared, episode):
        return None
    takes = take_rows(episode, status, judgement, print_of(episode, hashed_blocks), twins)
    sealing = _Sealing(episode, place, status, digest, claimed == digest, missing, judgement, compared)
    return replace(sealing.closed(versions), takes=takes)


def _discarded(episode: Episode, place: Place, versions: Iterator[int]) -> Closed:
    """Quarantined or withdrawn: that it was is stored and announced, without another look at its frames."""
    judgement = Judgement((), (), "REVIEW", episode.frontier.judge.rule_version)
    missing: list[tuple[int, int]] = []
    status = episode.closing_status
    compared = compared_of(episode, status, "", judgement)
    takes = take_rows(episode, status, judgement, None, None)
    sealing = _Sealing(episode, place, status, "", False, missing, judgement, compared)
    return replace(sealing.closed(versions), takes=takes)


def missing_ranges(episode: Episode) -> list[tuple[int, int]]:
    """Frame numbers below n_total that are not there, as inclusive ranges, ascending."""
    if episode.unique == episode.n_total:
        return []
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


def _as_known(episode: Episode, rows: Sequence[BlockRow]) -> list[BlockRow]:
    """Of the stored rows those of blocks that only the store holds; a former owner may have read on in the others."""
    held = [episode.block_row(block) for block in episode.blocks.values() if block.count]
    return sorted([*held, *(row for row in rows if row.block in episode.stored)], key=lambda r: r.block)


def _judge_again(episode: Episode, rows: Sequence[BlockRow], judge_for: JudgeFor) -> EpisodeJudge:
    judge = judge_for(episode.judged_as(), episode.layout)
    episode.pins = {**episode.pins, **judge.pins}
    judge_rows(judge, rows)
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
        self.final = status in FINAL
        held = [block for block in episode.blocks.values() if block.stored_version >= 0 or not episode.discarded]
        self.blocks = len(episode.stored) + len(held)
        self.duration_s = (episode.t_end() - episode.t_base()) / 1e9 if episode.unique else 0.0
        self.lost = sum(last - first + 1 for first, last in missing)
        self.largest = sorted(missing, key=lambda r: (r[0] - r[1], r[0]))[:LISTED]
        self.offsets = (episode.start.offset, episode.last_offset())
        self.reason = reason_of(episode)
        #: a person's word stands above the machine's, but not for frames that nobody can trust
        self.review = None if episode.discarded else episode.review

    def closed(self, versions: Iterator[int]) -> Closed:
        episode, before = self.episode, self.episode.history
        findings = final_changes(episode, self.judgement, self.revision, self.ended_ms)
        withdrawn = self.status == WITHDRAWN
        event, row = self._withdrawal() if withdrawn else self._event(), self._row()
        first = (before.first_closed_ms, before.first_frames, before.first_unique)
        if not episode.reopened:
            first = (episode.closed_ms, episode.n_total, episode.unique)
        episode.history = History(self.revision, *first, self.status, self.compared)
        journal = journal_row(episode, next(versions))
        row["facts"] = self._facts()
        episode.history = before  # until it is announced nobody may read in the journal that it was
        return Closed(
            episode.id,
            row,
            event,
            findings,
            journal,
            "EpisodeWithdrawn" if withdrawn else "EpisodeCompleted",
            _schema_ids(episode),
            self.offsets if self.status == QUARANTINED else None,
        )

    def _facts(self) -> JsonDict:
        """The episode row outlives the journal's: a later reopening finds there what it needs."""
        return {
            **facts_of(self.episode),
            "late_ms": -1,
            "commanded": False,
            "lit": [asdict(finding) for finding in self.judgement.findings],
            "n_total": self.episode.n_total if self.episode.end else -1,
            "unique": self.episode.unique,
            "missing_range_count": len(self.missing),
        }

    def _withdrawal(self) -> JsonDict:
        command = self.episode.command
        assert command is not None  # only a command withdraws
        return {
            **{name: self.start[name] for name in ("tenant", "robot_id", "episode_id")},
            "revision": self.revision,
            "by": command.by,
            "note": command.note,
            "command_id": command.command_id,
            "lineage": self._lineage(),
        }

    def _lineage(self) -> JsonDict:
        return {
            "cluster_id": self.place.cluster_id,
            "topic": self.place.topic,
            "partition": self.place.partition,
            "first_offset": self.offsets[0],
            "last_offset": self.offsets[1],
        }

    def _shared(self) -> JsonDict:
        outcome = outcome_of(self.episode)
        return {
            **{name: self.episode.label(name) for name in LABELS},
            "episode_id": self.episode.id,
            "status": self.status,
            "outcome": outcome,
            "verdict": self.review.verdict if self.review else self.judgement.verdict,
            "machine_verdict": self.judgement.verdict,
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
            "final": self.final,
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
            "review": asdict(self.review) if self.review else None,
            "lineage": self._lineage(),
        }

    def _row(self) -> JsonDict:
        episode, metrics = self.episode, self.judgement.metrics
        shared = {name: value for name, value in self._shared().items() if name != "job"}
        return {
            **shared,
            "stored_day": episode.stored_day,
            "final": int(self.final),
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
            "review_verdict": self.review.verdict if self.review else "",
            "reviewed_by": self.review.by if self.review else "",
            "review_note": self.review.note if self.review else "",
            "reviewed_at": self.review.reviewed_at_ms if self.review else 0,
            "reviewed_revision": self.review.revision if self.review else 0,
        }


def _schema_ids(episode: Episode) -> tuple[int, ...]:
    """Writers' schemas of all its records: a framed one says its own."""
    words = {int.from_bytes(word.raw[1:5], "big") for word in episode.words()}
    return tuple(sorted(words | episode.schema_ids))


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
