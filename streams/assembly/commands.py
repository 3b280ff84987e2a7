"""What people want done with an episode, carried out once; the log of commands has offsets of its own.

REVIEW and RESCORE are known and not yet carried out: they are refused with that text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from kinestream.streams.assembly.episode import CLOSING, Episode
from kinestream.streams.assembly.lookup import Lookup, is_new
from kinestream.streams.assembly.timetable import Timetable
from kinestream.streams.assembly.values import (
    CORRECT,
    INCONSISTENT,
    NO_START,
    QUARANTINED,
    WITHDRAW,
    Command,
    DeadLetter,
    LogRecord,
)

#: Commands of an episode that are known again by their id, the newest.
OBEYED: Final = 64
#: Labels a person may set right: all but those that say which robot made which take.
CORRECTABLE: Final = ("skill", "area", "site", "station", "operator", "job", "task")


class Commands:
    """Takes the records of a partition of ``commands`` whose episodes lie in ours."""

    def __init__(self, episodes: Mapping[str, Episode], timetable: Timetable, lookup: Lookup) -> None:
        self._episodes, self._time, self._lookup = episodes, timetable, lookup
        #: commands that must wait, because their episode is being announced: the owner gives them again
        self.requeued: list[LogRecord] = []
        #: first command of an episode whose journal row is not yet durable; those that are on their way
        self._pending: dict[str, int] = {}
        self._taken: dict[str, int] = {}
        self._next = -1

    def obey(self, record: LogRecord, hold: Callable[[Episode], None]) -> DeadLetter | None:
        """Carry a command out; a dead letter (offset in the log of commands) says why it cannot be."""
        self._next = max(self._next, record.offset + 1)
        episode_id = record.value["episode_id"]
        if problem := _problem(record):
            return _refused(record, problem)
        episode = self._episodes.get(episode_id)
        if episode is None:
            return self._elsewhere(record, episode_id)
        if episode.phase == CLOSING:
            self.requeued.append(record)
        elif is_new(record, episode.command.offset if episode.command else -1, episode.obeyed):
            self._carry_out(episode, record)
            hold(episode)
        return None

    def _carry_out(self, episode: Episode, record: LogRecord) -> None:
        value = record.value
        episode.command = Command(
            value["command_id"], record.offset, record.broker_ms, value["kind"], value["by"], value["note"]
        )
        if value["command_id"]:
            episode.obeyed = [*episode.obeyed, value["command_id"]][-OBEYED:]
        if value["kind"] == CORRECT:
            episode.corrected = {**episode.corrected, **value["labels"]}
        episode.commanded = episode.reopened or value["kind"] == WITHDRAW
        self._pending.setdefault(episode.id, record.offset)
        self._time.schedule(episode, max(self._time.time_ms, record.broker_ms))

    def _elsewhere(self, record: LogRecord, episode_id: str) -> DeadLetter | None:
        if not self._lookup.asked(episode_id):
            self.requeued.append(record)
            return None
        closed = self._lookup.closed(episode_id)
        if closed is None:
            return _refused(record, f"episode {episode_id} is not known here", unknown=True)
        if closed.facts["status"] == QUARANTINED:
            return _refused(record, f"episode {episode_id} is quarantined")
        # withdrawn before, or carried out before: nothing is left to do
        return None

    def taken(self) -> None:
        """The journal rows of all commands so far are on their way."""
        self._taken, self._pending = {**self._pending, **self._taken}, {}

    def confirmed(self) -> None:
        """They are durable."""
        self._taken = {}

    def watermark(self) -> int:
        """Smallest offset of a command whose effect is not yet durable; -1 = none was read."""
        waiting = [*self._pending.values(), *self._taken.values(), *(r.offset for r in self.requeued)]
        return min(waiting, default=self._next)


def _problem(record: LogRecord) -> str:
    if record.record != "EpisodeCommand":
        return f"a {record.record} among commands"
    value = record.value
    if value["kind"] not in (CORRECT, WITHDRAW):
        return f"{value['kind']} is not carried out: {CORRECT} and {WITHDRAW} are"
    wrong = sorted(value["labels"].keys() - set(CORRECTABLE)) if value["kind"] == CORRECT else []
    return f"labels {wrong} cannot be set right: {', '.join(CORRECTABLE)} can" if wrong else ""


def _refused(record: LogRecord, text: str, *, unknown: bool = False) -> DeadLetter:
    reason = NO_START if unknown else INCONSISTENT
    return DeadLetter.of(record, reason, text)
