"""Avro's variable-length long, bytes and arrays out of a buffer; never looks at a schema."""

from __future__ import annotations

from typing import Any

import numpy as np


def read_long(buf: bytes, pos: int) -> tuple[int, int]:
    """An Avro long at ``pos``; returns it and the position behind it.

    Raises IndexError past the end and ValueError for more than 64 bits: an int no column could hold must not get in.
    """
    byte = buf[pos]
    pos += 1
    value, shift = byte & 0x7F, 7
    while byte & 0x80:
        byte = buf[pos]
        pos += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if shift > 63 and (shift > 70 or value >> 64):
            raise ValueError("a long of more than 64 bits")
    return (value >> 1) ^ -(value & 1), pos


def read_bytes(buf: bytes, pos: int) -> tuple[bytes, int]:
    """Avro bytes or string; raises ValueError where the buffer ends before."""
    size, pos = read_long(buf, pos)
    if size < 0 or pos + size > len(buf):
        raise ValueError(f"a text of {size} bytes where {len(buf) - pos} are left")
    return buf[pos : pos + size], pos + size


def read_array(buf: bytes, pos: int, dtype: np.dtype[Any]) -> tuple[Any, int]:
    """An Avro array of floats; a view where it is one block, as every writer known makes it."""
    low = buf[pos]
    if low & 0x80 and not buf[pos + 1] & 0x80:  # 64 to 8191 values: nearly every array of a chunk
        zigzag, pos = low & 0x7F | buf[pos + 1] << 7, pos + 2
        count = zigzag >> 1 ^ -(zigzag & 1)
    else:
        count, pos = read_long(buf, pos)
    end = pos + count * dtype.itemsize
    if count > 0 and end < len(buf) and buf[end] == 0:
        return np.frombuffer(buf, dtype, count, pos), end + 1
    blocks = []
    while count:
        if count < 0:  # a negative count is followed by the block's size in bytes
            count = -count
            _, pos = read_long(buf, pos)
        blocks.append(np.frombuffer(buf, dtype, count, pos))
        count, pos = read_long(buf, pos + count * dtype.itemsize)
    return (np.concatenate(blocks) if blocks else np.empty(0, dtype)), pos
