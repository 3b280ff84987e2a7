"""Figures of several movements in one go, as :mod:`formulas` gives them one by one. Never cuts, keeps nothing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import ceil, log2
from typing import NamedTuple

import numpy as np

from kinestream.streams.quality.formulas import CUT_HZ, LEAST, PADDING, minus_log, peaks, sparc
from kinestream.streams.quality.model import NONE, Floats, Integers

#: Values in a table of :func:`_waves`, at most: beyond, a fast transform costs less.
_LARGEST_TABLE = 1 << 17


class Figures(NamedTuple):
    """Of one movement: LDLJ, vector LDLJ, SPARC, number of speed peaks, path (rad)."""

    ldlj: float
    vector_ldlj: float
    sparc: float
    peaks: int
    path: float


def figures_of(speeds: Sequence[Floats], bends: Sequence[float], rate_hz: float) -> list[Figures]:
    """``speeds``: of each movement (k,), k >= 3, nowhere negative; ``bends``: sums of its joints' squared second
    velocity differences.
    """
    flat = np.concatenate(speeds)
    lengths = [len(speed) for speed in speeds]
    ends: Integers = np.cumsum(lengths, dtype=np.int64)
    starts = ends - np.array(lengths, np.int64)
    tops = np.maximum.reduceat(flat, starts)
    step = flat[1:] - flat[:-1]
    bend = step[1:] - step[:-1]
    bend *= bend
    # those that reach over the end of a movement
    bend[starts[1:] - 1] = 0.0
    bend[starts[1:] - 2] = 0.0
    energies = np.add.reduceat(bend, starts).tolist()
    scales = [(n / rate_hz) ** 3 / top**2 if top > 0 else NONE for n, top in zip(lengths, tops.tolist(), strict=True)]
    columns = (
        [minus_log(scale * energy * rate_hz**3) for scale, energy in zip(scales, energies, strict=True)],
        [minus_log(scale * energy * rate_hz**3) for scale, energy in zip(scales, bends, strict=True)],
        _arcs(speeds, lengths, rate_hz),
        _peaks(speeds, flat, step, starts, ends, tops),
        (np.add.reduceat(flat, starts) / rate_hz).tolist(),
    )
    return [Figures(*one) for one in zip(*columns, strict=True)]


def _peaks(
    speeds: Sequence[Floats], flat: Floats, step: Floats, starts: Integers, ends: Integers, tops: Floats
) -> list[int]:
    """S5: most movements have one top, whose prominence is its height above the higher end."""
    rises = np.empty(len(flat) + 1, np.bool_)
    np.greater(step, 0.0, out=rises[1:-1])
    rises[starts] = True
    falls = ~rises[1:]
    falls[ends - 1] = True
    (at,) = (rises[:-1] & falls).nonzero()
    first = np.searchsorted(at, starts)
    many = np.append(first[1:], len(at)) - first
    place = at[np.minimum(first, len(at) - 1)]
    higher = np.maximum(flat[starts], flat[ends - 1])
    simple = (many == 1) & (place > starts) & (place < ends - 1)
    counts = (flat[place] - higher >= 0.05 * tops * (1 - 1e-9)).tolist()
    return [
        int(count) if one else peaks(speed) for one, count, speed in zip(simple.tolist(), counts, speeds, strict=True)
    ]


def _arcs(speeds: Sequence[Floats], lengths: list[int], rate_hz: float) -> list[float]:
    """S2, those of like length together."""
    alike: dict[int, list[int]] = {}
    for place, length in enumerate(lengths):
        alike.setdefault(1 << ceil(log2(length)), []).append(place)
    found = [NONE] * len(speeds)
    for points, places in alike.items():
        lines = int(CUT_HZ * (points << PADDING) / rate_hz * (1 + 1e-12)) + 1
        if points * lines > _LARGEST_TABLE or lines > points << (PADDING - 1):
            arcs = [sparc(speeds[place], rate_hz) for place in places]
        else:
            padded = np.zeros((len(places), points))
            for row, place in enumerate(places):
                padded[row, : lengths[place]] = speeds[place]
            arcs = _arcs_of(padded, lines)
        for place, arc in zip(places, arcs, strict=True):
            found[place] = arc
    return found


def _arcs_of(speeds: Floats, lines: int) -> list[float]:
    """SPARC of (m, points) speeds, padded with zeros, over the first ``lines`` lines of the transform."""
    parts = speeds @ _waves(speeds.shape[1], lines)
    parts *= parts
    size: Floats = np.sqrt(parts[:, :lines] + parts[:, lines:])
    # of what is nowhere negative no line is greater than the sum
    greatest = size[:, :1].copy()
    np.divide(size, greatest, out=size, where=greatest > 0)
    inside = size >= LEAST
    last = lines - 1 - inside[:, ::-1].argmax(axis=1)
    change = size[:, 1:] - size[:, :-1]
    change *= change
    known = (last > 0) & np.isfinite(greatest[:, 0]) & (greatest[:, 0] > 0)
    last[~known] = 1
    change += (1.0 / (last * last))[:, None]
    np.sqrt(change, out=change)
    change[np.arange(lines - 1) >= last[:, None]] = 0.0
    arcs = -np.add.reduce(change, axis=1)
    arcs[~known] = NONE
    told: list[float] = arcs.tolist()
    return told


@lru_cache(maxsize=8)
def _waves(points: int, lines: int) -> Floats:
    """Cosines, then sines, of the first ``lines`` of a transform padded 16 times: float64 (points, 2 lines)."""
    length = points << PADDING
    angle = np.outer(np.arange(points), np.arange(lines)) % length * (2 * np.pi / length)
    return np.concatenate((np.cos(angle), np.sin(angle)), axis=1)
