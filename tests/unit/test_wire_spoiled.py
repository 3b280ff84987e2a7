"""Whatever a capture holds, `wire check` says something of it: no traceback, no warning, a document that is JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as some

from kinestream.deploy.wire.capture import Captured
from tests.capturing import Wire, checked, numbered, said, wire_take

Messages = list[Captured]


def flip(messages: Messages, at: int, value: int) -> None:
    raw = bytearray(messages[at].raw)
    if raw:
        raw[value % len(raw)] ^= 1 + value % 255
        messages[at] = replace(messages[at], raw=bytes(raw))


def cut(messages: Messages, at: int, value: int) -> None:
    messages[at] = replace(messages[at], raw=messages[at].raw[: value % 200])


def drop(messages: Messages, at: int, value: int) -> None:
    del messages[at]


def again(messages: Messages, at: int, value: int) -> None:
    messages.insert(value % len(messages), messages[at])


def elsewhere(messages: Messages, at: int, value: int) -> None:
    topic = ("", "x", "motion.hub.frames-bulk.v1")[value % 3]
    messages[at] = replace(messages[at], topic=topic, partition=value % 10 - 1)


def otherwise_keyed(messages: Messages, at: int, value: int) -> None:
    messages[at] = replace(messages[at], own_key=(None, b"", b"\xff", b"other")[value % 4])


def at_another_time(messages: Messages, at: int, value: int) -> None:
    messages[at] = replace(messages[at], at_ms=(-1, 0, 10**15)[value % 3])


SPOILERS: tuple[Callable[[Messages, int, int], None], ...] = (
    *(flip, cut, drop, again, elsewhere, otherwise_keyed, at_another_time),
)
spoiling = some.tuples(some.sampled_from(SPOILERS), some.integers(0, 10**6), some.integers(0, 10**6))


@settings(max_examples=60, deadline=None)
@given(frames=some.sampled_from((1, 11, 150)), steps=some.lists(spoiling, min_size=1, max_size=6))
def test_a_spoiled_capture_is_told_of(
    frames: int, steps: list[tuple[Callable[[Messages, int, int], None], int, int]]
) -> None:
    messages = Wire().send(said(wire_take(frames=frames))).messages
    for spoil, at, value in steps:
        if len(messages) > 1:
            spoil(messages, at % len(messages), value)
    report = checked(numbered(messages))
    document = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert document["conforms"] == (not any(one["result"] == "fail" for one in document["checks"]))
    assert document["records"] == len(messages)
