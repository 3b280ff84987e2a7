"""Faust's consumer over librdkafka: whole fetches in, the offsets it is given out. Knows nothing of a record.

Faust commits what its agents acknowledge, event by event, and loses records when a worker dies (docs/adr/0001).
Here nothing is acknowledged: topics are declared with ``acks=False`` and the assembler's low watermark is committed.
Faust stops every stream at a rebalance; here only what changes is told, and what stays with us goes on (docs/adr/0003).
The hooks used are not promised by Faust, so its version is pinned and the crash tests guard them.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping
from concurrent.futures import TimeoutError as NotYet
from types import MappingProxyType
from typing import Any

from faust.transport import consumer as faust_consumer
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from faust.types.tuples import ConsumerMessage

from kinestream.streams.transport.fetch import Fetch
from kinestream.streams.transport.holding import Lag
from kinestream.streams.transport.joining import Joining
from kinestream.streams.transport.reader import LogReader

#: Seconds until a stop no longer waits for the broker.
_LEAVE_S = 3.0


class Consumer(faust_consumer.Consumer):
    """One message a fetch."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._fetches: deque[Fetch] = deque()
        self._arrived = asyncio.Event()
        self._reader: LogReader | None = None
        self._main: asyncio.AbstractEventLoop | None = None
        self._begun = False
        #: generation of the group under which partitions were last assigned; -1 = none yet
        self.generation = -1

    # -- what the worker asks -------------------------------------------------

    async def commit_watermarks(self, offsets: Mapping[TP, int]) -> bool:
        """Commit exactly these offsets; False when the broker did not take them or they are no longer ours."""
        if self._reader is None:
            return False
        return await asyncio.wrap_future(self._reader.commit(offsets))

    def confirmed_since(self) -> float:
        """Monotonic seconds at which a request was *sent* whose answer proved our membership; -1 = none yet.

        A process that was stopped past its session sees an old time here until the broker has answered again.
        """
        return self._reader.confirmed_s if self._reader is not None else -1.0

    def owns(self, tp: TP, generation: int) -> bool:
        """``tp`` is ours since ``generation`` and the broker confirmed our membership less than half a session ago."""
        age_s = time.monotonic() - self.confirmed_since()
        return self.holds(tp, generation) and age_s < float(self.app.conf.broker_session_timeout) / 2

    def holds(self, tp: TP, generation: int) -> bool:
        """As far as we know ``tp`` is ours since ``generation``; see :meth:`owns` for what the broker confirmed."""
        holding = self._holding(tp)
        return holding is not None and holding.generation == generation

    def hold_back(self, tp: TP, held: bool) -> None:
        """Fetch no more of ``tp``, whose agent takes nothing now, until told otherwise; the others go on."""
        if self._reader is not None:
            self._reader.hold_back(TP(*tp), held)

    def caught_up_since(self, tp: TP, next_offset: int) -> float:
        """When (monotonic seconds) the broker was last asked and had nothing after ``next_offset``; -1 = never.

        It proves that the log was idle until then: a broker that is frozen or out of reach proves nothing.
        """
        holding = self._holding(tp)
        return holding.idle_since(next_offset) if holding is not None else -1.0

    def position_lag(self, tp: TP, next_offset: int) -> int:
        """Messages between what was processed and the end of the log as the broker last told it; -1 = not known.

        ``next_offset`` is 0 until a first record was processed: then the consumer's own position counts.
        """
        holding = self._holding(tp)
        if holding is None or holding.end < 0:
            return -1
        return max(holding.end - (next_offset or holding.position), 0)

    def log_of(self, tp: TP) -> tuple[int, float]:
        """End of the log as last told (-1 = not yet), and bytes of a message of it, as a mean."""
        holding = self._holding(tp)
        return (holding.end, holding.message_bytes) if holding is not None else (-1, 0.0)

    def lags(self) -> dict[TP, Lag]:
        """How far reading is behind, by partition; also while nothing is fetched."""
        holdings = self._reader.holdings if self._reader is not None else {}
        return {tp: one.lag() for tp, one in list(holdings.items())}

    @property
    def waiting_bytes(self) -> int:
        """Bytes fetched that no agent has taken yet (librdkafka holds as many again, at most)."""
        return self._reader.waiting_bytes if self._reader is not None else 0

    @property
    def log_gap_messages(self) -> int:
        """Messages that retention deleted before they were read, since the start."""
        return self._reader.log_gap_messages if self._reader is not None else 0

    @property
    def lost_tail_messages(self) -> int:
        """Offsets we had read that the broker no longer had when it came back, since the start."""
        return self._reader.lost_tail_messages if self._reader is not None else 0

    def _holding(self, tp: TP) -> Any:
        return self._reader.holdings.get(TP(*tp)) if self._reader is not None else None

    # -- fetches: from the reading thread to the agents -------------------------

    def _deliver(self, fetches: list[Fetch]) -> None:
        self._call_soon(self._arrive, fetches)

    def _arrive(self, fetches: list[Fetch]) -> None:
        self._fetches.extend(fetches)
        self._arrived.set()

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, ConsumerMessage]]:
        """What has arrived; waits up to ``timeout`` seconds for it."""
        if not self.flow_active:
            await self.wait(self.can_resume_flow)
        if not self._fetches:
            self._arrived.clear()
            await self.wait(self._arrived, timeout=timeout)
        while self._fetches and not self.should_stop:
            fetch = self._fetches.popleft()
            try:
                if self.holds(fetch.tp, fetch.generation):
                    self._read_offset[fetch.tp] = None  # the order is ours to keep: a start may lie before the last
                    yield fetch.tp, self._to_message(fetch.tp, fetch)
            finally:
                if self._reader is not None:
                    self._reader.taken(fetch.size)

    def _to_message(self, tp: TP, record: Any) -> ConsumerMessage:
        first = record.records[0]
        kind, time_ms = first.timestamp()
        # Faust skips events of another generation than its own: ours is in the fetch, per partition.
        return ConsumerMessage(
            tp.topic, tp.partition, first.offset(), time_ms / 1000.0, kind, (), None, record, None, 0, record.size, tp,
            generation_id=self.app.consumer_generation_id,
        )  # fmt: skip

    # -- the group's changes ----------------------------------------------------

    def _assigned(self, fresh: set[TP], generation: int) -> None:
        self._in_main(self._take_on(fresh, generation))

    async def _take_on(self, fresh: set[TP], generation: int) -> None:
        self.generation = generation
        everything = self.assignment()
        if not self._begun:
            self._begun = True
            self.app.on_rebalance_start()
            await self.on_partitions_assigned(everything, self.app.consumer_generation_id)
            return
        app: Any = self.app
        app.unassigned, app._assignment = not everything, everything
        await app.agents.on_rebalance(set(), fresh)
        await app.topics.on_partitions_assigned(everything)
        await app.on_partitions_assigned.send(fresh)

    def _revoked(self, gone: set[TP]) -> None:
        self._in_main(self._let_go(gone))

    async def _let_go(self, gone: set[TP]) -> None:
        app: Any = self.app
        await app.agents.on_rebalance(gone, set())
        await app.on_partitions_revoked.send(gone)

    def _failed(self, problem: Exception) -> None:
        self._call_soon(self.transport.on_failure, problem)

    def _call_soon(self, function: Any, *arguments: Any) -> None:
        if self._main is not None and not self._main.is_closed():
            self._main.call_soon_threadsafe(function, *arguments)

    def _in_main(self, change: Coroutine[Any, Any, None]) -> None:
        """Run ``change`` in Faust's loop and wait for it, unless the process is leaving."""
        assert self._main is not None, "the reading thread runs only after subscribe"
        done = asyncio.run_coroutine_threadsafe(change, self._main)
        while self._reader is not None and not self._reader.stopping.is_set():
            try:
                return done.result(0.1)
            except NotYet:
                continue

    # -- what Faust asks --------------------------------------------------------

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Join the group; the topics of a running app do not change."""
        if self._reader is not None:
            return
        self._main = asyncio.get_running_loop()
        self._reader = LogReader(
            self.transport.joining(),
            deliver=self._deliver,
            assigned=self._assigned,
            revoked=self._revoked,
            failed=self._failed,
        )
        self._reader.start(topics)

    async def on_stop(self) -> None:
        """Leave: as a static member, so that a restart within the session finds its partitions waiting."""
        await super().on_stop()
        await self.leave(_LEAVE_S)

    async def leave(self, timeout_s: float) -> None:
        """Commit what was asked for and read no more; waits for the broker for so many seconds at most."""
        if self._reader is not None:
            self._reader.stop()
            deadline = time.monotonic() + timeout_s
            while self._reader.alive and time.monotonic() < deadline:
                await asyncio.sleep(0.01)

    def assignment(self) -> set[TP]:
        """Partitions of ours."""
        return set(self._reader.holdings) if self._reader is not None else set()

    def highwater(self, tp: TP) -> int:
        """End of the log as last told."""
        holding = self._holding(tp)
        return holding.end if holding is not None else -1

    async def position(self, tp: TP) -> int | None:
        """Next offset to be handed on."""
        holding = self._holding(tp)
        return holding.position if holding is not None else None

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        return await self.commit_watermarks(offsets)

    async def perform_seek(self) -> None:
        """Nothing: a partition begins at its committed offset by itself, and one that stays with us goes on."""

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Nothing, as :meth:`perform_seek`."""
        return {}

    async def _seek(self, partition: TP, offset: int) -> None:
        raise NotImplementedError("the log is read in order, from the watermark")

    async def seek_wait(self, partitions: Mapping[TP, int]) -> None:
        """Not offered: Faust seeks in changelogs only, and there are none."""
        raise NotImplementedError("the log is read in order, from the watermark")

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:
        raise NotImplementedError("getmany hands on fetches itself")

    def _new_topicpartition(self, topic: str, partition: int) -> TP:
        return TP(topic, partition)

    def topic_partitions(self, topic: str) -> int | None:
        """Not known here: nothing is routed through Faust."""
        return None

    async def earliest_offsets(self, *partitions: TP) -> Mapping[TP, int]:
        """Not offered: for changelogs."""
        raise NotImplementedError("there are no changelogs")

    async def highwaters(self, *partitions: TP) -> Mapping[TP, int]:
        """Ends of the logs as last told."""
        return {tp: self.highwater(tp) for tp in partitions}

    def key_partition(self, topic: str, key: bytes | None, partition: int | None = None) -> int | None:
        """Not known here: robots choose the partition."""
        return partition

    async def create_topic(self, *args: Any, **kwargs: Any) -> None:
        """Not offered: `kinestream up` makes the topics."""

    def verify_recovery_event_path(self, now: float, tp: TP) -> None:
        """Nothing: there is no recovery from changelogs."""


