"""What makes two takes the same: D1, D2. Sketches and comparisons only; whoever knows the other takes asks them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kinestream.streams.quality.desk import Batch
from kinestream.streams.quality.family import Family
from kinestream.streams.quality.model import SLACK, Context, Floats, Singles, Span
from kinestream.streams.quality.rules import Rules

#: Steps of a signature, and poses kept to make it from.
STEPS, KEPT = 32, 64


@dataclass(frozen=True, slots=True, eq=False)
class Signature:
    """A take in brief: ``shape`` float64 (32 J,) of length 1, the poses relative to the first; ``seconds`` long."""

    shape: Floats
    seconds: float


class Sketch(Family):
    """D2's signature from a bounded buffer: every 2^k-th frame; k rises by one whenever 64 poses are full."""

    def __init__(self, context: Context, rules: Rules) -> None:
        super().__init__(context, rules)
        # positions come in single precision
        self._kept: Singles = np.zeros((KEPT, len(context.joints)), np.float32)
        self._count, self._stride, self._next = 0, 1, 0
        self._last: Floats | None = None

    def add(self, batch: Batch) -> None:
        """Keep the poses that are due."""
        position = batch.channel("position")
        if position is None:
            return
        while self._next < batch.first + batch.n:
            due = np.arange(self._next - batch.first, batch.n, self._stride)[: KEPT - self._count]
            self._kept[self._count : self._count + len(due)] = position[due + 1]
            self._count += len(due)
            self._next += len(due) * self._stride
            if self._count == KEPT:
                self._kept[: KEPT // 2] = self._kept[::2]
                self._count //= 2
                self._stride *= 2
                self._next = self._count * self._stride
        self._last = position[-1].copy()

    def signature(self, span: Span) -> Signature | None:
        """Of the frames so far; None where nothing moved."""
        if self._last is None or span.frames < 2:
            return None
        poses = np.vstack((self._kept[: self._count], self._last))
        places = np.append(np.arange(self._count) * self._stride, max(span.frames - 1, 1))
        wanted = np.linspace(0, span.frames - 1, STEPS)
        shape = np.stack([np.interp(wanted, places, column) for column in (poses - poses[0]).T]).reshape(-1)
        length = float(np.linalg.norm(shape))
        return Signature(shape / length, span.seconds) if length > 0 else None


def similarity(one: Signature, other: Signature) -> tuple[float, float]:
    """Cosine of two signatures and the ratio of the shorter to the longer duration; 0 where joints differ in number."""
    if one.shape.shape != other.shape.shape or max(one.seconds, other.seconds) <= 0:
        return 0.0, 0.0
    seconds = sorted((one.seconds, other.seconds))
    return float(one.shape @ other.shape), seconds[0] / seconds[1]


def near_duplicates(one: Signature, other: Signature, rules: Rules) -> bool:
    """D2 near duplicate: cosine of the 32-step signatures >= 0.995 and duration ratio >= 0.95 (open checkers)."""
    cosine, ratio = similarity(one, other)
    return cosine >= rules.near_cosine * (1 - SLACK) and ratio >= rules.near_duration * (1 - SLACK)


def exact_duplicates(digest: str, other: str) -> bool:
    """D1 exact duplicate: equal hashes over positions and commands by frame number; stamps may differ (a re-upload)."""
    return bool(digest) and digest == other
