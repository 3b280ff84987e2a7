"""How fast one core judges: decoding and every metric, in memory, nothing stored; only CPU time counts."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Final

import numpy as np

from kinestream.deploy.bench.floor import MODEL, RATE_HZ, cut, layout, motions
from kinestream.schemas.codec import Codec
from kinestream.schemas.errors import ContractError
from kinestream.schemas.frames import FrameChunk
from kinestream.schemas.registry import Registry
from kinestream.streams.judging import judge_for
from kinestream.streams.quality import Delivery, Frames

#: Chunks of a take: a minute of it at 100 Hz and 64 frames.
_CHUNKS: Final = 100


@dataclass(frozen=True, slots=True)
class JudgeFigure:
    """Frames a CPU-second, median over the repeats, with the final judgement of each take in it."""

    chunk: int
    joints: int
    channels: int
    frames_per_s: float
    metrics: int
    verdict: str


def measure_judge(chunk: int, repeats: int) -> JudgeFigure:
    """Decode and judge one take ``repeats`` times over in chunks of ``chunk`` frames."""
    codec, whose = Codec(Registry(), "motion.bench.frames.v1"), layout()
    (motion,) = motions(1, chunk * _CHUNKS)
    episode_id, begins_ns = str(uuid.uuid4()), time.time_ns()
    pieces = [cut(motion, whose, episode_id, begins_ns, i * chunk, (i + 1) * chunk) for i in range(_CHUNKS)]
    messages = [codec.encode_chunk(piece) for piece in pieces]
    start = {
        "episode_id": episode_id,
        "model_id": MODEL,
        "skill": "grasp",
        "nominal_rate_hz": RATE_HZ,
        "stamp_resolution_ns": 1_000,
    }
    rates, total = [], chunk * _CHUNKS
    for _ in range(repeats + 1):
        began = time.process_time()
        judge = judge_for(start, whose)
        for message in messages:
            judge.advance(_frames(codec.decode(message).value, whose.widths))
        judgement = judge.final(Delivery(total, total, status="COMPLETE"))
        rates.append(total / (time.process_time() - began))
    if judgement.verdict != "ACCEPT":
        raise ContractError(f"the floor's clean take is judged {judgement.verdict}: {judgement.findings[:3]}")
    # the first turn warms caches
    rate = median(rates[1:])
    return JudgeFigure(
        chunk, len(whose.joints), len(whose.channels), rate, len(judgement.metrics), str(judgement.verdict)
    )


def _frames(piece: FrameChunk, widths: Mapping[str, int]) -> Frames:
    n = len(piece)
    channels = {name: values.reshape(n, widths[name]) for name, values in piece.channels.items()}
    return Frames(np.arange(piece.first_seq, piece.first_seq + n), piece.t_ns, channels)
