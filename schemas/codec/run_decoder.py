"""Reads many chunks of one episode at once where they differ in nothing but their numbers; refuses none, buries none.

A chunk costs 15 us to read by itself, whatever it holds. Those of one recording have the same bytes at the same places
but for frame numbers, stamps and values: what stands around these is compared, and they are read in columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from kinestream.schemas.codec.chunk_decoder import BROKEN
from kinestream.schemas.codec.primitives import read_bytes, read_long
from kinestream.schemas.frames import ChunkRun, Float64, Int64
from kinestream.schemas.layout import JOINT_CHANNELS

#: Frame and schema id, an episode id of 36 characters, the layout: what chunks that are read together begin with.
HEAD: Final = 50
#: The byte before the episode id: its length.
ID_AT: Final = 5
ID_SIZE: Final = 72
#: Bytes of a variable-length long that int64 is sure to hold.
_LONG: Final = 9
_TEXT: Final = slice(6, 42)
_LAYOUT: Final = slice(42, HEAD)
_F8: Final = np.dtype("<f8")
Bytes: TypeAlias = NDArray[np.uint8]
#: First byte of an array's values, and how many there are.
Place: TypeAlias = tuple[int, int]
#: By length and layout: some hundred robots and their last chunks make few.
_shapes: dict[tuple[int, bytes], _Shape] = {}
_SHAPES: Final = 4096


class _Shape:
    """Where the numbers of a chunk are, and what must stand around them."""

    __slots__ = ("channels", "fixed", "longs", "mask", "stamps", "wanted", "weights")

    def __init__(self, first: bytes, seq_end: int, t0_end: int, stamps: Place, channels: dict[str, Place]) -> None:
        self.channels = {name: slice(begin, begin + 4 * count) for name, (begin, count) in channels.items()}
        self.longs, self.stamps = slice(HEAD, t0_end), slice(stamps[0], stamps[0] + 8 * stamps[1])
        #: bytes behind the head that are in no array; of a long, only where it ends is the same in all
        free = np.ones(len(first), np.bool_)
        for part in (slice(HEAD), self.stamps, *self.channels.values()):
            free[part] = False
        self.fixed = np.flatnonzero(free)
        self.mask = np.where(self.fixed < t0_end, 0x80, 0xFF).astype(np.uint8)
        self.wanted = np.frombuffer(first, np.uint8)[self.fixed] & self.mask
        #: what makes numbers of the longs' bytes: (bytes, 2)
        self.weights = np.zeros((t0_end - HEAD, 2), np.uint64)
        for column, begin, end in ((0, HEAD, seq_end), (1, seq_end, t0_end)):
            for i in range(end - begin):
                self.weights[begin - HEAD + i, column] = 1 << 7 * i

    def fits(self, table: Bytes) -> bool:
        """Whether all messages, a row each, are of this shape."""
        return bool((table.take(self.fixed, axis=1) & self.mask == self.wanted).all())


def decode_run(messages: Sequence[bytes]) -> ChunkRun | None:
    """Framed chunks of our own schema as one, or None where each must be read by itself.

    ``messages``: equal in length and in their first ``HEAD`` bytes, in the order of the log. Given is what reading
    each gives: only if all are sound, of as many frames, and each follows the one before frame by frame.
    """
    first, m = messages[0], len(messages)
    table = np.frombuffer(b"".join(messages), np.uint8).reshape(m, -1)
    shape = _shape_of(first, table)
    if shape is None:
        return None
    coded: Int64 = ((table[:, shape.longs] & 0x7F).astype(np.uint64) @ shape.weights).view(np.int64)
    numbers = coded >> 1 ^ -(coded & 1)
    offset_s: Float64 = np.ascontiguousarray(table[:, shape.stamps]).view(_F8)
    size = offset_s.shape[1]
    seq = numbers[:, 0].tolist()
    if seq[0] < 0 or seq != list(range(seq[0], seq[0] + m * size, size)):
        return None
    if not np.vdot(offset_s, offset_s) < 1e18:  # as check_stamps; the times they count from have 62 bits
        return None
    t_ns: Int64 = np.rint(offset_s * 1e9).astype(np.int64)
    t_ns += numbers[:, 1:]
    channels = {name: table[:, part] for name, part in shape.channels.items()}
    try:
        episode_id = first[_TEXT].decode()
    except UnicodeDecodeError:
        return None
    return ChunkRun(episode_id, first[_LAYOUT], seq[0], size, t_ns.reshape(-1), channels)


def _shape_of(first: bytes, table: Bytes) -> _Shape | None:
    """The shape that all have; of a robot's chunks it is nearly always the last one's."""
    key = len(first), first[_LAYOUT]
    shape = _shapes.get(key)
    if shape is not None and shape.fits(table):
        return shape
    try:
        shape = _shape(first)
    except BROKEN:
        return None
    if shape is None:
        return None
    if len(_shapes) >= _SHAPES:
        _shapes.clear()
    _shapes[key] = shape
    return shape if shape.fits(table) else None


def _shape(first: bytes) -> _Shape | None:
    """Of a chunk of our own schema whose arrays have one block each; raises what broken bytes raise."""
    _, seq_end = read_long(first, HEAD)
    _, t0_end = read_long(first, seq_end)
    if seq_end - HEAD > _LONG or t0_end - seq_end > _LONG:
        return None
    stamps, pos = _array(first, t0_end, 8)
    channels: dict[str, Place] = {}
    for name in JOINT_CHANNELS:
        place, pos = _array(first, pos, 4)
        if place[1]:
            channels[name] = place
    count, pos = read_long(first, pos)
    while count > 0:
        for _ in range(count):
            raw, pos = read_bytes(first, pos)
            place, pos = _array(first, pos, 4)
            if raw.decode() in channels or not place[1]:
                return None
            channels[raw.decode()] = place
        count, pos = read_long(first, pos)
    if count or pos != len(first) or not stamps[1]:
        return None
    return _Shape(first, seq_end, t0_end, stamps, channels)


def _array(buf: bytes, pos: int, width: int) -> tuple[Place, int]:
    """The values of an array of one block, and the position behind it."""
    count, start = read_long(buf, pos)
    if count == 0:
        return (start, 0), start
    end = start + count * width
    if count < 0 or end >= len(buf) or buf[end]:
        raise ValueError("an array of several blocks")
    return (start, count), end + 1
