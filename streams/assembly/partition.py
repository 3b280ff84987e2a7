"""The assembler of one partition: log records in; rows, journal entries, findings, dead letters and a watermark out.

It reads no clock and does no I/O. Its owner, per fetch: looks up what ``unknown`` names, gives it to ``learn`` and
``reload``, calls ``process``; then ``take`` -> make durable -> ``confirm``, and for each episode that closes
``seal`` -> store and announce -> ``announced``.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kinestream.schemas.content_hash import BLOCK
from kinestream.schemas.errors import LayoutError
from kinestream.schemas.frames import FrameChunk
from kinestream.schemas.layout import Layout
from kinestream.streams.assembly.block import Block
from kinestream.streams.assembly.closing import NEVER, RobotWord, closing
from kinestream.streams.assembly.episode import CLOSING, DAY_MS, ENDED, Episode
from kinestream.streams.assembly.findings import live_changes
from kinestream.streams.assembly.journal import journal_row, rebuild
from kinestream.streams.assembly.seal import seal
from kinestream.streams.assembly.values import (
    COMPLETE,
    INCONSISTENT,
    NO_START,
    BlockRow,
    Closed,
    DeadLetter,
    Deadlines,
    FindingChange,
    JournalRow,
    JsonDict,
    Loaded,
    LogRecord,
    Place,
    Word,
)
from kinestream.streams.quality import EpisodeJudge

JudgeFor = Callable[[Mapping[str, Any], Layout], EpisodeJudge]


@dataclass(slots=True, eq=False)
class Due:
    """What must become durable now, in this order: dead letters and journal, then blocks, then the rest."""

    journal: list[JournalRow] = field(default_factory=list)
    blocks: list[BlockRow] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    findings: list[FindingChange] = field(default_factory=list)
    robots: list[tuple[int, Mapping[str, Any]]] = field(default_factory=list)
    closing: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.journal or self.blocks or self.dead_letters or self.findings or self.robots or self.closing)


class PartitionAssembler:
    """All episodes in flight of one partition."""

    def __init__(self, place: Place, limits: Deadlines, judge_for: JudgeFor, *, live_lane: bool = True) -> None:
        self.place = place
        self.limits = limits
        self.live_lane = live_lane
        self.judge_for = judge_for
        self.episodes: dict[str, Episode] = {}
        #: partition time: the highest broker time so far, ms
        self.time_ms = -1
        self.counts: dict[str, int] = dict.fromkeys(
            ("frames", "chunks", "duplicates", "conflicts", "late", "ignored", "dead_letters", "completed"), 0
        )
        self._robots: dict[str, RobotWord] = {}
        self._closed: dict[str, Loaded] = {}
        self._deadlines: list[tuple[int, str]] = []
        self._touched: dict[str, Episode] = {}
        self._due = Due()
        #: records that came while their episode was closing: the owner gives them to ``process`` again
        self.requeued: list[LogRecord] = []
        self._next_offset = -1
        self._floor = -1

    # -- what the owner must look up before a fetch -------------------------

    def unknown(self, records: Iterable[LogRecord]) -> set[str]:
        """Episode ids of these records that only the store may know."""
        named = {_episode_id(r) for r in records if r.record != "RobotStatus"}
        return {i for i in named if i not in self.episodes}

    def learn(self, found: Iterable[Loaded], records: Iterable[LogRecord]) -> set[str]:
        """Take what the store knows of them; returns those whose blocks must come before ``process``."""
        self._closed = {stored.episode_id: stored for stored in found}
        return {
            _episode_id(r)
            for r in records
            if r.record not in ("RobotStatus", "EpisodeStart") and self._reopens(_episode_id(r), r)
        }

    def _reopens(self, episode_id: str, record: LogRecord) -> bool:
        stored = self._closed.get(episode_id)
        if stored is None:
            return False
        if record.record == "FrameChunk":
            return not stored.facts["whole"]
        return record.offset not in stored.facts["word_offsets"]

    def reload(self, episode_id: str, rows: Sequence[BlockRow]) -> None:
        """Reopen a closed episode from its row and blocks (or, if it is open, put freed blocks back)."""
        episode = self.episodes.get(episode_id)
        if episode is None:
            self.episodes[episode_id] = rebuild(self._closed.pop(episode_id), rows, self.judge_for)
            return
        for row in rows:
            episode.put_back(row)

    def freed_blocks(self, records: Iterable[LogRecord]) -> dict[str, set[int]]:
        """Blocks that are only in the store, and of which these records bring further copies."""
        wanted: dict[str, set[int]] = {}
        for record in records:
            episode = self.episodes.get(record.value.episode_id) if record.record == "FrameChunk" else None
            if episode is None or not episode.stored:
                continue
            chunk = record.value
            for index in range(chunk.first_seq // BLOCK, (chunk.first_seq + max(len(chunk), 1) - 1) // BLOCK + 1):
                stored = episode.stored.get(index)
                if stored is not None and record.offset > stored.last_offset:
                    wanted.setdefault(episode.id, set()).add(index)
        return wanted

    def restore(self, episode: Episode) -> None:
        """Take an open episode rebuilt from the journal and its blocks."""
        self.episodes[episode.id] = episode
        self._hear(episode.robot_id, episode.last_frame_ms)
        self.time_ms = max(self.time_ms, episode.last_frame_ms)
        self._schedule(episode)

    # -- records --------------------------------------------------------------

    def process(self, records: Sequence[LogRecord | DeadLetter], *, live: bool) -> None:
        """Take the records of a fetch in log order. ``live``: caught up, so findings are raised at once."""
        handlers = {
            "FrameChunk": self._chunk,
            "EpisodeStart": self._start,
            "EpisodeEnd": self._end,
            "EpisodeMark": self._mark,
            "RobotStatus": self._status,
        }
        for record in records:
            if record.broker_ms > self.time_ms:
                self.pass_time(record.broker_ms)
            if isinstance(record, DeadLetter):
                self._bury(record)
            else:
                handlers[record.record](record)
            self._next_offset = max(self._next_offset, record.offset + 1)
        self.requeued = []
        self._judge_touched(live)

    def _start(self, record: LogRecord) -> None:
        start = record.value
        self._hear(start["robot_id"], record.broker_ms)
        episode_id = start["episode_id"]
        if episode_id in self.episodes or episode_id in self._closed:
            self.counts["ignored"] += 1
            return
        try:
            layout = Layout.from_avro(start)
        except LayoutError as problem:
            self._refuse(record, INCONSISTENT, str(problem))
            return
        word = Word(record.offset, record.broker_ms, record.raw, start)
        episode = Episode(word, record.broker_ms // DAY_MS, self.judge_for(start, layout))
        episode.hold(record.offset)
        self.episodes[episode.id] = episode
        if self.live_lane:
            self._supersede(episode, record)
        self._schedule(episode)

    def _supersede(self, later: Episode, record: LogRecord) -> None:
        for episode in self.episodes.values():
            ours = episode.start.value
            if (
                episode.robot_id == later.robot_id
                and ours["boot_id"] == later.start.value["boot_id"]
                and ours["episode_no"] < later.start.value["episode_no"]
                and episode.superseded_ms < 0
                and not episode.reopened
            ):
                episode.superseded_ms = record.broker_ms
                episode.hold(record.offset)
                self._schedule(episode)

    def _chunk(self, record: LogRecord) -> None:
        chunk: FrameChunk = record.value
        episode = self.episodes.get(chunk.episode_id)
        if episode is None:
            self._stray(record, chunk.episode_id)
            return
        if episode.phase == CLOSING:
            episode.deferred.append(record)
            return
        if problem := episode.refuse(chunk):
            self._refuse(record, INCONSISTENT, f"chunk of episode {episode.id}: {problem}")
            return
        before = (episode.duplicates, episode.conflicting)
        added = episode.add(record, chunk)
        self._hear(episode.robot_id, record.broker_ms)
        self.counts["chunks"] += 1
        self.counts["frames"] += added
        self.counts["duplicates"] += episode.duplicates - before[0]
        self.counts["conflicts"] += episode.conflicting - before[1]
        if added and episode.reopened:
            self.counts["late"] += added
            episode.late_ms = record.broker_ms
            self._schedule(episode)
        self._touched[episode.id] = episode
        if episode.whole:
            self._close(episode)

    def _end(self, record: LogRecord) -> None:
        episode = self._of_word(record)
        if episode is None:
            return
        if episode.end is not None:
            self.counts["ignored"] += 1
            return
        n_total = record.value["n_total"]
        if n_total <= episode.highest_seq or n_total < 0:
            text = f"end mark of {episode.id} announces {n_total} frames; number {episode.highest_seq} is here already"
            self._refuse(record, INCONSISTENT, text)
            return
        episode.end = self._word(episode, record)
        episode.phase = ENDED
        self._late_word(episode, record)
        self._schedule(episode)

    def _mark(self, record: LogRecord) -> None:
        episode = self._of_word(record)
        if episode is None:
            return
        if any(mark.offset == record.offset for mark in episode.marks):
            return
        episode.marks.append(self._word(episode, record))
        self._late_word(episode, record)

    def _of_word(self, record: LogRecord) -> Episode | None:
        episode = self.episodes.get(record.value["episode_id"])
        if episode is None:
            self._stray(record, record.value["episode_id"])
        elif episode.phase == CLOSING:
            episode.deferred.append(record)
            return None
        return episode

    def _word(self, episode: Episode, record: LogRecord) -> Word:
        episode.hold(record.offset)
        self._hear(episode.robot_id, record.broker_ms)
        self._touched[episode.id] = episode
        return Word(record.offset, record.broker_ms, record.raw, record.value)

    def _late_word(self, episode: Episode, record: LogRecord) -> None:
        if episode.reopened:
            episode.late_ms = record.broker_ms
            self._schedule(episode)

    def _status(self, record: LogRecord) -> None:
        status = record.value
        word = self._hear(status["robot_id"], record.broker_ms)
        word.status_ms = record.broker_ms
        word.named = frozenset((status["recording"], *status["unsent_episodes"]))
        self._due.robots.append((record.broker_ms, status))
        for episode in self.episodes.values():
            if episode.robot_id == status["robot_id"]:
                self._schedule(episode)

    def _stray(self, record: LogRecord, episode_id: str) -> None:
        """A record of an episode that is not in flight: closed and whole (counted), or never begun."""
        if episode_id in self._closed:
            self.counts["ignored"] += 1
        else:
            self._refuse(record, NO_START, f"{record.record} of episode {episode_id}, whose start nobody has seen")

    def _refuse(self, record: LogRecord, reason: str, text: str) -> None:
        self._bury(DeadLetter(record.offset, record.broker_ms, record.key, record.raw, reason, text, record.schema_id))

    def _bury(self, letter: DeadLetter) -> None:
        self.counts["dead_letters"] += 1
        self._due.dead_letters.append(letter)

    def _hear(self, robot_id: str, broker_ms: int) -> RobotWord:
        word = self._robots.get(robot_id)
        if word is None:
            word = self._robots[robot_id] = RobotWord(broker_ms)
        word.heard_ms = max(word.heard_ms, broker_ms)
        return word

    # -- time -------------------------------------------------------------------

    def pass_time(self, broker_ms: int) -> None:
        """Let the deadlines up to ``broker_ms`` fire; called in log order, and when an idle log's time is confirmed."""
        while self._deadlines and self._deadlines[0][0] <= broker_ms:
            _, episode_id = heapq.heappop(self._deadlines)
            episode = self.episodes.get(episode_id)
            if episode is not None:
                episode.wake_ms = NEVER
                self._schedule(episode, broker_ms)
        self.time_ms = max(self.time_ms, broker_ms)

    def closes(self) -> bool:
        """Whether an episode waits to be sealed."""
        return bool(self._due.closing)

    def has_aged_blocks(self, now_ms: int) -> bool:
        """Whether a block would be due at ``now_ms`` by its age."""
        aged = now_ms - self.limits.block_age_ms
        blocks = (block for episode in self.episodes.values() for block in episode.blocks.values())
        return any(block.pending_offset >= 0 and block.due_since_ms <= aged for block in blocks)

    def next_deadline(self) -> int:
        """Broker time at which something may be due; the far future if nothing is."""
        return self._deadlines[0][0] if self._deadlines else NEVER

    def _schedule(self, episode: Episode, now_ms: int | None = None) -> None:
        """Close the episode if it is due, else wake up when it may be."""
        if episode.phase == CLOSING:
            return
        due, status = closing(episode, self._hear(episode.robot_id, -1), self.limits)
        now = self.time_ms if now_ms is None else now_ms
        if due <= now:
            self._close(episode, status)
        elif due < episode.wake_ms:
            episode.wake_ms = due
            heapq.heappush(self._deadlines, (due, episode.id))

    def _close(self, episode: Episode, status: str = COMPLETE) -> None:
        if episode.phase == CLOSING:
            return
        episode.closing_status = status
        episode.phase = CLOSING
        self._touched.pop(episode.id, None)
        episode.finish_frontier()
        self._due.closing.append(episode.id)

    def _judge_touched(self, live: bool) -> None:
        for episode in self._touched.values():
            episode.advance(self.time_ms, self.limits.hole_ms)
            if live and not episode.reopened:
                self._due.findings += live_changes(episode, self.time_ms)
        self._touched = {e.id: e for e in self._touched.values() if e.hole_since_ms >= 0}

    # -- effects ------------------------------------------------------------------

    def take(self) -> Due:
        """What is due now; the next call only after ``confirm``."""
        due, self._due = self._due, Due()
        self._floor = self._lowest_pending(due)
        for episode in self.episodes.values():
            closes = episode.phase == CLOSING
            if episode.journal_pending >= 0:
                due.journal.append(journal_row(episode))
                episode.journal_pending = -1
            for block in episode.blocks.values():
                if block.pending_offset >= 0 and (closes or self._is_due(block)):
                    due.blocks.append(episode.block_row(block))
                    block.pending_offset = -1
        return due

    def _is_due(self, block: Block) -> bool:
        return block.count == BLOCK or self.time_ms - block.due_since_ms >= self.limits.block_age_ms

    def confirm(self, due: Due) -> None:
        """``due`` is durable: the watermark may pass it, full blocks leave memory."""
        self._floor = -1
        for row in due.blocks:
            episode = self.episodes.get(row.episode_id)
            block = episode.blocks.get(row.block) if episode else None
            if episode is None or block is None or block.pending_offset >= 0 or block.last_offset != row.last_offset:
                continue
            if block.count == BLOCK and episode.frontier >= (block.index + 1) * BLOCK:
                episode.free(block, row)
        self._drop_unchanged()

    def _drop_unchanged(self) -> None:
        """A closed episode was loaded for records that added nothing: no revision, no further memory."""
        for episode in [e for e in self.episodes.values() if e.reopened and e.late_ms < 0]:
            if episode.phase != CLOSING and all(block.pending_offset < 0 for block in episode.blocks.values()):
                del self.episodes[episode.id]

    def seal(self, episode_id: str, rows: Sequence[BlockRow] | None) -> Closed | None:
        """The closed episode, or None where nothing differs from its last revision; a dirty one needs its ``rows``."""
        return seal(self.episodes[episode_id], rows, self.place, self.judge_for, self.time_ms)

    def announced(self, episode_id: str) -> None:
        """The episode's event is acknowledged: forget it; what came meanwhile is in ``requeued``."""
        episode = self.episodes.pop(episode_id)
        self.counts["completed"] += 1
        self._due.journal.append(journal_row(episode, deleted=True))
        self.requeued += episode.deferred

    def watermark(self) -> int:
        """Smallest offset whose content is not yet durable; -1 = nothing was read."""
        pending = self._lowest_pending(self._due)
        lowest = min((o for o in (pending, self._floor) if o >= 0), default=self._next_offset)
        return lowest

    def _lowest_pending(self, due: Due) -> int:
        return min(self._pending(due), default=-1)

    def _pending(self, due: Due) -> Iterator[int]:
        for letter in due.dead_letters:
            yield letter.offset
        for record in self.requeued[:1]:
            yield record.offset
        for episode in self.episodes.values():
            if episode.journal_pending >= 0:
                yield episode.journal_pending
            for block in episode.blocks.values():
                if block.pending_offset >= 0:
                    yield block.pending_offset
            for record in episode.deferred[:1]:
                yield record.offset

    def inflight_bytes(self) -> int:
        """Bytes of blocks in memory."""
        return sum(block.nbytes() for e in self.episodes.values() for block in e.blocks.values())

    def facts(self) -> JsonDict:
        """Counts for the worker's pages."""
        return {**self.counts, "open": len(self.episodes), "time_ms": self.time_ms}


def _episode_id(record: LogRecord) -> str:
    value = record.value
    return str(value.episode_id if record.record == "FrameChunk" else value["episode_id"])
