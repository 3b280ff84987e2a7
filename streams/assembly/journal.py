"""An episode to its journal row and back: one loading path for restart, rebalance and late frames."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from kinestream.schemas.layout import Layout
from kinestream.streams.assembly.boots import Rivals
from kinestream.streams.assembly.episode import ENDED, OPEN, Episode, History
from kinestream.streams.assembly.loading import load_blocks
from kinestream.streams.assembly.values import BlockRow, Command, JournalRow, JsonDict, Loaded, Review, Word
from kinestream.streams.quality import EpisodeJudge, Finding, LampBook


def facts_of(episode: Episode) -> JsonDict:
    """What rebuilding needs besides the framed records and the blocks."""
    return {
        "words": [[word.offset, word.broker_ms] for word in episode.words()],
        "pins": episode.pins,
        "superseded_ms": episode.superseded_ms,
        "late_ms": episode.late_ms,
        "heard_ms": episode.heard_ms,
        "named": episode.named,
        "unnamed_ms": episode.unnamed_ms,
        "rivals": asdict(episode.rivals),
        "whole": episode.whole,
        "first_conflict": episode.first_conflict,
        "schema_ids": sorted(episode.schema_ids),
        "corrected": episode.corrected,
        "command": asdict(episode.command) if episode.command else None,
        "commanded": episode.commanded,
        "obeyed": episode.obeyed,
        "review": asdict(episode.review) if episode.review else None,
        "attempts": episode.attempts,
        "error": episode.error,
        "quarantined": episode.quarantined,
        "revision": episode.history.revision,
        "first_closed_ms": episode.history.first_closed_ms,
        "first_frames": episode.history.first_frames,
        "first_unique": episode.history.first_unique,
        "status": episode.history.status,
        "compared": episode.history.compared,
        "lit": [asdict(finding) for finding in episode.lamps.lit],
    }


def journal_row(episode: Episode, version: int) -> JournalRow:
    """The journal row of an episode as it stands.

    ``version`` rises with each row of an owner, tombstones too; owners are ranked where rows are stored.
    """
    return JournalRow(
        episode_id=episode.id,
        version=version,
        stored_day=episode.stored_day,
        phase=ENDED if episode.end else OPEN,
        facts=facts_of(episode),
        start=episode.start.raw,
        marks=tuple(mark.raw for mark in episode.marks),
        end=episode.end.raw if episode.end else b"",
    )


def tombstone(episode_id: str, stored_day: int, version: int) -> JournalRow:
    """A key and a version: nobody reads more of it."""
    return JournalRow(episode_id, version, stored_day, "CLOSED", {}, b"", (), b"", is_deleted=True)


def rebuild(
    loaded: Loaded, rows: Sequence[BlockRow], judge_for: Callable[[Mapping[str, Any], Layout], EpisodeJudge]
) -> Episode:
    """An episode from what the store holds: its facts, its records and its blocks.

    Rows of full blocks may come without their channels: then its frontier has a backlog. Those that bring them are
    judged at once, by the same code that judged them live.
    """
    start, facts = _start(loaded), loaded.facts
    judge = judge_for({**start.value, **facts["corrected"]}, Layout.from_avro(start.value))
    episode = Episode(start, loaded.stored_day, judge)
    episode.pins = {**start.value["pins"], **judge.pins}
    episode.marks = list(loaded.marks)
    episode.end = loaded.end
    episode.phase = ENDED if loaded.end else OPEN
    for name in ("superseded_ms", "heard_ms", "named", "unnamed_ms", "first_conflict", "corrected", "commanded",
                 "attempts", "error", "quarantined"):  # fmt: skip
        setattr(episode, name, facts[name])
    episode.rivals = Rivals(**facts["rivals"])
    episode.schema_ids = set(facts["schema_ids"])
    episode.command = Command(**facts["command"]) if facts["command"] else None
    episode.obeyed = list(facts.get("obeyed", ()))
    episode.review = Review(**facts["review"]) if facts.get("review") else None
    episode.history = History(
        **{name: facts[name] for name in ("revision", "first_closed_ms", "first_frames", "status", "compared")},
        first_unique=facts["first_unique"] if "first_unique" in facts else facts.get("unique", 0),  # older rows: none
    )
    load_blocks(episode, rows)
    episode.frontier.catch_up([row for row in rows if row.channels])
    if facts["late_ms"] >= 0:  # the journal says that it was reopened, the blocks how late the last frame came
        episode.late_ms = max(facts["late_ms"], episode.last_frame_ms)
    episode.lamps = LampBook(Finding(**finding) for finding in facts["lit"])
    return episode


def _start(loaded: Loaded) -> Word:
    """Its start; that of a stream does not bear the name of the episode cut out of it."""
    start = loaded.start
    value = {**start.value, "episode_id": loaded.episode_id, "pins": loaded.facts.get("pins", {})}
    return Word(start.offset, start.broker_ms, start.raw, value)
