"""A person's mapping of a robot's own units to radians or metres, column by column; never fitted, never guessed.

LeRobot's own calibration files are not taken: they hold where the encoder of each motor begins and ends, not where the
model's zero lies, nor how many steps the encoder has.
"""

from __future__ import annotations

import reprlib  # YAML can name one list a billion times: what is shown of it is bounded
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from math import isfinite
from pathlib import Path
from typing import Any, Final

import numpy as np

from kinestream.producers.recordings.identify import Guess, canonical
from kinestream.producers.recordings.partly import is_partly, parts
from kinestream.producers.recordings.take import DEGREES, RADIANS, UNDECLARED, Signal, Values
from kinestream.schemas.errors import RecordingError, SettingError

_MOST_BYTES: Final = 1_000_000
_LEROBOT: Final = {"homing_offset", "range_min", "range_max"}
_EXAMPLE: Final = "such as {raw: [-100, 100], rad: [-1.92, 1.92]}"


@dataclass(frozen=True, slots=True)
class Line:
    """A straight line through two points: ``raw`` values of the source, and what they are in rad or m."""

    raw: tuple[float, float]
    si: tuple[float, float]
    unit: str
    #: the model's joint this column is; empty: named as the source names it
    joint: str = ""

    def apply(self, values: Values) -> Values:
        """(n,) values of the source to rad or m, in binary64."""
        (x0, x1), (y0, y1) = self.raw, self.si
        return y0 + (values.astype(np.float64) - x0) * ((y1 - y0) / (x1 - x0))

    def __str__(self) -> str:
        (x0, x1), (y0, y1) = self.raw, self.si
        return f"{x0:g} to {x1:g} -> {y0:g} to {y1:g} {self.unit}"


@dataclass(frozen=True, slots=True)
class Calibration:
    """One file: its ``id`` stands on every episode; ``None`` for a column that stays as it is, in a channel."""

    path: str
    id: str
    columns: Mapping[str, Line | None]

    def names(self, column: str) -> bool:
        """Whether anything is said of a column."""
        return column in self.columns or column.removesuffix(".pos") in self.columns

    def of(self, column: str) -> Line | None:
        """The line of a column; a trailing ``.pos``, which some recorders write, is no part of a name."""
        return self.columns.get(column) or self.columns.get(column.removesuffix(".pos"))


def read_calibration(path: Path) -> Calibration:
    """Read a file as docs/formats.md has it; raises :class:`RecordingError` naming the column and what is allowed."""
    content = _parse(path)
    if isinstance(content, Mapping) and any(isinstance(v, Mapping) and v.keys() >= _LEROBOT for v in content.values()):
        raise RecordingError(
            f"{path} is a calibration of LeRobot: it says where encoders end, not where the model's zero lies; measure"
            f" both ends of each joint and write them down, {_EXAMPLE} (docs/formats.md)"
        )
    if (
        not isinstance(content, Mapping)
        or set(content) - {"id", "joints"}
        or not isinstance(content.get("joints"), Mapping)
    ):
        raise RecordingError(f"{path} is no calibration: it has id and joints, each joint {_EXAMPLE} or keep")
    name = content.get("id", "")
    if not isinstance(name, str) or not name:
        raise RecordingError(f"{path}: id is {name!r}: give the calibration a name; it stands on every episode")
    columns = {str(column): _line(path, str(column), said) for column, said in content["joints"].items()}
    if not any(columns.values()):
        raise RecordingError(f"{path} maps no joint: give at least one, {_EXAMPLE}")
    return Calibration(str(path), name, columns)


def calibrate(where: object, signal: Signal, calibration: Calibration, guess: Guess) -> tuple[list[Signal], list[str]]:
    """A signal in rad and m, and behind it what stays in the source's units as channels; and what was done, in words.

    Raises :class:`RecordingError` where a column is neither mapped nor kept, or declared in rad already.
    """
    if signal.role == "channel" or not signal.elements or signal.unit == RADIANS["effort"]:
        return [signal], []
    if is_partly(signal):
        each = [calibrate(where, part, calibration, guess) for part in parts(signal)]
        return [part for found, _ in each for part in found], [text for _, told in each for text in told]
    if signal.role not in ("position", "command"):  # a line for positions says nothing of these
        kept = replace(signal, role="channel") if signal.unit == UNDECLARED else signal
        return [kept], []
    declared = signal.unit in (RADIANS[signal.role], DEGREES[signal.role])  # ticks or % are for a calibration to map
    mapped = {c: line for c, name in enumerate(signal.elements) if (line := calibration.of(name))}
    kept_columns = [c for c, name in enumerate(signal.elements) if c not in mapped and calibration.names(name)]
    _check(where, signal, calibration, guess, mapped, declared)
    if not mapped:
        return [signal], []
    values = signal.values.astype(np.float64)
    elements = list(signal.elements)
    for column, line in mapped.items():
        values[:, column] = line.apply(values[:, column])
        elements[column] = line.joint or elements[column]
    told = [f"{signal.name}: {signal.elements[c]} by {calibration.id}, {line}" for c, line in mapped.items()]
    stays = [c for c in range(len(elements)) if c not in kept_columns]
    whole = replace(
        signal, unit=RADIANS[signal.role], elements=tuple(elements[c] for c in stays), values=values[:, stays]
    )
    if not kept_columns:
        return [whole], told
    names = tuple(signal.elements[c] for c in kept_columns)
    rest = Signal("channel", f"{signal.name}_raw", UNDECLARED, names, signal.values[:, kept_columns])
    return [whole, rest], told


