"""A trace as a few lines of braille for a terminal: eight dots a character; no colour, so that a pipe reads it too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from kinestream.deploy.judging.traces import Line, Trace
from kinestream.schemas.frames import Int64

#: Characters of a sketch, across and down.
WIDE, TALL = 72, 4
_BLANK: Final = 0x2800
#: Bits of a braille character's dots, by column and row.
_DOTS: Final = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
_FLAGS: Final = {"FAIL": "━", "SUSPECT": "─"}


def sketch(trace: Trace, indent: str = "") -> Iterator[str]:
    """Title, the first signal with its greatest and least value, and a ruler under the spans that findings mark."""
    line = trace.lines[0]
    low, high = float(np.nanmin(line.low)), float(np.nanmax(line.high))
    what = trace.title if line.name in trace.title else f"{trace.title}: {line.name}"
    yield f"{indent}{what}, {trace.unit}"
    labels = [f"{high:9.4g} ", *[" " * 10] * (TALL - 2), f"{low:9.4g} "]
    for label, row in zip(labels, _rows(line, trace.duration_s, low, high), strict=True):
        yield f"{indent}{label}{row}"
    if ruler := _ruler(trace):
        yield f"{indent}{' ' * 10}{ruler}"
    yield f"{indent}{' ' * 10}0 s{f'{trace.duration_s:.2f} s':>{WIDE - 3}}"


def _rows(line: Line, duration_s: float, low: float, high: float) -> list[str]:
    """Dots from the least to the greatest value of each column, joined to the column before."""
    cells = np.full((TALL, WIDE), _BLANK)
    known = np.isfinite(line.high)
    x = _column(line.t, duration_s, 2 * WIDE)
    scale = (4 * TALL - 1) / (high - low) if high > low else 0.0
    tops, bottoms = ((high - values) * scale for values in (line.high, line.low))
    before: tuple[int, int, int] | None = None
    for place in range(len(x)):
        if not known[place]:
            before = None
            continue
        column, top, bottom = int(x[place]), round(float(tops[place])), round(float(bottoms[place]))
        first, last = top, bottom
        if before is not None and column - before[0] <= 1:
            first, last = min(top, before[2]), max(bottom, before[1])
        for row in range(first, last + 1):
            cells[row // 4, column // 2] |= _DOTS[column % 2][row % 4]
        before = (column, top, bottom)
    return ["".join(map(chr, row)) for row in cells.tolist()]


def _ruler(trace: Trace) -> str:
    """The worst flag of each column of characters."""
    marks = [" "] * WIDE
    for mark in sorted(trace.marks, key=lambda one: one.flag == "FAIL"):
        ends = np.array([mark.begins_s, mark.ends_s])
        first, last = _column(ends, trace.duration_s, WIDE).tolist()
        marks[first : last + 1] = _FLAGS.get(mark.flag, "·") * (last + 1 - first)
    return "".join(marks).rstrip()


def _column(t: np.ndarray[tuple[int], np.dtype[np.float64]], duration_s: float, columns: int) -> Int64:
    share = np.clip(t / duration_s if duration_s > 0 else np.zeros_like(t), 0.0, 1.0)
    return np.minimum((share * columns).astype(np.int64), columns - 1)
