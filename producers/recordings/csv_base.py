"""The base pose among the columns of a headed CSV, where their names prove its order; never one guessed by values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import numpy as np

from kinestream.producers.recordings.csv_header import Column, in_metres
from kinestream.producers.recordings.take import Signal

_BASE: Final = r"(?P<base>(?:floating[._ ]?)?base|root|pelvis|trunk)(?:[._ ]?link)?[._ ]?"
_POSITION: Final = re.compile(_BASE + r"(?:pos(?:ition)?|trans(?:lation)?|p|t)?[._ ]?(?P<axis>[xyz])", re.I)
_WORD: Final = r"quat(?:ernion)?|ori(?:entation)?|rot(?:ation)?"
_TURNED: Final = re.compile(f"(?:{_BASE})?(?:{_WORD}|q)[._ ]?(?P<axis>[wxyz])", re.I)
#: Numbers say nothing of where w stands; q0 to q3 alone are joints.
_NUMBERED: Final = re.compile(f"(?:{_BASE}q|(?:.*[._ ])?(?:{_WORD}))[._ ]?[0-4]", re.I)
_TRIPLE: Final = re.compile(r"(.*[._ ])[xyz]", re.I)
#: How far from 1 the norm of a quaternion with few digits may lie.
_UNIT_NORM: Final = 0.01


def base_pose(columns: Sequence[Column], told: list[str], odd: list[str]) -> tuple[list[Signal], list[Column]]:
    """``base_position`` and ``base_orientation`` (x y z w) of the one base that is named; and the columns left over.

    What was done is added to ``told``, why columns stay as they are to ``odd``; a sentence each.
    """
    positions, turned = _groups(_POSITION, columns, "xyz"), _groups(_TURNED, columns, "wxyz")
    bases = {base for base in (*positions, *turned) if base}
    if numbered := [c.name for c in columns if _NUMBERED.fullmatch(c.name)]:
        odd.append(
            f"{', '.join(numbered)}: numbers do not say whether w is first or last; kept as channels of their own"
        )
    if len(bases) != 1:
        if bases:
            odd.append(f"poses of {' and '.join(sorted(bases))}: which is the base is not said; kept as channels")
        elif "" in turned:
            odd.append(f"{_names(turned[''])}: of what is not said (base_qw would); kept as channels")
        return [], list(columns)
    (base,) = bases
    place, turn = positions.get(base, {}), turned.get(base, {})
    if not turn and "" in turned:
        if _of_others(columns, place):
            odd.append(f"{_names(turned[''])}: of {base} or of another pose is not said; kept as channels")
        else:
            turn = turned[""]
    if turn and not _is_unit(turn):
        odd.append(f"{_names(turn)}: their norm is not 1, so they are no quaternion; kept as channels")
        turn = {}
    used = [*place.values(), *turn.values()]
    return _signals(place, turn, told), [c for c in columns if c not in used]


def _signals(place: dict[str, Column], turn: dict[str, Column], told: list[str]) -> list[Signal]:
    found = []
    if place:
        values, unit = in_metres([place[axis] for axis in "xyz"], told)
        found.append(Signal("channel", "base_position", unit, ("x", "y", "z"), values))
        told.append(f"{_names(place)} -> base_position")
    if turn:
        values = np.stack([turn[axis].values for axis in "xyzw"], axis=1)
        found.append(Signal("channel", "base_orientation", "1", ("qx", "qy", "qz", "qw"), values))
        told.append(f"{_names(turn)} -> base_orientation, in the order x y z w")
    return found


def _groups(pattern: re.Pattern[str], columns: Sequence[Column], axes: str) -> dict[str, dict[str, Column]]:
    """Of each base that has all ``axes``: the column of each; "" where columns name no base."""
    groups: dict[str, dict[str, Column]] = {}
    for column in columns:
        if found := pattern.fullmatch(column.name):
            groups.setdefault((found["base"] or "").lower(), {}).setdefault(found["axis"].lower(), column)
    return {base: of for base, of in groups.items() if set(of) == set(axes)}


def _of_others(columns: Sequence[Column], place: dict[str, Column]) -> bool:
    """Whether something else than the base has x, y and z here: a quaternion of no name may be its."""
    own = {column.name for column in place.values()}
    stems = [m[1].lower() for c in columns if c.name not in own and (m := _TRIPLE.fullmatch(c.name))]
    return not place or any(stems.count(stem) == len("xyz") for stem in stems)


def _is_unit(turn: dict[str, Column]) -> bool:
    norm = np.sqrt(sum(column.values**2 for column in turn.values()))
    finite = norm[np.isfinite(norm)]
    return bool(finite.size and np.abs(finite - 1).max() <= _UNIT_NORM)


def _names(group: dict[str, Column]) -> str:
    return ", ".join(column.name for column in group.values())
