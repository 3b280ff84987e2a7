"""The reader of CSV recordings, with and without a header; never takes a column's meaning from its values alone."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from kinestream.producers.recordings.clocks import counted_clock, seconds_clock
from kinestream.producers.recordings.take import UNDECLARED, Choices, Clock, Hint, Role, Signal, Take
from kinestream.schemas.errors import RecordingError

Table = npt.NDArray[np.float64]

_TIME: Final = re.compile(r"(time_?stamp|time|t|stamp|t_rel|time_rel|elapsed)(_(s|ms|us|ns|sec))?", re.I)
_PER_SECOND: Final = {"ms": 1e3, "us": 1e6, "ns": 1e9}
#: How the columns of a joint's signal are named: the joint is group 1.
_JOINT: Final[dict[Role, re.Pattern[str]]] = {
    "position": re.compile(r"(q_?\d+)|(.+)\.(?:pos|position|q)|(.+)_(?:pos|position|q)"),
    "velocity": re.compile(r"(qd_?\d+|dq_?\d+)|(.+)\.(?:vel|velocity|dq|qd)|(.+)_(?:vel|velocity|dq|qd)"),
    "effort": re.compile(r"(tau_?\d+)|(.+)\.(?:effort|torque|tau)|(.+)_(?:effort|torque|tau)"),
    "command": re.compile(r"(q_?cmd_?\d+|q_?des_?\d+)|(.+)\.(?:cmd|action|target)|(.+)_(?:cmd|action|target)"),
}
#: Width of a root pose: x y z and a quaternion.
_ROOT: Final = 7
_UNIT_NORM: Final = 1e-3
_WORDS: Final = {"true": 1.0, "false": 0.0, "": np.nan}


class CsvFile:
    """A CSV file as a :class:`Source` of one episode."""

    def __init__(self, path: Path, choices: Choices) -> None:
        self.name, self.hint, self._path, self._choices = path.name, Hint(), path, choices
        header, self._table, self._left_out = _read(path)
        self._header = header
        self.format = "CSV" if header else "CSV without a header"
        self._taken = self._headed() if header else self._headless()
        self.declared = self.present = (0,)
        self.frames = len(self._table)

    def takes(self) -> Iterator[Take]:
        """The one episode."""
        yield self._taken

    def _headed(self) -> Take:
        columns = dict(zip(self._header, self._table.T, strict=True))
        time = [name for name in columns if _TIME.fullmatch(name)]
        if len(time) > 1:
            raise RecordingError(f"{self._path} has several columns of time: {', '.join(time)}; leave one")
        signals = list(_signals(columns, [name for name in columns if name not in time]))
        if not any(signal.role != "channel" for signal in signals):
            raise RecordingError(
                f"{self._path} names no joint's position, velocity or command (such as q0, elbow.pos); it has"
                f" {', '.join(self._header[:6])}"
            )
        clock = self._timed(time[0], columns) if time else self._counted()
        return Take(self.name, tuple(signals), (clock,), self._choices.rate_hz, left_out=self._left_out)

    def _timed(self, name: str, columns: dict[str, Table]) -> Clock:
        unit = name.rsplit("_", 1)[-1].lower()
        return seconds_clock(self._path, name, columns[name], _PER_SECOND.get(unit, 1.0))

    def _headless(self) -> Take:
        """X y z, a quaternion x y z w and joints, as retargeted motions are written: no name, no time."""
        table = self._table
        norm = np.linalg.norm(table[:, 3:_ROOT], axis=1) if table.shape[1] > _ROOT else np.zeros(1)
        if np.abs(norm - 1).max() > _UNIT_NORM:
            raise RecordingError(
                f"{self._path} has no header, and its columns 4 to 7 are no unit quaternion, so nothing says what its"
                f" {table.shape[1]} columns are; write a header (t_s, elbow.pos, ...)"
            )
        upright = _upright(table[:, 3:6]), _upright(table[:, 4:7])
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
        odd = ("no names and no time in the file; columns 1 to 7 are a root pose, the quaternion x y z w",)
        return Take(self.name, signals, (clock,), self._choices.rate_hz, oddities=odd, left_out=self._left_out)

    def _counted(self) -> Clock:
        return counted_clock(self._path, len(self._table), self._choices.rate_hz, "given with --rate")


def _upright(xyz: Table) -> float:
    """Mean of the z axis' z of quaternions whose parts besides w are the columns given: 1 = upright."""
    return float(np.mean(1 - 2 * (xyz[:, 0] ** 2 + xyz[:, 1] ** 2)))


