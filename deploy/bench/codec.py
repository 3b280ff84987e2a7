"""Encoding and decoding chunks, ours beside fastavro, turn by turn in one process; nothing but CPU time counts."""

from __future__ import annotations

import io
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

import fastavro

from kinestream.deploy.bench.floor import cut, layout, motions
from kinestream.schemas.codec import Codec, frame
from kinestream.schemas.errors import ContractError
from kinestream.schemas.frames import FrameChunk
from kinestream.schemas.layout import JOINT_CHANNELS
from kinestream.schemas.registry import Registry, latest_schema

#: Messages each way works on, in turn: more than fit the processor's first cache.
_MESSAGES: Final = 64


@dataclass(frozen=True, slots=True)
class CodecFigure:
    """Frames a CPU-second, medians over the repeats; ``ratio`` is ours over fastavro's."""

    chunk: int
    what: str
    ours: float
    fastavro: float

    @property
    def ratio(self) -> float:
        """How many times as many frames ours does."""
        return self.ours / self.fastavro


def measure_codec(chunks: Sequence[int], repeats: int, turn_s: float) -> list[CodecFigure]:
    """Encode and decode at each chunk size; every way gets ``repeats`` turns of ``turn_s`` CPU-seconds."""
    return [figure for chunk in chunks for figure in _one_size(chunk, repeats, turn_s)]


def _one_size(size: int, repeats: int, turn_s: float) -> list[CodecFigure]:
    codec = Codec(Registry(), "motion.bench.frames.v1")
    schema_id, schema = latest_schema("FrameChunk")
    parsed, head = fastavro.parse_schema(schema), frame(schema_id, b"")
    chunks = _chunks(size)
    records = [_record(chunk) for chunk in chunks]
    messages = [codec.encode_chunk(chunk) for chunk in chunks]

    def peer_encode(record: dict[str, Any]) -> bytes:
        out = io.BytesIO()
        out.write(head)
        fastavro.schemaless_writer(out, parsed, record)
        return out.getvalue()

    def peer_decode(message: bytes) -> Any:
        return fastavro.schemaless_reader(io.BytesIO(message[5:]), parsed, None)

    if [peer_encode(record) for record in records] != messages:
        raise ContractError("fastavro and our encoder give different bytes: their figures cannot be compared")
    ways: list[tuple[Callable[[Any], Any], Sequence[Any]]] = [
        (codec.encode_chunk, chunks),
        (peer_encode, records),
        (codec.decode, messages),
        (peer_decode, messages),
    ]
    rates: list[list[float]] = [[] for _ in ways]
    for _ in range(repeats):  # turn by turn, so that whatever else the machine does meets all of them
        for found, (function, arguments) in zip(rates, ways, strict=True):
            found.append(size * _calls_per_cpu_second(function, arguments, turn_s))
    ours_out, peer_out, ours_in, peer_in = map(median, rates)
    return [CodecFigure(size, "encode", ours_out, peer_out), CodecFigure(size, "decode", ours_in, peer_in)]


def _calls_per_cpu_second(function: Callable[[Any], Any], arguments: Sequence[Any], turn_s: float) -> float:
    calls, began = 0, time.process_time()
    while (spent := time.process_time() - began) < turn_s:
        for argument in arguments:
            function(argument)
        calls += len(arguments)
    return calls / spent


def _chunks(size: int) -> list[FrameChunk]:
    whose, (motion,) = layout(), motions(1, size * _MESSAGES)
    episode_id, begins_ns = str(uuid.uuid4()), time.time_ns()
    return [cut(motion, whose, episode_id, begins_ns, i * size, (i + 1) * size) for i in range(_MESSAGES)]


def _record(chunk: FrameChunk) -> dict[str, Any]:
    """What a general Avro writer is given: lists, made beforehand, so that only its own work is timed."""
    return {
        "episode_id": chunk.episode_id,
        "layout_id": chunk.layout_id,
        "first_seq": chunk.first_seq,
        "t0_ns": chunk.t0_ns,
        "offset_s": chunk.offset_s.tolist(),
        **{name: chunk.channels[name].ravel().tolist() if name in chunk.channels else [] for name in JOINT_CHANNELS},
        "extra": [],
    }
