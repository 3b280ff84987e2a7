"""An episode to its journal row and back: one loading path for restart, rebalance and late frames."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from kinestream.schemas.layout import Layout
from kinestream.streams.assembly.episode import ENDED, OPEN, Episode, History, load_blocks
from kinestream.streams.assembly.values import BlockRow, JournalRow, JsonDict, Loaded
from kinestream.streams.quality import EpisodeJudge, Finding, LampBook


def facts_of(episode: Episode) -> JsonDict:
    """What rebuilding needs besides the framed records and the blocks."""
    return {
        "words": [[word.offset, word.broker_ms] for word in episode.words()],
        "superseded_ms": episode.superseded_ms,
        "late_ms": episode.late_ms,
        "heard_ms": episode.heard_ms,
        "named": episode.named,
        "unnamed_ms": episode.unnamed_ms,
        "journal_version": episode.journal_version,
        "whole": episode.whole,
        "revision": episode.history.revision,
        "first_closed_ms": episode.history.first_closed_ms,
        "status": episode.history.status,
        "compared": episode.history.compared,
        "lit": [asdict(finding) for finding in episode.lamps.lit],
    }


def journal_row(episode: Episode, *, deleted: bool = False) -> JournalRow:
    """The next journal row of an episode; each has a higher version than the last, a tombstone too.

    Versions follow the log, so a reopening writes above every row of an earlier one, even if it left no revision.
    """
    cause = max(episode.journal_pending, episode.heard_pending, 0)
    episode.journal_version = max(episode.journal_version, cause << 8) + 1
    if deleted:  # a tombstone is a key and a version: nobody reads more of it
        return JournalRow(
            episode.id, episode.journal_version, episode.stored_day, "CLOSED", {}, b"", (), b"", is_deleted=True
        )
    return JournalRow(
        episode_id=episode.id,
        version=episode.journal_version,
        stored_day=episode.stored_day,
        phase=ENDED if episode.end else OPEN,
        facts=facts_of(episode),
        start=episode.start.raw,
        marks=tuple(mark.raw for mark in episode.marks),
        end=episode.end.raw if episode.end else b"",
    )


def rebuild(
    loaded: Loaded, rows: Sequence[BlockRow], judge_for: Callable[[Mapping[str, Any], Layout], EpisodeJudge]
) -> Episode:
    """An episode from what the store holds: its facts and records, and the same metric code over its blocks."""
    start = loaded.start
    episode = Episode(start, loaded.stored_day, judge_for(start.value, Layout.from_avro(start.value)))
    facts = loaded.facts
    episode.marks = list(loaded.marks)
    episode.end = loaded.end
    episode.phase = ENDED if loaded.end else OPEN
    episode.superseded_ms = facts["superseded_ms"]
    episode.heard_ms = facts["heard_ms"]
    episode.named = facts["named"]
    episode.unnamed_ms = facts["unnamed_ms"]
    episode.journal_version = facts["journal_version"]
    episode.history = History(facts["revision"], facts["first_closed_ms"], facts["status"], facts["compared"])
    load_blocks(episode, rows)
    if facts["late_ms"] >= 0:  # the journal says that it was reopened, the blocks how late the last frame came
        episode.late_ms = max(facts["late_ms"], episode.last_frame_ms)
    episode.lamps = LampBook(Finding(**finding) for finding in facts["lit"])
    return episode
