"""Causal second-order Butterworth filters over blocks of frames: one matrix product a block. Never looks ahead."""

from __future__ import annotations

from functools import lru_cache
from math import pi, sqrt, tan
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Frames filtered at once, at most.
BLOCK = 64

Matrix = NDArray[Any]


@lru_cache(maxsize=64)
def butterworth(kind: str, cut_hz: float, rate_hz: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(b0, b1, b2), (a1, a2) of a digital filter by the bilinear transform; ``kind`` is ``low`` or ``high``.

    Needs 0 < cut < rate / 2.
    """
    k = tan(pi * cut_hz / rate_hz)
    scale = 1 / (1 + sqrt(2) * k + k * k)
    feedback = (2 * (k * k - 1) * scale, (1 - sqrt(2) * k + k * k) * scale)
    forward = (k * k * scale, 2 * k * k * scale, k * k * scale) if kind == "low" else (scale, -2 * scale, scale)
    return forward, feedback


@lru_cache(maxsize=64)
def _block(kind: str, cut_hz: float, rate_hz: float, precision: str) -> tuple[Matrix, Matrix]:
    """What a block of inputs and the four values before it (x1, x2, y1, y2) do to its outputs."""
    (b0, b1, b2), (a1, a2) = butterworth(kind, cut_hz, rate_hz)
    whole = np.zeros((BLOCK, BLOCK + 4))
    for column in range(BLOCK + 4):
        x = np.zeros(BLOCK)
        x1, x2, y1, y2 = (float(column == BLOCK + place) for place in range(4))
        if column < BLOCK:
            x[column] = 1.0
        for k in range(BLOCK):
            y = b0 * x[k] + b1 * x1 + b2 * x2 - a1 * y1 - a2 * y2
            whole[k, column] = y
            x1, x2, y1, y2 = x[k], x1, y, y1
    return whole[:, :BLOCK].astype(precision), whole[:, BLOCK:].astype(precision)


class Filter:
    """One filter over J signals; its state begins as if the first value had always been."""

    __slots__ = ("_inputs", "_precision", "_state", "_states", "kind")

    def __init__(self, kind: str, cut_hz: float, rate_hz: float, precision: str = "float64") -> None:
        self.kind = kind
        self._inputs, self._states = _block(kind, cut_hz, rate_hz, precision)
        self._precision = precision
        self._state: Matrix | None = None

    def reset(self) -> None:
        """Forget the past: the next value begins anew."""
        self._state = None

    def __call__(self, x: Matrix) -> Matrix:
        """The outputs of n <= BLOCK inputs (n, J)."""
        n = len(x)
        x = x.astype(self._precision, copy=False)
        if self._state is None:
            rest = x[0] if self.kind == "low" else np.zeros_like(x[0])
            self._state = np.stack((x[0], x[0], rest, rest))
        y: Matrix = self._inputs[:n, :n] @ x
        y += self._states[:n] @ self._state
        before = self._state
        one = (x[-2], y[-2]) if n > 1 else (before[0], before[2])
        self._state = np.stack((x[-1], one[0], y[-1], one[1]))
        return y
