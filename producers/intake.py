"""What a robot may send: its joints and declared channels, held against what is given; never changes a value.

The measured channels are those of the first frame, for the whole episode. Every check comes before anything is taken,
so a refused frame leaves the episode as it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn

import numpy as np
from numpy.typing import NDArray

from kinestream.schemas.errors import LayoutError
from kinestream.schemas.layout import JOINT_CHANNELS, Channel, Layout

#: What a robot declares of a further channel: itself, the names of its elements, or their number.
ChannelLike = Channel | Sequence[str] | int

UNITS: Final = {"position": "rad", "velocity": "rad/s", "effort": "Nm", "command": "rad"}


def declared_channels(joints: Sequence[str], further: Mapping[str, ChannelLike]) -> tuple[Channel, ...]:
    """Every channel a robot may send, the four of the joints first; raises LayoutError."""
    own = [Channel(name, len(joints), UNITS[name]) for name in JOINT_CHANNELS if joints]
    channels = (*own, *(_channel(name, like) for name, like in further.items()))
    return Layout(tuple(joints), channels).channels


def _channel(name: str, like: ChannelLike) -> Channel:
    if isinstance(like, Channel):
        if like.name != name:
            raise LayoutError(f"channel {name!r} is declared as {like.name!r}: give both the same name")
        return like
    if isinstance(like, int):
        return Channel(name, like, "")
    return Channel(name, len(like), "", tuple(like))


class Intake:
    """Checks what one episode is given; ``measured`` is fixed by the first frame."""

    def __init__(self, declared: Sequence[Channel]) -> None:
        self._declared = tuple(declared)
        self._names = tuple(channel.name for channel in declared)
        self._further = tuple(name for name in self._names if name not in JOINT_CHANNELS)
        self._jointed = len(self._names) - len(self._further)
        self._nothing_further = (None,) * len(self._further)
        self._rows = tuple((channel.width,) for channel in declared)
        self._measured: tuple[bool, ...] = ()

    @property
    def measured(self) -> tuple[Channel, ...]:
        """Channels of the first frame, in declared order."""
        return tuple(channel for channel, there in zip(self._declared, self._measured, strict=False) if there)

    def given(self, joints: tuple[Any, ...], further: Mapping[str, Any] | None) -> tuple[Any, ...]:
        """The values in declared order, None where absent; raises LayoutError for a name never declared."""
        if not self._jointed and any(value is not None for value in joints):
            raise LayoutError("this robot has no joints, so no position, velocity, effort or command: give channels=")
        values = joints[: self._jointed]
        if not further:
            return values + self._nothing_further
        unknown = [name for name in further if name not in self._further]
        if unknown:
            raise LayoutError(
                f"channels {unknown} are not declared; declared are {list(self._further)}: give Robot(channels=...) all"
            )
        return values + tuple(further.get(name) for name in self._further)

    def one(self, values: tuple[Any, ...]) -> list[NDArray[Any]]:
        """The measured arrays of one frame, each (width,); raises LayoutError."""
        self._same_channels(values)
        rows = []
        for value, name, row in zip(values, self._names, self._rows, strict=True):
            if value is None:
                continue
            if type(value) is not np.ndarray:
                value = _array(name, value)
            if value.shape != row or value.dtype.kind not in "fiu":
                self._refuse(name, row[0], value, "")
            rows.append(value)
        return rows

    def many(self, values: tuple[Any, ...]) -> list[NDArray[Any]]:
        """The measured arrays of n frames, each (n, width); raises LayoutError."""
        self._same_channels(values)
        arrays = [(i, _array(self._names[i], value)) for i, value in enumerate(values) if value is not None]
        n = arrays[0][1].shape[:1]
        for i, array in arrays:
            if array.shape != n + self._rows[i] or array.dtype.kind not in "fiu":
                self._refuse(self._names[i], self._rows[i][0], array, "n, ")
        return [array for _, array in arrays]

    def fix(self, values: tuple[Any, ...]) -> None:
        """Take the channels of the first frame as the episode's."""
        self._measured = tuple(value is not None for value in values)

    def _same_channels(self, values: tuple[Any, ...]) -> None:
        there = tuple([value is not None for value in values])
        if there == self._measured:
            return
        given = [name for name, is_there in zip(self._names, there, strict=True) if is_there]
        if not given:
            raise LayoutError(f"a frame without values: give one or more of {list(self._names)}")
        if self._measured:
            raise LayoutError(
                f"channels {given} are given, but this episode measures {[c.name for c in self.measured]} since its"
                " first frame: give the same in every frame (NaN where a value is missing), or begin a new episode"
            )

    def _refuse(self, name: str, width: int, array: NDArray[Any], n: str) -> NoReturn:
        if array.dtype.kind not in "fiu":
            raise LayoutError(f"{name} has dtype {array.dtype}: give numbers (float32, float64 or integers)")
        raise LayoutError(
            f"{name} has shape {array.shape}, but ({n}{width}{'' if n else ','}) is needed:"
            f" {width} values a frame{' (one a joint)' if name in JOINT_CHANNELS else ''}"
            f"{', with one n for all' if n else ''}"
        )


def _array(name: str, value: Any) -> NDArray[Any]:
    try:
        return np.asarray(value)
    except (ValueError, OverflowError, TypeError) as problem:
        raise LayoutError(f"{name} is not an array of numbers ({problem}): give equal rows of numbers") from problem
