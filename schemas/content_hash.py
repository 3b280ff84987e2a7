"""The content hash: one number for all an episode holds, the same however its frames were cut, sent or stored."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import xxhash

from kinestream.schemas.frames import Float32, Int64
from kinestream.schemas.layout import Layout

#: Frames a block: the unit of storing, hashing and reading back.
BLOCK: Final = 128
#: Name of the time channel within the hash; it sorts with the others.
TIME: Final = "t"


@dataclass(frozen=True, slots=True)
class HashedBlock:
    """What the hash needs of block ``index``: 16 bytes of presence, and xxh3-128 of each channel by name."""

    index: int
    presence: bytes
    leaves: Mapping[str, bytes]


def leaf(values: Any) -> bytes:
    """xxh3-128 of an array's bytes, in C order."""
    return xxhash.xxh3_128_digest(np.ascontiguousarray(values).data)


def presence_bitmap(seq: Int64) -> bytes:
    """16 bytes; bit i of byte i // 8 is frame ``128 k + i``. ``seq``: int64 (n,) frame numbers of one block."""
    bits = np.zeros(BLOCK, np.uint8)
    bits[seq % BLOCK] = 1
    return np.packbits(bits, bitorder="little").tobytes()


def content_hash(widths: Mapping[str, int], blocks: Iterable[HashedBlock], n_total: int) -> str:
    """Lower-case hex of the hash over channels by UTF-8 name, then blocks (docs/contract.md, "Content hash")."""
    ordered = sorted(blocks, key=lambda b: b.index)
    total = xxhash.xxh3_128()
    for name in sorted((*widths, TIME), key=str.encode):
        head = name.encode() + b"\0" + struct.pack("<I", widths.get(name, 1))
        for block in ordered:
            total.update(head + struct.pack("<I", block.index) + block.presence + block.leaves[name])
    total.update(struct.pack("<Q", n_total))
    return total.hexdigest()


def values_hash(names: Iterable[str], blocks: Iterable[HashedBlock]) -> str:
    """Hex of xxh3-128 over these channels' values by frame number, whatever their stamps and what else was measured."""
    ordered = sorted(blocks, key=lambda b: b.index)
    total = xxhash.xxh3_128()
    for name in sorted(names, key=str.encode):
        for block in ordered:
            total.update(name.encode() + struct.pack("<xI", block.index) + block.presence + block.leaves[name])
    return total.hexdigest()


class ContentHasher:
    """The robot's side: frames come once, in order, without holes."""

    def __init__(self, layout: Layout) -> None:
        self._widths = layout.widths
        self._blocks: list[HashedBlock] = []
        self._open = {name: xxhash.xxh3_128() for name in (*self._widths, TIME)}
        self._n = 0
        self._t_first = 0

    @classmethod
    def restored(cls, layout: Layout, blocks: Iterable[HashedBlock], t_first: int) -> ContentHasher:
        """As it was after these whole blocks, from the first on; ``t_first``: ns, the stamp of frame 0."""
        hasher = cls(layout)
        hasher._blocks = list(blocks)
        hasher._n, hasher._t_first = BLOCK * len(hasher._blocks), t_first
        return hasher

    def add(self, first_seq: int, t_ns: Int64, channels: Mapping[str, Float32]) -> None:
        """Take n frames: ``t_ns`` int64 (n,), each channel float32 (n, width) or flat, C-contiguous."""
        if first_seq != self._n:
            raise ValueError(f"frame {first_seq} given, {self._n} is next: a robot's frames come in order")
        if self._n == 0 and len(t_ns):
            self._t_first = int(t_ns[0])
        taken, n = 0, len(t_ns)
        while taken < n:
            take = min(n - taken, BLOCK - self._n % BLOCK)
            self._open[TIME].update(np.ascontiguousarray(t_ns[taken : taken + take] - self._t_first).data)
            for name, width in self._widths.items():
                flat = channels[name].reshape(-1)
                self._open[name].update(flat[taken * width : (taken + take) * width].data)
            taken += take
            self._n += take
            if self._n % BLOCK == 0:
                self._close_block(BLOCK)

    def closed(self, first: int) -> list[HashedBlock]:
        """The whole blocks from number ``first`` on."""
        return self._blocks[first:]

    def hexdigest(self, n_total: int | None = None) -> str:
        """The hash of all frames so far; ``n_total`` as the end mark will say it (default: their number)."""
        blocks = list(self._blocks)
        if self._n % BLOCK:
            blocks.append(self._block(self._n % BLOCK))
        return content_hash(self._widths, blocks, self._n if n_total is None else n_total)

    def _block(self, frames: int) -> HashedBlock:
        presence = presence_bitmap(np.arange(frames, dtype=np.int64))
        return HashedBlock((self._n - 1) // BLOCK, presence, {k: h.digest() for k, h in self._open.items()})

    def _close_block(self, frames: int) -> None:
        self._blocks.append(self._block(frames))
        for hasher in self._open.values():
            hasher.reset()
