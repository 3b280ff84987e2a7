"""Compiles a FrameChunk decoder from the writer's schema: known fields become arrays in place, others are skipped.

Avro's ``array<float>`` is a block count followed by little-endian values, so ``np.frombuffer`` reads it without a copy.
A maker who adds a field stays on this path; a writer whose known fields have other types gets the general decoder.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from kinestream.schemas.errors import DecodeError
from kinestream.schemas.frames import FrameChunk
from kinestream.schemas.layout import JOINT_CHANNELS

Decoder = Callable[[bytes], FrameChunk]

_FLOATS: Final = {"type": "array", "items": "float"}
_DOUBLES: Final = {"type": "array", "items": "double"}
_BLOCKED: Final = "more than one array block"
#: Bytes of the fixed-size primitives.
_SIZES: Final = {"float": 4, "double": 8, "boolean": 1, "null": 0}


def read_long(buf: bytes, pos: int) -> tuple[int, int]:
    """An Avro long at ``pos``; returns it and the position behind it. Raises IndexError past the end."""
    byte = buf[pos]
    pos += 1
    value, shift = byte & 0x7F, 7
    while byte & 0x80:
        byte = buf[pos]
        pos += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if shift > 70:
            raise ValueError("a long of more than 10 bytes")
    return (value >> 1) ^ -(value & 1), pos


def read_array(buf: bytes, pos: int, dtype: np.dtype[Any]) -> tuple[Any, int]:
    """An Avro array of floats; a view where it is one block, as every writer known makes it."""
    blocks = []
    while True:
        count, pos = read_long(buf, pos)
        if count == 0:
            break
        if count < 0:  # a negative count is followed by the block's size in bytes
            count = -count
            _, pos = read_long(buf, pos)
        blocks.append(np.frombuffer(buf, dtype, count, pos))
        pos += count * dtype.itemsize
    if len(blocks) == 1:
        return blocks[0], pos
    return (np.concatenate(blocks) if blocks else np.empty(0, dtype)), pos


def read_bytes(buf: bytes, pos: int) -> tuple[bytes, int]:
    """Avro bytes or string; raises ValueError where the buffer ends before."""
    size, pos = read_long(buf, pos)
    if size < 0 or pos + size > len(buf):
        raise ValueError(f"a text of {size} bytes where {len(buf) - pos} are left")
    return buf[pos : pos + size], pos + size


def compile_chunk_decoder(writer: dict[str, Any]) -> Decoder | None:
    """A decoder of whole framed messages, or None where the writer's types need Avro's general resolution."""
    steps = [_step(field, writer) for field in writer["fields"]]
    if None in steps:
        return None
    names = {field["name"] for field in writer["fields"]}
    if not {"episode_id", "layout_id", "first_seq", "t0_ns", "offset_s"} <= names:
        return None
    plan = [step for step in steps if step is not None]

    def decode(buf: bytes) -> FrameChunk:
        chunk = FrameChunk("", b"", 0, 0, _NO_STAMPS)
        pos = 5
        try:
            for step in plan:
                pos = step(buf, pos, chunk)
        except (IndexError, ValueError, OverflowError, struct.error) as problem:
            raise DecodeError("UNDECODABLE", f"not a FrameChunk: {problem}") from problem
        if pos != len(buf):
            raise DecodeError("UNDECODABLE", f"a FrameChunk of {pos} bytes in a message of {len(buf)}")
        return chunk

    return decode


_NO_STAMPS: Final = np.empty(0, np.float64)
_F4: Final = np.dtype("<f4")
_F8: Final = np.dtype("<f8")
Step = Callable[[bytes, int, FrameChunk], int]


def _step(field: dict[str, Any], writer: dict[str, Any]) -> Step | None:
    """How one field of the writer is read; None where it has a type we do not read fast."""
    name, kind = field["name"], field["type"]
    shape = _plain(kind)
    if name in JOINT_CHANNELS:
        return _joint_channel(name) if shape == _FLOATS else None
    if name in _KNOWN:
        allowed, step = _KNOWN[name]
        return step if shape in allowed else None
    if name == "extra":
        return _extra if _is_extra(kind) else None
    skip = _skipper(kind, {})
    return lambda buf, pos, chunk: skip(buf, pos)


def _plain(kind: Any) -> Any:
    """A type without documentation and other attributes that do not change its bytes."""
    if not isinstance(kind, dict):
        return kind
    if kind["type"] == "array":
        return {"type": "array", "items": _plain(kind["items"])}
    if kind["type"] == "fixed":
        return {"type": "fixed", "size": kind["size"]}
    return kind["type"] if isinstance(kind["type"], str) and kind["type"] in ("string", "long", "int") else kind


def _episode_id(buf: bytes, pos: int, chunk: FrameChunk) -> int:
    size = buf[pos]
    if size == 72 and pos + 37 <= len(buf):  # 36 characters, the length of every UUID
        chunk.episode_id = buf[pos + 1 : pos + 37].decode()
        return pos + 37
    raw, pos = read_bytes(buf, pos)
    chunk.episode_id = raw.decode()
    return pos


def _layout_id(buf: bytes, pos: int, chunk: FrameChunk) -> int:
    chunk.layout_id = buf[pos : pos + 8]
    return pos + 8


def _first_seq(buf: bytes, pos: int, chunk: FrameChunk) -> int:
    chunk.first_seq, pos = read_long(buf, pos)
    return pos


def _t0_ns(buf: bytes, pos: int, chunk: FrameChunk) -> int:
    chunk.t0_ns, pos = read_long(buf, pos)
    return pos


def _offset_s(buf: bytes, pos: int, chunk: FrameChunk) -> int:
    chunk.offset_s, pos = read_array(buf, pos, _F8)
    return pos


_KNOWN: Final[dict[str, tuple[tuple[Any, ...], Step]]] = {
    "episode_id": (("string",), _episode_id),
    "layout_id": (({"type": "fixed", "size": 8},), _layout_id),
    "first_seq": (("long", "int"), _first_seq),
    "t0_ns": (("long", "int"), _t0_ns),
    "offset_s": ((_DOUBLES,), _offset_s),
}


def _joint_channel(name: str) -> Step:
    def step(buf: bytes, pos: int, chunk: FrameChunk) -> int:
        if buf[pos] == 0:
            return pos + 1
        values, pos = read_array(buf, pos, _F4)
        chunk.channels[name] = values
        return pos

    return step


def _is_extra(kind: Any) -> bool:
    items = kind.get("items") if isinstance(kind, dict) else None
    if not isinstance(items, dict) or items.get("type") != "record":
        return False
    return [(f["name"], json.dumps(_plain(f["type"]))) for f in items["fields"]] == [
        ("name", '"string"'),
        ("values", json.dumps(_FLOATS)),
    ]


def _extra(buf: bytes, pos: int, chunk: FrameChunk) -> int:
    while True:
        count, pos = read_long(buf, pos)
        if count == 0:
            return pos
        if count < 0:
            count = -count
            _, pos = read_long(buf, pos)
        for _ in range(count):
            raw, pos = read_bytes(buf, pos)
            values, pos = read_array(buf, pos, _F4)
            if len(values):
                chunk.channels[raw.decode()] = values


Skip = Callable[[bytes, int], int]


def _skipper(kind: Any, named: dict[str, Skip]) -> Skip:
    """How a value of any Avro type is passed over."""
    if isinstance(kind, list):
        branches = [_skipper(branch, named) for branch in kind]
        return lambda buf, pos: _skip_union(buf, pos, branches)
    name = kind["type"] if isinstance(kind, dict) else kind
    if isinstance(name, dict | list):
        return _skipper(name, named)
    if name in _SIZES:
        size = _SIZES[name]
        return lambda buf, pos: pos + size
    if name in ("int", "long", "enum"):
        return _remember(kind, named, lambda buf, pos: read_long(buf, pos)[1])
    if name in ("bytes", "string"):
        return lambda buf, pos: read_bytes(buf, pos)[1]
    if name == "fixed":
        size = kind["size"]
        return _remember(kind, named, lambda buf, pos: pos + size)
    if name in ("array", "map"):
        return _skip_blocks(_skipper(kind["items" if name == "array" else "values"], named), keyed=name == "map")
    if name == "record":
        fields: list[Skip] = []
        skip = _remember(kind, named, lambda buf, pos: _skip_all(buf, pos, fields))
        fields += [_skipper(field["type"], named) for field in kind["fields"]]
        return skip
    return lambda buf, pos: named[str(name).rpartition(".")[2]](buf, pos)


def _remember(kind: Any, named: dict[str, Skip], skip: Skip) -> Skip:
    if isinstance(kind, dict) and "name" in kind:
        named[str(kind["name"]).rpartition(".")[2]] = skip
    return skip


def _skip_union(buf: bytes, pos: int, branches: list[Skip]) -> int:
    branch, pos = read_long(buf, pos)
    return branches[branch](buf, pos)


def _skip_all(buf: bytes, pos: int, fields: list[Skip]) -> int:
    for field in fields:
        pos = field(buf, pos)
    return pos


def _skip_blocks(item: Skip, keyed: bool) -> Skip:
    def skip(buf: bytes, pos: int) -> int:
        while True:
            count, pos = read_long(buf, pos)
            if count == 0:
                return pos
            if count < 0:
                size, pos = read_long(buf, pos)
                pos += size
                continue
            for _ in range(count):
                if keyed:
                    _, pos = read_bytes(buf, pos)
                pos = item(buf, pos)
                if pos > len(buf):
                    raise ValueError("an array that goes past the end")

    return skip
