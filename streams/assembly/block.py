"""One block of 128 frames being filled; knows nothing of episodes, time limits or the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import xxhash
from numpy.typing import NDArray

from kinestream.schemas.content_hash import BLOCK, TIME, HashedBlock, leaf, presence_bitmap
from kinestream.schemas.frames import ChunkRun, Float32, Int64

FULL_PRESENCE: Final = b"\xff" * (BLOCK // 8)


class Taken(NamedTuple):
    """What a piece of a chunk did to a block."""

    added: int
    duplicates: int = 0
    conflicting: int = 0
    #: the lowest frame number whose copy differs, in a replay too; -1 = none
    first_conflict: int = -1


class Held(NamedTuple):
    """Frames of a block: numbers within the episode and stamps int64 (n,), channels float32 (n, width)."""

    seq: Int64
    t_ns: Int64
    broker_ms: Int64
    channels: dict[str, Float32]

    def value_leaves(self) -> dict[str, bytes]:
        """xxh3-128 of each channel."""
        return {name: xxhash.xxh3_128_digest(values.data) for name, values in self.channels.items()}


class Block:
    """Frames [128 index, 128 index + 128) that exist so far. The first copy of a frame number wins."""

    __slots__ = (
        "broker_ms",
        "channels",
        "conflicts",
        "count",
        "due_since_ms",
        "duplicates",
        "index",
        "last_offset",
        "leaves",
        "next",
        "pending_offset",
        "present",
        "reordered",
        "stored_version",
        "t_ns",
    )

    def __init__(
        self, index: int, t_ns: Int64, broker_ms: Int64, present: NDArray[np.bool_], channels: dict[str, Float32]
    ) -> None:
        """Arrays of 128 frames, the channels float32 (128, width); none counts yet."""
        self.index = index
        self.t_ns = t_ns
        self.broker_ms = broker_ms
        self.present = present
        self.channels = channels
        self.count = 0
        self.duplicates = 0
        self.conflicts = 0
        #: frames that came after a higher number of this block
        self.reordered = 0
        #: highest number within the block + 1
        self.next = 0
        self.last_offset = -1
        #: version of the newest durable row; -1 = none
        self.stored_version = -1
        #: the leaves of that row
        self.leaves: Mapping[str, bytes] = {}
        #: offset of the first record not yet in a durable row; -1 = all are
        self.pending_offset = -1
        self.due_since_ms = 0

    def take(self, first: int, t_ns: Int64, channels: Mapping[str, Float32], offset: int, broker_ms: int) -> Taken:
        """Take frames ``first`` .. ``first + n - 1`` (numbers within the block); channels float32 (n, width)."""
        last = first + len(t_ns)
        if first < self.next and self.present[first:last].any():
            return self._take_some(first, t_ns, channels, offset, broker_ms)
        self._stamp(first, t_ns, broker_ms)
        for name, values in self.channels.items():
            values[first:last] = channels[name]
        self._changed(first, len(t_ns), len(t_ns), offset, broker_ms)
        return Taken(len(t_ns))

    def take_run(self, first: int, run: ChunkRun, part: slice, offsets: Int64, broker_ms: Int64) -> None:
        """The same of frames ``part`` of a run, none of which is here.

        ``offsets``, ``broker_ms``: int64 (frames of the run,), of the record that brought each frame.
        """
        n = part.stop - part.start
        self._stamp(first, run.t_ns[part], broker_ms[part])
        for name, values in self.channels.items():
            run.put(name, part.start, values[first : first + n])
        self._changed(first, n, n, int(offsets[part.start]), int(broker_ms[part.start]))
        self.last_offset = max(self.last_offset, int(offsets[part.stop - 1]))

    def _stamp(self, first: int, t_ns: Int64, broker_ms: int | Int64) -> None:
        last = first + len(t_ns)
        self.t_ns[first:last] = t_ns
        self.broker_ms[first:last] = broker_ms
        self.present[first:last] = True

    def _take_some(
        self, first: int, t_ns: Int64, channels: Mapping[str, Float32], offset: int, broker_ms: int
    ) -> Taken:
        """Some of the frames are here already: a replay (by offset) changes nothing, a duplicate is counted."""
        last = first + len(t_ns)
        here = self.present[first:last].copy()
        duplicates = conflicting = 0
        first_conflict = -1
        differs = here & ~self._same(first, t_ns, channels)
        if differs.any():
            first_conflict = self.index * BLOCK + first + int(differs.argmax())
        if offset > self.last_offset:
            duplicates, conflicting = int(here.sum()), int(differs.sum())
        new = np.flatnonzero(~here)
        if len(new):
            at = first + new
            self.t_ns[at] = t_ns[new]
            self.broker_ms[at] = broker_ms
            self.present[at] = True
            for name, values in self.channels.items():
                values[at] = channels[name][new]
        self.duplicates += duplicates
        self.conflicts += conflicting
        if len(new) or duplicates:
            self._changed(first, len(t_ns), len(new), offset, broker_ms)
        return Taken(len(new), duplicates, conflicting, first_conflict)

    def _same(self, first: int, t_ns: Int64, channels: Mapping[str, Float32]) -> NDArray[np.bool_]:
        """Which of these frames equal, bit for bit, what stands here."""
        last = first + len(t_ns)
        same: NDArray[np.bool_] = self.t_ns[first:last] == t_ns
        for name, values in self.channels.items():
            given = np.ascontiguousarray(channels[name])
            same &= (values[first:last].view(np.uint32) == given.view(np.uint32)).all(axis=1)
        return same

    def _changed(self, first: int, n: int, added: int, offset: int, broker_ms: int) -> None:
        self.count += added
        if first < self.next:
            self.reordered += added
        self.next = max(self.next, first + n)
        self.last_offset = max(self.last_offset, offset)
        if self.pending_offset < 0:
            self.pending_offset = offset
            self.due_since_ms = broker_ms

    @property
    def version(self) -> int:
        """As its row's: what the block holds is a function of it."""
        return self.count << 48 | self.last_offset

    def stored(self, version: int, leaves: Mapping[str, bytes]) -> None:
        """A row of it is durable."""
        if version > self.stored_version:
            self.stored_version, self.leaves = version, leaves

    @property
    def durable(self) -> bool:
        """All it holds is in the store."""
        return self.stored_version == self.version

    def seq(self) -> Int64:
        """Numbers of the frames present within the episode, int64 (n,)."""
        numbers = np.arange(self.index * BLOCK, (self.index + 1) * BLOCK, dtype=np.int64)
        return numbers if self.count == BLOCK else numbers[self.present]

    def held(self) -> Held:
        """The frames present, in frame order; views of a full block, whose frames never change."""
        if self.count == BLOCK:
            return Held(self.seq(), self.t_ns, self.broker_ms, self.channels)
        at = np.flatnonzero(self.present)
        channels = {name: values[at] for name, values in self.channels.items()}
        return Held(self.seq(), self.t_ns[at], self.broker_ms[at], channels)


