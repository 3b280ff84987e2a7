"""A fetch as one event: records of one partition that came together. Knows nothing of what a record means."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import faust
from faust.types import TP, AppT


@dataclass(frozen=True, slots=True, eq=False)
class Fetch:
    """Records of ``tp`` in log order, as librdkafka made them: methods offset(), timestamp()[1] in ms, key(), value().

    ``end`` is the offset behind the last of them, ``high_watermark`` the broker's end of the log at that time,
    ``generation`` the group's generation in which the partition became ours (a rebalance that leaves it with us does
    not change it), ``size`` the bytes of all values.
    """

    tp: TP
    records: Sequence[Any]
    end: int
    high_watermark: int
    generation: int
    size: int


@dataclass(frozen=True, slots=True)
class Packed:
    """Stands in a fetch for a record that could not be unpacked, with the methods of librdkafka's messages.

    ``at`` is its offset, ``at_ms`` the time of the record before it, ``text`` what librdkafka said.
    """

    at: int
    at_ms: int
    text: str

    def offset(self) -> int:
        """Where it stands in the log."""
        return self.at

    def timestamp(self) -> tuple[int, int]:
        """Its own is packed as well."""
        return 0, self.at_ms

    def key(self) -> None:
        """Nobody knows."""

    def value(self) -> None:
        """Nobody knows."""

    def headers(self) -> None:
        """Nobody knows."""


def cut(records: list[Any], most: int) -> Iterable[tuple[list[Any], int]]:
    """Parts of at most ``most`` bytes (or one record) with their sizes."""
    part: list[Any] = []
    size = 0
    for record in records:
        length = len(record.value() or b"")
        if part and size + length > most:
            yield part, size
            part, size = [], 0
        part.append(record)
        size += length
    if part:
        yield part, size


class FetchSchema(faust.Schema):
    """Passes the fetch through as the event's value: decoding is the agent's, once, in numpy."""

    def compile(self, app: AppT, **options: Any) -> Any:
        """The decoder Faust calls for every event."""

        async def decode(message: Any, *, propagate: bool = False) -> Any:
            return app.create_event(None, message.value, message.headers, message)

        return decode
