"""Bytes from a robot to its topic, counted until the broker has them; knows nothing of frames and drops nothing.

While the broker is away messages wait in memory, up to ``Settings.buffer_bytes``; then :meth:`Delivery.put` blocks,
says so once a second on the logger ``kinestream.robot``, and goes on by itself. A message librdkafka gives up is an
error.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from kinestream.schemas.errors import DeliveryError
from kinestream.schemas.settings import Settings

log = logging.getLogger("kinestream.robot")

#: Seconds between two lines about a blocked send().
SAY_EVERY_S: Final = 1.0
#: Seconds between two looks at a full buffer: another thread may have served the acknowledgement.
_TURN_S: Final = 0.005
_FLUSH_TURN_S: Final = 0.1


@dataclass(slots=True)
class Ledger:
    """What one episode handed over and what of it the broker acknowledged."""

    episode_id: str = ""
    number: int = 0
    records: int = 0
    bytes: int = 0
    frames: int = 0
    acked_records: int = 0
    acked_bytes: int = 0
    acked_frames: int = 0
    #: frames that will not be lost: acknowledged, or, with a spool, kept on disk
    promised: int = 0
    #: stamp of the first frame
    started_at_ns: int = 0
    #: the end mark will not be lost either
    ended: bool = False

    @property
    def whole(self) -> bool:
        """Everything handed over is acknowledged."""
        return self.acked_records == self.records

    def __str__(self) -> str:
        return (
            f"episode {self.episode_id}: {self.records - self.acked_records} of {self.records} records,"
            f" {self.frames - self.acked_frames} of {self.frames} frames"
        )


class Delivery:
    """One idempotent producer to one topic, every message under one key. Thread-safe."""

    def __init__(self, kafka: str, topic: str, key: str, settings: Settings) -> None:
        self._kafka, self._topic, self._key = kafka, topic, key.encode()
        self._limit = settings.buffer_bytes
        self._lock = threading.Lock()
        self._pending_bytes = 0
        self._pending = 0
        self._failure = ""
        self._trouble = ""
        self._closing = False
        self._producer = make_producer(kafka, settings, self._on_error)

    @property
    def pending_bytes(self) -> int:
        """Bytes handed over and not yet acknowledged."""
        return self._pending_bytes

    @property
    def has_room(self) -> bool:
        """A message handed over now would not have to wait."""
        return self._pending_bytes < self._limit and not self._failure

    def stop_waiting(self) -> None:
        """Whoever is blocked in :meth:`put` gets a :class:`DeliveryError`, now and later."""
        self._closing = True

    def put(
        self, message: bytes, ledger: Ledger, frames: int = 0, *, wait: bool = True, blocks: Sequence[object] = ()
    ) -> None:
        """Hand over one message; blocks while the buffer is full unless ``wait`` is False. ``blocks`` are not used.

        Raises :class:`DeliveryError` once the producer has failed for good.
        """
        if wait and self._pending_bytes + len(message) > self._limit:
            self._wait_for_room(len(message))
        self._check()
        size = len(message)
        with self._lock:
            self._pending += 1
            self._pending_bytes += size
            ledger.records += 1
            ledger.bytes += size
            ledger.frames += frames
        try:
            self._producer.produce(
                self._topic, message, self._key, on_delivery=partial(self._delivered, ledger, frames, size)
            )
        except (KafkaException, BufferError) as problem:
            with self._lock:
                self._pending -= 1
                self._pending_bytes -= size
                ledger.records -= 1
                ledger.bytes -= size
                ledger.frames -= frames
            raise DeliveryError(f"{self._topic} on {self._kafka}: {problem}; {self._advice()}") from problem

    def check(self) -> None:
        """Raises :class:`DeliveryError` once the producer has failed for good."""
        self._check()

    def poll(self, timeout_s: float) -> None:
        """Serve acknowledgements; returns after the first ones or the timeout."""
        self._producer.poll(timeout_s)

    def flush(self, timeout_s: float, unsent: Sequence[Ledger]) -> None:
        """Wait until all is acknowledged; raises :class:`DeliveryError` naming what of ``unsent`` is not."""
        deadline = time.monotonic() + timeout_s
        while self._pending:
            self._check()
            left = deadline - time.monotonic()
            if left <= 0:
                raise DeliveryError(self._undelivered(unsent))
            self._producer.flush(min(left, _FLUSH_TURN_S))
        self._check()

    def close(self, timeout_s: float, unsent: Sequence[Ledger]) -> None:
        """As :meth:`flush`: what is not delivered then is lost with the process."""
        self.flush(timeout_s, unsent)

    def _wait_for_room(self, size: int) -> None:
        began = said = time.monotonic()
        while self._pending_bytes and self._pending_bytes + size > self._limit:
            self._check()
            if self._closing:
                raise DeliveryError(f"the robot was closed while send() waited for the broker {self._kafka}")
            self._producer.poll(_TURN_S)
            now = time.monotonic()
            if now - said >= SAY_EVERY_S:
                said = now
                log.warning(
                    "send() has been blocked for %.0f s: %d of %d buffer bytes wait for the broker %s (%s)."
                    " Nothing is lost; it goes on by itself when the broker answers.",
                    *(now - began, self._pending_bytes, self._limit, self._kafka, self._trouble or "no answer yet"),
                )
        if said != began:
            log.warning("send() goes on after %.0f s", time.monotonic() - began)

    def _delivered(self, ledger: Ledger, frames: int, size: int, error: KafkaError | None, _: Message) -> None:
        back = ""
        with self._lock:
            self._pending -= 1
            self._pending_bytes -= size
            if error is None:
                ledger.acked_records += 1
                ledger.acked_bytes += size
                ledger.acked_frames += frames
                ledger.promised = ledger.acked_frames
                back, self._trouble = self._trouble, ""
            elif not self._failure:
                self._failure = f"{error.str()} ({error.name()})"
        if back:
            log.warning("the broker %s answers again: what waited is being sent", self._kafka)

    def _on_error(self, error: KafkaError) -> None:
        """Librdkafka's word on its connections: remembered for messages, an error only where it is fatal."""
        if error.fatal():
            self._failure = self._failure or f"{error.str()} ({error.name()})"
        elif not self._trouble:
            self._trouble = error.str()
            log.warning("the broker %s is away (%s): what is sent waits in memory", self._kafka, self._trouble)

    def _check(self) -> None:
        if self._failure:
            raise DeliveryError(f"{self._topic} on {self._kafka} takes no more: {self._failure}; {self._advice()}")

    def _advice(self) -> str:
        if "TOPIC" in self._failure or "AUTHORIZATION" in self._failure:
            return "make the topic or the permission (`kinestream up` makes every topic), then start the robot again"
        return "what the broker did not acknowledge is not stored: start the robot again and repeat the take"

    def _undelivered(self, unsent: Sequence[Ledger]) -> str:
        named = "; ".join(str(ledger) for ledger in unsent[:5] if not ledger.whole)
        return (
            f"{self._pending_bytes} bytes in {self._pending} records are not acknowledged by {self._kafka}"
            f" within the time given ({self._trouble or 'no answer yet'}): {named or 'status records only'}."
            " They stay in memory: start the broker and call flush() again"
        )


def make_producer(kafka: str, settings: Settings, on_error: Callable[[KafkaError], object]) -> Producer:
    """An idempotent producer for a robot's records; ``on_error`` hears of its connections."""
    config = {
        **settings.kafka_client(kafka),
        "client.id": "kinestream-robot",
        "enable.idempotence": True,
        "acks": "all",
        # The JVM clients' partitioner: the worker checks murmur2(key) % N.
        "partitioner": "murmur2_random",
        "linger.ms": 5,
        "compression.type": "none",
        "message.timeout.ms": settings.message_timeout_ms,
        # Our own bound comes first; ends and status records may pass it by a little.
        "queue.buffering.max.kbytes": min(2 * settings.buffer_bytes // 1000 + 16_000, 2_147_483_647),
        "queue.buffering.max.messages": 0,
        "reconnect.backoff.max.ms": 1000,
        "message.max.bytes": 1_000_000,
        "batch.size": 1_000_000,
        "error_cb": on_error,
        # Four lines a second while the broker is away; error_cb hears the same and says it once.
        "log_level": 2,
    }
    return Producer(config)
