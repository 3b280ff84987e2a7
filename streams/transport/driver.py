"""Faust's aiokafka transport, handing an agent whole fetches and committing the offsets it is given.

Faust commits what its agents acknowledge, event by event, and loses records when a worker dies (docs/adr/0001).
Here nothing is acknowledged: topics are declared with ``acks=False`` and the assembler's low watermark is committed.
The hooks used are not promised by Faust, so its version is pinned and the crash tests guard them.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from faust.types.tuples import ConsumerMessage

from kinestream.streams.transport.fetch import Fetch, WholeFetches


class Consumer(driver.Consumer):
    """One message a fetch."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.scheduler = WholeFetches()
        #: offset behind the last record handed to an agent, by partition
        self.handed: dict[TP, int] = {}

    def _to_message(self, tp: TP, records: Any) -> ConsumerMessage:
        first, end = records[0], records[-1].offset + 1
        # A plain tuple for the key: aiokafka's TopicPartition compares equal, but is not what Faust's types say.
        tp = TP(tp.topic, tp.partition)
        self.handed[tp] = end
        fetch = Fetch(tp, records, end, self.highwater(tp), self.app.consumer_generation_id)
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            first.offset,
            first.timestamp / 1000.0,
            first.timestamp_type,
            (),
            None,
            fetch,
            None,
            0,
            sum(len(record.value or b"") for record in records),
            tp,
            generation_id=fetch.generation,
        )

    async def commit_watermarks(self, offsets: Mapping[TP, int]) -> bool:
        """Commit exactly these offsets; False when the partitions are no longer ours."""
        return bool(await self._commit(offsets))

    def caught_up_since(self, tp: TP, next_offset: int) -> float:
        """Seconds (monotonic clock) of the broker's last answer that had nothing after ``next_offset``; -1 = none.

        It proves that the log was idle until then: a broker that is frozen or out of reach proves nothing.
        """
        state = self._partition_state(tp)
        if state is None or state.timestamp is None or state.highwater is None or not state.has_valid_position:
            return -1.0
        if not state.position == state.highwater == max(next_offset, state.highwater):
            return -1.0
        if self.handed.get(tp, next_offset) > next_offset:
            return -1.0
        return time.monotonic() - max(time.time() - state.timestamp / 1000.0, 0.0)

    def position_lag(self, tp: TP, next_offset: int) -> int:
        """Messages between what was read and the end of the log as the broker last told it; -1 = not known.

        ``next_offset`` is 0 until a first record was read: then the consumer's own position counts.
        """
        state = self._partition_state(tp)
        if state is None or state.highwater is None or not state.has_valid_position:
            return -1
        return max(int(state.highwater) - int(next_offset or state.position), 0)

    def _partition_state(self, tp: TP) -> Any:
        consumer = self._thread._consumer
        subscription = consumer._subscription.subscription if consumer is not None else None
        assignment = subscription.assignment if subscription is not None else None
        if assignment is None:
            return None
        return next((assignment.state_value(one) for one in assignment.tps if tuple(one) == tuple(tp)), None)


class Transport(driver.Transport):
    """Selected by a broker URL ``kinestream://host:port``."""

    Consumer = Consumer
    default_port = 9092
