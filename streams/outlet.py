"""The fenced producer of one frames partition: only its newest owner can announce, and what it says comes whole.

Readers must read committed: what a killed or paused owner left open is never seen. It decides nothing about ownership.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import confluent_kafka
from confluent_kafka import KafkaException

from kinestream.schemas.errors import BrokerError, FencedError, RefusedError
from kinestream.schemas.settings import Settings
from kinestream.streams.messages import Message

#: Seconds a call waits for the broker before it is repeated.
ANSWER_S: Final = 10.0
_TOO_LARGE: Final = confluent_kafka.KafkaError.MSG_SIZE_TOO_LARGE


class Outlet:
    """One transactional id. Blocking; one call at a time, from any thread. After :class:`FencedError` it is of no use.

    Every method raises :class:`BrokerError` when the broker gave no answer: call it again, with the same messages.
    """

    def __init__(self, settings: Settings, bootstrap: str, transactional_id: str, topics: Sequence[str]) -> None:
        self.transactional_id = transactional_id
        self._topics = topics
        self._producer = confluent_kafka.Producer(
            {
                **settings.kafka_client(bootstrap),
                "transactional.id": transactional_id,
                "partitioner": "murmur2_random",
                "linger.ms": 0,
                # Open transactions hold every reader back. An owner that stops in the middle of one, and whom nobody
                # replaces, does so for this long.
                "transaction.timeout.ms": int(settings.session_s * 1000),
                "log_level": 0,  # being fenced is an answer here, not an emergency
            }
        )
        #: handed over in a transaction whose end is not known
        self._ending: tuple[Message, ...] | None = None
        self._aborting = False

    def open(self) -> None:
        """Take the id over: whoever had it is fenced from now on, and what it left open is aborted."""
        self._call("take over", self._producer.init_transactions, ANSWER_S)
        for topic in self._topics:  # where they are is asked now: the first event would wait 80 ms for it
            self._call("look at topics", self._producer.list_topics, topic, ANSWER_S)

    def publish(self, messages: Sequence[Message]) -> None:
        """All of ``messages`` or none; they can be read when it returns.

        Raises :class:`FencedError` when another owner has opened the id, :class:`RefusedError` for a message no broker
        would take.
        """
        if self._aborting:
            self._abort()
        if self._ending is not None:
            before = self._ending
            self._end()
            if before == tuple(messages):
                return
        self._call("begin", self._producer.begin_transaction)
        for message in messages:
            self._produce(message)
        self._ending = tuple(messages)
        self._end()

    def _produce(self, message: Message) -> None:
        try:
            self._producer.produce(message.topic, message.value, message.key, headers=list(message.headers))
        except KafkaException as problem:
            self._aborting = True
            if problem.args[0].code() == _TOO_LARGE:
                text = f"{len(message.value)} bytes for {message.topic} of {message.subject}: {problem.args[0].str()}"
                raise RefusedError(text) from problem
            raise self._error("announce", problem) from problem

    def _end(self) -> None:
        self._call("commit", self._producer.commit_transaction, ANSWER_S)
        self._ending = None

    def _abort(self) -> None:
        self._call("abort", self._producer.abort_transaction, ANSWER_S)
        self._aborting, self._ending = False, None

    def _call(self, what: str, action: Callable[..., Any], *arguments: Any) -> None:
        try:
            action(*arguments)
        except KafkaException as problem:
            raise self._error(what, problem) from problem

    def _error(self, what: str, problem: KafkaException) -> BrokerError | FencedError:
        error = problem.args[0]
        text = f"{what} as {self.transactional_id}: {error.str()}"
        if error.fatal():
            return FencedError(text)
        self._aborting = self._aborting or error.txn_requires_abort()
        return BrokerError(text)
