"""One episode in flight: its facts, its open blocks and the frontier of its live metrics; decides nothing by time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Final

import numpy as np

from kinestream.schemas.content_hash import BLOCK, TIME, leaf
from kinestream.schemas.errors import LayoutError
from kinestream.schemas.frames import Float32, FrameChunk
from kinestream.schemas.layout import Layout
from kinestream.streams.assembly.block import Block, StoredBlock
from kinestream.streams.assembly.values import COMPLETE, CORRUPT, BlockRow, Closed, JsonDict, LogRecord, Word
from kinestream.streams.quality import EpisodeJudge, Frames, LampBook

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
    status: str = ""
    compared: JsonDict = field(default_factory=dict)


class Episode:
    """State of one episode. Mutated only by its partition's assembler."""

    # Over fifty lines: the whole state of an episode stands in one place, each part with its meaning.
    def __init__(self, start: Word, stored_day: int, judge: EpisodeJudge) -> None:
        self.start = start
        self.id: str = start.value["episode_id"]
        self.robot_id: str = start.value["robot_id"]
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
        #: broker time of the last late record of a reopened episode
        self.late_ms = -1
        self.journal_version = 0
        #: first offset whose effect waits for a journal row; -1 = none
        self.journal_pending = -1
        #: first offset of a word of the robot that no frame repeats and no journal row holds yet; -1 = none
        self.heard_pending = -1
        self.heard_since_ms = 0
        #: broker time of the robot's newest word, whatever it was about
        self.heard_ms = start.broker_ms
        #: whether the robot's newest status names it; since when it does not (-1: named, or no status yet)
        self.named = False
        self.unnamed_ms = -1
        self.deferred: list[LogRecord] = []
        #: bytes of a block in memory
        self.block_bytes = BLOCK * (4 * sum(self.layout.widths.values()) + 16)
        self.blocks: dict[int, Block] = {}
        self.stored: dict[int, StoredBlock] = {}
        self.unique = 0
        self.duplicates = 0
        self.conflicting = 0
        self.highest_seq = -1
        self.last_frame_ms = start.broker_ms

        self.judge = judge
        self.lamps = LampBook()
        self.frontier = 0
        self.hole_since_ms = -1
        self.dirty = False
        #: frames the judge has seen, and frames that came behind the frontier
        self.judged = 0
        self.behind = 0
        self.first_missing = -1
        #: frames that came after the first close
        self.late_frames = 0
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
    def was_whole(self) -> bool:
        """It was closed before with all its frames: further copies of them are no part of it."""
        return self.history.status in (COMPLETE, CORRUPT)

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
        if self.heard_pending < 0:
            self.heard_pending, self.heard_since_ms = offset, broker_ms

    def name(self, named: bool, offset: int, broker_ms: int) -> None:
        """The robot's newest status names it as recording or unsent, or does not."""
        if not self.waits or (named == self.named and (named or self.unnamed_ms >= 0)):
            return
        self.named = named
        self.unnamed_ms = -1 if named else broker_ms
        self.hold(offset)

    def supersede(self, later: Word) -> None:
        """Its robot began another live episode; it counts if this is an earlier one of the same boot."""
        ours, theirs = self.start.value, later.value
        earlier = ours["boot_id"] == theirs["boot_id"] and ours["episode_no"] < theirs["episode_no"]
        if earlier and self.waits and self.superseded_ms < 0:
            self.superseded_ms = later.broker_ms
            self.hold(later.offset)

    # -- frames -----------------------------------------------------------

    def refuse(self, chunk: FrameChunk) -> str:
        """Why a chunk does not fit this episode, or an empty text."""
        n = len(chunk)
        if chunk.layout_id != self.layout.layout_id:
            return f"layout {chunk.layout_id.hex()} where the start declared {self.layout.layout_id.hex()}"
        if n == 0 or chunk.first_seq < 0:
            return f"{n} frames from number {chunk.first_seq}"
        if chunk.first_seq + n > MOST_FRAMES:
            return f"frame {chunk.first_seq + n - 1} where frame numbers end at {MOST_FRAMES - 1}"
        # One product tells: what is no number stays none, and stamps the codec lets through cannot overflow.
        if not isfinite(np.dot(chunk.offset_s, chunk.offset_s)):
            return "a stamp that is not a number"
        if self.end and chunk.first_seq + n > self.n_total:
            return f"frame {chunk.first_seq + n - 1} where the end mark announces {self.n_total} frames"
        widths, channels = self.layout.widths, chunk.channels
        fits = len(channels) == len(widths)
        for name, width in widths.items():
            fits = fits and name in channels and channels[name].size == n * width
        if not fits:
            sizes = {name: values.size for name, values in channels.items()}
            return f"{n} frames with {sizes} values where the layout says {widths} a frame"
        return ""

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
                self.conflicting += got.conflicting
            taken += count
        self._count(chunk.first_seq, n, added, record.broker_ms)
        return added

    def _block(self, index: int) -> Block:
        block = self.blocks.get(index)
        if block is None:
            block = self.blocks[index] = Block(index, self.layout.widths)
        return block

    def _count(self, first_seq: int, n: int, added: int, broker_ms: int) -> None:
        if added:
            self.unique += added
            if self.reopened and broker_ms >= self.history.first_closed_ms:
                self.late_frames += added
            self.last_frame_ms = max(self.last_frame_ms, broker_ms)
            self.heard_ms = max(self.heard_ms, broker_ms)
            if first_seq < self.frontier:
                self.dirty = True
                self.behind += added
        self.highest_seq = max(self.highest_seq, first_seq + n - 1)

    # -- the frontier of live metrics ---------------------------------------

    def advance(self, now_ms: int, hole_ms: int) -> None:
        """Judge every frame the frontier can reach; a hole is waited for ``hole_ms``, then skipped."""
        self._run()
        while self.frontier <= self.highest_seq:
            if self.hole_since_ms < 0:
                self.hole_since_ms = now_ms
            if now_ms - self.hole_since_ms < hole_ms:
                return
            self.skip_hole()
            self._run()
        self.hole_since_ms = -1

    def skip_hole(self) -> None:
        """Go on at the next frame there is."""
        if self.first_missing < 0:
            self.first_missing = self.frontier
        ahead = [index for index in self.blocks if (index + 1) * BLOCK > self.frontier and self.blocks[index].count]
        for index in sorted(ahead):
            first = max(self.frontier - index * BLOCK, 0)
            here = np.flatnonzero(self.blocks[index].present[first:])
            if len(here):
                self.frontier = index * BLOCK + first + int(here[0])
                self.hole_since_ms = -1
                return
        self.frontier = self.highest_seq + 1

    def pass_holes(self, up_to: int) -> None:
        """Judge all there is; holes below frame ``up_to`` are no longer waited for."""
        self._run()
        while self.frontier < up_to:
            self.skip_hole()
            self._run()

    def _run(self) -> None:
        while True:
            index, first = divmod(self.frontier, BLOCK)
            block = self.blocks.get(index)
            if block is None:
                return
            last = _run_end(block, first)
            if last == first:
                return
            self.judge.advance(frames_of(block, first, last))
            self.frontier = index * BLOCK + last
            self.judged += last - first
            if last < BLOCK:
                return

    # -- rows and blocks ------------------------------------------------------

    def block_row(self, block: Block) -> BlockRow:
        """The row of a block as it stands."""
        where = block.where()
        t_ns = block.t_ns[where]
        leaves = block.value_leaves()
        leaves[TIME] = leaf(t_ns - t_ns[0])
        return BlockRow(
            self.id,
            self.robot_id,
            self.stored_day,
            block.index,
            block.last_offset,
            block.duplicates,
            block.conflicts,
            block.reordered,
            block.seq(),
            t_ns,
            block.broker_ms[where],
            {name: values[where] for name, values in block.channels.items()},
            leaves,
        )

    def t_base(self) -> int:
        """Stamp of the lowest frame present, ns."""
        index = min((*self.blocks, *self.stored))
        if index in self.stored:
            return self.stored[index].t_first
        block = self.blocks[index]
        return int(block.t_ns[block.present.argmax()])

    def t_end(self) -> int:
        """Stamp of the highest frame present, ns."""
        index = max((*self.blocks, *self.stored))
        if index in self.stored:
            return self.stored[index].t_last
        block = self.blocks[index]
        return int(block.t_ns[np.flatnonzero(block.present)[-1]])

    def free(self) -> bool:
        """Forget the blocks that are full, stored and judged, but for their leaves; True: some are yet to be judged."""
        left = False
        for block in [block for block in self.blocks.values() if block.count == BLOCK and block.durable]:
            if self.frontier < (block.index + 1) * BLOCK:
                left = True
            else:
                leaves = {name: digest for name, digest in block.leaves.items() if name != TIME}
                t_leaf = leaf(block.t_ns - self.t_base())
                first, last = int(block.t_ns[0]), int(block.t_ns[-1])
                self.stored[block.index] = StoredBlock(
                    block.index, block.last_offset, block.duplicates, first, last, t_leaf, leaves
                )
                del self.blocks[block.index]
        return left

    def put_back(self, row: BlockRow) -> None:
        """Hold a stored block in memory again, so that a further copy of its frames can be compared."""
        self.stored.pop(row.block, None)
        self.blocks[row.block] = block_of(row, self.layout.widths)


