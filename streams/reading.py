"""Where reading a topic begins, ends and is committed; knows nothing of what a message means."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from kinestream.schemas.errors import BrokerError
from kinestream.schemas.settings import Settings
from kinestream.streams.cluster import Door

log = logging.getLogger("kinestream.subscription")

#: Seconds a broker may take to answer when reading begins.
ANSWER_S: Final = 5.0
#: ... and its group coordinator, which a fresh cluster first has to set up.
COORDINATOR_S: Final = 30.0
#: Seconds a poll waits at most: how late Ctrl-C may be noticed.
POLL_S: Final = 0.2
#: A caller's block may train a model for hours: membership is told by heartbeats, not by progress.
MAX_POLL_MS: Final = 24 * 3600 * 1000


class TopicReader:
    """Messages of one topic, committed ones only, each partition in order. One thread at a time.

    Its beginning and its end are fixed when it is made: ``from_start``, else ``since`` (the first message of that
    broker time or later), else what comes from now on. A ``group`` that was here before goes on where it was; a new
    one commits its beginning at once, so that nothing announced from now on is lost to a crash.
    Raises :class:`BrokerError` when the broker does not answer or has no such topic, :class:`SettingError` when it does
    not let us in.
    """

    def __init__(
        self,
        settings: Settings,
        bootstrap: str,
        topic: str,
        *,
        group: str = "",
        from_start: bool = False,
        since: datetime | None = None,
    ) -> None:
        self._bootstrap, self._topic, self._group = bootstrap, topic, group
        self._door = Door(bootstrap)
        self._consumer = Consumer({**consumer_config(settings, bootstrap, group), "error_cb": self._heard})
        self._closed = self._placed = False
        #: offset behind the last message that is done and not yet committed, by partition
        self._due: dict[int, int] = {}
        self._joined = not group
        try:
            self._place(from_start, since)
            self._placed = True
        except KafkaException as problem:
            self.close()
            raise BrokerError(
                f"cannot read {topic} from {bootstrap} ({problem.args[0].str()}): start a broker with "
                "`kinestream up`, or set KINESTREAM_KAFKA to one that runs"
            ) from problem
        except BaseException:
            self.close()
            raise

    def messages(self, *, until_end: bool = False) -> Iterator[Any]:
        """Messages as they come, for ever; with ``until_end``, those that were there when the reader was made.

        A group's member ends with its own share of the partitions. None stands for a moment without a message.
        """
        if self._group and not self._consumer.assignment():
            # Not before: a member that does not poll holds its partitions back from the others.
            self._consumer.subscribe(
                [self._topic], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost
            )
        while not (until_end and self._at_end()):
            message = self._consumer.poll(POLL_S)
            if message is None:
                yield None
            elif message.error() is not None:
                self._trouble(message)
            elif not until_end or message.offset() < self._ends.get(message.partition(), 0):
                yield message
                self._pass(message.partition(), message.offset() + 1)

    def done(self, message: Any) -> None:
        """What ``message`` asked for is done: a group commits behind it; a reader without one remembers nothing."""
        if self._group:
            self._due[message.partition()] = message.offset() + 1
            self._commit()

    def skip(self, message: Any) -> None:
        """``message`` asks for nothing: it is committed with the next that does, or when reading ends."""
        if self._group:
            self._due[message.partition()] = message.offset() + 1

    def again(self, message: Any) -> None:
        """``message`` was handed out and left undone: a group hands it out once more."""
        if self._group and not self._closed:
            # Not ours any more: whose it is now gets it from the committed place.
            with suppress(KafkaException):
                self._consumer.seek(TopicPartition(self._topic, message.partition(), message.offset()))

    def close(self) -> None:
        """Commit what is done and leave the group."""
        if not self._closed:
            self._commit()
            self._closed = True
            self._consumer.close()

    # -- where to begin and to end ---------------------------------------------

    def _place(self, from_start: bool, since: datetime | None) -> None:
        found = self._door.metadata(self._consumer, ANSWER_S, self._topic)
        count = len(found.topics[self._topic].partitions)
        if count == 0:
            raise BrokerError(f"topic {self._topic} is not on {self._bootstrap}: `kinestream up` makes it")
        places = [TopicPartition(self._topic, number) for number in range(count)]
        bounds = {one.partition: self._bounds(one) for one in places}
        begins = {number: low if from_start else high for number, (low, high) in bounds.items()}
        if since is not None and not from_start:
            begins |= self._since(since, count)
        if self._group:
            begins |= self._committed(places, begins)
        #: end of the log as it was, by partition, of those that are not read up to there
        self._ends = {number: high for number, (_, high) in bounds.items() if begins[number] < high}
        if not self._group:
            self._consumer.assign([TopicPartition(self._topic, number, at) for number, at in begins.items()])

    def _bounds(self, place: TopicPartition) -> tuple[int, int]:
        """Lowest offset kept, and the end; of a topic made a moment ago a broker first says that it is not its own."""
        deadline = time.monotonic() + ANSWER_S
        while True:
            try:
                low, high = self._consumer.get_watermark_offsets(place, timeout=ANSWER_S)
            except KafkaException:
                if time.monotonic() > deadline:
                    raise
                self._consumer.list_topics(self._topic, timeout=ANSWER_S)
                time.sleep(0.05)
            else:
                return low, high

    def _since(self, since: datetime, count: int) -> dict[int, int]:
        asked = [TopicPartition(self._topic, number, int(since.timestamp() * 1000)) for number in range(count)]
        found = self._consumer.offsets_for_times(asked, timeout=ANSWER_S)
        return {one.partition: one.offset for one in found if one.offset >= 0}

    def _committed(self, places: list[TopicPartition], begins: dict[int, int]) -> dict[int, int]:
        """Where the group stands; for partitions it never saw, ``begins``, committed now."""
        known = {one.partition: one.offset for one in self._consumer.committed(places, timeout=COORDINATOR_S)}
        new = [TopicPartition(self._topic, number, at) for number, at in begins.items() if known[number] < 0]
        if new:
            self._consumer.commit(offsets=new, asynchronous=False)
        return {number: at for number, at in known.items() if at >= 0}

    def _pass(self, partition: int, offset: int) -> None:
        if self._ends.get(partition, offset + 1) <= offset:
            del self._ends[partition]

    def _at_end(self) -> bool:
        if not self._joined:
            return False
        ours = {one.partition for one in self._consumer.assignment()}
        return not ours & self._ends.keys()

    # -- the group ---------------------------------------------------------------

    def _assigned(self, _: Any, partitions: Iterable[TopicPartition]) -> None:
        self._joined = True

    def _revoked(self, _: Any, partitions: Iterable[TopicPartition]) -> None:
        self._commit()
        self._lost(_, partitions)

    def _lost(self, _: Any, partitions: Iterable[TopicPartition]) -> None:
        # Another member's place from now on: committing ours later would take it back.
        for one in partitions:
            self._due.pop(one.partition, None)

    def _commit(self) -> None:
        """Commit what is due; while the broker cannot take it, it stays due and is repeated with the next."""
        if not self._due:
            return
        places = [TopicPartition(self._topic, number, offset) for number, offset in self._due.items()]
        try:
            self._consumer.commit(offsets=places, asynchronous=False)
        except KafkaException as problem:
            log.warning("cannot commit on %s: %s; trying again with the next event", self._topic, problem.args[0].str())
        else:
            self._due.clear()

    # -- trouble -------------------------------------------------------------------

    def _trouble(self, message: Any) -> None:
        if message.error().code() == KafkaError._PARTITION_EOF:
            # Whatever transaction markers stand before the end: nothing more is to be had here.
            self._ends.pop(message.partition(), None)
        else:
            self._judge(message.error())

    def _heard(self, problem: KafkaError) -> None:
        self._door.heard(problem)
        if self._placed:  # before, the constructor says it
            self._judge(problem)

    def _judge(self, problem: KafkaError) -> None:
        if problem.fatal() or problem.code() in _FINAL:
            raise BrokerError(f"cannot read {self._topic} from {self._bootstrap}: {problem.str()}")
        else:
            log.warning("reading %s: %s; going on as soon as possible", self._topic, problem.str())


#: Errors that no waiting cures.
_FINAL: Final = frozenset(
    {
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
    }
)


def consumer_config(settings: Settings, bootstrap: str, group: str) -> dict[str, Any]:
    """Settings of a consumer that reads committed messages only; an empty ``group`` stands for none."""
    return {
        **settings.kafka_client(bootstrap),
        "group.id": group or "kinestream-without-a-group",  # librdkafka wants one even where none is used
        "enable.auto.commit": False,
        # Every beginning is explicit: this is for what retention took away meanwhile.
        "auto.offset.reset": "earliest",
        "isolation.level": "read_committed",
        "enable.partition.eof": True,
        # The default of a second costs 18 s for 4 s of work.
        "fetch.queue.backoff.ms": 5,
        "fetch.wait.max.ms": 100,
        "session.timeout.ms": 10_000,
        "max.poll.interval.ms": MAX_POLL_MS,
        "reconnect.backoff.max.ms": 1000,
        # a broker that is not there is our error's text, not librdkafka's ten lines a second
        "log_level": 2,
    }
