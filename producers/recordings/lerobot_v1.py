"""The reader of LeRobot v1 data sets (one Arrow table of all episodes); never says what an unnamed column means."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from kinestream.producers.recordings.clocks import seconds_clock
from kinestream.producers.recordings.columns import Columns, read_arrow
from kinestream.producers.recordings.lerobot_meta import ACTION, STATE
from kinestream.producers.recordings.take import UNDECLARED, Hint, Role, Signal, Take
from kinestream.schemas.errors import RecordingError

_NEEDED: Final = (STATE, "episode_index", "frame_index", "timestamp")
_ROLES: Final[dict[str, Role]] = {STATE: "position", ACTION: "command"}
_COUNTERS: Final = ("episode_index", "frame_index", "timestamp", "index", "next.done")


class LeRobotV1:
    """An Arrow stream of HF datasets as a :class:`Source`.

    Its columns are lists without names: state and action are joints only where a person names them (--joints).
    """

    format = "LeRobot v1 (Arrow)"

    def __init__(self, path: Path) -> None:
        self._table = read_arrow(path)
        absent = [name for name in _NEEDED if name not in self._table.types]
        if absent:
            raise RecordingError(f"{path} has no column {', '.join(absent)}; is it a LeRobot v1 data set?")
        self.name, self.hint = path.name, Hint()
        numbers = self._table.vector("episode_index")
        if not len(numbers):
            raise RecordingError(f"{path} has no frames")
        begins = np.flatnonzero(np.diff(numbers, prepend=numbers[0] - 1))
        self._rows = [*begins.tolist(), len(numbers)]
        self.declared = self.present = tuple(int(numbers[first]) for first in begins)
        if len(set(self.present)) != len(self.present):
            raise RecordingError(f"{path}: the frames of an episode do not stand together; sort it by episode_index")
        self.frames = len(numbers)

    def takes(self) -> Iterator[Take]:
        """The episodes in order; raises :class:`RecordingError` at one that cannot be read."""
        for number, first, end in zip(self.present, self._rows, self._rows[1:], strict=False):
            yield self._take(number, self._table.rows(first, end))

    def _take(self, number: int, table: Columns) -> Take:
        signals, left_out = [], []
        for name, kind in table.types.items():
            width = _width(kind)
            if name in _COUNTERS or name.startswith("episode_data_index"):
                continue
            if width:
                role: Role = _ROLES.get(name, "channel")
                signals.append(Signal(role, name, UNDECLARED, (), table.matrix(name, width)))
            else:
                left_out.append(name)
        frames = table.vector("frame_index")
        renumbered = () if np.array_equal(frames, np.arange(len(frames))) else ("frames renumbered from 0",)
        return Take(
            source=f"{self.name}#{number}",
            signals=tuple(signals),
            clocks=(seconds_clock(table.path, "timestamp", table.vector("timestamp")),),
            rate_hz=_rate(table),
            conversions=(*table.conversions, *renumbered),
            oddities=("the columns of state and action have no names in the file",),
            left_out=tuple(left_out),
        )


def _width(kind: Any) -> int:
    """Values a row of a column of fixed lists of floats; 0 for all else."""
    floats = str(getattr(kind, "value_type", "")) in ("float", "double")
    return int(getattr(kind, "list_size", 0)) if floats else 0


def _rate(table: Columns) -> float:
    """The rate the stamps are computed with: their mean, where it is a whole number within their resolution."""
    seconds = table.vector("timestamp").astype(np.float64)
    span = seconds[-1] - seconds[0]
    rate = (len(seconds) - 1) / span if span > 0 else 0.0
    whole = float(np.rint(rate))
    return whole if whole and np.abs(seconds - seconds[0] - np.arange(len(seconds)) / whole).max() < 1e-5 else 0.0