def _run_end(block: Block, first: int) -> int:
    if block.count == BLOCK:
        return BLOCK
    ahead = block.present[first:]
    absent = int(ahead.argmin())
    return BLOCK if ahead[absent] else first + absent


def frames_of(block: Block, first: int, last: int) -> Frames:
    """Frames ``first`` .. ``last - 1`` of a block, as views."""
    base = block.index * BLOCK
    channels: dict[str, Float32] = {name: values[first:last] for name, values in block.channels.items()}
    return Frames(np.arange(base + first, base + last, dtype=np.int64), block.t_ns[first:last], channels)


def block_of(row: BlockRow, widths: Mapping[str, int]) -> Block:
    """A block in memory from its row."""
    block = Block(row.block, widths)
    at = row.seq - row.block * BLOCK
    block.t_ns[at] = row.t_ns
    block.broker_ms[at] = row.broker_ms
    block.present[at] = True
    for name, values in block.channels.items():
        if name not in row.channels:
            raise LayoutError(f"block {row.block} of {row.episode_id} has no channel {name!r}: the row is not ours")
        values[at] = row.channels[name]
    block.count = len(at)
    block.duplicates, block.conflicts, block.reordered = row.duplicates, row.conflicts, row.reordered
    block.next = int(at[-1]) + 1
    block.last_offset = row.last_offset
    block.stored(row.version, row.leaves)
    return block


def load_blocks(episode: Episode, rows: Sequence[BlockRow]) -> None:
    """Rebuild counts, frontier and metrics from stored rows, ascending, each with all its frames."""
    for row in sorted(rows, key=lambda r: r.block):
        block = episode.blocks[row.block] = block_of(row, episode.layout.widths)
        episode.unique += block.count
        episode.duplicates += block.duplicates
        episode.conflicting += block.conflicts
        episode.highest_seq = max(episode.highest_seq, int(row.seq[-1]))
        episode.last_frame_ms = max(episode.last_frame_ms, int(row.broker_ms.max()))
        if episode.reopened:
            episode.late_frames += int((row.broker_ms >= episode.history.first_closed_ms).sum())
        episode.pass_holes(row.block * BLOCK)
        episode.free()
    episode.heard_ms = max(episode.heard_ms, episode.last_frame_ms)
