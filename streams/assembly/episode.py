"""One episode in flight: its facts, its open blocks and the frontier of its live metrics; decides nothing by time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from kinestream.schemas.content_hash import BLOCK, TIME, HashedBlock, leaf
from kinestream.schemas.frames import ChunkRun, FrameChunk
from kinestream.schemas.layout import Layout
from kinestream.streams.assembly.block import Block, StoredBlock, empty_block, full_blocks
from kinestream.streams.assembly.boots import Rivals
from kinestream.streams.assembly.frontier import Frontier
from kinestream.streams.assembly.values import (
    COMPLETE,
    CORRUPT,
    RESCORE,
    WITHDRAW,
    BlockRow,
    Closed,
    Command,
    JsonDict,
    LogRecord,
    LogRun,
    Review,
    Word,
)
from kinestream.streams.quality import EpisodeJudge, LampBook

OPEN: Final = "OPEN"
ENDED: Final = "ENDED"
CLOSING: Final = "CLOSING"

DAY_MS: Final = 86_400_000
#: Frame numbers are stored in 32 bits.
MOST_FRAMES: Final = 1 << 32


@dataclass(slots=True)
class History:
    """What is known of earlier revisions; revision 0 = never closed."""

    revision: int = 0
    first_closed_ms: int = 0
    #: highest number + 1, or what the end mark announced, at the first close
    first_frames: int = 0
    #: frames that were there at the first close
    first_unique: int = 0
    status: str = ""
    compared: JsonDict = field(default_factory=dict)


class Episode:
    """State of one episode. Mutated only by its partition's assembler."""

    # Over fifty lines: the whole state of an episode stands in one place, each part with its meaning.
    def __init__(self, start: Word, stored_day: int, judge: EpisodeJudge) -> None:
        self.start = start
        self.id: str = start.value["episode_id"]
        self.robot_id: str = start.value["robot_id"]
        #: what it is judged by from its start on: a registration while it runs is of the next take
        self.pins = judge.pins
        self.layout = Layout.from_avro(start.value)
        self.stored_day = stored_day
        self.marks: list[Word] = []
        self.end: Word | None = None
        self.superseded_ms = -1
        self.phase = OPEN
        self.closing_status = ""
        #: broker time at which it closed: the deadline, never the time somebody looked
        self.closed_ms = -1
        self.history = History()
        self.sealed: Closed | None = None
        #: closing: its blocks for the hashes, from the moment its judge has seen all frames
        self.hashed: list[HashedBlock] | None = None
        #: broker time of the last late record of a reopened episode
        self.late_ms = -1
        #: first offset whose effect waits for a journal row; -1 = none
        self.journal_pending = -1
        #: first offset of a word of the robot that no frame repeats and no journal row holds yet; -1 = none
        self.heard_pending = -1
        self.heard_since_ms = 0
        #: offset of the last chunk of a run: words before it need no journal row, as frames came soon after them
        self.run_offset = -1
        #: broker time of the robot's newest word, whatever it was about
        self.heard_ms = start.broker_ms
        #: whether the robot's newest status names it; since when it does not (-1: named, or no status yet)
        self.named = False
        self.unnamed_ms = -1
        self.deferred: list[LogRecord] = []
        #: other boots of its robot that were heard meanwhile
        self.rivals = Rivals()
        #: what people wanted done: labels set right, the last command, and whether it waits for its revision
        self.corrected: dict[str, str] = {}
        self.command: Command | None = None
        self.commanded = False
        #: ids of commands carried out, so that one a client sends again has no second effect; in their order
        self.obeyed: list[str] = []
        #: what a person last thought of it: it stands, whatever comes or is judged later
        self.review: Review | None = None
        #: how often it failed, and the last error
        self.attempts = 0
        self.error = ""
        self.quarantined = False
        #: schemas of its chunks
        self.schema_ids: set[int] = set()
        #: bytes of a block in memory
        self.block_bytes = BLOCK * (4 * sum(self.layout.widths.values()) + 16)
        self.blocks: dict[int, Block] = {}
        self.stored: dict[int, StoredBlock] = {}
        self.unique = 0
        self.duplicates = 0
        self.conflicting = 0
        #: the lowest frame number that came twice with different values before the first close; -1 = none
        self.first_conflict = -1
        self.highest_seq = -1
        #: the lowest frame number
        self.base_seq = MOST_FRAMES
        self.last_frame_ms = start.broker_ms

        self.frontier = Frontier(judge, self.blocks, self.stored)
        self.lamps = LampBook()
        #: broker time at which the assembler looks at it again
        self.wake_ms = 1 << 62

    # -- facts ------------------------------------------------------------

    @property
    def n_total(self) -> int:
        """Frames the end mark announces, else highest number + 1."""
        return int(self.end.value["n_total"]) if self.end else self.highest_seq + 1

    @property
    def whole(self) -> bool:
        """The end mark is here, and every frame it announces."""
        return self.end is not None and self.unique == self.n_total

    @property
    def reopened(self) -> bool:
        """It was closed before."""
        return self.history.revision > 0

    @property
    def late_frames(self) -> int:
        """Frames that came after the first close; no time tells, as it may close in the millisecond they come."""
        return self.unique - self.history.first_unique if self.reopened else 0

    @property
    def was_whole(self) -> bool:
        """It was closed before with all its frames: further copies of them are no part of it."""
        return self.history.status in (COMPLETE, CORRUPT)

    @property
    def unmarked(self) -> bool:
        """Its robot sends no marks: it was cut out of a stream."""
        return self.start.value["marks"] is False

    @property
    def withdrawn(self) -> bool:
        """A command took it back."""
        return self.commanded and self.command is not None and self.command.kind == WITHDRAW

    @property
    def rescored(self) -> bool:
        """A command wants it judged again."""
        return self.commanded and self.command is not None and self.command.kind == RESCORE

    @property
    def discarded(self) -> bool:
        """Nothing more of it is stored but that it was."""
        return self.quarantined or self.withdrawn

    @property
    def dirty(self) -> bool:
        """Its final metrics need its stored rows."""
        return self.frontier.dirty and not self.discarded

    def command_ms(self) -> int:
        """Broker time of the last command."""
        return self.command.broker_ms if self.command else -1

    def label(self, name: str) -> Any:
        """A label as it is now."""
        return self.corrected.get(name, self.start.value[name])

    def judged_as(self, pins: Mapping[str, str] | None = None) -> JsonDict:
        """What its judge is made from: its start, with the labels as they are now and what it is to be judged by."""
        return {**self.start.value, **self.corrected, "pins": self.pins if pins is None else pins}

    def ended_ms(self) -> int:
        """Broker time of the last record that counts."""
        return max(self.last_frame_ms, *(word.broker_ms for word in self.words()), self.start.broker_ms)

    def words(self) -> Iterator[Word]:
        """Every record but the chunks."""
        yield self.start
        yield from self.marks
        if self.end:
            yield self.end

    def last_offset(self) -> int:
        """Offset of the last record that counts."""
        blocks = [block.last_offset for block in self.all_blocks()]
        return max(*blocks, *(word.offset for word in self.words()), self.start.offset)

    @property
    def waits(self) -> bool:
        """It was never closed and has no end mark: what its robot says decides when it closes."""
        return self.phase == OPEN and not self.reopened

    def all_blocks(self) -> list[Block | StoredBlock]:
        """Blocks in memory and what is left of those in the store."""
        return [*self.blocks.values(), *self.stored.values()]

    def waiting_blocks(self) -> int:
        """Blocks that hold frames the store has not: what holding fetches back can drain, holes or not."""
        return sum(not block.durable for block in self.blocks.values())

    def _concerns(self, offset: int) -> bool:
        """Whether a word of the robot can be about it: one read again from before its start cannot."""
        return self.waits and offset > self.start.offset

    def hold(self, offset: int) -> None:
        """The watermark may not pass ``offset`` until the next journal row is durable."""
        if self.journal_pending < 0:
            self.journal_pending = offset

    # -- what the robot says of it ------------------------------------------

    def hear(self, offset: int, broker_ms: int) -> None:
        """Its robot lives: a word that leaves no row of its own, so the journal must say it (in a while)."""
        if not self.waits:
            return
        self.heard_ms = max(self.heard_ms, broker_ms)
        if self.heard_pending < 0 and offset > self.run_offset:
            self.heard_pending, self.heard_since_ms = offset, broker_ms

    def name(self, named: bool, offset: int, broker_ms: int) -> None:
        """The robot's newest status names it as recording or unsent, or does not."""
        if not self._concerns(offset) or (named == self.named and (named or self.unnamed_ms >= 0)):
            return
        self.named = named
        self.unnamed_ms = -1 if named else broker_ms
        self.hold(offset)

    def _supersede(self, later: Word) -> None:
        ours, theirs = self.start.value, later.value
        earlier = ours["boot_id"] == theirs["boot_id"] and ours["episode_no"] < theirs["episode_no"]
        if earlier and self._concerns(later.offset) and self.superseded_ms < 0:
            self.superseded_ms = later.broker_ms
            self.hold(later.offset)

    def hear_status(self, boot_id: str, offset: int) -> None:
        """A process that bears the robot's name lives."""
        if self._concerns(offset) and self.rivals.status(boot_id == self.start.value["boot_id"], offset):
            self.hold(offset)

    def knows(self, boot_id: str, named: bool, offset: int) -> bool:
        """Whether a RobotStatus of this boot that names it, or does not, changes nothing but when it was heard."""
        if not self._concerns(offset):
            return True
        told = named == self.named and (named or self.unnamed_ms >= 0)
        return told and boot_id == self.start.value["boot_id"] and self.rivals.spoke < 0

    def hear_start(self, later: Word) -> None:
        """Its robot began another live episode."""
        own = self.start.value["boot_id"] == later.value["boot_id"]
        if self._concerns(later.offset) and self.rivals.start(own, later.value["episode_no"], later.offset):
            self.hold(later.offset)
        self._supersede(later)

    # -- frames -----------------------------------------------------------

    def add(self, record: LogRecord, chunk: FrameChunk) -> int:
        """Take a chunk that fits; returns how many frames were new."""
        t_ns, n = chunk.t_ns, len(chunk)
        rows = {name: chunk.channels[name].reshape(n, width) for name, width in self.layout.widths.items()}
        taken = added = 0
        while taken < n:
            index, first = divmod(chunk.first_seq + taken, BLOCK)
            count = min(n - taken, BLOCK - first)
            # A block that only the store holds: a replay. Owners reload it for anything else (freed_blocks).
            if index not in self.stored:
                piece = rows if count == n else {name: v[taken : taken + count] for name, v in rows.items()}
                stamps = t_ns[taken : taken + count]
                got = self._block(index).take(first, stamps, piece, record.offset, record.broker_ms)
                added += got.added
                self.duplicates += got.duplicates
                if got.first_conflict >= 0:
                    self._conflict(got.conflicting, got.first_conflict, record.offset)
            taken += count
        self._count(chunk.first_seq, n, added, record.broker_ms)
        if added or not self.reopened:
            self._note_schema(record)
        return added

    def add_run(self, run: LogRun) -> None:
        """Take a run that fits, all of whose frames have higher numbers than any that is here."""
        chunks: ChunkRun = run.value
        n, size = len(chunks), chunks.size
        offsets, broker_ms = np.repeat(run.offsets, size), np.repeat(run.times_ms, size)
        taken = 0
        while taken < n:
            index, first = divmod(chunks.first_seq + taken, BLOCK)
            if first == 0 and (full := (n - taken) // BLOCK):
                for block in full_blocks(index, full, self.layout.widths, chunks, taken, offsets, broker_ms):
                    self.blocks[block.index] = block
                end = taken + full * BLOCK
            else:
                end = min(taken + BLOCK - first, n)
                self._block(index).take_run(first, chunks, slice(taken, end), offsets, broker_ms)
            taken = end
        self._count(chunks.first_seq, n, n, run.last_ms)
        self._note_schema(run)

    def _note_schema(self, record: LogRecord) -> None:
        if record.schema_id not in self.schema_ids:
            self.schema_ids.add(record.schema_id)
            self.hold(record.offset)

    def _conflict(self, frames: int, first: int, offset: int) -> None:
        self.conflicting += frames
        if not self.reopened and (self.first_conflict < 0 or first < self.first_conflict):
            self.first_conflict = first
            self.hold(offset)

    def _block(self, index: int) -> Block:
        block = self.blocks.get(index)
        if block is None:
            block = self.blocks[index] = empty_block(index, self.layout.widths)
        return block

    def _count(self, first_seq: int, n: int, added: int, broker_ms: int) -> None:
        if added:
            self.unique += added
            self.last_frame_ms = max(self.last_frame_ms, broker_ms)
            self.heard_ms = max(self.heard_ms, broker_ms)
            self.frontier.came(first_seq, added)
        self.highest_seq = max(self.highest_seq, first_seq + n - 1)
        if first_seq < self.base_seq:
            self.base_seq = first_seq
            # stamps count from the lowest frame: leaves taken against another one are void
            self.frontier.dirty = self.frontier.dirty or bool(self.stored)

    # -- rows and blocks ------------------------------------------------------

    def block_row(self, block: Block) -> BlockRow:
        """The row of a block as it stands."""
        held = block.held()
        leaves = held.value_leaves()
        leaves[TIME] = leaf(held.t_ns - held.t_ns[0])
        return BlockRow(
            self.id,
            self.robot_id,
            self.stored_day,
            block.index,
            block.last_offset,
            block.duplicates,
            block.conflicts,
            block.reordered,
            *held,
            leaves,
        )

    def t_base(self) -> int:
        """Stamp of the lowest frame present, ns."""
        index, first = divmod(self.base_seq, BLOCK)
        if index in self.stored:
            return self.stored[index].t_first
        return int(self.blocks[index].t_ns[first])

    def t_end(self) -> int:
        """Stamp of the highest frame present, ns."""
        index, last = divmod(self.highest_seq, BLOCK)
        if index in self.stored:
            return self.stored[index].t_last
        return int(self.blocks[index].t_ns[last])

    def free(self) -> bool:
        """Forget the blocks that are full, stored and judged, but for their leaves; True: some are yet to be judged."""
        left, done = False, [block for block in self.blocks.values() if block.count == BLOCK and block.durable]
        base = self.t_base() if done else 0
        for block in done:
            if not self.frontier.cold and self.frontier.at < (block.index + 1) * BLOCK:
                left = True
            else:
                leaves = {name: digest for name, digest in block.leaves.items() if name != TIME}
                t_leaf = leaf(block.t_ns - base)
                first, last = int(block.t_ns[0]), int(block.t_ns[-1])
                self.stored[block.index] = StoredBlock(
                    block.index, block.last_offset, block.duplicates, block.conflicts, first, last, t_leaf, leaves,
                    reordered=block.reordered,
                )  # fmt: skip
                del self.blocks[block.index]
        return left
