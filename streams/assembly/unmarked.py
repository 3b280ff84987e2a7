"""Robots without marks: a stream of frames is cut into episodes where broker time jumps; frames are not held here."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Final

from kinestream.schemas.frames import FrameChunk
from kinestream.streams.assembly.values import JournalRow, JsonDict, Loaded, LogRecord, Place, Word

#: Cuts a stream remembers, for frames that come late; streams a robot has, for boots that take turns.
REMEMBERED: Final = 16
STREAMS: Final = 4


@dataclass(slots=True)
class Cut:
    """One episode of a stream: the record and the frame it begins with; once closed, its end."""

    offset: int
    base: int
    episode_id: str
    #: broker time from which frames beyond number ``next`` are of the next episode; -1 = it is open
    closed_ms: int = -1
    next: int = -1


class Stream:
    """An EpisodeStart with ``marks = false``, and its last cuts."""

    def __init__(self, start: Word, stored_day: int, cuts: Iterable[Cut] = ()) -> None:
        self.start = start
        self.id: str = start.value["episode_id"]
        self.robot_id: str = start.value["robot_id"]
        self.stored_day = stored_day
        self.cuts = list(cuts)
        #: first offset whose effect waits for a journal row; -1 = none
        self.journal_pending = -1

    @classmethod
    def loaded(cls, loaded: Loaded) -> Stream:
        """From its journal row."""
        return cls(loaded.start, loaded.stored_day, [Cut(**cut) for cut in loaded.facts["cuts"]])

    def find(self, record: LogRecord) -> Cut | None:
        """The episode a chunk belongs to; None: one that begins with it. Raises :class:`LookupError` if long gone."""
        if not self.cuts:
            return None
        first_seq = record.value.first_seq
        begun = [cut for cut in self.cuts if cut.offset <= record.offset]
        if begun and begun[-1] is self.cuts[-1]:
            last = begun[-1]
            if 0 <= last.closed_ms <= record.broker_ms and first_seq >= last.next:
                return None
        for cut in reversed(begun):
            if cut.base <= first_seq:
                return cut
        raise LookupError(f"frame {first_seq} lies before frame {self.cuts[0].base}, from which on the stream is known")

    def cut(self, record: LogRecord, place: Place) -> Cut:
        """A new episode begins with this chunk."""
        name = f"{place.cluster_id}/{place.topic}/{place.partition}/{record.offset}"
        cut = Cut(record.offset, record.value.first_seq, str(uuid.uuid5(uuid.NAMESPACE_URL, name)))
        self.cuts = [*self.cuts[1 - REMEMBERED :], cut]
        self.hold(record.offset)
        return cut

    def close(self, episode_id: str, closed_ms: int, frames: int, offset: int) -> None:
        """An episode of it has closed for the first time, with ``frames`` as highest number + 1."""
        for cut in self.cuts:
            if cut.episode_id == episode_id and cut.closed_ms < 0:
                cut.closed_ms, cut.next = closed_ms, cut.base + frames
                self.hold(offset)

    def hold(self, offset: int) -> None:
        """The watermark may not pass ``offset`` until the next journal row is durable."""
        if self.journal_pending < 0:
            self.journal_pending = offset

    def word(self, record: LogRecord, cut: Cut) -> Word:
        """The start of an episode: that of the stream, where and when the episode began."""
        value = {**self.start.value, "episode_id": cut.episode_id}
        return Word(record.offset, record.broker_ms, self.start.raw, value)

    def journal_row(self, version: int, *, deleted: bool = False) -> JournalRow:
        """Its row: a stream is no episode, and never closes."""
        facts: JsonDict = {
            "words": [[self.start.offset, self.start.broker_ms]],
            "cuts": [asdict(cut) for cut in self.cuts],
        }
        raw = self.start.raw
        return JournalRow(self.id, version, self.stored_day, "OPEN", facts, raw, (), b"", is_deleted=deleted)


def is_stream(loaded: Loaded) -> bool:
    """Whether a journal row is that of a stream."""
    return "cuts" in loaded.facts


def renumbered(record: LogRecord, cut: Cut) -> LogRecord:
    """The chunk as one of its episode, whose frames begin at 0."""
    chunk: FrameChunk = record.value
    value = replace(chunk, episode_id=cut.episode_id, first_seq=chunk.first_seq - cut.base)
    return replace(record, value=value)


class Streams:
    """The streams of a partition, by id; a robot has few."""

    def __init__(self) -> None:
        self.by_id: dict[str, Stream] = {}

    def add(self, stream: Stream) -> list[Stream]:
        """Hold a stream; gives those of its robot that are now forgotten."""
        self.by_id[stream.id] = stream
        siblings = [other for other in self.by_id.values() if other.robot_id == stream.robot_id]
        gone = sorted(siblings, key=lambda s: s.start.offset)[:-STREAMS]
        for other in gone:
            del self.by_id[other.id]
        return gone

    def of(self, episode_id: str) -> Stream | None:
        """The stream that has an episode of this id among its last ones."""
        return next((s for s in self.by_id.values() if any(c.episode_id == episode_id for c in s.cuts)), None)
