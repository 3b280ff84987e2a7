"""Commits watermarks and proves membership. Runs in the reading thread only: librdkafka's client is never waited for.

A commit the broker accepts proves that we were a member of this generation when it was sent. So what is on record for
our partitions is committed again, a few times a second. A heartbeat's answer would prove the same, but librdkafka
shows none. (Nor may another thread commit: a client that is polled lets it wait for ever, confluent-kafka 2.16.)
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition
from faust.types import TP

from kinestream.streams.transport.holding import Holdings
from kinestream.streams.transport.identity import Identity


def generation_of(client: Consumer) -> int:
    """The group's generation, -1 while we are no member: from the metadata librdkafka makes for transactions."""
    packed = client.consumer_group_metadata()
    head = b"CGMDv2:"
    return int.from_bytes(packed[len(head) : len(head) + 4], "little", signed=True) if packed.startswith(head) else -1


@dataclass(frozen=True, slots=True)
class _Sent:
    """A commit the broker has not answered yet."""

    sent_s: float
    generation: int
    offsets: Mapping[TP, int]
    #: all that was asked for is in it, and they who wait for it
    whole: bool
    waiting: tuple[Future[bool], ...]


class Commits:
    """The commits of one consumer, one at a time; :meth:`pump` is called whenever the reading thread comes by."""

    def __init__(self, holdings: Holdings, identity: Identity, confirm_s: float) -> None:
        self._holdings, self._identity, self._confirm_s = holdings, identity, confirm_s
        self._lock = threading.Lock()
        self._due: dict[TP, int] = {}
        self._waiting: list[Future[bool]] = []
        self._sent: _Sent | None = None
        self._client: Consumer | None = None
        #: monotonic seconds at which the last commit was sent that the broker accepted; -1 = none
        self.confirmed_s = -1.0
        self._tried_s = 0.0
        #: commit what is on record for every partition, not for one: they were just assigned
        self.urged = False

    def ask(self, offsets: Mapping[TP, int]) -> Future[bool]:
        """From any thread: True once the broker has them; False when not, or the partitions are no longer ours."""
        done: Future[bool] = Future()
        with self._lock:
            self._due.update(offsets)
            self._waiting.append(done)
        return done

    def pump(self, client: Consumer) -> None:
        """Send what is due, or a proof when it is time for one; never waits."""
        self._client = client
        confirming = self.urged or time.monotonic() - self._tried_s >= self._confirm_s
        if self._sent is not None or not (self._waiting or confirming):
            return
        with self._lock:
            due, self._due = self._due, {}
            waiting, self._waiting = self._waiting, []
        self._tried_s = time.monotonic()
        ours = {tp: offset for tp, offset in due.items() if tp in self._holdings}
        offsets = ours or {tp: one.committed for tp, one in list(self._holdings.items())[:1]}
        if self.urged:
            offsets = {**{tp: one.committed for tp, one in self._holdings.items()}, **ours}
        self.urged = False
        whole = bool(ours) and len(ours) == len(due)
        self._send(client, _Sent(self._tried_s, generation_of(client), offsets, whole, tuple(waiting)))

    def _send(self, client: Consumer, sent: _Sent) -> None:
        mark = self._identity.mark()
        parts = [TopicPartition(*tp, offset, metadata=mark) for tp, offset in sent.offsets.items()]
        try:
            if not parts or sent.generation < 0:
                _tell(sent.waiting, False)
                return
            self._sent = sent
            client.commit(offsets=parts, asynchronous=True)
        except KafkaException:
            self._sent = None
            _tell(sent.waiting, False)

    def on_answer(self, error: Any, parts: list[TopicPartition]) -> None:
        """Callback of librdkafka: rebalancing, away or no longer a member are all tried again later."""
        sent, self._sent = self._sent, None
        if sent is None or self._client is None:
            return
        accepted = error is None and all(one.error is None for one in parts)
        if accepted:
            for tp, offset in sent.offsets.items():
                holding = self._holdings.get(tp)
                if holding is not None:
                    holding.committed = offset
            # Of a member that was thrown out meanwhile, the broker takes offsets when the group is empty.
            if generation_of(self._client) == sent.generation:
                self.confirmed_s = sent.sent_s
        _tell(sent.waiting, accepted and sent.whole)

    def forget(self) -> None:
        """The client is gone; what it had sent is not answered any more."""
        sent, self._sent = self._sent, None
        if sent is not None:
            _tell(sent.waiting, False)

    def finish(self, client: Consumer, timeout_s: float) -> None:
        """At the end: what was asked for, then leave no mark behind, so that a successor need not watch it."""
        deadline = time.monotonic() + timeout_s
        while (self._sent is not None or self._waiting) and time.monotonic() < deadline:
            self.pump(client)
            client.poll(0.01)
        with self._lock:
            _tell(self._waiting, False)
        if self._identity.mark() and self._holdings and self._sent is None and generation_of(client) >= 0:
            parts = [TopicPartition(*tp, one.committed, metadata="") for tp, one in self._holdings.items()]
            self._sent = _Sent(time.monotonic(), -1, {}, False, ())
            client.commit(offsets=parts, asynchronous=True)
            while self._sent is not None and time.monotonic() < deadline:
                client.poll(0.01)


def _tell(waiting: Any, accepted: bool) -> None:
    for one in waiting:
        if one.set_running_or_notify_cancel():
            one.set_result(accepted)
