"""What a picture of findings shows: envelopes of the signals concerned and the spans marked; draws nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from kinestream.schemas.frames import Float64
from kinestream.streams.quality.model import Mask

#: Columns of an envelope: what a page shows side by side.
COLUMNS: Final = 600
#: So many usual periods between two frames part a line: nothing is known in between.
_APART: Final = 5.0


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """A signal over time: ``t`` s, ``low`` and ``high`` of each column, float64 (k,); NaN parts the line."""

    name: str
    t: Float64
    low: Float64
    high: Float64


@dataclass(frozen=True, slots=True)
class Mark:
    """A span that a finding is about, s from the first frame."""

    metric: str
    flag: str
    begins_s: float
    ends_s: float


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """One panel: a joint's signals with its limits (unit of the signal) and marks; ``duration_s`` is the episode's."""

    title: str
    title_zh: str
    unit: str
    duration_s: float
    lines: tuple[Line, ...]
    limits: tuple[float, ...]
    marks: tuple[Mark, ...]

    def reach(self) -> tuple[float, float]:
        """Least and greatest value shown: of the lines, and of limits near them; never equal."""
        low = min((float(np.nanmin(one.low)) for one in self.lines if np.isfinite(one.low).any()), default=0.0)
        high = max((float(np.nanmax(one.high)) for one in self.lines if np.isfinite(one.high).any()), default=0.0)
        room = max(high - low, 1e-6 * max(abs(low), abs(high), 1e-3))
        near = [limit for limit in self.limits if low - room < limit < high + room]
        low, high = min([low, *near]), max([high, *near])
        return low - 0.05 * room, high + 0.05 * room


def envelope(name: str, t: Float64, values: Float64, columns: int = COLUMNS) -> Line:
    """``values`` (n,) at ``t`` (n,) s: as they are if they are few, else the least and greatest of each column."""
    t, values = _parted(t, np.where(np.isfinite(values), values, np.nan))
    n = len(t)
    if n <= 2 * columns:
        return Line(name, t, values, values)
    begins = np.unique(np.linspace(0, n, columns, endpoint=False).astype(np.intp))
    with np.errstate(invalid="ignore"):
        low, high = np.fmin.reduceat(values, begins), np.fmax.reduceat(values, begins)
    return Line(name, t[begins], low, high)


def _parted(t: Float64, values: Float64) -> tuple[Float64, Float64]:
    """With a NaN where two frames lie far apart."""
    steps = np.diff(t)
    if not len(steps):
        return t, values
    usual = float(np.median(steps))
    wide: Mask = steps > _APART * usual if usual > 0 else np.zeros(len(steps), np.bool_)
    at = np.flatnonzero(wide)
    if not len(at):
        return t, values
    return np.insert(t, at + 1, t[at] + usual), np.insert(values, at + 1, np.nan)


def merged(marks: Sequence[Mark]) -> tuple[Mark, ...]:
    """Each span once: marks of one metric that agree are one."""
    return tuple(dict.fromkeys(marks))
