"""Passes over a value of any Avro type, checking it on the way; never builds a value.

Schemas are in parsing canonical form: primitives are strings, every name is a full name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from kinestream.schemas.codec.primitives import read_bytes, read_long

#: (buffer, position) -> position behind the value; raises IndexError, ValueError or RecursionError for broken bytes.
Skip = Callable[[bytes, int], int]

#: Bytes of the fixed-size primitives.
_SIZES: Final = {"float": 4, "double": 8, "boolean": 1, "null": 0}


def skipper(kind: Any, named: dict[str, Skip]) -> Skip:
    """How a value of type ``kind`` is passed over; names that ``kind`` defines are added to ``named``."""
    if isinstance(kind, list):
        return _union([skipper(branch, named) for branch in kind])
    name = kind["type"] if isinstance(kind, dict) else kind
    if name == "record":
        return _record(kind, named)
    if name in ("array", "map"):
        return _array(kind["items"], named) if name == "array" else _map(skipper(kind["values"], named))
    skip = _scalar(kind, name, named)
    if isinstance(kind, dict):
        named[kind["name"]] = skip
    return skip


def _scalar(kind: Any, name: str, named: dict[str, Skip]) -> Skip:
    size = _SIZES.get(name, kind["size"] if name == "fixed" else None)
    if size is not None:
        return lambda buf, pos: pos + size
    if name in ("int", "long", "enum"):
        return lambda buf, pos: read_long(buf, pos)[1]
    if name in ("bytes", "string"):
        return lambda buf, pos: read_bytes(buf, pos)[1]
    return lambda buf, pos: named[name](buf, pos)  # looked up late: a type may refer to itself


def _record(kind: Any, named: dict[str, Skip]) -> Skip:
    fields: list[Skip] = []

    def skip(buf: bytes, pos: int) -> int:
        for field in fields:
            pos = field(buf, pos)
        return pos

    named[kind["name"]] = skip
    fields += [skipper(field["type"], named) for field in kind["fields"]]
    return skip


def _union(branches: list[Skip]) -> Skip:
    def skip(buf: bytes, pos: int) -> int:
        branch, pos = read_long(buf, pos)
        if branch < 0:
            raise ValueError(f"branch {branch} of a union")
        return branches[branch](buf, pos)

    return skip


def _map(value: Skip) -> Skip:
    def item(buf: bytes, pos: int) -> int:
        _, pos = read_bytes(buf, pos)
        return value(buf, pos)

    return _blocks(lambda buf, pos, count: _each(item, buf, pos, count))


def _array(items: Any, named: dict[str, Skip]) -> Skip:
    size = _SIZES.get(items) if isinstance(items, str) else None
    if size is not None:
        return _blocks(lambda buf, pos, count: _sized(size, buf, pos, count))
    item = skipper(items, named)
    return _blocks(lambda buf, pos, count: _each(item, buf, pos, count))


def _blocks(block: Callable[[bytes, int, int], int]) -> Skip:
    def skip(buf: bytes, pos: int) -> int:
        while True:
            count, pos = read_long(buf, pos)
            if count == 0:
                return pos
            if count < 0:  # the block's size in bytes follows; the items say where they end
                count = -count
                _, pos = read_long(buf, pos)
            pos = block(buf, pos, count)
            if pos > len(buf):
                raise ValueError("an array that goes past the end")

    return skip


def _sized(size: int, buf: bytes, pos: int, count: int) -> int:
    if size == 0:
        _check_empty(buf, pos, count)
    return pos + size * count


def _each(item: Skip, buf: bytes, pos: int, count: int) -> int:
    for _ in range(count):
        before, pos = pos, item(buf, pos)
        if pos > len(buf):
            raise ValueError("an array that goes past the end")
        if pos == before:  # then all are empty: one look is enough, and a count of 2**60 must not hold us up
            _check_empty(buf, pos, count)
            break
    return pos


def _check_empty(buf: bytes, pos: int, count: int) -> None:
    if count > len(buf):
        raise ValueError(f"{count} items without bytes in a message of {len(buf)}")
