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
from kinestream.schemas.models import find_model

Table = npt.NDArray[np.float64]

_TIME: Final = re.compile(r"(time_?stamp|time|t|stamp|t_rel|time_rel|elapsed)(_(s|ms|us|ns|sec))?", re.I)
_PER_SECOND: Final = {"ms": 1e3, "us": 1e6, "ns": 1e9}
_TIME_UNITS: Final = ("s", "sec", *_PER_SECOND)
#: A step from which on stamps of no declared unit may be milliseconds or less: no robot is recorded once a second.
_SLOWEST_S: Final = 1.0
#: How the columns of a joint's signal are named: the joint is group 1.
_JOINT: Final[dict[Role, re.Pattern[str]]] = {
    "position": re.compile(r"(q_?\d+)|(.+)\.(?:pos|position|q)|(.+)_(?:pos|position|q)"),
    "velocity": re.compile(r"(qd_?\d+|dq_?\d+)|(.+)\.(?:vel|velocity|dq|qd)|(.+)_(?:vel|velocity|dq|qd)"),
    "effort": re.compile(r"(tau_?\d+)|(.+)\.(?:effort|torque|tau)|(.+)_(?:effort|torque|tau)"),
    "command": re.compile(r"(q_?cmd_?\d+|q_?des_?\d+)|(.+)\.(?:cmd|action|target)|(.+)_(?:cmd|action|target)"),
}
#: A unit that a header declares behind a joint's column: q0_rad, elbow.pos [deg], tau0 (Nm).
_UNIT: Final = re.compile(r"(.+?)(?:\s*[\[(]\s*([^\])]+?)\s*[\])]|_(rad|deg))", re.I)
_UNITS: Final = {"rad": "rad", "deg": "deg", "°": "deg", "m": "m", "rad/s": "rad/s", "deg/s": "deg/s", "°/s": "deg/s",
                 "m/s": "m/s", "nm": "Nm", "n*m": "Nm", "n·m": "Nm", "n": "N"}  # fmt: skip
#: Units of joints that slide, beside those that turn.
_SLIDING: Final = {"m": "rad", "m/s": "rad/s", "N": "Nm"}
#: Width of a root pose: x y z and a quaternion.
_ROOT: Final = 7
_UNIT_NORM: Final = 1e-3
#: Columns that a sentence names.
_SHOWN: Final = 6
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
        named = [_bare(name) for name in self._header]
        units = {bare: unit for bare, unit in named if unit}
        columns = dict(zip((bare for bare, _ in named), self._table.T, strict=True))
        if len(columns) != len(named):
            raise RecordingError(f"{self._path}: its header names a column twice, in two units; leave one")
        time = [name for name in columns if _TIME.fullmatch(name)]
        if len(time) > 1:
            raise RecordingError(f"{self._path} has several columns of time: {', '.join(time)}; leave one")
        signals = list(_signals(self._path, columns, [name for name in columns if name not in time], units))
        if not any(signal.role != "channel" for signal in signals):
            signals = self._said(columns, time)
        text = [name for name in self._left_out if _TIME.fullmatch(name)]
        if text and not time and not self._choices.rate_hz:
            raise RecordingError(
                f"{self._path}: the stamps of {text[0]} are text, which is not read; write seconds ({text[0]}_s) or"
                f" nanoseconds ({text[0]}_ns), or say --rate HZ"
            )
        clock = self._timed(time[0], columns) if time else self._counted()
        odd = _missing(self._header, self._table)
        return Take(self.name, tuple(signals), (clock,), self._choices.rate_hz, oddities=odd, left_out=self._left_out)

    def _said(self, columns: dict[str, Table], time: list[str]) -> list[Signal]:
        """The columns that --joints names are positions: a person says so, for a joint's bare name says it not."""
        names, split = self._choices.joints, {_split(name)[0]: name for name in columns}
        if names == ("model",):
            model = self._choices.described or find_model(self._choices.model)
            names = tuple(name for name in model.joint_names if name in split) if model else ()
        if not names or not set(names) <= split.keys():
            raise RecordingError(
                f"{self._path} names no joint's position, velocity or command (such as q0, elbow.pos); it has"
                f" {', '.join(list(split)[:_SHOWN])}; where columns bear bare names of joints, say which are positions"
                " with --joints A,B,C (--joints model: those of the robot's model)"
            )
        taken = [split[name] for name in names]
        unit = _declared(self._path, taken, {name: _split(name)[1] for name in taken})
        position = Signal("position", "joint_position", unit, names, _stack(columns, taken))
        rest = [name for name in columns if name not in (*taken, *time)]
        return [position, *(Signal("channel", name, UNDECLARED, (), columns[name].reshape(-1, 1)) for name in rest)]

    def _timed(self, name: str, columns: dict[str, Table]) -> Clock:
        unit = name.rsplit("_", 1)[-1].lower()
        step = float(np.median(np.diff(columns[name]))) if len(columns[name]) > 1 else 0.0
        if step >= _SLOWEST_S and unit not in _TIME_UNITS:
            raise RecordingError(
                f"{self._path}: the column {name} declares no unit and goes in steps of {step:g}, which is less than a"
                f" frame a second if it is seconds; name it {name}_s, {name}_ms, {name}_us or {name}_ns"
            )
        return seconds_clock(self._path, name, columns[name], _PER_SECOND.get(unit, 1.0))

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
            *_missing([f"column {c + 1}" for c in range(table.shape[1])], table),
        )
        return Take(self.name, signals, (clock,), self._choices.rate_hz, oddities=odd, left_out=self._left_out)

    def _counted(self) -> Clock:
        return counted_clock(self._path, len(self._table), self._choices.rate_hz, "given with --rate")