class Idle(driver.Producer):
    """Faust's own producer: nothing is sent through it, so it opens no connection.

    aiokafka's ended the worker where a broker was away at its start.
    """

    async def on_start(self) -> None:
        """Open nothing."""

    async def on_stop(self) -> None:
        """Close nothing."""

    async def flush(self) -> None:
        """Nothing waits."""


class Transport(driver.Transport):
    """Selected by a broker URL ``kinestream://host:port``."""

    Consumer = Consumer
    Producer = Idle
    default_port = 9092
    #: "go-on" or "stop", when the log starts after the committed offset
    on_log_gap = "go-on"
    #: how the cluster lets us in, as librdkafka's settings
    access: Mapping[str, str] = MappingProxyType({})

    def on_failure(self, problem: Exception) -> None:
        """Called in Faust's loop with the error after which nothing more is read; an app may replace it."""
        self.app.loop.create_task(self.app.crash(problem))

    def joining(self) -> Joining:
        """The consumer's settings, from the app's."""
        conf = self.app.conf
        return Joining(
            ",".join(f"{one.host or '127.0.0.1'}:{one.port or self.default_port}" for one in self.url),
            conf.id,
            access=self.access,
            instance_id=conf.consumer_group_instance_id,
            session_s=float(conf.broker_session_timeout),
            max_poll_s=float(conf.broker_max_poll_interval),
            on_log_gap=self.on_log_gap,
            fetch_bytes=int(conf.consumer_max_fetch_size),
        )
