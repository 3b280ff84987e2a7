"""A robot's own findings, back at its station: read from the hub's topic and handed over; judges and sends nothing.

Reading joins no group, begins at the end of the topic, and knows only the takes this robot began since it started: what
the hub says again, of another process or of a former start is not handed over.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from kinestream.producers.delivery import Ledger
from kinestream.schemas.codec import Codec
from kinestream.schemas.errors import ContractError
from kinestream.schemas.murmur2 import partition_of
from kinestream.schemas.registry import Registry, RegistryUnavailableError
from kinestream.schemas.settings import Settings

log = logging.getLogger("kinestream.robot")

#: Takes whose findings are still handed over: a final judgement may come when the next take has long begun.
_TAKES: Final = 64
#: Seconds between two questions to a broker, topic or registry that is not there, and until its answer is given up.
_AGAIN_S, _ANSWER_S = 1.0, 5.0
#: Longest wait for a message, s: how soon close() is noticed.
_TURN_S: Final = 0.1
#: ... and how long it waits for a callback that does not return.
_LEAVE_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class RobotFinding:
    """What the hub says of a take while it is recorded, and when it closes (docs/metrics.md).

    ``state`` is RAISED, UPDATED or CLEARED; ``provisional`` while the take is recorded, and what comes after is final.
    ``value`` and ``threshold`` in ``unit``, None where there is none; ``joint`` is empty where the whole take is meant.
    ``from_s`` and ``to_s``: the frames concerned, s from the take's first frame. ``text`` and ``text_zh`` say it to a
    trainer, in English and Chinese.
    """

    finding_id: str
    episode_id: str
    metric: str
    joint: str
    #: SUSPECT or FAIL
    flag: str
    value: float | None
    unit: str
    threshold: float | None
    state: str
    provisional: bool
    from_s: float
    to_s: float
    text: str
    text_zh: str


OnFinding = Callable[[RobotFinding], object]


@dataclass(slots=True)
class _Take:
    ledger: Ledger
    #: what was handed over of each finding last
    versions: dict[str, int] = field(default_factory=dict)


class FindingsReader:
    """Calls ``callback`` with each finding of the takes it is told of, on a thread of its own until :meth:`close`.

    What a slow callback leaves waits in librdkafka's queue (1 MB at most) and, beyond that, with the broker.
    """

    def __init__(self, kafka: str, topic: str, robot_id: str, callback: OnFinding, settings: Settings) -> None:
        self._topic, self._robot_id, self._callback = topic, robot_id, callback
        self._codec = Codec(Registry(settings.registry), topic)
        self._config = {
            **settings.kafka_client(kafka),
            "client.id": "kinestream-robot",
            "group.id": f"kinestream-findings-{robot_id}",  # demanded by librdkafka; nothing joins it
            "enable.auto.commit": False,
            "auto.offset.reset": "latest",
            "fetch.queue.backoff.ms": 5,
            "queued.max.messages.kbytes": 1024,
            "reconnect.backoff.max.ms": 1000,
            "log_level": 2,
        }
        self._takes: OrderedDict[str, _Take] = OrderedDict()
        self._said: set[str] = set()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"findings-{robot_id}", daemon=True)
        self._thread.start()

    def watch(self, ledger: Ledger) -> None:
        """Findings of this take are handed over from now on, instead of those of the oldest of many."""
        self._takes[ledger.episode_id] = _Take(ledger)
        while len(self._takes) > _TAKES:
            self._takes.popitem(last=False)

    def close(self) -> None:
        """Stop; a callback that does not return keeps nobody."""
        self._stopped.set()
        if threading.current_thread() is not self._thread:  # a callback may close its robot
            self._thread.join(_LEAVE_S)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._read()
            except (KafkaException, RegistryUnavailableError) as problem:
                self._say(f"findings of robot {self._robot_id} cannot be read ({problem}): it tries again")
            except Exception:
                log.exception("reading the findings of robot %s failed; it begins again", self._robot_id)
            self._stopped.wait(_AGAIN_S)

    def _read(self) -> None:
        """From the end on, until closed or the topic is gone."""
        consumer = Consumer(self._config)
        try:
            found = consumer.list_topics(self._topic, timeout=_ANSWER_S).topics[self._topic]
            if found.error is not None or not found.partitions:
                raise KafkaException(found.error or KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART))
            place = TopicPartition(self._topic, partition_of(self._robot_id.encode(), len(found.partitions)))
            # The end as it is now, not when the consumer comes round to asking: a take may begin at once.
            _, place.offset = consumer.get_watermark_offsets(place, timeout=_ANSWER_S)
            consumer.assign([place])
            while not self._stopped.is_set():
                message = consumer.poll(_TURN_S)
                if message is not None and not self._take(message, consumer):
                    return
        finally:
            consumer.close()

    def _take(self, message: Message, consumer: Consumer) -> bool:
        """Hand over what it says; False where the topic is gone. librdkafka comes back from other errors by itself."""
        error = message.error()
        if error is not None:
            return error.code() not in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_PARTITION)
        if message.key() != self._robot_id.encode():
            return True
        try:
            decoded = self._codec.decode(message.value() or b"")
        except RegistryUnavailableError as problem:
            self._say(f"a finding of robot {self._robot_id} waits for the registry ({problem})")
            consumer.seek(TopicPartition(self._topic, message.partition(), message.offset()))
            self._stopped.wait(_AGAIN_S)
            return True
        except ContractError as problem:
            self._say(f"a finding of robot {self._robot_id} cannot be read ({problem})")
            return True
        if decoded.record == "QualityFinding":
            self._hand_over(decoded.value, _version(message))
        return True

    def _hand_over(self, value: dict[str, Any], version: int) -> None:
        take = self._takes.get(value["episode_id"])
        if take is None or version <= take.versions.get(value["finding_id"], -1):
            return  # of another start, or what the hub has said before
        take.versions[value["finding_id"]] = version
        try:
            self._callback(_finding(value, take.ledger.started_at_ns))
        except Exception:
            if "callback" not in self._said:
                log.exception("on_finding's callback failed (said once); findings are still handed to it")
            self._said.add("callback")

    def _say(self, text: str) -> None:
        """Once each: the next try is a second away."""
        if text not in self._said and len(self._said) < _TAKES:
            self._said.add(text)
            log.warning("%s", text)


def _version(message: Message) -> int:
    """Orders what is said of one finding (docs/contract.md, "Findings")."""
    try:
        return int(dict(message.headers() or ())["ce_id"].rpartition(b"/")[2])
    except (KeyError, ValueError, AttributeError):
        return 0


def _finding(value: dict[str, Any], started_ns: int) -> RobotFinding:
    same = ("finding_id", "episode_id", "metric", "joint", "flag", "value", "unit", "threshold", "state", "provisional")
    return RobotFinding(
        **{name: value[name] for name in same},
        from_s=(value["t_start_ns"] - started_ns) / 1e9,
        to_s=(value["t_end_ns"] - started_ns) / 1e9,
        text=value["message"],
        text_zh=value["message_zh"],
    )
