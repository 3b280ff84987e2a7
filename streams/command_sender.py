"""Puts people's commands onto their topic; whether they can be carried out is the assembler's to say."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Producer

from kinestream.schemas.catalogue import COMMANDS, FRAMES, FRAMES_BULK, topic_name
from kinestream.schemas.codec import Codec
from kinestream.schemas.errors import BrokerError, ContractError, RefusedError, StoreError
from kinestream.schemas.registry import Registry
from kinestream.schemas.settings import Settings
from kinestream.schemas.skills import load_skills
from kinestream.streams.archive_rows import OPEN
from kinestream.streams.assembly.commands import CORRECTABLE
from kinestream.streams.assembly.revisions import REASONS
from kinestream.streams.assembly.values import CORRECT, QUARANTINED, REVIEW, WITHDRAWN, JsonDict
from kinestream.streams.cluster import Door

ANSWER_S: Final = 10.0


class CommandSender:
    """Commands to the episodes of one tenant."""

    def __init__(self, settings: Settings, bootstrap: str) -> None:
        self._lanes = tuple(topic_name(topic, settings.tenant) for topic in (FRAMES, FRAMES_BULK))
        self._topic = topic_name(COMMANDS, settings.tenant)
        self._codec = Codec(Registry(settings.registry), self._topic)
        self._bootstrap = bootstrap
        self._client = settings.kafka_client(bootstrap)

    def send(self, placed: JsonDict, kind: str, by: str, note: str = "", **further: Any) -> str:
        """Send a command for an episode, as ``Archive.placed`` tells of it; the command's id.

        ``further``: labels, verdict, pins, rule_version, command_id (else a new one) of EpisodeCommand. It is on the
        broker's disk when this returns. Raises :class:`RefusedError` for an episode that takes no commands, and
        :class:`BrokerError` when the broker does not take it (:class:`SettingError`: it does not let us in): sent again
        under the same ``command_id`` it has one effect, whether or not the first one came through.
        """
        return self.send_all([(placed, {"kind": kind, "by": by, "note": note, **further})])[0]

    def send_all(self, commands: Iterable[tuple[JsonDict, Mapping[str, Any]]]) -> list[str]:
        """The same for many, each as :meth:`send` is given it: the episode, and the further fields of its command."""
        values = [self._value(*one) for one in commands]
        self._deliver([(v["robot_id"].encode(), self._codec.encode("EpisodeCommand", v)) for v in values])
        return [value["command_id"] for value in values]

    def _value(self, placed: JsonDict, said: Mapping[str, Any]) -> JsonDict:
        if placed["topic"] not in self._lanes:
            raise RefusedError(
                f"episode {placed['episode_id']} lies in {placed['topic']}, not in {' or '.join(self._lanes)}:"
                " set KINESTREAM_TENANT to its tenant"
            )
        return {
            **{name: placed[name] for name in ("tenant", "robot_id", "episode_id")},
            "lane": placed["topic"],
            "command_id": str(uuid.uuid4()),
            "revision": placed["revision"],
            **said,
        }

    def _deliver(self, messages: Sequence[tuple[bytes, bytes]]) -> None:
        problems: list[KafkaError] = []

        def delivered(problem: KafkaError | None, _: Any) -> None:
            if problem is not None:
                problems.append(problem)

        door = Door(self._bootstrap)
        producer = Producer(
            {
                **self._client,
                "error_cb": door.heard,
                "enable.idempotence": True,
                "acks": "all",
                "partitioner": "murmur2_random",
                "message.timeout.ms": int(ANSWER_S * 1000),
                "log_level": 2,
            }
        )
        try:
            door.metadata(producer, ANSWER_S, self._topic)
            for key, value in messages:
                producer.produce(self._topic, value, key, on_delivery=delivered)
        except KafkaException as problem:
            problems.append(problem.args[0])
        if producer.flush(ANSWER_S + 5) or problems:
            said = problems[0].str() if problems else "no answer"
            raise BrokerError(f"{self._bootstrap} did not take the command into {self._topic} ({said}): try again")


def check_by(by: str) -> str:
    """The name of who wants it; raises :class:`ContractError` for none."""
    if not by.strip():
        raise ContractError("--by is empty: say who wants it, by the name the hub knows (a pseudonym)")
    return by.strip()


def labels_of(words: list[str]) -> dict[str, str]:
    """``NAME=VALUE`` words as labels; raises :class:`ContractError` for what cannot be set right."""
    labels: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise ContractError(f"{word!r} is no label: give NAME=VALUE, such as skill=place")
        if name not in CORRECTABLE:
            raise ContractError(f"label {name!r} cannot be corrected: {', '.join(CORRECTABLE)} can")
        if name in labels:
            raise ContractError(f"label {name} is given twice: {labels[name]!r} and {value!r}")
        labels[name] = value
    return labels


def check_listed(labels: Mapping[str, str]) -> None:
    """Raises :class:`ContractError` for a skill or an area that nobody lists: people mistype what robots do not."""
    words = load_skills()
    for name, terms in (("skill", words.skills), ("area", words.areas)):
        known = [term.id for term in terms]
        if labels.get(name) and labels[name] not in known:
            near = get_close_matches(labels[name], known, n=3) or known[:3]
            raise ContractError(f"{name} {labels[name]!r} is not in skills.yaml; near it: {', '.join(near)}")


def review_of(accept: bool, reject: bool, labels: Mapping[str, str]) -> str:
    """The verdict of a review, UNASSESSED = none; raises :class:`ContractError` for two, or for nothing at all."""
    if accept and reject:
        raise ContractError("--accept and --reject contradict each other: give one")
    if not (accept or reject or labels):
        raise ContractError("a review says nothing: give --accept, --reject or --relabel NAME=VALUE")
    return "ACCEPT" if accept else "REJECT" if reject else "UNASSESSED"


def check_reviews(placed: JsonDict, verdict: str, by: str, note: str, labels: Mapping[str, str]) -> None:
    """Raises :class:`RefusedError` for an episode that is open, or where the review would change nothing."""
    check_takes(placed, REVIEW, {})
    if placed["status"] == OPEN:
        raise RefusedError(f"episode {placed['episode_id']} is still being recorded: review it when it has closed")
    said = verdict == "UNASSESSED" or (verdict, by, note) == tuple(
        placed[name] for name in ("review_verdict", "reviewed_by", "review_note")
    )
    if said and all(placed.get(name) == value for name, value in labels.items()):
        raise RefusedError(f"episode {placed['episode_id']} is reviewed and labelled so already")


def check_takes(placed: JsonDict, kind: str, labels: Mapping[str, str]) -> None:
    """Raises :class:`RefusedError` where a command would change nothing, and says why."""
    said = f"episode {placed['episode_id']} is"
    if placed["status"] == WITHDRAWN:
        raise RefusedError(f"{said} withdrawn already (revision {placed['revision']}): nothing can be done with it")
    if placed["status"] == QUARANTINED:
        raise RefusedError(f"{said} quarantined: its records are dead letters, see `kinestream dlq list`")
    if kind == CORRECT and all(placed.get(name) == value for name, value in labels.items()):
        raise RefusedError(f"{said} labelled so already: {', '.join(f'{n}={v}' for n, v in labels.items())}")


def carried_out(placed: JsonDict, before: JsonDict, kind: str) -> bool:
    """Whether the store has the revision that a command makes."""
    return placed["status"] != OPEN and placed["revision"] > before["revision"] and placed["reason"] == REASONS[kind]


def not_yet(placed: JsonDict, waited_s: float) -> StoreError:
    """What to say when the revision does not come."""
    return StoreError(
        f"the command for episode {placed['episode_id']} is on its topic, but no revision came within {waited_s:g} s:"
        " it is carried out when a worker runs (`kinestream status`); a refused one is in `kinestream dlq list`"
    )
