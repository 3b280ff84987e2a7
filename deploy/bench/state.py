"""What an open episode holds in memory for its metrics, by metric: bytes of every array and object, shared ones out."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from types import FunctionType, ModuleType
from typing import Any

import numpy as np

from kinestream.deploy.bench.floor import MODEL, RATE_HZ, layout, motions
from kinestream.streams.judging import judge_for
from kinestream.streams.quality import Delivery, EpisodeJudge, Frames


def measure_state(frames: int = 3_000, chunk: int = 10, *, live: bool = True) -> dict[str, int]:
    """Bytes by metric after each chunk, the most there ever were: 32 joints x 3 channels, judged live or not.

    What is the same for all episodes of a robot (tables, limits, rules) is counted for none.
    """
    (motion,) = motions(1, frames)
    most: dict[str, int] = {}
    judge, other = _judge(), _judge()
    shared = _reachable(other) & _reachable(judge)
    for first in range(0, frames, chunk):
        part = slice(first, first + chunk)
        channels = {name: getattr(motion, name)[part] for name in ("position", "velocity", "effort")}
        t_ns = motion.t_ns[part] + 10**18
        judge.advance(Frames(np.arange(first, first + len(t_ns)), t_ns, channels, t_ns + 5_000_000))
        if live:
            judge.live(Delivery(part.stop, part.stop))
        now = state_of(judge, shared)
        if sum(now.values()) > sum(most.values()):
            most = now
    return most


def state_of(judge: EpisodeJudge, shared: frozenset[int] | set[int] = frozenset()) -> dict[str, int]:
    """Bytes by metric; each object counts once, for the first that holds it. ``shared``: ids that count for none."""
    seen = set(shared)
    return {name: _bytes(part, seen) for name, part in _parts(judge)}


def _judge() -> EpisodeJudge:
    start = {"episode_id": "x", "model_id": MODEL, "skill": "", "nominal_rate_hz": RATE_HZ, "stamp_resolution_ns": 1000}
    return judge_for(start, layout())


def _parts(judge: EpisodeJudge) -> Iterator[tuple[str, Any]]:
    board = judge._board
    if board is not None:
        for family in board.families:
            yield type(family).__name__, family
        yield "held frames", board._held
        yield "look ahead", board._ahead
        yield "board", board
    yield "core", judge


def _reachable(judge: EpisodeJudge) -> set[int]:
    seen: set[int] = set()
    _bytes(judge, seen)
    return seen


def _bytes(thing: Any, seen: set[int]) -> int:
    """Of ``thing`` and all that is reached from it and not yet seen."""
    total, waiting = 0, [thing]
    while waiting:
        one = waiting.pop()
        if id(one) in seen or isinstance(one, type | ModuleType | FunctionType):
            continue
        seen.add(id(one))
        total += sys.getsizeof(one)
        waiting += _within(one)
    return total


def _within(one: Any) -> list[Any]:
    if isinstance(one, np.ndarray):
        return [] if one.base is None else [one.base]
    if isinstance(one, str | bytes | int | float | bytearray):
        return []
    if isinstance(one, Mapping):
        return [*one.keys(), *one.values()]
    if isinstance(one, list | tuple | set | frozenset) or hasattr(one, "maxlen"):
        return list(one)
    slots = (name for kind in type(one).__mro__ for name in getattr(kind, "__slots__", ()))
    inner = [getattr(one, name) for name in slots if hasattr(one, name)]
    return inner + ([one.__dict__] if hasattr(one, "__dict__") else [])