def merged(signals: Sequence[Signal]) -> list[Signal]:
    """With positions, and commands, that are all in rad and m now as one signal each: a file may hold them apart."""
    found = list(signals)
    for role in DEGREES:
        same = [s for s in found if s.role == role and s.unit == RADIANS[role] and s.elements]
        if len(same) > 1:
            values = np.concatenate([s.values.astype(np.float64) for s in same], axis=1)
            whole = replace(same[0], elements=tuple(name for s in same for name in s.elements), values=values)
            found = [whole if s is same[0] else s for s in found if all(s is not other for other in same[1:])]
    return found


def beyond(signal: Signal, calibration: Calibration) -> list[str]:
    """Columns that leave the range somebody measured, a sentence each."""
    odd = []
    for column, name in enumerate(signal.elements):
        line = calibration.of(name)
        if line is None or signal.role not in ("position", "command"):
            continue
        finite = signal.values[:, column][np.isfinite(signal.values[:, column])]
        low, high = sorted(line.raw)
        if finite.size and (finite.min() < low or finite.max() > high):
            odd.append(
                f"{signal.name}: {name} goes from {finite.min():g} to {finite.max():g}, beyond its calibration of"
                f" {low:g} to {high:g}: mapped along the same line"
            )
    return odd


def _check(
    where: object,
    signal: Signal,
    calibration: Calibration,
    guess: Guess,
    mapped: Mapping[int, Line],
    declared: bool,
) -> None:
    own = {c for c, name in enumerate(signal.elements) if guess.model and canonical(guess.model, name)}
    if declared and (twice := [signal.elements[c] for c in mapped if c in own]):
        raise RecordingError(
            f"{where}: {signal.name} declares {signal.unit} for {', '.join(twice)}, and {calibration.path} would map"
            " it once more; leave it out there"
        )
    absent = [name for name in signal.elements if not calibration.names(name)]
    if absent and not declared:
        raise RecordingError(
            f"{where}: {calibration.path} says nothing of {', '.join(absent)} in {signal.name}; map each, {_EXAMPLE},"
            " or say keep to have it as a channel in its own unit"
        )


def _parse(path: Path) -> Any:
    try:
        yaml: Any = import_module("yaml")
    except ImportError as missing:
        raise SettingError(
            "a calibration is YAML and PyYAML is not installed: pip install 'kinestream[cli]'"
        ) from missing
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise RecordingError(f"{path} has more than {_MOST_BYTES:,} bytes: that is no calibration")
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as problem:
        raise RecordingError(f"{path} cannot be read: {problem.strerror or problem}") from problem
    except (yaml.YAMLError, ValueError, RecursionError) as problem:
        raise RecordingError(f"{path} is no YAML: {' '.join(str(problem).split())[:150]}") from problem


def _line(path: Path, column: str, said: Any) -> Line | None:
    if said == "keep":
        return None
    units = {"rad", "m"} & said.keys() if isinstance(said, Mapping) else set()
    if len(units) != 1 or "raw" not in said or said.keys() - {"raw", "joint", *units}:
        raise RecordingError(
            f"{path}: {column} is {reprlib.repr(said)}: give raw and one of rad and m, {_EXAMPLE}, or keep"
        )
    unit, joint = units.pop(), said.get("joint", "")
    if not isinstance(joint, str):
        raise RecordingError(f"{path}: joint of {column} is {joint!r}: give the model's name of it")
    raw, si = (_pair(path, column, name, said[name]) for name in ("raw", unit))
    return Line(raw, si, unit, joint)


def _pair(path: Path, column: str, name: str, said: Any) -> tuple[float, float]:
    numbers = isinstance(said, Sequence) and len(said) == 2 and all(type(x) in (int, float) for x in said)
    if not numbers or not all(map(isfinite, said)) or said[0] == said[1]:
        raise RecordingError(
            f"{path}: {name} of {column} is {reprlib.repr(said)}: give two different numbers, [from, to]"
        )
    return float(said[0]), float(said[1])
