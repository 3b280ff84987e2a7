"""Native blocks built by hand where chDB gives none; must never hold rows of a table."""

from __future__ import annotations

from collections.abc import Sequence

#: what clickhouse-go asks first
HELLO = "SELECT displayName(), version(), revision(), timezone()"


def hello(name: str, version: str, timezone: str) -> bytes:
    """The answer to :data:`HELLO`: one Native block with block info and the custom-serialization byte.

    ``revision()`` is 0, so that the Go client reads plain Native blocks, as chDB writes them, from then on.
    """
    block_info = b"\x01\x00\x02\xff\xff\xff\xff\x00"
    columns = (
        ("displayName()", "String", _string(name)),
        ("version()", "String", _string(version)),
        ("revision()", "UInt32", bytes(4)),
        ("timezone()", "String", _string(timezone)),
    )
    body = b"".join(_string(title) + _string(kind) + b"\x00" + value for title, kind, value in columns)
    return block_info + _varint(len(columns)) + _varint(1) + body


def empty_block(columns: Sequence[tuple[str, str]]) -> bytes:
    """A block of no rows: the names and types of an empty result, without which a board shows no fields."""
    body = b"".join(_string(name) + _string(kind) for name, kind in columns)
    return _varint(len(columns)) + _varint(0) + body


def _string(text: str) -> bytes:
    encoded = text.encode()
    return _varint(len(encoded)) + encoded


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out + bytes([number]))
