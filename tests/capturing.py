"""A producer's messages as a capture holds them: a good robot's, to be spoiled in one place at a time."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from kinestream.deploy.wire.capture import Captured
from kinestream.deploy.wire.checks import Result
from kinestream.deploy.wire.conformance import Report, check
from kinestream.producers.ids import uuid7
from kinestream.schemas.catalogue import FRAMES, Topic, topic_name
from kinestream.schemas.murmur2 import partition_of
from kinestream.schemas.registry import Registry
from tests.assembling import T0, Take
from tests.sending import encode

PARTITIONS = 8
#: (record, value, broker time in ms after the take began)
Said = tuple[str, Any, int]


def wire_take(**given: Any) -> Take:
    """A take with identities as the contract wants them."""
    return Take(**{"boot": str(uuid.uuid4()), "id": uuid7(), **given})


def said(take: Take, *, start: dict[str, Any] | None = None, end: dict[str, Any] | None = None) -> list[Said]:
    """Everything a good robot says around one take, each at its time."""
    size = 10
    words: list[Said] = [(*take.status(), -300), (*take.start(**(start or {})), 0)]
    for first in range(0, take.frames, size):
        last = min(first + size, take.frames)
        at = round((int(take.t_ns[last - 1]) - T0) / 1e6) + 5
        words.append((*take.chunk(first, last), at))
    length = words[-1][2]
    words += [(*take.status(recording=take.id), at) for at in range(700, length, 1000)]
    words.append((*take.end(**(end or {})), length + 10))
    words.append((*take.status(unsent=[take.id]), length + 400))
    return sorted(words, key=lambda word: word[2])


@dataclass
class Wire:
    """Messages on one topic, keyed by the robot."""

    robot: str = "r1"
    topic: Topic = FRAMES
    messages: list[Captured] = field(default_factory=list)

    def send(self, words: Iterable[Said]) -> Wire:
        for record, value, at in words:
            self.put(encode(record, value), at)
        return self

    def put(self, raw: bytes, at_ms: int, **changed: Any) -> None:
        key = self.robot.encode()
        number = len(self.messages) + 1
        place = (topic_name(self.topic, "hub"), partition_of(key, PARTITIONS), number - 1)
        message = Captured(number, raw, *place, T0 // 1_000_000 + at_ms, key, True)
        self.messages.append(replace(message, **changed))


def numbered(messages: Sequence[Captured]) -> list[Captured]:
    """As another order of the log."""
    return [replace(message, number=number) for number, message in enumerate(messages, 1)]


def checked(messages: Iterable[Captured]) -> Report:
    return check(messages, Registry(), PARTITIONS)


def results(report: Report, *which: Result) -> list[str]:
    """Ids of checks with one of these results."""
    return [one.id for one in report.checks if one.result in which]


def failed(report: Report) -> list[str]:
    return results(report, Result.FAIL)


def changed(words: list[Said], record: str, change: Callable[[Any], Any], nth: int = 0) -> list[Said]:
    """With the ``nth`` value of a kind given to ``change``; what it returns stands in its place."""
    at = [i for i, word in enumerate(words) if word[0] == record][nth]
    return [*words[:at], (record, change(words[at][1]), words[at][2]), *words[at + 1 :]]
