"""What a worker would make of messages: its own decoder and assembler with a store in memory; announces nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from kinestream.schemas.codec import Codec
from kinestream.schemas.content_hash import BLOCK
from kinestream.schemas.models import Models
from kinestream.schemas.settings import Settings
from kinestream.streams.assembly.partition import PartitionAssembler
from kinestream.streams.assembly.values import (
    BlockRow,
    Closed,
    DeadLetter,
    Deadlines,
    JournalRow,
    Loaded,
    LogRecord,
    Place,
    Word,
)
from kinestream.streams.judging import JUDGES


class MemoryWorker:
    """A worker's part in one partition of one topic. Offsets are whatever numbers the records bear, if they rise."""

    def __init__(self, place: Place, codec: Codec, settings: Settings, models: Models, *, live_lane: bool) -> None:
        self._codec = codec
        self._limits = Deadlines.of(settings)
        judge_for = partial(JUDGES[settings.metrics], models=models)
        self._assembler = PartitionAssembler(place, self._limits, judge_for, live_lane=live_lane)
        self._rows: dict[tuple[str, int], BlockRow] = {}
        self._journal: dict[str, JournalRow] = {}
        #: the newest revision of each episode that closed
        self.closed: dict[str, Closed] = {}

    def take(self, record: LogRecord) -> list[DeadLetter]:
        """Take the next record of the log; gives the dead letters it leaves."""
        with np.errstate(all="ignore"):  # whatever values a foreign producer sends
            self._process([record])
            return self._settle()

    def wait(self) -> list[DeadLetter]:
        """Let the time pass that missing frames are waited for."""
        with np.errstate(all="ignore"):
            self._assembler.pass_time(self._assembler.time_ms + self._limits.incomplete_ms)
            return self._settle()

    def conflicts(self) -> int:
        """Frames so far that came again with other values."""
        return self._assembler.counts["conflicts"]

    def rows(self, episode_id: str) -> list[BlockRow]:
        """The stored blocks of an episode, ascending."""
        return sorted((row for (i, _), row in self._rows.items() if i == episode_id), key=lambda r: r.block)

    def open_episodes(self) -> Mapping[str, int]:
        """Frames of each episode that has not closed."""
        return {episode.id: episode.unique for episode in self._assembler.episodes.values()}

    def _process(self, records: Sequence[LogRecord]) -> None:
        given = [*self._assembler.requeued, *records]
        unknown = self._assembler.unknown(given)
        stored = [_loaded(self.closed[i], self._journal[i], self._codec) for i in unknown if i in self.closed]
        for episode_id in self._assembler.learn(stored, given):
            self._assembler.reload(episode_id, [_light(row) for row in self.rows(episode_id)])
        for episode_id, blocks in self._assembler.freed_blocks(given).items():
            self._assembler.reload(episode_id, [row for row in self.rows(episode_id) if row.block in blocks])
        self._assembler.process(given, live=False)

    def _settle(self) -> list[DeadLetter]:
        """Make everything durable, as often as something is due."""
        letters: list[DeadLetter] = []
        while due := self._assembler.take():
            for row in due.blocks:
                self._rows[row.episode_id, row.block] = row
            letters += due.dead_letters
            self._assembler.confirm(due)
            for episode_id in due.closing:
                self._close(episode_id)
            if self._assembler.requeued:
                self._process([])
        return letters

    def _close(self, episode_id: str) -> None:
        dirty = self._assembler.episodes[episode_id].dirty
        try:
            closed = self._assembler.seal(episode_id, self.rows(episode_id) if dirty else None)
        except Exception as problem:  # a metric that fails quarantines the episode at the third time, as in a worker
            self._assembler.failed(episode_id, repr(problem))
            return
        if closed is not None:
            self.closed[episode_id], self._journal[episode_id] = closed, closed.journal
        self._assembler.announced(episode_id)


def _light(row: BlockRow) -> BlockRow:
    """As a worker reads it first: values only of blocks that are not full."""
    return replace(row, channels={}) if len(row.seq) == BLOCK else row


def _loaded(closed: Closed, journal: JournalRow, codec: Codec) -> Loaded:
    """As the store gives a closed episode back."""
    facts: dict[str, Any] = closed.row["facts"]
    raws = [journal.start, *journal.marks, *([journal.end] if journal.end else [])]
    words = [
        Word(offset, broker_ms, raw, codec.decode(raw).value)
        for (offset, broker_ms), raw in zip(facts["words"], raws, strict=True)
    ]
    end = words[-1] if journal.end else None
    return Loaded(closed.episode_id, journal.stored_day, facts, words[0], tuple(words[1 : 1 + len(journal.marks)]), end)
