"""Fetched records to decoded ones, or to dead letters with their reason; a bad message never stops a partition."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from aiokafka.partitioner import murmur2

from kinestream.schemas.catalogue import MAX_MESSAGE_BYTES
from kinestream.schemas.codec import Codec
from kinestream.schemas.errors import DecodeError
from kinestream.schemas.reasons import DeadLetterReason
from kinestream.streams.assembly.values import DeadLetter, LogRecord
from kinestream.streams.transport.fetch import Packed


class Decoder:
    """Decodes one topic's records and checks once a key that it lies on the partition murmur2 gives it."""

    def __init__(self, codec: Codec, partitions: int) -> None:
        self.codec = codec
        self._partitions = partitions
        self._placed: dict[bytes, int] = {}

    def asks(self, records: Iterable[Any]) -> bool:
        """Whether decoding these may wait for the registry."""
        heads = {raw[1:5] for record in records if (raw := record.value())}
        return not all(self.codec.knows(int.from_bytes(head, "big")) for head in heads)

    def decode(self, partition: int, records: Iterable[Any]) -> list[LogRecord | DeadLetter]:
        """In log order; ``records`` as the transport hands them: librdkafka's messages."""
        decode = self.codec.decode
        out: list[LogRecord | DeadLetter] = []
        for record in records:
            key, raw = record.key() or b"", record.value() or b""
            try:
                if not raw and isinstance(record, Packed):
                    raise DecodeError(DeadLetterReason.OVERSIZE, f"cannot be unpacked: {record.text}")
                if self._place(key) != partition:
                    said = f"key {key[:200]!r} belongs to partition {self._place(key)}, not {partition}"
                    raise DecodeError(DeadLetterReason.WRONG_PARTITION, said)
                if len(raw) > MAX_MESSAGE_BYTES:  # it came packed: the broker counts what is on the wire
                    said = f"{len(raw)} bytes when unpacked; a record has {MAX_MESSAGE_BYTES} at most"
                    raise DecodeError(DeadLetterReason.OVERSIZE, said)
                decoded = decode(raw)
            except DecodeError as problem:
                out.append(_letter(record, problem))
            else:
                out.append(
                    LogRecord(
                        record.offset(),
                        record.timestamp()[1],
                        key,
                        raw,
                        decoded.record,
                        decoded.value,
                        decoded.schema_id,
                        tuple(record.headers() or ()),
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


def _letter(record: Any, problem: DecodeError) -> DeadLetter:
    """Key and value as they came: none is not the same as an empty one."""
    raw = record.value() or b""
    schema_id = int.from_bytes(raw[1:5], "big") if len(raw) >= 5 and raw[0] == 0 else -1
    place = (record.offset(), record.timestamp()[1], record.key(), record.value())
    return DeadLetter(*place, problem.reason, str(problem), schema_id, tuple(record.headers() or ()))
