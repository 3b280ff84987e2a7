"""What a fetch needs from the store before it can be processed: closed episodes and freed blocks; never reads it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Final

from kinestream.schemas.content_hash import BLOCK
from kinestream.streams.assembly.episode import Episode
from kinestream.streams.assembly.flight import InFlight
from kinestream.streams.assembly.unmarked import Stream, renumbered
from kinestream.streams.assembly.values import QUARANTINED, RESCORE, WITHDRAWN, Loaded, LogRecord, LogRun

#: Offset and broker time of the last command of an episode that had none.
NO_COMMAND: Final = (-1, -1)


class Lookup:
    """The store's answers for one fetch."""

    def __init__(self, flight: InFlight) -> None:
        self._flight = flight
        self._asked: set[str] = set()
        self._found: dict[str, Loaded] = {}

    def ask(self, records: Iterable[LogRecord]) -> set[str]:
        """Ids of these records that only the store may know."""
        self._found = {}
        self._asked = {_episode_id(r) for r in self._placed(records)} - self._flight.by_id.keys()
        self._asked -= self._flight.streams.by_id.keys()
        return set(self._asked)

    def learn(self, found: Iterable[Loaded], records: Iterable[LogRecord]) -> set[str]:
        """Take the answer; gives the ids of closed episodes to which these records may add something."""
        self._found = {stored.episode_id: stored for stored in found}
        self._close_cuts()
        return {i for r in self._placed(records) if self._may_add(i := _episode_id(r), r)} if self._found else set()

    def _close_cuts(self) -> None:
        """A former owner may have closed the episode that a stream's frames go to: what comes later is of the next."""
        for stored in self._found.values():
            if stream := self._flight.streams.of(stored.episode_id):
                facts = stored.facts
                stream.close(stored.episode_id, facts["first_closed_ms"], facts["first_frames"], stored.start.offset)

    def _placed(self, records: Iterable[LogRecord]) -> Iterable[LogRecord]:
        """But for statuses; chunks of streams as those of their episodes, where these have begun."""
        streams = self._flight.streams.by_id
        for record in records:
            if record.record == "FrameChunk" and streams and (stream := streams.get(record.value.episode_id)):
                yield from _of_stream(record, stream)
            elif record.record != "RobotStatus":
                yield record

    def _may_add(self, episode_id: str, record: LogRecord) -> bool:
        stored = self._found.get(episode_id)
        if stored is None or record.record == "EpisodeStart" or stored.facts["status"] in (QUARANTINED, WITHDRAWN):
            return False
        if record.record == "FrameChunk":
            return not stored.facts["whole"]
        if record.record == "EpisodeEnd":
            return stored.end is None
        if record.record == "EpisodeCommand":
            before = stored.facts["command"]
            last = (before["offset"], before["broker_ms"]) if before else NO_COMMAND
            new = is_new(record, last, stored.facts.get("obeyed", ()))
            return new and not is_stale(record.value, stored.facts["revision"])
        return all(mark.value != record.value for mark in stored.marks)

    def asked(self, episode_id: str) -> bool:
        """Whether the store was asked for it. One announced meanwhile was not: its records must wait for an answer."""
        return episode_id in self._asked

    def closed(self, episode_id: str) -> Loaded | None:
        """The closed episode of this id, if the store has one."""
        return self._found.get(episode_id)


def is_new(command: LogRecord, last: tuple[int, int], obeyed: Collection[str]) -> bool:
    """Whether an episode that has carried these out has this one still before it; ``last``: offset and ms of the last.

    Its place in the log tells a command that is read again; its id, one that its sender repeated. A broker that lost
    its tail, or was replaced, hands offsets out again: then it is later by its time.
    """
    later = command.offset > last[0] or command.broker_ms > last[1]
    return later and command.value["command_id"] not in obeyed


def is_stale(value: Mapping[str, Any], revision: int) -> bool:
    """Whether a RESCORE was meant for another revision: a command read again may not judge what came later."""
    return value["kind"] == RESCORE and value["revision"] not in (0, revision)


def freed_blocks(records: Iterable[LogRecord], flight: InFlight) -> dict[str, set[int]]:
    """Blocks that are only in the store, and of which these records bring further copies."""
    wanted: dict[str, set[int]] = {}
    streams = flight.streams.by_id
    for record in records:
        if record.record != "FrameChunk":
            continue
        if streams and (stream := streams.get(record.value.episode_id)):
            for part in _of_stream(record, stream):
                _add_freed(part, flight.by_id.get(part.value.episode_id), wanted)
        else:
            _add_freed(record, flight.by_id.get(record.value.episode_id), wanted)
    return wanted


def _add_freed(record: LogRecord, episode: Episode | None, wanted: dict[str, set[int]]) -> None:
    if episode is None or not episode.stored:
        return
    first = record.value.first_seq
    offset = record.last_offset if isinstance(record, LogRun) else record.offset
    for index in range(first // BLOCK, (first + max(len(record.value), 1) - 1) // BLOCK + 1):
        stored = episode.stored.get(index)
        # Conflicting copies are looked at again: a former owner may have counted them, and told of none.
        if stored is not None and (offset > stored.last_offset or stored.conflicts):
            wanted.setdefault(episode.id, set()).add(index)


def _of_stream(record: LogRecord, stream: Stream) -> Iterator[LogRecord]:
    """As chunks of its episodes, where these have begun; a run one by one, as they may lie in several."""
    for part in record.parts() if isinstance(record, LogRun) else [record]:
        if isinstance(part, LogRecord):
            try:
                cut = stream.find(part)
            except LookupError:
                cut = None
            yield renumbered(part, cut) if cut else part


def _episode_id(record: LogRecord) -> str:
    value = record.value
    return str(value.episode_id if record.record == "FrameChunk" else value["episode_id"])