def _upright(xyz: Table) -> float:
    """Mean of the z axis' z of quaternions whose parts besides w are the columns given: 1 = upright."""
    return float(np.mean(1 - 2 * (xyz[:, 0] ** 2 + xyz[:, 1] ** 2)))


def _read(path: Path) -> tuple[tuple[str, ...], Table, tuple[str, ...]]:
    """Header (() = none), the columns of numbers, and the names of the others; booleans are 0 and 1."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file)
        numbered = [(reader.line_num, row) for row in reader if row]
    if numbered and any(sign in numbered[0][1][0] for sign in ";\t"):
        raise RecordingError(
            f"{path}: its values are parted by ';' or tabs; part them by commas, and write decimals with a point"
        )
    header = _header(path, numbered[0][1]) if numbered else ()
    lines = [line for line, _ in numbered[bool(header) :]]
    rows = [row for _, row in numbered[bool(header) :]]
    if not rows:
        raise RecordingError(f"{path} has no rows of values")
    width = len(header or rows[0])
    ragged = next((line for line, row in zip(lines, rows, strict=True) if len(row) != width), 0)
    if ragged:
        raise RecordingError(
            f"{path}: row {ragged} has not {width} columns as the first one; it is cut short or damaged"
        )
    if len(set(header)) != len(header) or "" in header:
        raise RecordingError(f"{path}: its header names a column twice or not at all; name each once")
    names = header or tuple(str(c + 1) for c in range(width))
    columns = [_column(path, name, lines, cells) for name, cells in zip(names, zip(*rows, strict=True), strict=True)]
    kept = [c for c, column in enumerate(columns) if column is not None]
    table = np.array([columns[c] for c in kept], np.float64).T.reshape(len(rows), len(kept))
    left = tuple(name for c, name in enumerate(header) if c not in kept)
    return tuple(header[c] for c in kept) if header else (), table, left


def _header(path: Path, row: Sequence[str]) -> tuple[str, ...]:
    """The names of the first row; () where it is all numbers. Raises for numbers among which some are damaged."""
    if all(map(_is_number, row)):
        return ()
    names = tuple(name.strip() for name in row)
    text = [name for name in names if not _is_number(name)]
    if 2 * len(text) < len([name for name in names if name]):
        raise RecordingError(
            f"{path}: row 1, column {names.index(text[0]) + 1} holds {text[0]!r} among numbers: neither a header nor"
            " values; mend that cell, or name every column"
        )
    return names


def _column(path: Path, name: str, lines: Sequence[int], cells: Sequence[str]) -> list[float] | None:
    """A column's numbers; None where it is one of text: more than half of the cells that hold anything."""
    try:
        return [_number(cell) for cell in cells]
    except ValueError:
        text = [k for k, cell in enumerate(cells) if not _is_number(cell)]
    if 2 * len(text) > sum(1 for cell in cells if cell.strip()):
        return None
    more = f" (and {len(text) - 1} more of this column)" if len(text) > 1 else ""
    raise RecordingError(
        f"{path}: row {lines[text[0]]}, column {name} holds {cells[text[0]].strip()!r} among numbers"
        f"{more}; mend it, or leave it empty for a missing value"
    )


def _missing(names: Sequence[str], table: Table) -> tuple[str, ...]:
    """How many values there are not, as an oddity; empty where all are there."""
    counts = np.isnan(table).sum(axis=0)
    where = [f"{name}: {many}" for name, many in zip(names, counts.tolist(), strict=True) if many]
    if not where:
        return ()
    more = f" and {len(where) - _SHOWN} columns more" if len(where) > _SHOWN else ""
    return (f"{counts.sum()} cells are empty or nan ({', '.join(where[:_SHOWN])}{more}): NaN there",)


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


def _split(name: str) -> tuple[str, str]:
    """A column without the unit its header declares, and that unit; empty where it declares none."""
    found = _UNIT.fullmatch(name)
    unit = _UNITS.get((found[2] or found[3]).lower(), "") if found else ""
    return (found[1], unit) if found and unit else (name, "")


def _bare(name: str) -> tuple[str, str]:
    """As :func:`_split` for a joint's column; other columns as they are."""
    bare, unit = _split(name)
    return (bare, unit) if any(pattern.fullmatch(bare) for pattern in _JOINT.values()) else (name, "")


def _declared(path: Path, columns: Iterable[str], units: dict[str, str]) -> str:
    """The unit that the columns of one signal declare; raises for several, and where some declare none."""
    found = {_SLIDING.get(unit, unit) for unit in (units.get(name, UNDECLARED) for name in columns)}
    if len(found) > 1:
        raise RecordingError(
            f"{path}: its header declares {', '.join(sorted(found - {UNDECLARED}))} for some columns of one signal and"
            " not for all; declare one unit for all joints"
        )
    return found.pop()


def _signals(path: Path, columns: dict[str, Table], names: list[str], units: dict[str, str]) -> Iterator[Signal]:
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
        yield Signal(role, f"joint_{role}", _declared(path, dotted, units), elements, _stack(columns, dotted))
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
