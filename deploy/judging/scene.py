"""Panels of traces as plain shapes in px, which a page, a picture file or both draw alike; knows no file format."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from kinestream.deploy.judging.traces import Line, Mark, Trace

WIDTH: Final = 900.0
#: Height of a panel, of its plot, and where the plot begins.
HEIGHT, _PLOT, _LEFT, _TOP = 170.0, 112.0, 64.0, 28.0
INK, FAINT, GRID, PAPER = "#1f2430", "#6b7280", "#e5e7eb", "#ffffff"
COLORS: Final = ("#2563eb", "#9333ea", "#0f766e")
FLAGS: Final = {"FAIL": "#dc2626", "SUSPECT": "#f59e0b"}
_STEPS: Final = (1.0, 2.0, 2.5, 5.0, 10.0)
#: A span shorter than this many px is drawn as wide: one bad frame must be seen.
_NARROW: Final = 3.0


@dataclass(frozen=True, slots=True)
class Rect:
    """A filled rectangle."""

    x: float
    y: float
    w: float
    h: float
    color: str
    opacity: float = 1.0


@dataclass(frozen=True, slots=True)
class Path:
    """A line through points."""

    points: tuple[tuple[float, float], ...]
    color: str
    width: float = 1.4
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class Text:
    """One line of text, its baseline at ``y``; anchor start, middle or end."""

    x: float
    y: float
    words: str
    size: float = 12.0
    color: str = INK
    anchor: str = "start"
    bold: bool = False


Shape = Rect | Path | Text


def panel(trace: Trace, top: float = 0.0) -> Iterator[Shape]:
    """One trace, its upper edge at ``top``."""
    low, high = trace.reach()
    plot = _Plot(top + _TOP, trace.duration_s or 1.0, low, high)
    yield from _heading(trace, top)
    yield from (_span(mark, plot) for mark in trace.marks)
    yield from _axes(plot, trace.unit)
    for limit in trace.limits:
        if low <= limit <= high:
            ends = ((_LEFT, plot.y(limit)), (WIDTH - 8, plot.y(limit)))
            yield Path(ends, FAINT, 1.0, dashed=True)
    for number, line in reversed(list(enumerate(trace.lines))):
        for points in _runs(line, plot):
            yield Path(points, COLORS[number % len(COLORS)], 1.5 if not number else 1.1)


def scene(traces: Sequence[Trace], heading: str) -> tuple[float, list[Shape]]:
    """Height and shapes of a picture of its own: a heading and all panels."""
    height = 40.0 + HEIGHT * len(traces)
    shapes: list[Shape] = [Rect(0, 0, WIDTH, height, PAPER), Text(12, 25, heading, 15, bold=True)]
    for number, trace in enumerate(traces):
        shapes += panel(trace, 40.0 + number * HEIGHT)
    return height, shapes


@dataclass(frozen=True, slots=True)
class _Plot:
    top: float
    duration_s: float
    low: float
    high: float

    def x(self, seconds: float) -> float:
        return _LEFT + (WIDTH - 8 - _LEFT) * min(max(seconds / self.duration_s, 0.0), 1.0)

    def y(self, value: float) -> float:
        return self.top + _PLOT * (1 - (value - self.low) / (self.high - self.low))


def _heading(trace: Trace, top: float) -> Iterator[Shape]:
    yield Text(_LEFT, top + 18, trace.title, 13, bold=True)
    x = _LEFT + 18 + 8.2 * len(trace.title)
    for number, line in enumerate(trace.lines):
        yield Rect(x, top + 12, 14, 3, COLORS[number % len(COLORS)])
        yield Text(x + 19, top + 18, line.name, 11.5, FAINT)
        x += 40 + 6.2 * len(line.name)
    for metric, flag in dict.fromkeys((mark.metric, mark.flag) for mark in trace.marks):
        yield Rect(x, top + 8, 10, 11, FLAGS.get(flag, FAINT), 0.5)
        yield Text(x + 15, top + 18, f"{metric} {flag}", 11.5, FAINT)
        x += 34 + 6.6 * len(f"{metric} {flag}")


def _span(mark: Mark, plot: _Plot) -> Shape:
    begins, ends = plot.x(mark.begins_s), plot.x(mark.ends_s)
    if ends - begins < _NARROW:
        middle = (begins + ends) / 2
        begins, ends = middle - _NARROW / 2, middle + _NARROW / 2
    return Rect(begins, plot.top, ends - begins, _PLOT, FLAGS.get(mark.flag, FAINT), 0.16)


def _axes(plot: _Plot, unit: str) -> Iterator[Shape]:
    for value in _ticks(plot.low, plot.high, 3):
        yield Path(((_LEFT, plot.y(value)), (WIDTH - 8, plot.y(value))), GRID, 0.8)
        yield Text(_LEFT - 6, plot.y(value) + 4, f"{value:.4g}", 11, FAINT, "end")
    yield Text(8, plot.top - 10, unit, 11, FAINT)
    for seconds in _ticks(0.0, plot.duration_s, 8):
        yield Path(((plot.x(seconds), plot.top + _PLOT), (plot.x(seconds), plot.top + _PLOT + 4)), FAINT, 0.8)
        yield Text(plot.x(seconds), plot.top + _PLOT + 17, f"{seconds:g} s", 11, FAINT, "middle")


def _ticks(low: float, high: float, most: int) -> list[float]:
    """Round values from ``low`` to ``high``, at most ``most`` + 1."""
    rough = (high - low) / most
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(step * unit for step in _STEPS if step * unit >= rough)
    return [round(k * step, 12) for k in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _runs(line: Line, plot: _Plot) -> Iterator[tuple[tuple[float, float], ...]]:
    """Points of each unbroken part; where an envelope has a height, down and up again."""
    raw = line.low is line.high
    known = np.isfinite(line.high)
    edges = np.flatnonzero(np.diff(known, prepend=False, append=False))
    for begin, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        points: list[tuple[float, float]] = []
        for t, low, high in zip(line.t[begin:end], line.low[begin:end], line.high[begin:end], strict=True):
            x = round(plot.x(float(t)), 1)
            points.append((x, round(plot.y(float(high)), 1)))
            if not raw and low != high:
                points.append((x, round(plot.y(float(low)), 1)))
        if len(points) == 1:  # one frame between two gaps
            points.append((points[0][0] + 1.0, points[0][1]))
        yield tuple(points)
