"""What a CSV's header says of each column: joint, role, unit, base pose; never a meaning taken from values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from kinestream.producers.recordings.csv_table import Table
from kinestream.producers.recordings.take import DEGREES, OWN, RADIANS, UNDECLARED, UNIT_WORDS, Role, Signal
from kinestream.schemas.errors import RecordingError, UndecidedError

#: A column of time; group 3 is the unit in its name.
TIME: Final = re.compile(r"(time_?stamp|time|t|stamp|t_rel|time_rel|elapsed)(_(s|ms|us|ns|sec))?", re.I)
#: What a column says of its joint: behind the joint's name (elbow.pos), and before its number (q0, joint_pos_0).
_ROLES: Final[dict[Role, tuple[str, str]]] = {
    "position": ("pos|position|q", "q|q_?pos|joint_?pos(?:ition)?s?"),
    "velocity": ("vel|velocity|dq|qd", "qd|dq|q_?vel|joint_?vel(?:ocit(?:y|ies))?"),
    "effort": ("effort|torque|tau", "tau|joint_?(?:efforts?|torques?|tau)"),
    "command": ("cmd|command|action|target", "q_?cmd|q_?des|joint_?(?:cmd|command|action|target)s?"),
}
_NUMBER: Final = r"(?:_?\d+|\[\d+\])"
#: How the columns of a joint's signal are named: the joint is group 1, 2 or 3.
_JOINT: Final = {
    role: re.compile(rf"((?:{before}){_NUMBER})|(.+)\.(?:{behind})|(.+)[_ /](?:{behind})", re.I)
    for role, (behind, before) in _ROLES.items()
}
_COUNTED: Final = re.compile(rf"(?:{'|'.join(before for _, before in _ROLES.values())})(?:_?(\d+)|\[(\d+)\])", re.I)
#: A unit that a header declares behind a name: q0_rad, elbow.pos [deg], tau0 (Nm).
_SUFFIX: Final = re.compile(r"(.+)_(rad|deg)", re.I)
_BRACKET: Final = re.compile(r"(.+?)(\s*)([\[(])\s*([^\])]+?)\s*[\])]")
#: Units as they are written, and as they are kept; a bracket that holds none of them is one behind a space only.
_UNITS: Final = {
    **{unit.lower(): unit for unit in (
        "rad", "deg", "m", "mm", "cm", "rad/s", "deg/s", "m/s", "mm/s", "cm/s", "Nm", "N", "mNm", "A", "mA", "V", "mV",
        "W", "C", "K", "%", "Hz", "s", "ms", "us", "ns", "g", "kg", "Pa", "kPa", "bar", "ticks", "counts", "steps",
        "rpm", "m/s^2", "m/s2", "rad/s^2", "rad/s2")},
    **UNIT_WORDS, "grad": "grad", "gon": "gon", "°/s": "deg/s", "n*m": "Nm", "n·m": "Nm", "n.m": "Nm", "°c": "C",
}  # fmt: skip
#: What makes SI of a declared unit, by what a signal is: one factor a unit.
_METRES: Final = {"m": 1.0, "mm": 1e-3, "cm": 1e-2}
_ANGLES: Final = {"rad": 1.0, "deg": np.pi / 180}
_TO_SI: Final[dict[Role, dict[str, float]]] = {
    "position": {**_ANGLES, **_METRES},
    "command": {**_ANGLES, **_METRES},
    "velocity": {f"{unit}/s": factor for unit, factor in {**_ANGLES, **_METRES}.items()},
    "effort": {"Nm": 1.0, "N": 1.0, "mNm": 1e-3},
}


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """A column of numbers: ``name`` without the unit its header declares, ``written`` with it; ``values`` (n,)."""

    written: str
    name: str
    unit: str
    values: Table


def columns_of(path: Path, header: Sequence[str], table: Table) -> list[Column]:
    """The columns of a headed CSV; raises :class:`RecordingError` where two differ by their units alone."""
    found = []
    for written, values in zip(header, table.T, strict=True):
        name, unit = split(written)
        joint = any(pattern.fullmatch(name) for pattern in _JOINT.values())
        # q0_rad is joint q0 in rad; yaw_rad is a name that says its unit
        found.append(Column(written, name if joint or _bracketed(written) else written, unit, values))
    names = [column.name for column in found]
    twice = [column.written for column in found if names.count(column.name) > 1]
    if twice:
        raise RecordingError(f"{path}: its header names a column twice, in two units ({', '.join(twice)}); leave one")
    return found


def split(written: str) -> tuple[str, str]:
    """A name without the unit its header declares, and that unit; empty where it declares none."""
    if found := _BRACKET.fullmatch(written):
        known = _UNITS.get(found[4].lower())
        if known or (found[3] == "[" and found[2] and not found[4].isdecimal()):
            return found[1], known or found[4]
    found = _SUFFIX.fullmatch(written)
    return (found[1], found[2].lower()) if found else (written, UNDECLARED)


def _bracketed(written: str) -> bool:
    return written.endswith(("]", ")"))


def degrees_or_gon(path: Path, columns: Sequence[Column], said: str) -> list[Column]:
    """Joints' columns with "Grad" as what a person ``said`` it is: a degree in German, a 400th of a turn elsewhere.

    Raises :class:`UndecidedError` where nobody says it.
    """
    doubtful = [column for column in columns if column.unit == "grad"]
    if doubtful and said not in ("deg", OWN):
        raise UndecidedError(
            f"{path}: {doubtful[0].written} is declared in grad, which is a degree in German and a 400th of a turn"
            " (gon) elsewhere; say --unit deg if it is degrees, --unit own to keep it as a channel, or write [deg]",
            "unit",
            ("deg", OWN),
        )
    return [replace(c, unit="deg") if c in doubtful and said == "deg" else c for c in columns]


def of_joints(columns: Sequence[Column]) -> list[Column]:
    """Those whose names say that they are a joint's position, velocity, effort or command."""
    return [c for c in columns if any(pattern.fullmatch(c.name) for pattern in _JOINT.values())]


