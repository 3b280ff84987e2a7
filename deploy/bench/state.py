"""What an open episode holds in memory for its metrics, by metric: bytes of every array and object, shared ones out."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from types import FunctionType, ModuleType
from typing import Any

import numpy as np

from kinestream.deploy.bench.floor import MODEL, RATE_HZ, layout
from kinestream.producers.fleet.take import Take
from kinestream.schemas.content_hash import BLOCK
from kinestream.schemas.layout import Channel, Layout
from kinestream.streams.judging import judge_for
from kinestream.streams.quality import Delivery, EpisodeJudge, Frames

#: Channels of the floor that is measured.
CHANNELS = ("position", "velocity", "effort")


def measure_state(motion: Take, chunk: int = 10, *, channels: Sequence[str] = CHANNELS) -> dict[str, int]:
    """Bytes by metric when they were most, asked after each chunk of a take that is recorded: 32 joints.

    What all episodes of a robot share (tables, limits, rules) is counted for none, nor are the frames of open blocks,
    which the assembler holds anyway.
    """
    judge, other = _judge(channels), _judge(channels)
    shared = _reachable(other) & _reachable(judge)
    blocks = [_block(motion, channels, first) for first in range(0, len(motion), BLOCK)]
    shared |= {id(array) for block in blocks for array in block.values()}
    most: dict[str, int] = {}
    for first in range(0, len(motion), chunk):
        for begin, end in _pieces(first, min(first + chunk, len(motion))):
            block, part = blocks[begin // BLOCK], slice(begin % BLOCK, begin % BLOCK + end - begin)
            values = {name: block[name][part] for name in channels}
            judge.advance(Frames(np.arange(begin, end), block["t"][part], values, block["t"][part] + 5_000_000))
        judge.live(Delivery(end, end))
        now = state_of(judge, shared)
        most = max(most, now, key=lambda one: sum(one.values()))
    return most


def _block(motion: Take, channels: Sequence[str], first: int) -> dict[str, Any]:
    part = slice(first, first + BLOCK)
    return {"t": motion.t_ns[part] + 10**18, **{name: getattr(motion, name)[part].copy() for name in channels}}


def _pieces(begin: int, end: int) -> Iterator[tuple[int, int]]:
    """A chunk by the blocks it lies in."""
    while begin < end:
        stop = min(end, (begin // BLOCK + 1) * BLOCK)
        yield begin, stop
        begin = stop


def state_of(judge: EpisodeJudge, shared: frozenset[int] | set[int] = frozenset()) -> dict[str, int]:
    """Bytes by metric; each object counts once, for the first that holds it. ``shared``: ids that count for none."""
    seen = set(shared)
    return {name: _bytes(part, seen) for name, part in _parts(judge)}


def _judge(channels: Sequence[str]) -> EpisodeJudge:
    start = {"episode_id": "x", "model_id": MODEL, "skill": "", "nominal_rate_hz": RATE_HZ, "stamp_resolution_ns": 1000}
    joints = layout().joints
    units = {"velocity": "rad/s", "effort": "Nm"}
    return judge_for(start, Layout(joints, tuple(Channel(c, len(joints), units.get(c, "rad")) for c in channels)))


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
