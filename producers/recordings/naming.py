"""Names a person gives for the columns of a signal; never against a name the recording gives itself."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from kinestream.producers.recordings.identify import COUNTED, PROVISIONAL, canonical
from kinestream.producers.recordings.take import DEGREES, RADIANS, UNDECLARED, Choices, Signal
from kinestream.schemas.errors import RecordingError, UndecidedError
from kinestream.schemas.models import RobotModel
from kinestream.schemas.nearest import nearest

#: What --joints says for "in the model's order".
MODEL: Final[tuple[str, ...]] = ("model",)
#: Columns that a sentence names.
_SHOWN: Final = 6


@dataclass(frozen=True, slots=True, eq=False)
class Named:
    """A signal with its names; ``renamed`` is what a person calls columns that the recording only counts."""

    signal: Signal
    told: tuple[str, ...] = ()
    odd: tuple[str, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)


def counts(names: Sequence[str]) -> bool:
    """Whether names say no more than a column's number, as q0 to q5 do."""
    return bool(names) and all(COUNTED.fullmatch(name) for name in names)


def named(
    where: object, signal: Signal, choices: Choices, model: RobotModel | None, renamed: Mapping[str, str]
) -> Named:
    """With the names a person gives for columns that have none, or that are only counted, in order.

    ``renamed``: as the signals before call theirs. Raises :class:`RecordingError` where it is not a name a column.
    """
    chosen, elements = choices.joints, signal.elements
    if not chosen or signal.role == "channel":
        return Named(signal)
    if elements and set(elements) <= renamed.keys():
        return Named(replace(signal, elements=tuple(renamed[name] for name in elements)))
    if elements and (not counts(elements) or _are(chosen, elements, model) or renamed):
        against = chosen != MODEL and set(chosen) != set(elements) and not set(elements) <= set(renamed.values())
        odd = f"{signal.name} names its columns itself: --joints changes nothing there"
        return Named(signal, (), (odd,) if against else ())
    if not elements and signal.unit not in (UNDECLARED, *RADIANS.values(), *DEGREES.values()):
        return Named(signal)
    names = _names(where, signal, chosen, model)
    told = f"{signal.name}: its columns are named by --joints, in order"
    if not elements:
        return Named(replace(signal, elements=names), (told,))
    numbers = [[int(number) for number in re.findall(r"\d+", name)] for name in elements]
    if numbers != sorted(numbers):
        raise RecordingError(
            f"{where}: {signal.name} counts its columns {', '.join(elements[:_SHOWN])}, not in the order of their"
            " numbers, so --joints could mean two orders; put the columns in order"
        )
    pairs = dict(zip(elements, names, strict=True))
    told = f"{told}: {', '.join(f'{old} -> {new}' for old, new in pairs.items())}"
    declared = {pairs[name]: unit for name, unit in signal.declared.items() if name in pairs}
    return Named(replace(signal, elements=names, declared=declared), (told,), (), pairs)


def _are(chosen: tuple[str, ...], elements: tuple[str, ...], model: RobotModel | None) -> bool:
    """Whether the recording's names are those a person means already."""
    if chosen == MODEL:
        return model is not None and all(canonical(model, name) for name in elements)
    return set(chosen) == set(elements)


def _names(where: object, signal: Signal, chosen: tuple[str, ...], model: RobotModel | None) -> tuple[str, ...]:
    if chosen == MODEL and model is None:
        raise RecordingError(
            f"{where}: --joints model means the names of a described robot: say which with --model ID, or name the"
            " columns of a robot nobody has described with --joints A,B,C"
        )
    names = model.joint_names if chosen == MODEL and model is not None else chosen
    if len(names) != signal.values.shape[1]:
        models = f" (the model's are {', '.join(names)})" if chosen == MODEL else ""
        raise RecordingError(
            f"{where}: {signal.name} has {signal.values.shape[1]} columns, --joints names {len(names)}; name one a"
            f" column{models}"
        )
    return names


def no_joints_of(where: object, foreign: Sequence[str], elements: Sequence[str], model: RobotModel) -> RecordingError:
    """That names are not the model's, in a sentence: with the nearest, or, for columns that are counted, the way."""
    if counts(elements):
        count = len(model.joint_names)
        fits = f"--joints model takes them as its {count} in order, " if len(elements) == count else ""
        return UndecidedError(
            f"{where}: {', '.join(foreign)} are no names of joints of {model.model_id}, but numbers: {fits}--joints"
            f" A,B,C names them in order, or --model {PROVISIONAL}NAME keeps them as they are",
            "joints",
            MODEL if len(elements) == count else (),
        )
    known = (*model.joint_names, *(name for dialect in model.dialects for name in dialect.joints))
    near = {name: found[0] for name in foreign[:_SHOWN] if (found := nearest(name, known, 1))}
    meant = f" (is {', '.join(f'{name} {one}' for name, one in near.items())}?)" if near else ""
    return RecordingError(
        f"{where}: {', '.join(foreign)} are no joints of {model.model_id}{meant};"
        " --model takes another model's id, a FILE.json that describes the robot (docs/robots.md), or"
        f" {PROVISIONAL}NAME for one nobody has described"
    )
