"""Captured messages and their file (docs/wire.md, "Capture files"); never looks into a message."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from kinestream.schemas.errors import RecordingError

#: Bytes of one message at most: what no topic takes is not read into memory.
_MOST: Final = 64 * 1024**2
#: Bytes by whose first that is no space the form of a file is told.
_HEAD: Final = 256


@dataclass(frozen=True, slots=True)
class Captured:
    """One message as it lay in the log, with the methods of librdkafka's messages; ``number`` counts from 1.

    What the capture does not say is "" for the topic, -1 for partition, offset and time (broker's, ms), and
    ``key_known`` False for the key: a message without a key is another matter.
    """

    number: int
    raw: bytes
    topic: str = ""
    partition: int = -1
    at_offset: int = -1
    at_ms: int = -1
    own_key: bytes | None = None
    key_known: bool = False
    own_headers: tuple[tuple[str, bytes | None], ...] = ()

    def offset(self) -> int:
        """Its number: what a decoder and an assembler tell records apart by."""
        return self.number

    def timestamp(self) -> tuple[int, int]:
        """Kind and time, ms."""
        return 2, self.at_ms

    def key(self) -> bytes | None:
        """As it came."""
        return self.own_key

    def value(self) -> bytes:
        """As it came."""
        return self.raw

    def headers(self) -> tuple[tuple[str, bytes | None], ...]:
        """As they came."""
        return self.own_headers


def read_capture(path: Path) -> Iterator[Captured]:
    """The messages of a file, one after the other. Raises :class:`RecordingError` for what is no capture.

    A file that begins with ``{`` holds a JSON object a line; any other one message, or several, each behind its length
    as four bytes, big-endian.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
            file.seek(0)
            if not head:
                raise RecordingError(f"{path} is empty: capture messages first (`kinestream wire capture`)")
            yield from _lines(path, file) if head.lstrip().startswith(b"{") else _binary(path, file)
    except OSError as problem:
        raise RecordingError(f"{path} cannot be read ({problem.strerror}): give a capture file") from problem


def write_capture(file: BinaryIO, messages: Iterable[Captured]) -> int:
    """A JSON line a message; how many."""
    count = 0
    for message in messages:
        file.write(json.dumps(_object(message), ensure_ascii=False).encode() + b"\n")
        count += 1
    return count


def _lines(path: Path, file: BinaryIO) -> Iterator[Captured]:
    number = 0
    for at, line in enumerate(file, 1):
        if line.strip():
            number += 1
            yield _message(number, line, f"{path}, line {at}")


def _message(number: int, line: bytes, where: str) -> Captured:
    try:
        given = json.loads(line)
    except ValueError as problem:
        raise RecordingError(f"{where} is no JSON ({problem}): a capture has one object a line") from problem
    if not isinstance(given, dict):
        raise RecordingError(f"{where} is no JSON object: a capture has one a line")
    key_known = "key" in given or "key_base64" in given
    return Captured(
        number,
        _bytes(given, "value", where, ("value", "value_hex")) or b"",
        _typed(given, "topic", str, "", where),
        _typed(given, "partition", int, -1, where),
        _typed(given, "offset", int, -1, where),
        _typed(given, "timestamp_ms", int, -1, where),
        _key(given, where),
        key_known,
        _headers(given, where),
    )


def _typed(given: Mapping[str, Any], name: str, kind: type, default: Any, where: str) -> Any:
    value = given.get(name)
    if value is None:
        return default
    if not isinstance(value, kind) or isinstance(value, bool):
        raise RecordingError(f"{where}: {name} is {value!r}, not {kind.__name__}")
    return value


def _bytes(given: Mapping[str, Any], name: str, where: str, forms: tuple[str, str]) -> bytes | None:
    """``name`` in one of its two forms: base64, or as ``forms[1]`` says."""
    plain, other = (_typed(given, form, str, None, where) for form in forms)
    try:
        if other is not None:
            return bytes.fromhex(other)
        if plain is not None:
            return base64.b64decode(plain, validate=True)
    except (ValueError, binascii.Error) as problem:
        raise RecordingError(f"{where}: {name} cannot be read ({problem}): base64, or hexadecimal as value_hex") from (
            problem
        )
    if name not in given:
        raise RecordingError(
            f"{where} has no {name}: give the message's bytes in base64, or in hexadecimal as value_hex"
        )
    return None


def _key(given: Mapping[str, Any], where: str) -> bytes | None:
    if "key_base64" in given:
        return _bytes({"key": given["key_base64"]}, "key", where, ("key", "key_hex"))
    key = _typed(given, "key", str, None, where)
    return None if key is None else str(key).encode()


def _headers(given: Mapping[str, Any], where: str) -> tuple[tuple[str, bytes | None], ...]:
    headers = _typed(given, "headers", dict, {}, where)
    return tuple((str(name), None if value is None else str(value).encode()) for name, value in headers.items())


def _object(message: Captured) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "topic": message.topic,
        "partition": message.partition,
        "offset": message.at_offset,
        "timestamp_ms": message.at_ms,
    }
    try:
        facts["key"] = None if message.own_key is None else message.own_key.decode()
    except UnicodeDecodeError:
        facts["key_base64"] = base64.b64encode(message.own_key or b"").decode()
    if message.own_headers:
        facts["headers"] = {
            name: None if value is None else value.decode(errors="replace") for name, value in message.own_headers
        }
    return facts | {"value": base64.b64encode(message.raw).decode()}


def _binary(path: Path, file: BinaryIO) -> Iterator[Captured]:
    size = path.stat().st_size
    if not _has_lengths(file, size):
        if size > _MOST:
            raise RecordingError(f"{path} has {size} bytes and is no capture file: give JSON lines")
        file.seek(0)
        yield Captured(1, file.read())
        return
    file.seek(0)
    number = 0
    while head := file.read(4):
        number += 1
        yield Captured(number, file.read(int.from_bytes(head, "big")))


def _has_lengths(file: BinaryIO, size: int) -> bool:
    """Whether lengths, none of them 0, lead exactly to the end: a framed message with an id below 256 never does."""
    at = 0
    while at < size:
        file.seek(at)
        length = int.from_bytes(file.read(4), "big")
        if not 0 < length <= _MOST or at + 4 > size:
            return False
        at += 4 + length
    return at == size