def signals_of(path: Path, columns: Sequence[Column], told: list[str], odd: list[str]) -> Iterator[Signal]:
    """Joint signals by their names, then what else each joint has, then every other column by itself.

    What had to be converted is added to ``told``, what is named as a joint's and is none of them to ``odd``; a sentence
    each. Raises :class:`RecordingError` where two columns are one joint's position.
    """
    joints: tuple[str, ...] = ()
    rest = list(columns)
    for role, pattern in _JOINT.items():
        found = {c.name: next(filter(None, m.groups())) for c in rest if (m := pattern.fullmatch(c.name))}
        found = {name: joint for name, joint in found.items() if not joints or role != "position"}
        dotted = {name: joint for name, joint in found.items() if "." in name} or found
        if twice := _twice(dotted):
            said = f"{', '.join(twice)} name a joint's {role} twice"
            if role == "position":
                raise RecordingError(f"{path}: {said}; leave one of them, or rename it")
            odd.append(f"{said}: kept as channels; leave one of them")
        if not dotted or twice:
            continue
        joints = joints or tuple(dotted.values())
        if others := [name for name in found if name not in dotted and not _rest(name, joints)]:
            odd.append(
                f"{', '.join(others)}: named as a joint's {role} too, but without the point of {next(iter(dotted))}:"
                " kept as channels"
            )
        alike = len(dotted) == len(joints) and _stems(dotted.values()) == _stems(joints)
        of = dict(zip(dotted, joints, strict=True)) if alike else dotted
        yield from joint_signals(role, [c for c in rest if c.name in dotted], of, told)
        rest = [c for c in rest if c.name not in dotted]
    for suffix, unit in dict.fromkeys((_rest(c.name, joints), c.unit) for c in rest):
        part = [c for c in rest if suffix and (_rest(c.name, joints), c.unit) == (suffix, unit)]
        if part:
            elements = tuple(c.name.removesuffix(f"_{suffix}") for c in part)
            yield Signal("channel", suffix, unit, elements, _stack(part))
            rest = [c for c in rest if c not in part]
    yield from (channel(column) for column in rest)


def channel(column: Column) -> Signal:
    """A column by itself."""
    return Signal("channel", column.name, column.unit, (), column.values.reshape(-1, 1))


