"""The assembler of one partition: log records in; rows, journal entries, findings, dead letters and a watermark out.

It reads no clock and does no I/O. Its owner, per fetch: looks up what ``unknown`` names, gives it to ``learn`` and
``reload``, calls ``process``; then ``take`` -> make durable -> ``confirm``, and for each episode that closes
``seal`` -> store and announce -> ``announced``.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from kinestream.schemas.errors import LayoutError
from kinestream.schemas.frames import FrameChunk
from kinestream.schemas.layout import Layout
from kinestream.schemas.reasons import DeadLetterReason
from kinestream.streams.assembly.closing import NEVER, closing
from kinestream.streams.assembly.effects import Due, collect, has_aged, pending
from kinestream.streams.assembly.episode import CLOSING, DAY_MS, ENDED, Episode
from kinestream.streams.assembly.findings import live_changes
from kinestream.streams.assembly.flight import InFlight
from kinestream.streams.assembly.journal import journal_row, rebuild
from kinestream.streams.assembly.lookup import Lookup, freed_blocks
from kinestream.streams.assembly.seal import seal
from kinestream.streams.assembly.values import (
    INCONSISTENT,
    NO_START,
    BlockRow,
    Closed,
    DeadLetter,
    Deadlines,
    JsonDict,
    Loaded,
    LogRecord,
    Place,
    Word,
)
from kinestream.streams.quality import EpisodeJudge

__all__ = ["Due", "PartitionAssembler"]

JudgeFor = Callable[[Mapping[str, Any], Layout], EpisodeJudge]


class PartitionAssembler:
    """All episodes in flight of one partition."""

    def __init__(self, place: Place, limits: Deadlines, judge_for: JudgeFor, *, live_lane: bool = True) -> None:
        self.place = place
        self.limits = limits
        self.live_lane = live_lane
        self.judge_for = judge_for
        self._flight = InFlight()
        self.episodes = self._flight.by_id
        #: partition time: the highest broker time so far, ms
        self.time_ms = -1
        #: the same of the records read since the start: what was restored may be ahead of them
        self._read_ms = -1
        self.counts: dict[str, int] = dict.fromkeys(
            ("frames", "chunks", "duplicates", "conflicts", "late", "ignored", "dead_letters", "completed"), 0
        )
        self._lookup = Lookup()
        self._feeding = False
        self._deadlines: list[tuple[int, str]] = []
        self._touched: dict[str, Episode] = {}
        #: episodes with durable blocks that may leave memory
        self._written: set[str] = set()
        self._due = Due()
        #: records that came while their episode was closing: the owner gives them to ``process`` again
        self.requeued: list[LogRecord] = []
        self._next_offset = -1
        self._floor = -1

    # -- what the owner must look up before a fetch -------------------------

    def unknown(self, records: Iterable[LogRecord]) -> set[str]:
        """Episode ids of these records that only the store may know. The first call of every fetch.

        Until ``process`` nothing leaves memory: what is loaded for these records stays for them.
        """
        self._feeding = True
        return self._lookup.ask(records, self.episodes)

    def learn(self, found: Iterable[Loaded], records: Iterable[LogRecord]) -> set[str]:
        """Take what the store knows of them; returns those whose blocks must come before ``process``."""
        return self._lookup.learn(found, records)

    def freed_blocks(self, records: Iterable[LogRecord]) -> dict[str, set[int]]:
        """Blocks that are only in the store, and of which these records bring further copies."""
        return freed_blocks(records, self.episodes)

    def reload(self, episode_id: str, rows: Sequence[BlockRow]) -> None:
        """Reopen a closed episode from its row and blocks (or, if it is open, put freed blocks back)."""
        episode = self.episodes.get(episode_id)
        if episode is not None:
            for row in rows:
                episode.put_back(row)
        elif closed := self._lookup.closed(episode_id):
            self._flight.add(rebuild(closed, rows, self.judge_for))

    def restore(self, episode: Episode) -> None:
        """Take an open episode rebuilt from the journal and its blocks, before the first record."""
        self._flight.add(episode)
        # No later than any of them has seen: the log between the watermark and here is yet to be read again,
        # and no deadline may fire before it.
        newest = max(episode.ended_ms(), episode.heard_ms, episode.unnamed_ms, episode.late_ms)
        self.time_ms = newest if self.time_ms < 0 else min(self.time_ms, newest)
        self._wake(episode, closing(episode, self.limits)[0])

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
        if self.requeued:
            given = {record.offset for record in records}
            self.requeued = [record for record in self.requeued if record.offset not in given]
        for record in records:
            self.pass_time(record.broker_ms)
            if isinstance(record, DeadLetter):
                self._bury(record)
            else:
                handlers[record.record](record)
            self._next_offset = max(self._next_offset, record.offset + 1)
        if records:
            self._read_ms = max(self._read_ms, records[-1].broker_ms)
        self.pass_time(self._read_ms)  # a record that had to wait may have set a deadline that is over
        self._judge_touched(live)
        self._feeding = False
        self._let_go()

    def _start(self, record: LogRecord) -> None:
        start = record.value
        self._flight.hear(start["robot_id"], record)
        if start["episode_id"] in self.episodes:
            self.counts["ignored"] += 1
            return
        if self._is_elsewhere(record, start["episode_id"]):
            return
        try:
            layout = Layout.from_avro(start)
        except LayoutError as problem:
            self._refuse(record, INCONSISTENT, str(problem))
            return
        word = Word(record.offset, record.broker_ms, record.raw, start)
        episode = Episode(word, record.broker_ms // DAY_MS, self.judge_for(start, layout))
        episode.hold(record.offset)
        if self.live_lane:
            for earlier in self._flight.of(episode.robot_id):
                earlier.supersede(word)
                self._schedule(earlier, record.broker_ms)
        self._flight.add(episode)
        self._schedule(episode, record.broker_ms)

    def _chunk(self, record: LogRecord) -> None:
        chunk: FrameChunk = record.value
        episode = self.episodes.get(chunk.episode_id)
        if episode is None:
            self._stray(record, chunk.episode_id)
            return
        self._flight.hear(episode.robot_id, record, but=episode)
        if episode.phase == CLOSING:
            episode.deferred.append(record)
            return
        if episode.was_whole:
            self.counts["ignored"] += 1
            return
        if problem := episode.refuse(chunk):
            self._refuse(record, INCONSISTENT, f"chunk of episode {episode.id}: {problem}")
            return
        before = (episode.duplicates, episode.conflicting, episode.last_frame_ms)
        added = episode.add(record, chunk)
        if not added:
            episode.hear(record.offset, record.broker_ms)
        elif record.broker_ms - before[2] < self.limits.robot_silence_ms:
            # Read again, this frame comes before any silence could end: earlier words need no journal row.
            episode.heard_pending = -1
        self.counts["chunks"] += 1
        self.counts["frames"] += added
        self.counts["duplicates"] += episode.duplicates - before[0]
        self.counts["conflicts"] += episode.conflicting - before[1]
        if added and episode.reopened:
            self.counts["late"] += added
            self._late(episode, record)
        self._touched[episode.id] = episode
        if episode.whole:
            self._schedule(episode, record.broker_ms)

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
        self._late(episode, record)
        self._schedule(episode, record.broker_ms)

    def _mark(self, record: LogRecord) -> None:
        episode = self._of_word(record)
        if episode is None:
            return
        if any(mark.value == record.value for mark in episode.marks):
            self.counts["ignored"] += 1
            return
        episode.marks.append(self._word(episode, record))
        self._late(episode, record)

    def _of_word(self, record: LogRecord) -> Episode | None:
        episode = self.episodes.get(record.value["episode_id"])
        if episode is None:
            self._stray(record, record.value["episode_id"])
            return None
        self._flight.hear(episode.robot_id, record, but=episode)
        if episode.phase == CLOSING:
            episode.deferred.append(record)
            return None
        return episode

    def _word(self, episode: Episode, record: LogRecord) -> Word:
        episode.hold(record.offset)
        episode.heard_ms = max(episode.heard_ms, record.broker_ms)
        self._touched[episode.id] = episode
        return Word(record.offset, record.broker_ms, record.raw, record.value)

    def _late(self, episode: Episode, record: LogRecord) -> None:
        if not episode.reopened:
            return
        if episode.late_ms < 0:
            episode.hold(record.offset)
        episode.late_ms = max(episode.late_ms, record.broker_ms)
        self._schedule(episode, record.broker_ms)

    def _status(self, record: LogRecord) -> None:
        status = record.value
        self._due.robots.append((record.broker_ms, status))
        self._flight.hear(status["robot_id"], record)
        named = {status["recording"], *status["unsent_episodes"]}
        for episode in self._flight.of(status["robot_id"]):
            episode.name(episode.id in named, record.offset, record.broker_ms)
            self._schedule(episode, record.broker_ms)

    def _stray(self, record: LogRecord, episode_id: str) -> None:
        """A record of an episode that is not in flight: closed and whole (counted), or never begun."""
        if not self._is_elsewhere(record, episode_id):
            self._refuse(record, NO_START, f"{record.record} of episode {episode_id}, whose start nobody has seen")

    def _is_elsewhere(self, record: LogRecord, episode_id: str) -> bool:
        """Only the store has it: closed, so the record is counted; or closed a moment ago, so it must be asked."""
        if not self._lookup.asked(episode_id):
            self.requeued.append(record)
            return True
        closed = self._lookup.closed(episode_id)
        if closed is None:
            return False
        if record.record != "EpisodeStart":
            self._flight.hear(closed.start.value["robot_id"], record)
        self.counts["ignored"] += 1
        return True

    def _refuse(self, record: LogRecord, reason: DeadLetterReason, text: str) -> None:
        self._bury(DeadLetter.of(record, reason, text))

    def _bury(self, letter: DeadLetter) -> None:
        self.counts["dead_letters"] += 1
        self._due.bury(letter)

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
        return has_aged(self.episodes.values(), now_ms - self.limits.block_age_ms)

    def next_deadline(self) -> int:
        """Broker time at which something may be due; the far future if nothing is."""
        return self._deadlines[0][0] if self._deadlines else NEVER

    def _schedule(self, episode: Episode, now_ms: int) -> None:
        """Close the episode if it is due, else wake up when it may be.

        ``now_ms`` is the record's own time: of those that had to wait, more are to come before the partition's.
        """
        if episode.phase == CLOSING:
            return
        due, status = closing(episode, self.limits)
        if due <= now_ms:
            self._close(episode, status, due)
        else:
            self._wake(episode, due)

    def _wake(self, episode: Episode, due_ms: int) -> None:
        if due_ms < episode.wake_ms:
            episode.wake_ms = due_ms
            heapq.heappush(self._deadlines, (due_ms, episode.id))

    def _close(self, episode: Episode, status: str, due_ms: int) -> None:
        episode.closing_status, episode.closed_ms, episode.phase = status, due_ms, CLOSING
        self._touched.pop(episode.id, None)
        episode.pass_holes(episode.highest_seq + 1)
        self._due.closing.append(episode.id)

    def _judge_touched(self, live: bool) -> None:
        for episode in self._touched.values():
            episode.advance(self.time_ms, self.limits.hole_ms)
            if live and not episode.reopened and (changes := live_changes(episode, self.time_ms)):
                self._due.findings += changes
                episode.hold(self._next_offset)  # so that after a restart its lamps are known, and go out
        self._touched = {e.id: e for e in self._touched.values() if e.hole_since_ms >= 0}

    # -- effects ------------------------------------------------------------------

    def take(self, *, everything: bool = False) -> Due:
        """What is due now, or ``everything`` that waits, due or not; the next call only after ``confirm``."""
        due, self._due = self._due, Due()
        self._floor = self._lowest_pending(due)
        collect(due, self.episodes.values(), NEVER if everything else self.time_ms - self.limits.block_age_ms)
        return due

    def confirm(self, due: Due) -> None:
        """``due`` is durable: the watermark may pass it, full blocks leave memory."""
        self._floor = -1
        for row in due.blocks:
            episode = self.episodes.get(row.episode_id)
            block = episode.blocks.get(row.block) if episode else None
            if block is not None:
                block.stored(row.version, row.leaves)
                self._written.add(row.episode_id)
        self._let_go()

    def _let_go(self) -> None:
        """Drop what the store holds: full blocks, and closed episodes whose records added nothing."""
        if self._feeding:
            return
        self._written = {i for i in self._written & self.episodes.keys() if self.episodes[i].free()}
        idle = [e for e in self.episodes.values() if e.reopened and e.late_ms < 0 and e.phase != CLOSING]
        for episode in idle:  # one that is sealed counts as reopened too, but is not yet announced
            if all(block.durable for block in episode.blocks.values()):
                self._flight.pop(episode.id)

    def seal(self, episode_id: str, rows: Sequence[BlockRow] | None) -> Closed | None:
        """The closed episode, or None where nothing differs from its last revision; a dirty one needs its ``rows``.

        Asked again, it gives the same.
        """
        episode = self.episodes[episode_id]
        if episode.sealed is None:
            episode.sealed = seal(episode, rows, self.place, self.judge_for)
        return episode.sealed

    def announced(self, episode_id: str) -> None:
        """The episode's event is acknowledged: forget it; what came meanwhile is in ``requeued``."""
        episode = self._flight.pop(episode_id)
        self.counts["completed"] += 1
        self._due.journal.append(journal_row(episode, deleted=True))
        self.requeued += episode.deferred

    def watermark(self) -> int:
        """Smallest offset whose content is not yet durable; -1 = nothing was read."""
        pending = self._lowest_pending(self._due)
        lowest = min((o for o in (pending, self._floor) if o >= 0), default=self._next_offset)
        return lowest

    def _lowest_pending(self, due: Due) -> int:
        return min((*pending(due, self.episodes.values()), *(r.offset for r in self.requeued)), default=-1)

    def inflight_bytes(self) -> int:
        """Bytes of blocks that hold frames the store has not, and of dead letters not yet taken."""
        return self._due.letter_bytes + sum(e.waiting_blocks() * e.block_bytes for e in self.episodes.values())

    def facts(self) -> JsonDict:
        """Counts for the worker's pages."""
        return {**self.counts, "open": len(self.episodes), "time_ms": self.time_ms}
