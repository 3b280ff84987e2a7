"""Frames that wait until their batch is whole: views of where they lie, neighbours as one. Never copies a value.

An episode's open blocks hold the same frames: copies of half as many were two thirds of an episode's memory.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from kinestream.streams.quality.model import Frames


class Held:
    """Pieces in frame order; their values must not change until they are taken."""

    __slots__ = ("_needed", "_pieces", "frames")

    def __init__(self, needed: Collection[str]) -> None:
        self._needed = needed
        self._pieces: list[Frames] = []
        self.frames = 0

    def add(self, frames: Frames) -> None:
        """Hold frames beyond the last."""
        slim = {name: values for name, values in frames.channels.items() if name in self._needed}
        piece = Frames(frames.seq, frames.t_ns, slim)
        grown = _together(self._pieces[-1], piece) if self._pieces else None
        if grown is None:
            self._pieces.append(piece)
        else:
            self._pieces[-1] = grown
        self.frames += len(frames.seq)

    @property
    def first_seq(self) -> int:
        """The first number held; -1 = none is."""
        return int(self._pieces[0].seq[0]) if self._pieces else -1

    def since(self, shown: int) -> list[Frames]:
        """What is held behind the first ``shown`` frames."""
        left = []
        for piece in self._pieces:
            n = len(piece.seq)
            if shown < n:
                left.append(part_of(piece, shown, n))
            shown = max(0, shown - n)
        return left

    def take(self) -> list[Frames]:
        """All that is held, which it is no longer."""
        pieces, self._pieces, self.frames = self._pieces, [], 0
        return pieces


def part_of(frames: Frames, begin: int, end: int) -> Frames:
    """The frames at places [begin, end)."""
    if begin == 0 and end >= len(frames.seq):
        return frames
    piece = slice(begin, end)
    channels = {name: values[piece] for name, values in frames.channels.items()}
    return Frames(frames.seq[piece], frames.t_ns[piece], channels)


def joined(pieces: list[Frames]) -> Frames:
    """Pieces as one."""
    if len(pieces) == 1:
        return pieces[0]
    channels = {name: np.concatenate([p.channels[name] for p in pieces]) for name in pieces[0].channels}
    stamps = np.concatenate([p.t_ns for p in pieces])
    return Frames(np.concatenate([p.seq for p in pieces]), stamps, channels)


def _together(one: Frames, more: Frames) -> Frames | None:
    """Both, where all values of the second lie right behind those of the first; else None."""
    stamps = _grown(one.t_ns, more.t_ns)
    if stamps is None:
        return None
    channels = {}
    for name, values in one.channels.items():
        grown = _grown(values, more.channels[name])
        if grown is None:
            return None
        channels[name] = grown
    return Frames(np.concatenate((one.seq, more.seq)), stamps, channels)


def _grown(one: Any, more: Any) -> Any:
    base = one.base
    if base is None or base is not more.base or not isinstance(base, np.ndarray):
        return None
    if base.shape[1:] != one.shape[1:] or base.dtype != one.dtype or not base.flags.c_contiguous:
        return None
    begin, end = _address(one), _address(more)
    if begin + one.nbytes != end:
        return None
    first = (begin - _address(base)) // one.strides[0]
    return base[first : first + len(one) + len(more)]


def _address(array: Any) -> int:
    return int(array.__array_interface__["data"][0])
