"""Causal second-order Butterworth filters over blocks of frames: one matrix product a block. Never looks ahead."""

from __future__ import annotations

from functools import lru_cache
from math import pi, sqrt, tan
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Frames filtered at once, at most.
BLOCK = 128

Matrix = NDArray[Any]
#: ``low`` or ``high``, and its cut, Hz.
Stage = tuple[str, float]


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
def _block(stages: tuple[Stage, ...], rate_hz: float, precision: str) -> tuple[Matrix, ...]:
    """What a block of inputs, and two values of every signal before it, do to the outputs of each stage in turn.

    Columns: BLOCK inputs, then x1, x2 of the input and of each stage's output (1 = the last value, 2 = before it).
    """
    width = BLOCK + 2 * (len(stages) + 1)
    signal = np.eye(BLOCK, width)
    earlier = np.eye(width)[BLOCK:]
    found = []
    for place, (kind, cut_hz) in enumerate(stages):
        (b0, b1, b2), (a1, a2) = butterworth(kind, cut_hz, rate_hz)
        x1, x2, y1, y2 = earlier[2 * place : 2 * place + 4]
        output = np.empty((BLOCK, width))
        for k in range(BLOCK):
            output[k] = b0 * signal[k] + b1 * x1 + b2 * x2 - a1 * y1 - a2 * y2
            x1, x2, y1, y2 = signal[k], x1, output[k], y1
        signal = output
        found.append(output.astype(precision))
    return tuple(found)


class Filter:
    """Filters in a row over J signals; the state begins as if the first value had always been."""

    __slots__ = ("_matrices", "_precision", "_rate", "_stages", "_state")

    def __init__(self, stages: tuple[Stage, ...], rate_hz: float, precision: str = "float64") -> None:
        self._stages, self._rate = stages, rate_hz
        self._matrices = _block(stages, rate_hz, precision)
        self._precision = precision
        self._state: Matrix | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> Filter:
        """All filters of a kind share their matrices: they are far larger than the state."""
        other = Filter(self._stages, self._rate, self._precision)
        other._state = None if self._state is None else self._state.copy()
        return other

    def reset(self) -> None:
        """Forget the past: the next value begins anew."""
        self._state = None

    def __call__(self, x: Matrix, out: Matrix | None = None) -> Matrix:
        """The outputs of n <= BLOCK inputs (n, J), in ``out`` if given."""
        n = len(x)
        if self._state is None:
            self._state = self._at_rest(x[0])
        before = self._state
        given = np.concatenate((x, before), dtype=self._precision)
        whole = n == BLOCK
        y: Matrix = np.matmul(self._part(-1, 0, n, whole), given, out=out)
        self._state = after = np.empty_like(before)
        _shift(after[:2], x, before[:2])
        for place in range(len(self._matrices) - 1):
            # of the signals between stages only the last two values are needed
            last = self._part(place, max(0, n - 2), n, whole) @ given
            _shift(after[2 * place + 2 : 2 * place + 4], last, before[2 * place + 2 : 2 * place + 4])
        _shift(after[-2:], y, before[-2:])
        return y

    def _part(self, stage: int, first: int, last: int, whole: bool) -> Matrix:
        matrix = self._matrices[stage][first:last]
        return matrix if whole else np.concatenate((matrix[:, :last], matrix[:, BLOCK:]), axis=1)

    def _at_rest(self, value: Matrix) -> Matrix:
        state = np.zeros((2 * len(self._stages) + 2, len(value)), self._precision)
        state[:2] = value
        for place, (kind, _) in enumerate(self._stages, 1):
            # a high-pass gives nothing at rest, and so does all behind it
            if kind == "high":
                break
            state[2 * place : 2 * place + 2] = value
        return state


def _shift(after: Matrix, values: Matrix, before: Matrix) -> None:
    if len(values) > 1:
        after[:] = values[-1:-3:-1]
    else:
        after[0], after[1] = values[0], before[0]
