"""The assembler of one partition: log records in; rows, journal entries, findings, dead letters and a watermark out.

It reads no clock and does no I/O. Its owner, per fetch: looks up what ``unknown`` names, gives it to ``learn`` and
``reload``, calls ``process``; then ``take`` -> make durable -> ``confirm``, and for each episode that closes
``seal`` -> store and announce -> ``announced``, or ``failed``. After an assignment: ``restore`` each row of the
journal, and bring the ``backlog`` to ``catch_up`` when there is time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import count
from operator import itemgetter

from kinestream.streams.assembly.closing import NEVER
from kinestream.streams.assembly.commands import Commands
from kinestream.streams.assembly.effects import Due, collect, collect_streams, has_aged, pending
from kinestream.streams.assembly.episode import CLOSING, Episode
from kinestream.streams.assembly.findings import light, live_changes
from kinestream.streams.assembly.flight import InFlight
from kinestream.streams.assembly.intake import Intake, JudgeFor
from kinestream.streams.assembly.journal import rebuild, tombstone
from kinestream.streams.assembly.loading import put_back
from kinestream.streams.assembly.lookup import Lookup, freed_blocks
from kinestream.streams.assembly.seal import look, seal
from kinestream.streams.assembly.timetable import Timetable
from kinestream.streams.assembly.unmarked import Stream, is_stream
from kinestream.streams.assembly.values import (
    QUARANTINED,
    BlockRow,
    Closed,
    DeadLetter,
    Deadlines,
    JournalRow,
    JsonDict,
    Loaded,
    LogRecord,
    LogRun,
    Place,
)
from kinestream.streams.quality import Print, Twins

__all__ = ["Due", "PartitionAssembler"]

#: Characters of an error that the journal keeps.
ERROR_TEXT = 500


class PartitionAssembler:
    """All episodes in flight of one partition."""

    def __init__(self, place: Place, limits: Deadlines, judge_for: JudgeFor, *, live_lane: bool = True) -> None:
        self.place = place
        self.limits = limits
        self.live_lane = live_lane
        self.judge_for = judge_for
        self._flight = InFlight()
        self.episodes = self._flight.by_id
        self._time = Timetable(self.episodes, limits, self._closes)
        self._lookup = Lookup(self._flight)
        self._versions = count(1)
        self._intake = Intake(
            place, self._flight, self._time, self._lookup, self._versions, limits, judge_for, live_lane
        )
        self._commands = Commands(self.episodes, self._time, self._lookup, judge_for)
        self.counts = self._intake.counts
        #: the highest broker time read since the start: what was restored may be ahead of it
        self._read_ms = -1
        self._feeding = False
        #: episodes with durable blocks that may leave memory
        self._written: set[str] = set()
        self._next_offset = -1
        #: offset behind the last record read: runs reach further than what was taken at their place
        self._end = -1
        self._floor = -1

    @property
    def time_ms(self) -> int:
        """Partition time: the highest broker time so far, ms."""
        return self._time.time_ms

    @property
    def requeued(self) -> list[LogRecord]:
        """Records that came while their episode was closing: the owner gives them to ``process`` again."""
        return self._intake.requeued

    @property
    def requeued_commands(self) -> list[LogRecord]:
        """The same of commands, for ``obey``."""
        return self._commands.requeued

    # -- what the owner must look up before a fetch -------------------------

    def unknown(self, records: Iterable[LogRecord]) -> set[str]:
        """Episode ids of these records that only the store may know. The first call of every fetch.

        Until ``process`` nothing leaves memory: what is loaded for these records stays for them.
        """
        self._feeding = True
        return self._lookup.ask(records)

    def learn(self, found: Iterable[Loaded], records: Iterable[LogRecord]) -> set[str]:
        """Take what the store knows of them; returns those whose blocks must come before ``process``."""
        return self._lookup.learn(found, records)

    def freed_blocks(self, records: Iterable[LogRecord]) -> dict[str, set[int]]:
        """Blocks that are only in the store, and of which these records bring further copies."""
        return freed_blocks(records, self._flight)

    def reload(self, episode_id: str, rows: Sequence[BlockRow]) -> None:
        """Reopen a closed episode from its row and blocks (or, if it is open, put freed blocks back).

        For reopening, rows of full blocks may come without their channels, as for ``restore``.
        """
        episode = self.episodes.get(episode_id)
        if episode is not None:
            for row in rows:
                put_back(episode, row)
        elif closed := self._lookup.closed(episode_id):
            episode = rebuild(closed, rows, self.judge_for)
            self._flight.add(episode)
            if episode.unique > closed.facts["unique"]:
                # A paused former owner stored late frames that no revision tells of: read now, they are replays.
                episode.late_ms = episode.last_frame_ms
                episode.hold(max(self._next_offset, 0))
                self._time.schedule(episode, self.time_ms)

    # -- assignment -------------------------------------------------------------

    def restore(self, loaded: Loaded, rows: Sequence[BlockRow]) -> None:
        """Take an episode or a stream from the journal, before the first record.

        ``rows``: its blocks. Those of full blocks may come without their channels: they are then its backlog, to be
        brought behind everything else; an episode that closes before that is judged from its rows.
        """
        if is_stream(loaded):
            self._flight.streams.add(Stream.loaded(loaded))
            return
        episode = rebuild(loaded, rows, self.judge_for)
        self._flight.add(episode)
        self._check(episode)
        self._time.resume(episode)

    def backlog(self) -> dict[str, list[int]]:
        """Episodes whose live metrics wait for blocks that only the store holds, and which, ascending."""
        waiting = {e.id: e.frontier.backlog() for e in self.episodes.values() if e.frontier.cold and e.phase != CLOSING}
        return {episode_id: blocks for episode_id, blocks in waiting.items() if blocks}

    def catch_up(self, episode_id: str, rows: Sequence[BlockRow]) -> None:
        """Judge blocks of the backlog, whole rows, from its first on; as many at a time as the owner likes."""
        episode = self.episodes.get(episode_id)
        if episode is None or episode.phase == CLOSING:
            return
        episode.frontier.catch_up(rows)
        self._check(episode)
        if not episode.frontier.cold:
            self._intake.touched[episode_id] = episode
            self._written.add(episode_id)

    # -- records --------------------------------------------------------------

    def process(self, records: Sequence[LogRecord | DeadLetter], *, live: bool) -> None:
        """Take the records of a fetch in log order. ``live``: caught up, so findings are raised at once."""
        intake = self._intake
        if intake.requeued:
            given = {record.offset for record in records}
            intake.requeued = [record for record in intake.requeued if record.offset not in given]
        joins = not self._crowds(records)
        apart: list[tuple[int, LogRecord | DeadLetter]] = []
        for record in records:
            self._take_before(record.offset, apart)
            self._time.pass_time(
                record.broker_ms, record.offset, record.last_offset if isinstance(record, LogRun) else -1
            )
            if not isinstance(record, LogRun):
                self._take(record)
            elif joins and intake.take_run(record):
                self._read(record.last_offset, record.last_ms)
            else:
                apart = sorted([*apart, *((part.offset, part) for part in record.parts())], key=itemgetter(0))
        self._take_before(NEVER, apart)
        self._next_offset = max(self._next_offset, self._end)
        if records:  # one that had to wait may have set a deadline that is over; of none, nothing was read
            self._time.pass_time(self._read_ms, self._next_offset)
        self._judge_touched(live)
        self._feeding = False
        self._let_go()

    def _take_before(self, offset: int, apart: list[tuple[int, LogRecord | DeadLetter]]) -> None:
        """Take what runs that were taken apart have before ``offset``: each record at its own place in the log."""
        while apart and apart[0][0] < offset:
            _, record = apart.pop(0)
            self._time.pass_time(record.broker_ms, record.offset)
            self._take(record)

    def _take(self, record: LogRecord | DeadLetter) -> None:
        self._intake.take(record)
        self._next_offset = max(self._next_offset, record.offset + 1)
        self._read(record.offset, record.broker_ms)

    def _read(self, offset: int, broker_ms: int) -> None:
        self._end, self._read_ms = max(self._end, offset + 1), max(self._read_ms, broker_ms)

    def _crowds(self, records: Sequence[LogRecord | DeadLetter]) -> bool:
        """Whether starts among these may close episodes of other robots, which then get no more of their chunks."""
        return len(self.episodes) + len(records) > self.limits.most_open

    def obey(self, records: Sequence[LogRecord]) -> list[DeadLetter]:
        """Carry out commands, looked up as records are; gives those that cannot be (offsets in their own log)."""
        given = {record.offset for record in records}
        commands = self._commands
        commands.requeued = [record for record in commands.requeued if record.offset not in given]
        refused = [commands.obey(record, lambda e: e.hold(max(self._next_offset, 0))) for record in records]
        self._feeding = False
        self._let_go()
        return [letter for letter in refused if letter is not None]

    def command_watermark(self) -> int:
        """Smallest offset of a command whose effect is not yet durable; -1 = none was read."""
        return self._commands.watermark()

    # -- time -------------------------------------------------------------------

    def pass_time(self, broker_ms: int) -> None:
        """Let the deadlines up to ``broker_ms`` fire; called when an idle log's time is confirmed."""
        self._time.pass_time(broker_ms)

    def closes(self) -> bool:
        """Whether an episode waits to be sealed."""
        return bool(self._intake.due.closing)

    def has_aged_blocks(self, now_ms: int) -> bool:
        """Whether a block would be due at ``now_ms`` by its age."""
        return has_aged(self.episodes.values(), now_ms - self.limits.block_age_ms)

    def next_deadline(self) -> int:
        """Broker time at which something may be due; the far future if nothing is."""
        return self._time.next_ms()

    def _closes(self, episode: Episode) -> None:
        self._intake.touched.pop(episode.id, None)
        if not episode.discarded:
            episode.frontier.finish(episode.highest_seq)
            self._check(episode)
        if episode.unmarked and not episode.reopened and (stream := self._flight.streams.of(episode.id)):
            stream.close(episode.id, episode.closed_ms, episode.highest_seq + 1, max(self._next_offset, 0))
        self._intake.due.closing.append(episode.id)

    def _judge_touched(self, live: bool) -> None:
        touched = self._intake.touched
        for episode in touched.values():
            episode.frontier.advance(self.time_ms, self.limits.hole_ms, episode.highest_seq)
            if episode.frontier.cold:
                self._check(episode)
            elif live and not episode.reopened and (changes := live_changes(episode, self.time_ms)):
                self._intake.due.findings += changes
                episode.hold(self._next_offset)  # so that after a restart its lamps are known, and go out
        self._intake.touched = {e.id: e for e in touched.values() if e.frontier.hole_since_ms >= 0}

    # -- failures ---------------------------------------------------------------

    def failed(self, episode_id: str, error: str) -> None:
        """Something of this episode failed and will again (a metric, a row that the store refuses); an outage is none.

        It is tried again at the next flush. After ``limits.attempts`` failures the episode is quarantined: it closes
        with that status, and :attr:`Closed.rewind` says where its raw records are.
        """
        episode = self.episodes.get(episode_id)
        if episode is None:
            return
        self.counts["failures"] += 1
        episode.attempts += 1
        episode.error = error[:ERROR_TEXT]
        if episode.sealed is not None:  # what it found is told: what closes it otherwise takes that back
            light(episode, episode.sealed.findings)
        if episode.attempts >= self.limits.attempts and not episode.quarantined:
            episode.quarantined, episode.sealed = True, None  # what was sealed cannot be announced
        episode.hold(max(self._next_offset, 0))
        for block in episode.blocks.values():
            if not block.durable:
                block.pending_offset = -1 if episode.quarantined else episode.start.offset
        if episode.phase != CLOSING:
            self._time.schedule(episode, self.time_ms)
        elif episode_id not in self._intake.due.closing:
            self._intake.due.closing.append(episode_id)
        if episode.quarantined:
            episode.closing_status = QUARANTINED

    def _check(self, episode: Episode) -> None:
        """A judge that failed while it was fed counts as one failure."""
        if episode.frontier.problem:
            problem, episode.frontier.problem = episode.frontier.problem, ""
            self.failed(episode.id, problem)

    # -- effects ------------------------------------------------------------------

    def take(self, *, everything: bool = False) -> Due:
        """What is due now, or ``everything`` that waits, due or not; the next call only after ``confirm``."""
        due, self._intake.due = self._intake.due, Due()
        self._floor = self._lowest_pending(due)
        aged_ms = NEVER if everything else self.time_ms - self.limits.block_age_ms
        collect(due, self.episodes.values(), aged_ms, self._versions)
        # Behind the episodes that were cut out of them: a cut without its episode would have no start.
        collect_streams(due, self._flight.streams.by_id.values(), self._versions)
        self._commands.taken()
        return due

    def confirm(self, due: Due) -> None:
        """``due`` is durable: the watermark may pass it, full blocks leave memory.

        Rows that the store refused are taken out of it before, and their episodes given to ``failed`` after.
        """
        self._floor = -1
        self._commands.confirmed()
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
        for episode in idle:
            if not episode.commanded and all(block.durable for block in episode.blocks.values()):
                self._flight.pop(episode.id)

    def look(self, episode_id: str, rows: Sequence[BlockRow] | None) -> Print | None:
        """What a closing episode is to be compared with others by, None = with none; a dirty one needs its ``rows``."""
        return look(self.episodes[episode_id], rows, self.judge_for)

    def seal(self, episode_id: str, rows: Sequence[BlockRow] | None, twins: Twins | None = None) -> Closed | None:
        """The closed episode, or None where nothing differs from its last revision; a dirty one needs its ``rows``.

        ``twins``: what it repeats of others. Asked again, it gives the same, until it is quarantined. What it raises is
        a failure of this episode: ``failed``, and no ``announced``.
        """
        episode = self.episodes[episode_id]
        if episode.sealed is None:
            episode.sealed = seal(episode, rows, self.place, self.judge_for, self._versions, twins)
        return episode.sealed

    def announced(self, episode_id: str) -> None:
        """The episode's event is acknowledged: forget it; what came meanwhile is in ``requeued``."""
        episode = self.episodes[episode_id]
        self._forget(episode)
        self.counts["completed"] += 1
        self._intake.requeued += episode.deferred

    def _forget(self, episode: Episode) -> None:
        self._flight.pop(episode.id)
        self._intake.due.journal.append(self.tombstone(episode.id, episode.stored_day))

    def tombstone(self, episode_id: str, stored_day: int) -> JournalRow:
        """The journal row that ends an episode; for those whose announcement is repeated after an assignment."""
        return tombstone(episode_id, stored_day, next(self._versions))

    def watermark(self) -> int:
        """Smallest offset whose content is not yet durable; -1 = nothing was read."""
        waiting = self._lowest_pending(self._intake.due)
        lowest = min((o for o in (waiting, self._floor) if o >= 0), default=self._next_offset)
        return lowest

    def _lowest_pending(self, due: Due) -> int:
        offsets = pending(due, self.episodes.values(), self._flight.streams.by_id.values())
        return min((*offsets, *(r.offset for r in self._intake.requeued)), default=-1)

    def inflight_bytes(self) -> int:
        """Bytes of blocks that hold frames the store has not, of dead letters, and of records that must wait."""
        held = self._intake.due.letter_bytes + sum(len(record.raw) for record in self._intake.requeued)
        held += sum(len(r.raw) for e in self.episodes.values() if e.deferred for r in e.deferred)
        return held + sum(episode.waiting_blocks() * episode.block_bytes for episode in self.episodes.values())

    def facts(self) -> JsonDict:
        """Counts for the worker's pages."""
        return {**self.counts, "open": len(self.episodes), "time_ms": self.time_ms}
