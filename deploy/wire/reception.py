"""From a captured message to a record, or to what is wrong with the message as such; knows no episode."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, Final

import numpy as np

from kinestream.deploy.wire.capture import Captured
from kinestream.deploy.wire.checks import Book
from kinestream.schemas.catalogue import FRAMES, FRAMES_BULK, MAX_MESSAGE_BYTES, topic_name
from kinestream.schemas.codec import Codec
from kinestream.schemas.murmur2 import partition_of
from kinestream.schemas.reasons import DeadLetterReason
from kinestream.schemas.registry import Registry
from kinestream.streams.assembly.values import DeadLetter, LogRecord
from kinestream.streams.dead_letters.opening import opened
from kinestream.streams.decoding import Decoder

_TOPIC: Final = re.compile(r"motion\.([a-z][a-z0-9-]{0,62})\.(frames|frames-bulk)\.v1")
#: Where a capture does not say the topic: no check looks at it then.
_ANY_TOPIC: Final = topic_name(FRAMES, "hub")
#: Magnitudes no measured signal leaves: read in the wrong byte order, nearly all values do.
_LEAST: Final = 1e-12
_MOST: Final = 1e12


class Reception:
    """Decodes with the worker's own decoder. ``dead_letters`` counts what a worker would refuse, by reason."""

    def __init__(self, book: Book, registry: Registry, partitions: int) -> None:
        self._book, self._registry, self._partitions = book, registry, partitions
        self._decoders: dict[str, Decoder] = {}
        self.dead_letters: Counter[str] = Counter()

    def codec(self, topic: str) -> Codec:
        """That of a topic."""
        return self._decoder(topic).codec

    def receive(self, message: Captured) -> LogRecord | None:
        """The record, also where only its place is wrong; None for what cannot be read."""
        size = len(message.raw)
        fits = size <= MAX_MESSAGE_BYTES
        self._book.judge("size", fits, message, f"{size:,} bytes", f"at most {MAX_MESSAGE_BYTES:,}")
        self._check_topic(message)
        place = self._check_place(message)
        (found,) = self._decoder(message.topic).decode(place, [message])
        if isinstance(found, DeadLetter):
            self.refused(found.reason)
            if found.reason != DeadLetterReason.OVERSIZE:
                self._say_why(message, found)
            return None
        for name in ("framing", "schema", "record", "avro"):
            self._book.held(name)
        return found

    def place(self, message: Captured) -> int:
        """The partition it belongs to."""
        return partition_of(message.own_key or b"", self._partitions)

    def refused(self, reason: str) -> None:
        """A worker would make it a dead letter."""
        self.dead_letters[str(reason)] += 1

    def check_tenant(self, message: Captured, tenant: str) -> None:
        """A start or status says whose it is: so does its topic."""
        if (found := _TOPIC.fullmatch(message.topic)) and found[1] != tenant:
            self._book.broke("topic", message, f"tenant {tenant!r} on {message.topic}", f"tenant {found[1]!r}")

    def _decoder(self, topic: str) -> Decoder:
        if topic not in self._decoders:
            self._decoders[topic] = Decoder(Codec(self._registry, topic or _ANY_TOPIC), self._partitions)
        return self._decoders[topic]

    def _check_topic(self, message: Captured) -> None:
        if message.topic:
            names = " or ".join(topic_name(one, "hub") for one in (FRAMES, FRAMES_BULK))
            good = _TOPIC.fullmatch(message.topic) is not None
            received = f"topic {message.topic!r}"
            self._book.judge("topic", good, message, received, f"{names}, with the tenant's name for hub")

    def _check_place(self, message: Captured) -> int:
        place = self.place(message)
        if message.partition >= 0 and message.key_known:
            if place != message.partition:
                self.refused(DeadLetterReason.WRONG_PARTITION)
                if not message.own_key:
                    return place  # without a key it lies anywhere: that is what is wrong
                received = f"partition {message.partition}"
                expected = f"partition {place} of {self._partitions} for key {_shown(message.own_key)}"
                self._book.broke("partition", message, received, expected, DeadLetterReason.WRONG_PARTITION)
            else:
                self._book.held("partition")
        return place

    def _say_why(self, message: Captured, letter: DeadLetter) -> None:
        """Which check a message that cannot be decoded breaks."""
        raw, book, reason = message.raw, self._book, str(letter.reason)
        if len(raw) < 5 or raw[0] != 0:
            received = f"{len(raw)} bytes that begin with {raw[:8].hex(' ') or 'nothing'}"
            book.broke("framing", message, received, "00, then 4 bytes of schema id, then the Avro body", reason)
            return
        book.held("framing")
        if letter.reason == DeadLetterReason.UNKNOWN_SCHEMA:
            book.broke("schema", message, letter.text, "an id of the registry, or of schemas/avro/ids.json", reason)
            return
        book.held("schema")
        found = opened(raw, self._registry)
        if "problem" in found:
            expected = f"one {found.get('record', 'record')}, and nothing behind it"
            book.broke("avro", message, f"{letter.text}; {found['problem']}", expected, reason)
            return
        book.held("avro")
        fields: dict[str, Any] = found.get("fields", {})
        if "stamp" in letter.text:
            stamps = _listed(fields.get("offset_s"))
            name = "endianness" if swapped(stamps) else "clock"
            received = f"offset_s {[float(f'{s:.3g}') for s in stamps[:4].tolist()]} from t0_ns {fields.get('t0_ns')}"
            expected = "little-endian doubles" if name == "endianness" else "stamps that int64 nanoseconds hold"
            book.broke(name, message, received, expected, reason)
        else:
            book.broke("values", message, letter.text, "each channel once", reason)


def swapped(values: np.ndarray[Any, Any]) -> bool:
    """Whether floats look written in the other byte order: nearly none has a magnitude that signals have.

    ``values``: any shape, float32 or float64 as read.
    """
    values = np.ravel(values)
    values = values[values != 0]
    if len(values) < 4:
        return False
    return bool(_plausible(values) < 0.5 and _plausible(values.byteswap()) > 0.95)


def _plausible(values: np.ndarray[Any, Any]) -> float:
    with np.errstate(all="ignore"):
        size = np.abs(values.astype(np.float64))
        return float(((size > _LEAST) & (size < _MOST)).mean())


def _listed(value: Any) -> np.ndarray[Any, Any]:
    """The numbers of a field as ``opened`` shows it."""
    first = value.get("first", []) if isinstance(value, dict) else value or []
    return np.array([one for one in first if isinstance(one, float | int)], np.float64)


def _shown(key: bytes | None) -> str:
    return "none" if key is None else repr(key[:80].decode(errors="backslashreplace"))
