"""Fetched records to decoded ones, or to dead letters with their reason; a bad message never stops a partition."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from aiokafka.partitioner import murmur2

from kinestream.schemas.codec import Codec
from kinestream.schemas.errors import DecodeError
from kinestream.streams.assembly.values import WRONG_PARTITION, DeadLetter, LogRecord


class Decoder:
    """Decodes one topic's records and checks once a key that it lies on the partition murmur2 gives it."""

    def __init__(self, codec: Codec, partitions: int) -> None:
        self._codec = codec
        self._partitions = partitions
        self._placed: dict[bytes, int] = {}

    def decode(self, partition: int, records: Iterable[Any]) -> list[LogRecord | DeadLetter]:
        """In log order; ``records`` as the transport hands them."""
        decode = self._codec.decode
        out: list[LogRecord | DeadLetter] = []
        for record in records:
            key, raw = record.key or b"", record.value or b""
            try:
                if self._place(key) != partition:
                    raise DecodeError(
                        WRONG_PARTITION, f"key {key!r} belongs to partition {self._place(key)}, not {partition}"
                    )
                decoded = decode(raw)
            except DecodeError as problem:
                schema_id = int.from_bytes(raw[1:5], "big") if len(raw) >= 5 else -1
                letter = DeadLetter(record.offset, record.timestamp, key, raw, problem.reason, str(problem), schema_id)
                out.append(letter)
            else:
                out.append(
                    LogRecord(
                        record.offset, record.timestamp, key, raw, decoded.record, decoded.value, decoded.schema_id
                    )
                )
        return out

    def _place(self, key: bytes) -> int:
        place = self._placed.get(key)
        if place is None:
            if len(self._placed) > 100_000:  # keys are robots; a flood of made-up ones must not fill memory
                self._placed.clear()
            place = self._placed[key] = (murmur2(key) & 0x7FFFFFFF) % self._partitions
        return place
