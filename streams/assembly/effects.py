"""What must become durable, and how far the log may be forgotten; never decides what an episode is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from kinestream.schemas.content_hash import BLOCK
from kinestream.streams.assembly.episode import CLOSING, Episode
from kinestream.streams.assembly.journal import journal_row
from kinestream.streams.assembly.unmarked import Stream
from kinestream.streams.assembly.values import BlockRow, DeadLetter, FindingChange, JournalRow

#: Memory of a dead letter besides its value: a flood of tiny ones is to be held back too.
LETTER_BYTES: Final = 1000


@dataclass(slots=True, eq=False)
class Due:
    """What must become durable now, in this order: dead letters and journal, then blocks, then the rest."""

    journal: list[JournalRow] = field(default_factory=list)
    blocks: list[BlockRow] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    letter_bytes: int = 0
    findings: list[FindingChange] = field(default_factory=list)
    robots: list[tuple[int, Mapping[str, Any]]] = field(default_factory=list)
    closing: list[str] = field(default_factory=list)

    def bury(self, letter: DeadLetter) -> None:
        """Add a dead letter."""
        self.dead_letters.append(letter)
        self.letter_bytes += LETTER_BYTES + len(letter.raw or b"")

    def __bool__(self) -> bool:
        return self.writes or bool(self.robots)

    @property
    def writes(self) -> bool:
        """Whether there is more than what robots say of themselves, which may wait."""
        return bool(self.journal or self.blocks or self.dead_letters or self.findings or self.closing)


def collect(due: Due, episodes: Iterable[Episode], aged_ms: int, versions: Iterator[int]) -> None:
    """Add the rows that are due: all of closing episodes, full blocks, and what has waited since ``aged_ms``."""
    for episode in episodes:
        closes = episode.phase == CLOSING
        if episode.journal_pending >= 0 or (
            episode.heard_pending >= 0 and (closes or episode.heard_since_ms <= aged_ms)
        ):
            due.journal.append(journal_row(episode, next(versions)))
            episode.journal_pending = episode.heard_pending = -1
        for block in episode.blocks.values():
            if block.pending_offset >= 0 and (closes or block.count == BLOCK or block.due_since_ms <= aged_ms):
                if not episode.discarded:
                    due.blocks.append(episode.block_row(block))
                block.pending_offset = -1


def collect_streams(due: Due, streams: Iterable[Stream], versions: Iterator[int]) -> None:
    """Add the rows of streams that have changed."""
    for stream in streams:
        if stream.journal_pending >= 0:
            due.journal.append(stream.journal_row(next(versions)))
            stream.journal_pending = -1


def has_aged(episodes: Iterable[Episode], aged_ms: int) -> bool:
    """Whether a block or a word of a robot has waited since ``aged_ms``."""
    return any(
        (episode.heard_pending >= 0 and episode.heard_since_ms <= aged_ms)
        or any(block.pending_offset >= 0 and block.due_since_ms <= aged_ms for block in episode.blocks.values())
        for episode in episodes
    )


def pending(due: Due, episodes: Iterable[Episode], streams: Iterable[Stream]) -> Iterator[int]:
    """Offsets whose effects are only in memory."""
    for letter in due.dead_letters:
        yield letter.offset
    for stream in streams:
        if stream.journal_pending >= 0:
            yield stream.journal_pending
    for episode in episodes:
        if episode.journal_pending >= 0:
            yield episode.journal_pending
        if episode.heard_pending >= 0:
            yield episode.heard_pending
        for block in episode.blocks.values():
            if block.pending_offset >= 0:
                yield block.pending_offset
        for record in episode.deferred[:1]:
            yield record.offset
