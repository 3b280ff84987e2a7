"""Chunk to Avro bytes without touching a single float: arrays are copied as they lie in memory."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from kinestream.schemas.errors import ContractError
from kinestream.schemas.frames import FrameChunk
from kinestream.schemas.layout import JOINT_CHANNELS

_FLOAT32: Final = np.dtype("<f4")
_FLOAT64: Final = np.dtype("<f8")


def zigzag(value: int) -> bytes:
    """Avro's variable-length long; raises :class:`ContractError` for what int64 cannot hold."""
    if not -(2**63) <= value < 2**63:
        raise ContractError(f"{value} is no Avro long: allowed are 64 bits with a sign")
    value = value << 1 if value >= 0 else ((-value) << 1) - 1
    if value < 0x80:
        return bytes((value,))
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


#: Counts and lengths are few, and the same in every chunk.
_count = lru_cache(maxsize=1024)(zigzag)


def encode_chunk_body(chunk: FrameChunk) -> bytes:
    """The Avro body of a FrameChunk, equal byte for byte to what a general Avro writer gives."""
    episode_id = chunk.episode_id.encode()
    if len(chunk.layout_id) != 8:
        raise ContractError(f"layout_id has {len(chunk.layout_id)} bytes: take the 8 of Layout.layout_id")
    parts = [_count(len(episode_id)), episode_id, chunk.layout_id, zigzag(chunk.first_seq), zigzag(chunk.t0_ns)]
    _array(parts, chunk.offset_s, _FLOAT64)
    further = dict(chunk.channels)
    for name in JOINT_CHANNELS:
        values = further.pop(name, None)
        if values is None:
            parts.append(b"\0")
        else:
            _array(parts, values, _FLOAT32)
    if further:
        parts.append(_count(len(further)))
        for name, values in further.items():
            raw = name.encode()
            parts += (_count(len(raw)), raw)
            _array(parts, values, _FLOAT32)
    parts.append(b"\0")
    return b"".join(parts)


def _array(parts: list[bytes], values: np.ndarray, kind: npt.DTypeLike) -> None:
    if values.size:
        parts += (_count(values.size), np.asarray(values, kind).tobytes())
    parts.append(b"\0")
