"""The way to the broker: an idempotent producer, replaced when it fails, and whether anybody answers; keeps nothing.

Used by one thread. A message that fails for good makes the producer useless for order: it is replaced, and whoever
feeds it goes back to the last acknowledgement without a hole.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from kinestream.producers.delivery import make_producer
from kinestream.schemas.settings import Settings

log = logging.getLogger("kinestream.robot")

#: Seconds without an acknowledgement after which the broker counts as away.
SILENT_S: Final = 5.0
#: Seconds between two questions to a broker that is away, and to one that refuses us.
AWAY_S, REFUSED_S = 0.5, 5.0
#: Seconds an answer may take, on the slowest network a robot may have.
_ANSWER_S: Final = 10.0

_PARTITIONS_S: Final = 2.0

CONNECTING, ONLINE, OFFLINE, REFUSED = "CONNECTING", "ONLINE", "OFFLINE", "REFUSED"

_CREDENTIALS: Final = {KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED, KafkaError._SSL}
#: The message, not the connection: it would be refused every time.
TOO_LARGE: Final = {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG_SIZE, KafkaError.INVALID_RECORD}

OnDelivery = Callable[[KafkaError | None, int], None]


class Line:
    """To one cluster, under one key. ``state`` is CONNECTING, ONLINE, OFFLINE or REFUSED, ``trouble`` says why."""

    def __init__(self, kafka: str, key: str, topics: dict[str, str], settings: Settings) -> None:
        self._kafka, self._key, self._topics, self._settings = kafka, key.encode(), topics, settings
        self.state, self.trouble = CONNECTING, ""
        self._since = self._probe_due = 0.0
        self._last_answer = 0.0
        self._generation = 0
        self._inflight: Counter[str] = Counter()
        self._failed = ""
        self._heard: list[KafkaError] = []
        self._question: _Question | None = None
        #: none while the broker refuses us: librdkafka would try again each second
        self._producer: Producer | None = None

    @property
    def inflight(self) -> int:
        """Bytes the producer has and the broker has not acknowledged."""
        return self._inflight.total()

    def room(self, lane: str, most: int) -> bool:
        """The producer may be given more of a lane: it has less than ``most`` bytes of it."""
        return self.state == ONLINE and not self._failed and self._inflight[lane] < most

    def produce(self, lane: str, message: bytes, on_delivery: OnDelivery) -> bool:
        """Hand one message over; False if the producer takes none now."""
        size = len(message)
        report = partial(self._delivered, self._generation, lane, size, on_delivery)
        try:
            self._connected().produce(self._topics[lane], message, self._key, on_delivery=report)
        except BufferError:
            return False
        except KafkaException as problem:
            self._failed = _text(problem.args[0])
            return False
        if not self._inflight.total():
            self._last_answer = time.monotonic()
        self._inflight[lane] += size
        return True

    def poll(self, timeout_s: float) -> None:
        """Serve acknowledgements."""
        if self._producer is None:
            return
        try:
            self._producer.poll(timeout_s)
        except KafkaException as problem:  # a fatal error is raised instead of reported
            self._failed = _text(problem.args[0])

    def look(self, now: float) -> bool:
        """See to the connection; True if the producer was replaced: what it had has to be handed over again."""
        while self._heard:
            self._hear(self._heard.pop())
        if self._failed:
            self._replace()
            return True
        if self.state == ONLINE and self._inflight.total() and now - self._last_answer > SILENT_S:
            self._become(OFFLINE, "no acknowledgement")
        if self.state != ONLINE:
            self._ask(now)
        return False

    def partitions_of(self, topic: str) -> int:
        """Number of partitions of a topic; 0 = there is none, -1 = nobody answers."""
        try:
            found = self._connected().list_topics(topic, timeout=_PARTITIONS_S).topics[topic]
        except KafkaException:
            return -1
        return 0 if found.error else len(found.partitions)

    def _connected(self) -> Producer:
        if self._producer is None:
            self._producer = make_producer(self._kafka, self._settings, self._heard.append)
        return self._producer

    def _ask(self, now: float) -> None:
        """Whether the broker is there, without waiting for the answer."""
        if self._question is None and now >= self._probe_due:
            patience_s = REFUSED_S if self.state == REFUSED else _ANSWER_S
            self._question = _Question(self._connected(), self._topics["live"], patience_s)
        if self._question is None or self._question.is_alive():
            return
        answer, self._question = self._question, None
        if answer.unreachable:
            self._become(OFFLINE, answer.unreachable)
            return
        self._last_answer = time.monotonic()
        if answer.refusal:
            self._become(REFUSED, f"topic {self._topics['live']}: {answer.refusal}")
        else:
            self._become(ONLINE, "")

    def _hear(self, error: KafkaError) -> None:
        """Librdkafka's word on its connections."""
        if error.code() in _CREDENTIALS:
            self._failed = _text(error)
            self._become(REFUSED, f"{_text(error)}: the broker does not take this robot's credentials")
        elif error.fatal():
            self._failed = _text(error)
        elif error.code() == KafkaError._ALL_BROKERS_DOWN and self.state in (CONNECTING, ONLINE):
            self._become(OFFLINE, _text(error))

    def _delivered(
        self, generation: int, lane: str, size: int, on_delivery: OnDelivery, error: KafkaError | None, _: Message
    ) -> None:
        if generation != self._generation:
            return
        self._inflight[lane] -= size
        self._last_answer = time.monotonic()
        if error is not None and error.code() not in TOO_LARGE:
            self._failed = self._failed or _text(error)
            if error.code() in _REFUSALS:
                self._become(REFUSED, f"topic {self._topics[lane]}: {_text(error)}")
        else:
            on_delivery(error, size)

    def _replace(self) -> None:
        why, self._failed = self._failed, ""
        self._generation += 1
        self._inflight.clear()
        if self._producer is not None:
            self._producer.purge()
            self._producer = None
        self._question = None
        self._heard.clear()
        log.warning("the producer failed (%s): a new one goes on from the last acknowledgement", why)
        if self.state != REFUSED:
            self._become(OFFLINE, f"the producer failed ({why})")

    def close(self) -> None:
        """Let go; what is not acknowledged is sent again by whoever has the spool next."""
        if self._producer is not None:
            self._producer.purge()
            self._producer = None

    def _become(self, state: str, why: str) -> None:
        now = time.monotonic()
        if state != self.state:
            self._since = now
        self.state, self.trouble = state, why
        self._probe_due = now + {REFUSED: REFUSED_S, OFFLINE: AWAY_S}.get(state, 0.0)

    def away_for(self) -> float:
        """Seconds for which the broker has been away or has refused us; 0 while it is not known to."""
        return time.monotonic() - self._since if self.state in (OFFLINE, REFUSED) else 0.0


class _Question(threading.Thread):
    """Asks about a topic in a thread of its own: librdkafka's answer may take as long as the network likes."""

    def __init__(self, producer: Producer, topic: str, patience_s: float) -> None:
        super().__init__(name="spool-question", daemon=True)
        self._producer, self._topic, self._patience_s = producer, topic, patience_s
        self.unreachable = self.refusal = ""
        self.start()

    def run(self) -> None:
        try:
            error = self._producer.list_topics(self._topic, timeout=self._patience_s).topics[self._topic].error
        except KafkaException as problem:
            self.unreachable = _text(problem.args[0])
        else:
            self.refusal = _text(error) if error else ""


_REFUSALS: Final = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_TOPIC,
}


def _text(error: KafkaError) -> str:
    return f"{error.str()} ({error.name()})"
