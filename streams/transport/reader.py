"""Reads the group's share of the log through librdkafka, in a thread of its own. Knows neither Faust nor a record.

The thread always answers the group: while the worker takes nothing, it stops fetching and goes on polling.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from functools import partial
from typing import Any, Final

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, KafkaException, TopicPartition
from faust.types import TP

from kinestream.schemas.errors import BrokerError, SettingError
from kinestream.streams.transport.asking import Asking, offsets_at
from kinestream.streams.transport.commits import Commits, generation_of
from kinestream.streams.transport.fetch import Fetch, Packed, cut
from kinestream.streams.transport.holding import Holding, Holdings
from kinestream.streams.transport.identity import WATCH_S, Identity, known_partitions
from kinestream.streams.transport.joining import Joining
from kinestream.streams.transport.starting import Start, decide

log = logging.getLogger("kinestream.transport")

#: Longest wait for a first message, seconds: a stop and a commit are seen within it.
_POLL_S: Final = 0.05
#: Messages taken at once, at most.
_BATCH: Final = 500
#: How long the worker may take nothing before fetching is paused. A pause drops what librdkafka has fetched ahead.
_PATIENCE_S: Final = 0.3
#: Errors that say the log no longer holds the offset we wanted.
_LOST_PLACE: Final = frozenset(
    {
        KafkaError._AUTO_OFFSET_RESET,
        KafkaError._NO_OFFSET,
        KafkaError._LOG_TRUNCATION,
        KafkaError.OFFSET_OUT_OF_RANGE,
    }
)
_MISSING: Final = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC})


class _FencedError(Exception):
    """The broker knows a newer member under our static id."""


class LogReader:
    """One member of the group.

    ``deliver`` is given fetches; ``assigned`` (partitions, generation) and ``revoked`` (partitions) return when the
    change is carried out; ``failed`` is given the error after which nothing more is read. All in the reading thread.
    """

    def __init__(
        self,
        joining: Joining,
        *,
        deliver: Callable[[list[Fetch]], None],
        assigned: Callable[[set[TP], int], None],
        revoked: Callable[[set[TP]], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self._joining, self._deliver, self._failed = joining, deliver, failed
        self._assigned, self._revoked = assigned, revoked
        self._identity = Identity(joining)
        self._topics: set[str] = set()
        self.holdings: Holdings = {}
        self._commits = Commits(self.holdings, self._identity, joining.confirm_s)
        self._asking: Asking | None = None
        #: the client that is member now; what another one still says is of the past
        self._member: Any = None
        self._thread = threading.Thread(target=self._run, name="log-reader", daemon=True)
        self.stopping = threading.Event()
        self._room = threading.Condition()
        #: partitions whose agents take nothing now, and those of them that are not fetched
        self._held_back: set[TP] = set()
        self._paused: set[TP] = set()
        #: partitions that are not fetched because the agents have too much
        self._choked: set[TP] = set()
        #: bytes handed over that no agent has taken yet
        self.waiting_bytes = 0
        self._handed_s = 0.0
        self._joined = False
        self._away = False
        #: messages that retention deleted before they were read, and offsets the broker lost at its end
        self.log_gap_messages = 0
        self.lost_tail_messages = 0

    # -- from other threads ---------------------------------------------------

    def start(self, topics: Iterable[str]) -> None:
        """Join the group for these topics."""
        self._topics = set(topics)
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to leave; :attr:`alive` tells when it has."""
        self.stopping.set()
        with self._room:
            self._room.notify_all()

    @property
    def alive(self) -> bool:
        """The thread still runs."""
        return self._thread.is_alive()

    def taken(self, size: int) -> None:
        """An agent has ``size`` bytes; there is room for more."""
        with self._room:
            self.waiting_bytes -= size
            self._room.notify()

    def hold_back(self, tp: TP, held: bool) -> None:
        """Fetch no more of ``tp`` until told otherwise, or until it goes elsewhere; the others go on."""
        (self._held_back.add if held else self._held_back.discard)(tp)

    def commit(self, offsets: Mapping[TP, int]) -> Future[bool]:
        """True once the broker has exactly these offsets; False if not, or if the partitions are no longer ours."""
        return self._commits.ask(offsets)

    @property
    def confirmed_s(self) -> float:
        """Monotonic seconds at which a request was sent whose answer proved our membership; -1 = none yet."""
        return self._commits.confirmed_s

    # -- the reading thread ---------------------------------------------------

    def _run(self) -> None:
        self._asking = Asking(Consumer(self._joining.client()), self.holdings)
        self._asking.start()
        try:
            while self._claim(self._asking.client):
                self._be_member()
        except Exception as problem:
            self._failed(problem)
        finally:
            self._asking.stop()

    def _claim(self, asking: Consumer, watch_s: float = WATCH_S) -> bool:
        """Wait for the broker, then make sure that the topics are there and the id is nobody's; False = stopped."""
        while not self.stopping.is_set():
            try:
                self._identity.claim(asking, known_partitions(asking, self._topics), self.stopping, watch_s)
                return True
            except (BrokerError, KafkaException) as problem:
                self._say_away(str(problem))
                self.stopping.wait(0.5)
        return False

    def _be_member(self) -> None:
        """Read until we are told to stop, or are fenced: then there is a new claim to make."""
        member = Consumer(self._joining.member() | {"error_cb": self._on_error, "on_commit": self._on_commit})
        self._member = member
        try:
            changes = {"on_assign": self._on_assign, "on_revoke": self._on_revoke, "on_lost": self._on_lost}
            member.subscribe(sorted(self._topics), **changes)
            while not self.stopping.is_set():
                self._read(member)
            self._commits.finish(member, 1.0)
        except _FencedError:
            # By another process, or by ourselves: of two requests to join that a slow broker had, it kept the other.
            log.warning("the broker gave our static id to a newer member; looking whether a living process has it")
            self._let_go_of_all()
        finally:
            # A client that was fenced does nothing more, and may take for ever to close.
            self._member = None
            closing = threading.Thread(target=member.close, name="closing", daemon=True)
            closing.start()
            closing.join(2.0)

    def _let_go_of_all(self) -> None:
        self._commits.forget()
        self._let_go(set(self.holdings))

    def _let_go(self, gone: set[TP]) -> None:
        for tp in gone:
            self.holdings.pop(tp, None)
        if gone:
            self._revoked(gone)
        self._held_back -= gone
        self._paused -= gone
        self._choked -= gone

    def _pause(self, client: Consumer) -> None:
        """Fetch what is not held back, and nothing else."""
        held = self._held_back & self.holdings.keys()
        if held == self._paused:
            return
        client.pause([TopicPartition(*tp) for tp in held - self._paused])
        client.resume([TopicPartition(*tp) for tp in self._paused - held])
        self._paused = held

    def _read(self, client: Consumer) -> None:
        self._pause(client)
        first = client.poll(_POLL_S)
        self._commits.pump(client)
        if first is None:
            return
        # The rest waits for company at the head of the log only: behind it, the batch is full at once.
        linger_s = max(self._handed_s + self._joining.linger_s - time.monotonic(), 0.0)
        # A packed batch of 1 MB may hold hundreds: of large messages no more than there is room for.
        most = min(_BATCH, self._joining.buffer_bytes // max(len(first), 1) + 1)
        self._hand_on(client, [first, *client.consume(most, linger_s)])
        self._handed_s = time.monotonic()
        self._wait_for_room(client)

    def _hand_on(self, client: Consumer, messages: list[Any]) -> None:
        fetches: list[Fetch] = []
        for tp, records in self._by_partition(client, messages).items():
            holding = self.holdings.get(tp)
            if holding is None:
                continue
            # A pause or a new start may repeat what was read before.
            records = [one for one in records if one.offset() >= holding.position]
            end = client.get_watermark_offsets(TopicPartition(*tp), cached=True)[1]
            for part, size in cut(records, self._joining.fetch_bytes):
                holding.handed = part[-1].offset() + 1
                holding.newest_ms = part[-1].timestamp()[1]
                holding.weigh(size, len(part))
                holding.end = max(holding.end, holding.handed, end)
                fetches.append(Fetch(tp, part, holding.handed, holding.end, holding.generation, size))
        if fetches:
            self._say_back()
            with self._room:
                self.waiting_bytes += sum(one.size for one in fetches)
            self._deliver(fetches)

    def _by_partition(self, client: Consumer, messages: list[Any]) -> dict[TP, list[Any]]:
        found: dict[tuple[str, int], list[Any]] = {}
        passed: set[tuple[str, int]] = set()
        for message in messages:
            key = (message.topic(), message.partition())
            if message.error() is not None and message.error().code() == KafkaError._BAD_COMPRESSION:
                if key not in passed and (packed := self._pass_over(client, TP(*key), message, found.get(key, []))):
                    found.setdefault(key, []).append(packed)
                passed.add(key)
                continue
            if message.error() is not None:
                self._on_bad_message(client, message)
                continue
            if key in found:
                found[key].append(message)
            else:
                found[key] = [message]
        return {TP(*key): records for key, records in found.items()}

    def _wait_for_room(self, client: Consumer) -> None:
        """Until the agents have taken enough; past the patience nothing is fetched, and the group still answered."""
        bound = self._joining.buffer_bytes
        with self._room:
            if self._room.wait_for(lambda: self.waiting_bytes < bound or self.stopping.is_set(), _PATIENCE_S):
                return
        while self.waiting_bytes >= bound // 2 and not self.stopping.is_set():
            if fresh := self.holdings.keys() - self._choked:  # also those a rebalance brings meanwhile
                client.pause([TopicPartition(*tp) for tp in fresh])
                self._choked |= fresh
            message = client.poll(_POLL_S)
            self._commits.pump(client)
            if message is not None:
                self._hand_on(client, [message])
        client.resume([TopicPartition(*tp) for tp in self._choked])
        self._paused -= self._choked
        self._choked.clear()

    # -- the group ------------------------------------------------------------

    def _on_assign(self, client: Consumer, partitions: list[TopicPartition]) -> None:
        generation = generation_of(client)
        starts = self._starts(partitions, {})
        client.incremental_assign([TopicPartition(*tp, start.offset) for tp, start in starts.items()])
        # A partition that was paused when it went stays so when it comes back: it would never be read again.
        client.resume([TopicPartition(*tp) for tp in starts])
        for tp, start in starts.items():
            self.holdings[tp] = Holding(generation, start.offset, start.offset)
        self._joined = True
        self._commits.urged = True
        self._assigned(set(starts), generation)

    def _on_commit(self, error: Any, parts: list[TopicPartition]) -> None:
        if self._member is not None:
            self._commits.on_answer(error, parts)

    def _on_revoke(self, client: Consumer, partitions: list[TopicPartition]) -> None:
        if client is not self._member:
            return  # of one that was fenced, and is being closed
        gone = {TP(one.topic, one.partition) for one in partitions}
        if not self.stopping.is_set():  # the last commit needs them, and the worker has let go of them
            self._let_go(gone)
        client.incremental_unassign(partitions)

    def _on_lost(self, client: Consumer, partitions: list[TopicPartition]) -> None:
        log.warning(
            "lost %d partitions: no heartbeat reached the broker in time, others may have them", len(partitions)
        )
        self._on_revoke(client, partitions)
        # What follows is a new join: whoever took our id over meanwhile is alive, and would be thrown out by it.
        if self._asking is not None:
            self._claim(self._asking.client, 2 * WATCH_S)

    def _starts(self, partitions: list[TopicPartition], positions: Mapping[TP, int]) -> dict[TP, Start]:
        """Where to begin with each, ``positions`` before what is committed; asks until the broker answers."""
        assert self._asking is not None, "asked as a member only"
        client = self._asking.client
        places = [(one.topic, one.partition) for one in partitions]
        while places and not self.stopping.is_set():
            try:
                committed = client.committed([TopicPartition(*place) for place in places], timeout=10)
                first, end = (offsets_at(client, places, when) for when in (OFFSET_BEGINNING, OFFSET_END))
                starts = map(partial(self._start, positions), committed, first, end)
                return dict(zip((TP(*place) for place in places), starts, strict=True))
            except KafkaException as problem:
                self._say_away(problem.args[0].str())
                self.stopping.wait(0.2)
        return {}

    def _start(
        self, positions: Mapping[TP, int], committed: TopicPartition, first: TopicPartition, end: TopicPartition
    ) -> Start:
        for one in (committed, first, end):
            if one.error is not None:
                raise KafkaException(one.error)
        tp = TP(committed.topic, committed.partition)
        wanted = positions.get(tp, committed.offset if committed.offset >= 0 else None)
        start = decide(wanted, first.offset, end.offset)
        if start.gap:
            text = (
                f"{tp.topic}-{tp.partition}: the log starts at {first.offset}, we had come to {wanted}:"
                f" {start.gap} messages were deleted before they were read"
            )
            if self._joining.on_log_gap == "stop":
                raise SettingError(f"{text}; KINESTREAM_ON_LOG_GAP=go-on reads on from where the log starts")
            log.error("%s; going on from there, lengthen the topic's retention", text)
        if start.lost_tail:
            log.error("%s-%d: the log ends at %d, we had come to %s: the broker lost its tail; going on at the end",
                      tp.topic, tp.partition, end.offset, wanted)  # fmt: skip
        self.log_gap_messages += start.gap
        self.lost_tail_messages += start.lost_tail
        return start

    def _restart(self, client: Consumer, tp: TP) -> None:
        """The log no longer holds where we are: decide again."""
        holding = self.holdings.get(tp)
        if holding is None:
            return
        place = TopicPartition(*tp)
        start = self._starts([place], {tp: holding.position}).get(tp)
        if start is not None:
            client.incremental_unassign([place])
            client.incremental_assign([TopicPartition(*tp, start.offset)])
            holding.start, holding.handed = start.offset, -1

    # -- trouble --------------------------------------------------------------

    def _pass_over(self, client: Consumer, tp: TP, message: Any, before: list[Any]) -> Packed | None:
        """What unpacks to more than librdkafka takes (100 MB) would be asked for again for ever: read on behind it."""
        holding = self.holdings.get(tp)
        if holding is None:
            return None
        # The error names the first record of a batch; of its others there is one error each.
        at = max(message.offset(), holding.position, before[-1].offset() + 1 if before else 0)
        client.incremental_unassign([TopicPartition(*tp)])
        client.incremental_assign([TopicPartition(*tp, at + 1)])
        newest_ms = before[-1].timestamp()[1] if before else holding.newest_ms
        return Packed(at, max(newest_ms, 0), message.error().str())

    def _on_bad_message(self, client: Consumer, message: Any) -> None:
        error = message.error()
        if error.code() in _LOST_PLACE and message.topic():
            self._restart(client, TP(message.topic(), message.partition()))
        elif error.code() in _MISSING and not self._joined:
            raise SettingError(f"{error.str()}: `kinestream up` makes the topics; or is KINESTREAM_TENANT another?")
        else:
            self._on_error(error)

    def _on_error(self, error: KafkaError) -> None:
        if self._member is None:
            return
        if error.code() == KafkaError.FENCED_INSTANCE_ID or "fenced" in error.str():
            raise _FencedError
        if error.code() == KafkaError._FATAL or error.fatal():
            raise BrokerError(f"the consumer cannot go on: {error.str()}")
        self._say_away(error.str())

    def _say_away(self, text: str) -> None:
        if not self._away:
            log.warning("reading the log: %s; trying again until it works", text)
        self._away = True

    def _say_back(self) -> None:
        if self._away:
            log.warning("over: the log is read again")
        self._away = False
