"""A fetch as one event: all records of one partition that one answer of the broker brought."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import faust
from faust.transport.utils import DefaultSchedulingStrategy
from faust.types import TP, AppT


@dataclass(frozen=True, slots=True, eq=False)
class Fetch:
    """Records of ``tp`` in log order (attributes offset, timestamp in ms, key, value, headers).

    ``end`` is the offset behind the last of them, ``high_watermark`` the broker's end of the log at that time and
    ``generation`` the group's generation under which they were fetched.
    """

    tp: TP
    records: Sequence[Any]
    end: int
    high_watermark: int
    generation: int


class WholeFetches(DefaultSchedulingStrategy):
    """Hands on a partition's records together: Faust's price of 200 us is paid a fetch, not a record."""

    def iterate(self, records: Mapping[TP, list[Any]]) -> Iterator[tuple[TP, Any]]:
        """One (partition, records) each."""
        yield from records.items()


class FetchSchema(faust.Schema):
    """Passes the fetch through as the event's value: decoding is the agent's, once, in numpy."""

    def compile(self, app: AppT, **options: Any) -> Any:
        """The decoder Faust calls for every event."""

        async def decode(message: Any, *, propagate: bool = False) -> Any:
            return app.create_event(None, message.value, message.headers, message)

        return decode