def empty_block(index: int, widths: Mapping[str, int]) -> Block:
    """A block without frames."""
    stamps = np.empty((2, BLOCK), np.int64)
    channels = {name: np.empty((BLOCK, width), np.float32) for name, width in widths.items()}
    return Block(index, stamps[0], stamps[1], np.zeros(BLOCK, np.bool_), channels)


def full_blocks(
    index: int, count: int, widths: Mapping[str, int], run: ChunkRun, at: int, offsets: Int64, broker_ms: Int64
) -> list[Block]:
    """``count`` blocks from ``index`` on with the frames of a run from its ``at``-th on, which begins the first.

    They lie behind each other in memory, so that a channel is copied once. ``offsets``, ``broker_ms``: int64 (frames of
    the run,), of the record that brought each frame.
    """
    end = at + count * BLOCK
    channels = {name: np.empty((end - at, width), np.float32) for name, width in widths.items()}
    for name, array in channels.items():
        run.put(name, at, array)
    present = np.ones(end - at, np.bool_)
    blocks = list[Block]()
    for i in range(count):
        here, there = slice(i * BLOCK, (i + 1) * BLOCK), slice(at + i * BLOCK, at + (i + 1) * BLOCK)
        values = {name: array[here] for name, array in channels.items()}
        block = Block(index + i, run.t_ns[there], broker_ms[there], present[here], values)
        block.count = block.next = BLOCK
        block.pending_offset, block.last_offset = int(offsets[there.start]), int(offsets[there.stop - 1])
        block.due_since_ms = int(broker_ms[there.start])
        blocks.append(block)
    return blocks


@dataclass(slots=True, eq=False)
class StoredBlock:
    """What stays in memory of a block that is full and in the store."""

    index: int
    last_offset: int
    duplicates: int
    conflicts: int
    t_first: int
    t_last: int
    t_leaf: bytes
    value_leaves: Mapping[str, bytes]
    presence: bytes = FULL_PRESENCE
    reordered: int = 0


def hashed(block: Block | StoredBlock, t_base: int) -> HashedBlock:
    """For the content hash; ``t_base`` = stamp of the episode's lowest frame.

    A stored block's ``t_leaf`` was taken against the base known then: a lower frame makes the episode dirty, and
    dirty episodes are hashed from their reloaded blocks.
    """
    if isinstance(block, StoredBlock):
        return HashedBlock(block.index, block.presence, {**block.value_leaves, TIME: block.t_leaf})
    held = block.held()
    return HashedBlock(block.index, presence_bitmap(held.seq), {**held.value_leaves(), TIME: leaf(held.t_ns - t_base)})
