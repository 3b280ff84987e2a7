"""What each kind of record does to the episodes of a partition; makes nothing durable, knows no owner."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from kinestream.schemas.errors import LayoutError
from kinestream.schemas.frames import FrameChunk
from kinestream.schemas.layout import Layout
from kinestream.schemas.reasons import DeadLetterReason
from kinestream.streams.assembly.closing import closing
from kinestream.streams.assembly.effects import Due
from kinestream.streams.assembly.episode import CLOSING, DAY_MS, ENDED, OPEN, Episode
from kinestream.streams.assembly.fitting import misfit, refuse
from kinestream.streams.assembly.flight import InFlight
from kinestream.streams.assembly.lookup import Lookup
from kinestream.streams.assembly.timetable import Timetable
from kinestream.streams.assembly.unmarked import Stream, renumbered
from kinestream.streams.assembly.values import (
    INCONSISTENT,
    NO_START,
    OVERSIZE,
    QUARANTINED,
    TIMED_OUT,
    WITHDRAWN,
    DeadLetter,
    Deadlines,
    Loaded,
    LogRecord,
    LogRun,
    Place,
    Word,
)
from kinestream.streams.quality import EpisodeJudge

JudgeFor = Callable[[Mapping[str, Any], Layout], EpisodeJudge]
COUNTED = ("frames", "chunks", "duplicates", "conflicts", "late", "ignored", "withdrawn", "dead_letters", "completed",
           "failures")  # fmt: skip


class Intake:
    """Takes records in log order. ``due`` collects what they leave besides episodes."""

    def __init__(
        self,
        place: Place,
        flight: InFlight,
        timetable: Timetable,
        lookup: Lookup,
        versions: Iterator[int],
        limits: Deadlines,
        judge_for: JudgeFor,
        live_lane: bool,
    ) -> None:
        self._place, self._flight, self._time, self._lookup = place, flight, timetable, lookup
        self._versions, self._limits, self._judge_for, self._live_lane = versions, limits, judge_for, live_lane
        self._episodes, self._streams = flight.by_id, flight.streams
        self.due = Due()
        self.counts: dict[str, int] = dict.fromkeys(COUNTED, 0)
        #: episodes whose frontier may go on
        self.touched: dict[str, Episode] = {}
        #: records that must wait: the owner gives them to ``process`` again
        self.requeued: list[LogRecord] = []
        self._handlers: dict[str, Callable[[LogRecord], None]] = {
            "FrameChunk": self._chunk,
            "EpisodeStart": self._start,
            "EpisodeEnd": self._end,
            "EpisodeMark": self._mark,
            "RobotStatus": self._status,
        }

    def take(self, record: LogRecord | DeadLetter) -> None:
        """Take one record."""
        if isinstance(record, DeadLetter):
            self._bury(record)
        elif handler := self._handlers.get(record.record):
            handler(record)
        else:
            self._refuse(record, INCONSISTENT, f"a {record.record} among frames: only {', '.join(self._handlers)} are")

    # -- starts ---------------------------------------------------------------

    def _start(self, record: LogRecord) -> None:
        start = record.value
        self._flight.hear(start["robot_id"], record)
        known = self._episodes.get(start["episode_id"]) or self._lookup.closed(start["episode_id"])
        if known and known.start.offset == record.offset:
            self._tell_siblings(known.start)
        if start["episode_id"] in self._episodes or start["episode_id"] in self._streams.by_id:
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
        if start["marks"]:
            self._begin(word, layout)
        else:
            self._begin_stream(word)

    def _begin(self, word: Word, layout: Layout) -> None:
        episode = Episode(word, word.broker_ms // DAY_MS, self._judge_for(word.value, layout))
        episode.hold(word.offset)
        self._tell_siblings(word)
        self._add(episode)

    def _tell_siblings(self, word: Word) -> None:
        """Read again it is told again: a former owner may have stored this start and died before their rows."""
        if self._live_lane:
            for earlier in self._flight.of(word.value["robot_id"]):
                earlier.hear_start(word)
                self._time.schedule(earlier, word.broker_ms)

    def _add(self, episode: Episode) -> None:
        """Hold it; where there are too many, the one that began first has timed out."""
        self._flight.add(episode)
        self._time.schedule(episode, episode.start.broker_ms)
        if len(self._episodes) > self._limits.most_open:
            open_ = [e for e in self._episodes.values() if e.phase != CLOSING and not e.reopened]
            if len(open_) > self._limits.most_open:
                first = min(open_, key=lambda e: e.start.offset)
                self._time.close(first, TIMED_OUT, episode.start.broker_ms)

    def _begin_stream(self, word: Word) -> None:
        stream = Stream(word, word.broker_ms // DAY_MS)
        stream.hold(word.offset)
        for gone in self._streams.add(stream):
            self.due.journal.append(gone.journal_row(next(self._versions), deleted=True))

    # -- frames ---------------------------------------------------------------

    def _chunk(self, record: LogRecord) -> None:
        chunk: FrameChunk = record.value
        episode = self._episodes.get(chunk.episode_id)
        if episode is None:
            self._chunk_elsewhere(record)
            return
        self._flight.hear(episode.robot_id, record, but=episode)
        if episode.phase == CLOSING:
            episode.deferred.append(record)
            return
        if problem := refuse(episode, chunk):
            self._refuse(record, INCONSISTENT, f"chunk of episode {episode.id}: {problem}")
            return
        if episode.was_whole:
            self.counts["ignored"] += 1
            return
        if episode.unique >= self._limits.most_frames:
            self._refuse(record, OVERSIZE, f"episode {episode.id} has {episode.unique} frames: no more are taken")
            return
        self._add_frames(episode, record, chunk)

    def take_run(self, run: LogRun) -> bool:
        """Take a run of chunks at once; False where what becomes of one may depend on those before it."""
        episode = self._episodes.get(run.value.episode_id)
        if episode is None or not self._is_plain(episode, run):
            return False
        self._flight.hear(episode.robot_id, run, but=episode)
        episode.add_run(run)
        # Read again, these frames come before any silence could end: earlier words need no journal row.
        episode.heard_pending, episode.run_offset = -1, run.last_offset
        self.counts["chunks"] += len(run.offsets)
        self.counts["frames"] += len(run.value)
        self.touched[episode.id] = episode
        return True

    def _is_plain(self, episode: Episode, run: LogRun) -> bool:
        """It is being recorded, these are its next frames, and nothing that counts falls among them.

        Neither a limit, nor a deadline of its robot, nor a status that tells one of its robot's episodes anything.
        """
        limits, frames = self._limits, episode.unique + len(run.value)
        return (
            episode.phase == OPEN
            and not (episode.reopened or episode.commanded or episode.quarantined)
            and run.value.first_seq > episode.highest_seq
            and frames < limits.truncated_frames
            and frames <= limits.most_frames
            and run.last_ms - run.broker_ms < limits.robot_silence_ms
            and all(
                one.wake_ms > run.last_ms or closing(one, limits)[0] > run.last_ms
                for one in self._flight.of(episode.robot_id)
            )
            and all(self._is_known(status, episode.robot_id) for status in run.statuses)
            and not misfit(episode, run.value)
        )

    def _is_known(self, record: LogRecord, robot_id: str) -> bool:
        """Whether a RobotStatus has nothing new for this robot's episodes: then it is the same behind their frames."""
        status = record.value
        named = {status["recording"], *status["unsent_episodes"]}
        return status["robot_id"] == robot_id and all(
            episode.knows(status["boot_id"], episode.id in named, record.offset)
            for episode in self._flight.of(robot_id)
        )

    def _add_frames(self, episode: Episode, record: LogRecord, chunk: FrameChunk) -> None:
        before = (episode.duplicates, episode.conflicting, episode.last_frame_ms)
        added = episode.add(record, chunk)
        if not added:
            episode.hear(record.offset, record.broker_ms)
        elif record.broker_ms - before[2] < self._limits.robot_silence_ms:
            # Read again, this frame comes before any silence could end: earlier words need no journal row.
            episode.heard_pending = -1
        counts = self.counts
        counts["chunks"] += 1
        counts["frames"] += added
        counts["duplicates"] += episode.duplicates - before[0]
        counts["conflicts"] += episode.conflicting - before[1]
        if added and episode.reopened:
            counts["late"] += added
            self._late(episode, record)
        self.touched[episode.id] = episode
        if episode.unique >= self._limits.truncated_frames or episode.whole:
            self._time.schedule(episode, record.broker_ms)

    def _chunk_elsewhere(self, record: LogRecord) -> None:
        """A chunk of an episode that is not in flight, or of a stream without marks."""
        stream = self._streams.by_id.get(record.value.episode_id)
        if stream is None:
            self._stray(record, record.value.episode_id)
            return
        self._flight.hear(stream.robot_id, record)
        try:
            cut = stream.find(record)
        except LookupError as problem:
            self._refuse(record, INCONSISTENT, f"chunk of stream {stream.id}: {problem}")
            return
        if cut is None:
            if problem_text := self._cut(stream, record):
                self._refuse(record, INCONSISTENT, f"chunk of stream {stream.id}: {problem_text}")
                return
            cut = stream.cuts[-1]
        self._chunk(renumbered(record, cut))

    def _cut(self, stream: Stream, record: LogRecord) -> str:
        """An episode begins with this chunk, if it fits: else why it does not."""
        layout = Layout.from_avro(stream.start.value)
        probe = Episode(stream.start, 0, self._judge_for(stream.start.value, layout))
        if problem := refuse(probe, record.value):
            return problem
        cut = stream.cut(record, self._place)
        if cut.episode_id in self._episodes:
            return ""  # its row was written, that of the stream was not
        word = stream.word(record, cut)
        episode = Episode(word, word.broker_ms // DAY_MS, self._judge_for(word.value, layout))
        episode.hold(word.offset)
        self._add(episode)
        return ""

    # -- other words ------------------------------------------------------------

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
        self._time.schedule(episode, record.broker_ms)

    def _mark(self, record: LogRecord) -> None:
        episode = self._of_word(record)
        if episode is None:
            return
        if any(mark.value == record.value for mark in episode.marks):
            self.counts["ignored"] += 1
            return
        if len(episode.marks) >= self._limits.most_marks:
            self._refuse(record, OVERSIZE, f"episode {episode.id} has {len(episode.marks)} marks: no more are taken")
            return
        episode.marks.append(self._word(episode, record))
        self._late(episode, record)

    def _of_word(self, record: LogRecord) -> Episode | None:
        episode_id = record.value["episode_id"]
        episode = self._episodes.get(episode_id)
        if episode is None:
            if episode_id in self._streams.by_id:
                self._refuse(record, INCONSISTENT, f"{record.record} of {episode_id}, a stream without marks")
            else:
                self._stray(record, episode_id)
            return None
        self._flight.hear(episode.robot_id, record, but=episode)
        if episode.phase == CLOSING:
            episode.deferred.append(record)
            return None
        return episode

    def _word(self, episode: Episode, record: LogRecord) -> Word:
        episode.hold(record.offset)
        episode.heard_ms = max(episode.heard_ms, record.broker_ms)
        self.touched[episode.id] = episode
        return Word(record.offset, record.broker_ms, record.raw, record.value)

    def _late(self, episode: Episode, record: LogRecord) -> None:
        if not episode.reopened:
            return
        if episode.late_ms < 0:
            episode.hold(record.offset)
        episode.late_ms = max(episode.late_ms, record.broker_ms)
        self._time.schedule(episode, record.broker_ms)

    def _status(self, record: LogRecord) -> None:
        status = record.value
        self.due.robots.append((record.broker_ms, status))
        self._flight.hear(status["robot_id"], record)
        named = {status["recording"], *status["unsent_episodes"]}
        for episode in self._flight.of(status["robot_id"]):
            episode.hear_status(status["boot_id"], record.offset)
            episode.name(episode.id in named, record.offset, record.broker_ms)
            self._time.schedule(episode, record.broker_ms)

    # -- records of nobody here -------------------------------------------------

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
        status = closed.facts["status"]
        if status == QUARANTINED:
            self._refuse(record, DeadLetterReason.QUARANTINED, f"episode {episode_id}: {closed.facts['error']}")
        elif status != WITHDRAWN and record.record == "FrameChunk" and (problem := _misfit(closed, record.value)):
            self._refuse(record, INCONSISTENT, f"chunk of episode {episode_id}, which is closed: {problem}")
        else:
            self.counts["withdrawn" if status == WITHDRAWN else "ignored"] += 1
        return True

    def _refuse(self, record: LogRecord, reason: DeadLetterReason, text: str) -> None:
        self._bury(DeadLetter.of(record, reason, text))

    def _bury(self, letter: DeadLetter) -> None:
        self.counts["dead_letters"] += 1
        self.due.bury(letter)


def _misfit(closed: Loaded, chunk: FrameChunk) -> str:
    """Why a chunk cannot be a copy of what this episode has; empty = it may be. Values are not compared."""
    declared = closed.start.value["layout_id"]
    if chunk.layout_id != declared:
        return f"layout {chunk.layout_id.hex()} where the start declared {declared.hex()}"
    n_total = closed.end.value["n_total"] if closed.end else None
    last = chunk.first_seq + len(chunk) - 1
    if n_total is not None and last >= n_total:
        return f"frame {last} where the end mark announced {n_total} frames"
    return ""
