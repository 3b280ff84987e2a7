"""The reader of CSV recordings, with and without a header; never takes a column's meaning from its values alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from kinestream.producers.recordings.clocks import SUPPOSED_HZ, counted_clock, seconds_clock
from kinestream.producers.recordings.csv_base import base_pose
from kinestream.producers.recordings.csv_header import (
    TIME,
    Column,
    channel,
    columns_of,
    degrees_or_gon,
    joint_signals,
    may_be_position,
    of_joints,
    signals_of,
    split,
    whole_numbers,
)
from kinestream.producers.recordings.csv_table import SHOWN, Table, missing, read_table
from kinestream.producers.recordings.identify import named_somewhere
from kinestream.producers.recordings.naming import MODEL, counts
from kinestream.producers.recordings.take import UNDECLARED, Choices, Clock, Hint, Signal, Take, parted_takes
from kinestream.schemas.errors import RecordingError, UndecidedError
from kinestream.schemas.models import find_model
from kinestream.schemas.nearest import nearest

_PER_SECOND: Final = {"ms": 1e3, "us": 1e6, "ns": 1e9}
_TIME_UNITS: Final = ("s", "sec", *_PER_SECOND)
#: A step from which on stamps of no declared unit may be milliseconds or less: no robot is recorded once a second.
_SLOWEST_S: Final = 1.0
#: Width of a root pose: x y z and a quaternion.
_ROOT: Final = 7
_UNIT_NORM: Final = 1e-3


class CsvFile:
    """A CSV file as a :class:`Source` of one episode, or of its parts."""

    def __init__(self, path: Path, choices: Choices) -> None:
        self.name, self.hint, self._path, self._choices = path.name, Hint(), path, choices
        header, self._table, self._left_out = read_table(path)
        self._header = header
        self.format = "CSV" if header else "CSV without a header"
        self._takes = parted_takes(self._headed() if header else self._headless(), choices.split_s)
        self.declared = self.present = tuple(range(len(self._takes)))
        self.frames = len(self._table)

    def takes(self) -> Iterator[Take]:
        """The one episode, or its parts between the gaps a person named."""
        yield from self._takes

    def _headed(self) -> Take:
        columns = columns_of(self._path, self._header, self._table)
        time = [column for column in columns if TIME.fullmatch(column.name)]
        if len(time) > 1:
            raise RecordingError(
                f"{self._path} has several columns of time: {', '.join(c.written for c in time)}; leave one"
            )
        told: list[str] = []
        odd = list(missing(self._header, self._table))
        base, rest = base_pose([column for column in columns if column not in time], told, odd)
        named = of_joints(rest)
        settled = dict(zip(named, degrees_or_gon(self._path, named, self._choices.unit), strict=True))
        signals = list(signals_of(self._path, [settled.get(column, column) for column in rest], told, odd))
        if not any(signal.role != "channel" for signal in signals):
            signals = self._said(rest, told, odd)
        text = [name for name in self._left_out if TIME.fullmatch(split(name)[0])]
        if text and not time and not self._choices.rate_hz:
            raise UndecidedError(
                f"{self._path}: the stamps of {text[0]} are text, which is not read; write seconds ({text[0]}_s) or"
                f" nanoseconds ({text[0]}_ns), or say --rate HZ",
                "rate_hz",
                (),
                SUPPOSED_HZ,
            )
        clock = self._timed(time[0]) if time else self._counted()
        return Take(
            self.name,
            (*signals, *base),
            (clock,),
            self._choices.rate_hz,
            conversions=tuple(told),
            oddities=tuple(odd),
            left_out=self._left_out,
        )

    def _said(self, columns: Sequence[Column], told: list[str], odd: list[str]) -> list[Signal]:
        """The columns that --joints names are positions: a person says so, for a joint's bare name says it not."""
        bare = {split(column.written)[0]: column for column in columns}
        names: tuple[str, ...] = self._choices.joints
        if tuple(names) == MODEL:
            model = self._choices.described or find_model(self._choices.model)
            names = tuple(name for name in model.joint_names if name in bare) if model else ()
            names = names or tuple(name for name in bare if model and counts([name]))  # named by it later, in order
        if not names or not set(names) <= bare.keys():
            raise self._unsaid(names, bare)
        taken = [Column(c.written, name, split(c.written)[1], c.values) for name in names for c in (bare[name],)]
        taken = degrees_or_gon(self._path, taken, self._choices.unit)
        position = joint_signals("position", taken, {name: name for name in names}, told)
        rest = [column for name, column in bare.items() if name not in names]
        odd += whole_numbers(taken)
        return [*position, *map(channel, rest)]

    def _unsaid(self, names: Sequence[str], bare: dict[str, Column]) -> UndecidedError:
        """That a person has to say which columns are joints, or has said a name that there is not."""
        if unknown := [name for name in names if name not in bare]:
            near = {name: nearest(name, bare) for name in unknown}
            told = "; ".join(f"{name} (near it: {', '.join(near[name]) or 'nothing'})" for name in unknown)
            meant = [near[name][0] if near.get(name) else name for name in names]
            right = set(meant) <= bare.keys() and len(set(meant)) == len(meant)
            text = f"{self._path} has no column {told}, which --joints names; it has {_some(bare)}"
            return UndecidedError(text, "joints", (",".join(meant),) if right else (), tuple(bare))
        likely = named_somewhere(bare)
        own = tuple(name for name, column in bare.items() if may_be_position(column) and "," not in name)
        clear = likely or (own and all(bare[name].unit for name in own))
        ways = tuple(",".join(each) for each in dict.fromkeys((likely, own)) if each) if clear else ()
        return UndecidedError(
            f"{self._path} names no joint's position, velocity or command (such as q0, elbow.pos); it has"
            f" {_some(bare)}; where columns bear bare names of joints, say which are positions with --joints A,B,C"
            " (--joints model: those of the robot's model)",
            "joints",
            ways,
            tuple(bare),
        )

    def _timed(self, column: Column) -> Clock:
        declared = TIME.fullmatch(column.name)
        unit = (declared[3] if declared else "") or column.unit
        step = float(np.median(np.diff(column.values))) if len(column.values) > 1 else 0.0
        if step >= _SLOWEST_S and unit.lower() not in _TIME_UNITS:
            name = column.name
            raise RecordingError(
                f"{self._path}: the column {name} declares no unit and goes in steps of {step:g}, which is less than a"
                f" frame a second if it is seconds; name it {name}_s, {name}_ms, {name}_us or {name}_ns"
            )
        return seconds_clock(self._path, column.written, column.values, _PER_SECOND.get(unit.lower(), 1.0))

    def _headless(self) -> Take:
        """X y z, a quaternion x y z w and joints, as retargeted motions are written: no name, no time."""
        table = self._table
        known = table[np.isfinite(table[:, 3:_ROOT]).all(axis=1)]
        norm = np.linalg.norm(known[:, 3:_ROOT], axis=1) if len(known) and table.shape[1] > _ROOT else np.zeros(1)
        if np.abs(norm - 1).max() > _UNIT_NORM:
            raise RecordingError(
                f"{self._path} has no header, and its columns 4 to 7 are no unit quaternion, so nothing says what its"
                f" {table.shape[1]} columns are; write a header (t_s, elbow.pos, ...)"
            )
        upright = _upright(known[:, 3:6]), _upright(known[:, 4:7])
        if upright[0] <= upright[1]:
            raise RecordingError(
                f"{self._path}: read as x y z w its root quaternion is not upright, as w x y z it is; turn it, or name"
                " the columns in a header"
            )
        signals = (
            Signal("position", "joints", UNDECLARED, (), table[:, _ROOT:]),
            Signal("channel", "base_position", "m", ("x", "y", "z"), table[:, :3]),
            Signal("channel", "base_orientation", "1", ("qx", "qy", "qz", "qw"), table[:, 3:_ROOT]),
        )
        clock = self._counted()
        odd = (
            "no names and no time in the file; columns 1 to 7 are a root pose, the quaternion x y z w",
            *missing([f"column {c + 1}" for c in range(table.shape[1])], table),
        )
        return Take(self.name, signals, (clock,), self._choices.rate_hz, oddities=odd, left_out=self._left_out)

    def _counted(self) -> Clock:
        return counted_clock(self._path, len(self._table), self._choices.rate_hz, "given with --rate")


def _some(names: Iterable[str]) -> str:
    """The first few, and how many more."""
    names = list(names)
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _upright(xyz: Table) -> float:
    """Mean of the z axis' z of quaternions whose parts besides w are the columns given: 1 = upright."""
    return float(np.mean(1 - 2 * (xyz[:, 0] ** 2 + xyz[:, 1] ** 2)))