def may_be_position(column: Column) -> bool:
    """Whether its header declares no unit that a joint's position is never in."""
    return column.unit in (UNDECLARED, *_TO_SI["position"])


def whole_numbers(columns: Sequence[Column]) -> list[str]:
    """That some of the columns named as joints hold whole numbers alone, as counts, ids and states do."""
    found = [c.written for c in columns if _whole(c.values)]
    if not found or len(found) == len(columns):
        return []
    return [f"of the joints {', '.join(found)} alone in whole numbers, as counts and ids are: are they joints?"]


def _whole(values: Table) -> bool:
    finite = values[np.isfinite(values)]
    return bool((finite == np.rint(finite)).all())


def joint_signals(role: Role, columns: Sequence[Column], joints: dict[str, str], told: list[str]) -> Iterator[Signal]:
    """One signal of all columns whose unit is one of joints or is not declared; of each foreign unit another.

    Where some declare one and others none, those that do are in rad, m or Nm, and the signal's own unit is undeclared.
    """
    factors = _TO_SI[role]
    own = [c for c in columns if c.unit in (UNDECLARED, *factors)]
    if own:
        unit = _declared(own)
        values = _stack(own)
        if unit and unit not in (RADIANS[role], DEGREES.get(role)):
            unit = RADIANS[role] if all(c.unit for c in own) else UNDECLARED  # what declares none stays as it is
            values = values * np.array([factors.get(c.unit, 1.0) for c in own])
            told += [_scaled(c) for c in own if factors.get(c.unit, 1.0) != 1]
        elements, declared = tuple(joints[c.name] for c in own), {joints[c.name]: c.unit for c in own}
        yield Signal(role, f"joint_{role}", unit, elements, values, declared=declared)
    for unit in dict.fromkeys(c.unit for c in columns if c not in own):
        part = [c for c in columns if c.unit == unit]
        name = f"joint_{role}" if not own else part[0].name if len(part) == 1 else f"joint_{role}_{unit}"
        yield Signal(role, name, unit, tuple(joints[c.name] for c in part), _stack(part))


def _declared(columns: Sequence[Column]) -> str:
    """The unit all columns are in; "mixed" where each declares its own, or some declare none."""
    found = {c.unit for c in columns}
    return found.pop() if len(found) == 1 else "mixed"


def _scaled(column: Column) -> str:
    si = "m" if column.unit.startswith(tuple(_METRES)) else "Nm" if column.unit == "mNm" else "rad"
    per_s = "/s" if column.unit.endswith("/s") else ""
    return f"{column.name}: {column.unit} to {si}{per_s}, as the header declares; rounded to float32"


def in_metres(columns: Sequence[Column], told: list[str]) -> tuple[Table, str]:
    """Lengths (n, c) in m where their header declares a length, else as they are; and their one unit."""
    units = {c.unit for c in columns}
    if units <= _METRES.keys():
        told += [_scaled(c) for c in columns if c.unit != "m"]
        return _stack(columns) * np.array([_METRES[c.unit] for c in columns]), "m"
    return _stack(columns), units.pop() if len(units) == 1 else UNDECLARED


def _stem(joint: str) -> str:
    """q0, qd0, dq0 and q_cmd0 are of joint 0."""
    number = _COUNTED.fullmatch(joint)
    return str(int(number[1] or number[2])) if number else joint


def _stems(joints: Iterable[str]) -> list[str]:
    return [_stem(joint) for joint in joints]


def _twice(joints: dict[str, str]) -> list[str]:
    """Columns that are of the same joint as another."""
    stems = _stems(joints.values())
    return [name for name, joint in joints.items() if stems.count(_stem(joint)) > 1]


def _rest(name: str, joints: Sequence[str]) -> str:
    """What a column is of its joint: ``temp`` of ``elbow_flex_temp``; empty if of none."""
    joint = max((j for j in joints if name.startswith(f"{j}_")), key=len, default="")
    return name[len(joint) + 1 :] if joint else ""


def _stack(columns: Sequence[Column]) -> Table:
    stacked: Table = np.stack([column.values for column in columns], axis=1)
    return stacked
