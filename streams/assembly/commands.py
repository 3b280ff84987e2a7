"""What people want done with an episode, carried out once; the log of commands has offsets of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from kinestream.schemas.errors import RulesError
from kinestream.schemas.rulebook import check_overlays
from kinestream.streams.assembly.episode import CLOSING, Episode
from kinestream.streams.assembly.lookup import NO_COMMAND, Lookup, is_new, is_stale
from kinestream.streams.assembly.revisions import REASONS
from kinestream.streams.assembly.seal import JudgeFor
from kinestream.streams.assembly.timetable import Timetable
from kinestream.streams.assembly.values import (
    CORRECT,
    INCONSISTENT,
    NO_START,
    QUARANTINED,
    RESCORE,
    REVIEW,
    WITHDRAW,
    Command,
    DeadLetter,
    LogRecord,
    Review,
)

#: Commands of an episode that are known again by their id, the newest.
OBEYED: Final = 64
#: Labels a person may set right: all but those that say which robot made which take.
CORRECTABLE: Final = ("skill", "area", "site", "station", "operator", "job", "task")
#: What a RESCORE may say an episode is to be judged by.
PINS: Final = ("rules", "model", "task")
#: What a person may say of an episode.
VERDICTS: Final = ("ACCEPT", "REJECT")


class Commands:
    """Takes the records of a partition of ``commands`` whose episodes lie in ours."""

    def __init__(
        self, episodes: Mapping[str, Episode], timetable: Timetable, lookup: Lookup, judge_for: JudgeFor
    ) -> None:
        self._episodes, self._time, self._lookup, self._judge_for = episodes, timetable, lookup, judge_for
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
        elif episode.withdrawn:
            pass  # its records are read again before it closes: nothing takes a withdrawal back
        elif is_new(record, _last(episode), episode.obeyed):
            return self._carry_out(episode, record, hold)
        return None

    def _carry_out(self, episode: Episode, record: LogRecord, hold: Callable[[Episode], None]) -> DeadLetter | None:
        value = record.value
        if value["kind"] == RESCORE:
            if is_stale(value, episode.history.revision):
                return None
            if problem := self._other_rules(episode, value):
                return _refused(record, problem)
        episode.command = Command(
            value["command_id"], record.offset, record.broker_ms, value["kind"], value["by"], value["note"]
        )
        if value["command_id"]:
            episode.obeyed = [*episode.obeyed, value["command_id"]][-OBEYED:]
        if value["kind"] in (CORRECT, REVIEW):
            self._relabel(episode, value["labels"])
        if value["kind"] == REVIEW and value["verdict"] in VERDICTS:
            said = value["verdict"], value["by"], value["note"], value["command_id"]
            episode.review = Review(*said, record.broker_ms, value["revision"])
        elif value["kind"] == RESCORE:
            episode.pins = dict(value["pins"])
            episode.frontier.dirty = True
        episode.commanded = episode.reopened or value["kind"] == WITHDRAW
        self._pending.setdefault(episode.id, record.offset)
        hold(episode)
        self._time.schedule(episode, max(self._time.time_ms, record.broker_ms))
        return None

    def _relabel(self, episode: Episode, labels: Mapping[str, str]) -> None:
        """Another skill may have other rules: then it is judged again, from its blocks.

        The statistics of another task are not its own any more; those of its new one a RESCORE brings.
        """
        judge, skill = episode.frontier.judge, episode.label("skill")
        episode.corrected = {**episode.corrected, **labels}
        if episode.label("skill") != skill:
            episode.pins = {**episode.pins, "task": ""}
        if self._judge_for(episode.judged_as(), episode.layout).rule_version != judge.rule_version:
            episode.frontier.dirty = True

    def _other_rules(self, episode: Episode, value: Mapping[str, Any]) -> str:
        """Why an episode cannot be rescored as its sender meant it, or an empty text."""
        pins = value["pins"]
        if alien := sorted(pins.keys() - set(PINS)):
            return f"pins {alien} say nothing: {', '.join(PINS)} do"
        try:
            check_overlays(pins.get("rules", ""))
        except RulesError as problem:
            return str(problem)
        try:
            version = self._judge_for(episode.judged_as(pins), episode.layout).rule_version
        except Exception as problem:  # a threshold no judge can be made with: it must not cost the worker its life
            return f"rules by which nothing can be judged: {problem!r}"
        if value["rule_version"] not in ("", version):
            return f"rules {value['rule_version'][:200]} are meant, but this worker would judge by {version}"
        return ""

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


def _last(episode: Episode) -> tuple[int, int]:
    return (episode.command.offset, episode.command.broker_ms) if episode.command else NO_COMMAND


def _problem(record: LogRecord) -> str:
    if record.record != "EpisodeCommand":
        return f"a {record.record} among commands"
    value = record.value
    if value["kind"] not in REASONS:
        return f"{value['kind']} is not carried out: {', '.join(REASONS)} are"
    if value["kind"] == REVIEW and value["verdict"] not in VERDICTS and not value["labels"]:
        return f"a REVIEW that says {value['verdict']} and no label: {' or '.join(VERDICTS)}, or labels, are needed"
    if value["revision"] < 0:
        return f"revision {value['revision']} was never seen: give the one that was, or 0"
    wrong = sorted(value["labels"].keys() - set(CORRECTABLE)) if value["kind"] in (CORRECT, REVIEW) else []
    return f"labels {wrong} cannot be set right: {', '.join(CORRECTABLE)} can" if wrong else ""


def _refused(record: LogRecord, text: str, *, unknown: bool = False) -> DeadLetter:
    reason = NO_START if unknown else INCONSISTENT
    return DeadLetter.of(record, reason, text)
