"""Sends dead letters back to where their records came from, in the order of the log; it never deletes a letter."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Producer

from kinestream.schemas.catalogue import COMMANDS, FRAMES, FRAMES_BULK, topic_name
from kinestream.schemas.errors import BrokerError
from kinestream.schemas.reasons import DeadLetterReason
from kinestream.schemas.settings import Settings
from kinestream.streams.dead_letters.form import REPLAYED, Letter, headers_back
from kinestream.streams.dead_letters.reading import Choice, DeadLetters, Scan, in_log_order

#: Letters sent before they are marked as sent back: what a kill in between repeats, at most.
BATCH: Final = 500
ANSWER_S: Final = 30.0
Progress = Callable[[int, int], None]


@dataclass
class Replay:
    """What a replay did, or with ``dry_run`` would do."""

    dry_run: bool
    #: letters that were meant, and those of them that were sent back before and are left alone
    selected: int = 0
    already_replayed: int = 0
    sent: int = 0
    by_reason: Counter[str] = field(default_factory=Counter)
    robots: Counter[str] = field(default_factory=Counter)
    #: letter id -> why it cannot be sent back
    refused: dict[str, str] = field(default_factory=dict)

    def told(self) -> dict[str, Any]:
        """Ready for JSON."""
        counts = {"by_reason": dict(self.by_reason), "robots": dict(self.robots), "refused": self.refused}
        names = ("dry_run", "selected", "already_replayed", "sent")
        return {name: getattr(self, name) for name in names} | counts


class Replayer:
    """Delivery at least once: a kill may send up to ``BATCH`` letters twice, which the assembler takes as repeats."""

    def __init__(self, settings: Settings, bootstrap: str) -> None:
        self._letters = DeadLetters(settings, bootstrap)
        #: a header is anybody's word: nothing is sent anywhere else. Commands have ids: one sent back twice acts once
        self._allowed = {topic_name(topic, settings.tenant) for topic in (FRAMES, FRAMES_BULK, COMMANDS)}
        self._bootstrap = bootstrap
        self._client = settings.kafka_client(bootstrap)

    def replay(
        self, choice: Choice, *, again: bool = False, dry_run: bool = False, progress: Progress = lambda done, of: None
    ) -> Replay:
        """Send the letters meant back, with their key and bytes, each key's in the order of the log.

        Letters that were sent back before stay where they are, unless ``again``. Raises :class:`BrokerError` when the
        broker goes away; called again, it goes on where it stopped.
        """
        done, scan = Replay(dry_run), Scan()
        # Without their texts: a flood of letters must fit into memory.
        found = [replace(letter, text="") for letter, _ in self._letters.letters(choice, scan)]
        due = [letter for letter in found if again or not scan.was_replayed(letter)]
        done.selected, done.already_replayed = len(found), len(found) - len(due)
        due = [letter for letter in due if self._may_go(letter, done)]
        if dry_run:
            for letter in due:
                self._count(letter, done)
        elif due:
            self._send_all(in_log_order(due), done, progress)
        return done

    def _may_go(self, letter: Letter, done: Replay) -> bool:
        if letter.omitted:
            done.refused[letter.id] = f"its {letter.omitted} bytes fitted into no letter"
        elif letter.reason == DeadLetterReason.OVERSIZE and letter.key is None:
            done.refused[letter.id] = "it could not be unpacked: its bytes are only where they were"
        elif letter.source.topic not in self._allowed:
            done.refused[letter.id] = f"topic {letter.source.topic!r} is none of {', '.join(sorted(self._allowed))}"
        return letter.id not in done.refused

    def _send_all(self, letters: Sequence[Letter], done: Replay, progress: Progress) -> None:
        """Partition by partition: a key's letters all lie in one."""
        by_partition: dict[int, list[Letter]] = defaultdict(list)
        for letter in letters:
            by_partition[letter.partition].append(letter)
        producer = Producer(self._config())
        for partition, some in by_partition.items():
            known = {letter.offset: letter for letter in some}
            messages = self._letters.at(partition, [letter.offset for letter in some])
            while batch := list(islice(messages, BATCH)):
                sent = self._send(producer, batch, known, done)
                self._mark(producer, sent)
                for letter in sent:
                    self._count(letter, done)
                progress(done.sent, len(letters))

    def _send(self, producer: Any, batch: Sequence[Any], known: dict[int, Letter], done: Replay) -> list[Letter]:
        sent: list[Letter] = []
        problems: list[str] = []

        def delivered(letter: Letter, problem: KafkaError | None) -> None:
            if problem is None:
                sent.append(letter)
            elif problem.code() == KafkaError.MSG_SIZE_TOO_LARGE:
                done.refused[letter.id] = "larger than its topic takes"
            else:
                problems.append(problem.str())

        for message in batch:
            letter = known[message.offset()]
            headers = headers_back(letter, message.headers())
            _produce(producer, letter.source.topic, message.value(), message.key(), headers, letter, delivered)
        self._flush(producer, problems)
        return sent

    def _mark(self, producer: Any, sent: Sequence[Letter]) -> None:
        problems: list[str] = []

        def delivered(_: Letter, problem: KafkaError | None) -> None:
            if problem is not None:
                problems.append(problem.str())

        for letter in sent:
            headers = [(REPLAYED, letter.source.text().encode())]
            where = {"partition": letter.partition}
            _produce(producer, self._letters.topic, None, letter.key, headers, letter, delivered, **where)
        self._flush(producer, problems)

    def _flush(self, producer: Any, problems: Sequence[str]) -> None:
        left = producer.flush(ANSWER_S + 10)
        if left or problems:
            raise BrokerError(
                f"{self._bootstrap} did not take every letter ({problems[0] if problems else 'no answer'}): "
                "run the replay again, it goes on where it stopped"
            )

    def _count(self, letter: Letter, done: Replay) -> None:
        done.sent += 1
        done.by_reason[letter.reason] += 1
        done.robots[letter.robot_id] += 1

    def _config(self) -> dict[str, Any]:
        return {
            **self._client,
            "enable.idempotence": True,
            "acks": "all",
            # To the partition the key belongs to, wherever the record stood before.
            "partitioner": "murmur2",
            # A largest message and the two headers that go with it fit again.
            "compression.type": "zstd",
            "message.max.bytes": 1_000_000_000,
            "message.timeout.ms": int(ANSWER_S * 1000),
            "linger.ms": 5,
            "log_level": 2,
        }


def _produce(
    producer: Any,
    topic: str,
    value: bytes | None,
    key: bytes | None,
    headers: Any,
    letter: Letter,
    delivered: Callable[[Letter, KafkaError | None], None],
    **where: int,
) -> None:
    def done(problem: KafkaError | None, _: Any) -> None:
        delivered(letter, problem)

    while True:
        try:
            producer.produce(topic, value, key, on_delivery=done, headers=headers, **where)
            return
        except BufferError:
            producer.poll(0.1)
        except KafkaException as problem:
            delivered(letter, problem.args[0])
            return
