"""Fetched records to decoded ones, or to dead letters with their reason; a bad message never stops a partition."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeGuard

import numpy as np
from aiokafka.partitioner import murmur2

from kinestream.schemas.catalogue import MAX_MESSAGE_BYTES
from kinestream.schemas.codec import CHUNK, Codec
from kinestream.schemas.codec.run_decoder import HEAD, decode_run
from kinestream.schemas.errors import DecodeError
from kinestream.schemas.reasons import DeadLetterReason
from kinestream.streams.assembly.values import DeadLetter, LogRecord, LogRun
from kinestream.streams.transport.fetch import Packed

#: Fetches for which a key's chunks are read one by one after a run of them had to be taken apart.
_APART: Final = 16
#: Keys that are remembered: they are robots; a flood of made-up ones must not fill memory.
_KEYS: Final = 100_000


@dataclass(slots=True)
class _Alike:
    """Records of one key that may be read together: places in the fetch, and as the transport hands them."""

    head: bytes
    size: int
    places: list[int]
    records: list[Any]
    #: what their robot said between them
    statuses: list[LogRecord]


class Decoder:
    """Decodes one topic's records and checks once a key that it lies on the partition murmur2 gives it."""

    def __init__(self, codec: Codec, partitions: int) -> None:
        self.codec = codec
        self._partitions = partitions
        self._placed: dict[bytes, int] = {}
        self._apart: dict[bytes, int] = {}
        #: what the newest status of each key says
        self._said: dict[bytes, tuple[str, ...]] = {}

    def asks(self, records: Iterable[Any]) -> bool:
        """Whether decoding these may wait for the registry."""
        heads = {raw[1:5] for record in records if (raw := record.value())}
        return not all(self.codec.knows(int.from_bytes(head, "big")) for head in heads)

    def decode(self, partition: int, records: Sequence[Any]) -> list[LogRecord | DeadLetter]:
        """In log order; ``records`` as the transport hands them: librdkafka's messages.

        Chunks of an episode that follow each other, with nothing else of their key between them but a RobotStatus that
        repeats the one before it, come as one :class:`LogRun` at the place of the first.
        """
        found: list[LogRecord | DeadLetter | None] = [None] * len(records)
        alike: dict[bytes, _Alike] = {}
        for i, record in enumerate(records):
            key, raw = record.key() or b"", record.value() or b""
            head = raw[:HEAD]
            group = alike.get(key)
            if group is not None and group.size == len(raw) and group.head == head:
                group.places.append(i)
                group.records.append(record)
            elif self.codec.may_join(head):
                if group is not None:
                    self._read(partition, group, found)
                alike[key] = _Alike(head, len(raw), [i], [record], [])
            else:
                one = found[i] = self._one(partition, record)
                if not self._repeats(one):
                    alike.pop(key, None)
                    if group is not None:
                        self._read(partition, group, found)
                elif group is not None:
                    group.statuses.append(one)
        for group in alike.values():
            self._read(partition, group, found)
        return [record for record in found if record is not None]

    def _read(self, partition: int, group: _Alike, found: list[LogRecord | DeadLetter | None]) -> None:
        """Put records that are alike into their places: as a run at the first, or each by itself."""
        if (run := self._run(partition, group)) is not None:
            found[group.places[0]] = run
        else:
            for i, record in zip(group.places, group.records, strict=True):
                found[i] = self._one(partition, record)

    def _repeats(self, one: LogRecord | DeadLetter) -> TypeGuard[LogRecord]:
        """Whether it is a RobotStatus that says what the one before it of its key said."""
        if not isinstance(one, LogRecord) or one.record != "RobotStatus":
            return False
        said = (one.value["boot_id"], one.value["recording"], *one.value["unsent_episodes"])
        before = self._said.get(one.key)
        if before is None and len(self._said) > _KEYS:
            self._said.clear()
        self._said[one.key] = said
        return said == before

    def _run(self, partition: int, group: _Alike) -> LogRun | None:
        records = group.records
        first, last = records[0], records[-1].offset()
        key, raw = first.key() or b"", first.value()
        if len(records) == 1 or len(raw) > MAX_MESSAGE_BYTES or self._place(key) != partition or self._is_apart(key):
            return None
        chunks = decode_run([record.value() for record in records])
        if chunks is None:
            return None
        return LogRun(
            first.offset(),
            first.timestamp()[1],
            key,
            raw,
            CHUNK,
            chunks,
            int.from_bytes(raw[1:5], "big"),
            offsets=np.array([record.offset() for record in records], np.int64),
            times_ms=np.array([record.timestamp()[1] for record in records], np.int64),
            statuses=[status for status in group.statuses if status.offset < last],
            split=partial(self._split, partition, key, records),
        )

    def _split(self, partition: int, key: bytes, records: list[Any]) -> list[LogRecord | DeadLetter]:
        """A run was of no use: for a while its robot's chunks are not read together."""
        if len(self._apart) > _KEYS:
            self._apart.clear()
        self._apart[key] = _APART
        return [self._one(partition, record) for record in records]

    def _is_apart(self, key: bytes) -> bool:
        left = self._apart.get(key)
        if left is None:
            return False
        if left > 1:
            self._apart[key] = left - 1
        else:
            del self._apart[key]
        return True

    def _one(self, partition: int, record: Any) -> LogRecord | DeadLetter:
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
            decoded = self.codec.decode(raw)
        except DecodeError as problem:
            return _letter(record, problem)
        place = (record.offset(), record.timestamp()[1], key, raw)
        return LogRecord(*place, decoded.record, decoded.value, decoded.schema_id, tuple(record.headers() or ()))

    def _place(self, key: bytes) -> int:
        place = self._placed.get(key)
        if place is None:
            if len(self._placed) > _KEYS:
                self._placed.clear()
            place = self._placed[key] = (murmur2(key) & 0x7FFFFFFF) % self._partitions
        return place


def _letter(record: Any, problem: DecodeError) -> DeadLetter:
    """Key and value as they came: none is not the same as an empty one."""
    raw = record.value() or b""
    schema_id = int.from_bytes(raw[1:5], "big") if len(raw) >= 5 and raw[0] == 0 else -1
    place = (record.offset(), record.timestamp()[1], record.key(), record.value())
    return DeadLetter(*place, problem.reason, str(problem), schema_id, tuple(record.headers() or ()))
