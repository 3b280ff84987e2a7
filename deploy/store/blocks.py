"""ClickHouse's own block framing (compress=1, decompress=1); must never accept a block whose checksum differs.

A block: 16 bytes CityHash128 v1.0.2 over the rest, 1 byte method, uint32 size with these 9 bytes, uint32 size
unpacked, data.
"""

from __future__ import annotations

import struct

import lz4.block
import zstandard
from clickhouse_cityhash.cityhash import CityHash128

from kinestream.deploy.store.errors import CANNOT_DECOMPRESS, QueryError

NONE, LZ4, ZSTD = 0x02, 0x82, 0x90
_HEADER = struct.Struct("<BII")
_MASK = (1 << 64) - 1
_LARGEST = 1 << 30
_PIECE = 1 << 20


class BlockEncoder:
    """Frames what it is given as LZ4 blocks of at most 1 MiB."""

    def encode(self, piece: bytes) -> bytes:
        """Whole blocks holding ``piece``."""
        starts = range(0, len(piece), _PIECE)
        return b"".join(
            block(LZ4, lz4.block.compress(p := piece[i : i + _PIECE], store_size=False), len(p)) for i in starts
        )

    def encode_error(self, piece: bytes) -> bytes:
        """A stored block: clients look for a mid-stream error in the raw bytes."""
        return block(NONE, piece, len(piece))

    def end(self) -> bytes:
        """Nothing: blocks need no end."""
        return b""


class BlockDecoder:
    """Takes blocks cut anywhere, gives their content. Raises :class:`QueryError` 271."""

    def __init__(self) -> None:
        self._held = bytearray()

    def decode(self, piece: bytes) -> bytes:
        """The content of the blocks that are whole by now."""
        self._held += piece
        out = []
        while len(self._held) >= 25:
            method, size, unpacked = _HEADER.unpack_from(self._held, 16)
            if not 9 <= size <= _LARGEST or unpacked > _LARGEST:
                raise QueryError(CANNOT_DECOMPRESS, f"block of {size} bytes for {unpacked}: at most {_LARGEST}")
            if len(self._held) < 16 + size:
                break
            out.append(_open(bytes(self._held[: 16 + size]), method, unpacked))
            del self._held[: 16 + size]
        return b"".join(out)

    def end(self) -> bytes:
        """Refuse a body that ends inside a block."""
        if self._held:
            raise QueryError(CANNOT_DECOMPRESS, f"the body ends inside a block, {len(self._held)} bytes are left")
        return b""


def block(method: int, data: bytes, unpacked: int) -> bytes:
    """One framed block around already compressed ``data``."""
    body = _HEADER.pack(method, len(data) + 9, unpacked) + data
    return _checksum(body) + body


def _open(framed: bytes, method: int, unpacked: int) -> bytes:
    if _checksum(framed[16:]) != framed[:16]:
        raise QueryError(CANNOT_DECOMPRESS, "block checksum differs: the body was damaged on its way")
    data = framed[25:]
    try:
        if method == LZ4:
            return lz4.block.decompress(data, uncompressed_size=unpacked)
        if method == ZSTD:
            return zstandard.ZstdDecompressor().decompress(data, max_output_size=unpacked)
    except (lz4.block.LZ4BlockError, zstandard.ZstdError) as problem:
        raise QueryError(CANNOT_DECOMPRESS, f"a block cannot be unpacked: {problem}") from problem
    if method == NONE:
        return data
    raise QueryError(CANNOT_DECOMPRESS, f"block method {method:#x}: allowed are none, LZ4 and ZSTD")


def _checksum(body: bytes) -> bytes:
    hashed = CityHash128(body)
    return struct.pack("<QQ", hashed >> 64, hashed & _MASK)