def _read(path: Path) -> tuple[tuple[str, ...], Table, tuple[str, ...]]:
    """Header (() = none), the columns of numbers, and the names of the others; booleans are 0 and 1."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = [row for row in csv.reader(file) if row]
    header = tuple(name.strip() for name in rows.pop(0)) if rows and not _numbers(rows[0]) else ()
    if not rows:
        raise RecordingError(f"{path} has no rows of values")
    width = len(header or rows[0])
    ragged = next((k for k, row in enumerate(rows, start=2 if header else 1) if len(row) != width), 0)
    if ragged:
        raise RecordingError(
            f"{path}: row {ragged} has not {width} columns as the first one; it is cut short or damaged"
        )
    if len(set(header)) != len(header) or "" in header:
        raise RecordingError(f"{path}: its header names a column twice or not at all; name each once")
    kept = [c for c in range(width) if _is_number(rows[0][c])]
    try:
        table = np.array([[_number(row[c]) for c in kept] for row in rows], np.float64)
    except ValueError as problem:
        raise RecordingError(f"{path} holds text where it began with numbers ({problem}); mend that row") from problem
    left = tuple(name for c, name in enumerate(header) if c not in kept)
    return tuple(header[c] for c in kept) if header else (), table.reshape(len(rows), len(kept)), left


def _number(text: str) -> float:
    """An empty field is NaN, a truth value 0 or 1; raises ValueError for any other text."""
    word = text.strip().lower()
    return _WORDS[word] if word in _WORDS else float(word)


def _is_number(text: str) -> bool:
    try:
        _number(text)
    except ValueError:
        return False
    return True


def _numbers(row: Sequence[str]) -> bool:
    return all(_is_number(text) for text in row)


def _signals(columns: dict[str, Table], names: list[str]) -> Iterator[Signal]:
    """Joint signals by their names, then what else each joint has, then every other column by itself."""
    joints: tuple[str, ...] = ()
    for role, pattern in _JOINT.items():
        found = {name: next(filter(None, m.groups())) for name in names if (m := pattern.fullmatch(name))}
        found = {name: joint for name, joint in found.items() if not joints or role != "position"}
        dotted = {name: joint for name, joint in found.items() if "." in name} or found
        if not dotted or (len({_stem(joint) for joint in dotted.values()}) != len(dotted)):
            continue
        joints = joints or tuple(dotted.values())
        elements = (
            joints
            if len(dotted) == len(joints) and _stems(dotted.values()) == _stems(joints)
            else tuple(dotted.values())
        )
        yield Signal(role, f"joint_{role}", UNDECLARED, elements, _stack(columns, dotted))
        names = [name for name in names if name not in dotted]
    for suffix in dict.fromkeys(_rest(name, joints) for name in names):
        part = [name for name in names if suffix and _rest(name, joints) == suffix]
        if part:
            elements = tuple(name.removesuffix(f"_{suffix}") for name in part)
            yield Signal("channel", suffix, UNDECLARED, elements, _stack(columns, part))
            names = [name for name in names if name not in part]
    for name in names:
        yield Signal("channel", name, UNDECLARED, (), columns[name].reshape(-1, 1))


def _stem(joint: str) -> str:
    """q0, qd0, dq0 and q_cmd0 are of joint 0."""
    number = re.fullmatch(r"(?:q|qd|dq|tau|q_?cmd|q_?des)_?(\d+)", joint)
    return number[1] if number else joint


def _stems(joints: Iterable[str]) -> list[str]:
    return [_stem(joint) for joint in joints]


def _rest(name: str, joints: Sequence[str]) -> str:
    """What a column is of its joint: ``temp`` of ``elbow_flex_temp``; empty if of none."""
    joint = max((j for j in joints if name.startswith(f"{j}_")), key=len, default="")
    return name[len(joint) + 1 :] if joint else ""


def _stack(columns: dict[str, Table], names: Iterable[str]) -> Table:
    stacked: Table = np.stack([columns[name] for name in names], axis=1)
    return stacked
