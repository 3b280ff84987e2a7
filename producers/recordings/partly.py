"""A joint signal that declares the unit of some columns only: the others are asked for; never taken to be as those."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from kinestream.producers.recordings.take import OWN, RADIANS, UNDECLARED, Signal
from kinestream.producers.recordings.units import Beside, Settled, proven_or_said, settle
from kinestream.schemas.errors import UndecidedError

#: Columns that a sentence names.
_SHOWN: Final = 6


def is_partly(signal: Signal) -> bool:
    """Whether some columns declare their unit (they are in rad, m or Nm already) and others do not."""
    return signal.unit == UNDECLARED and any(signal.declared.get(name) for name in signal.elements)


def settle_partly(where: object, signal: Signal, beside: Beside) -> tuple[Settled, Signal | None]:
    """The signal in rad and m; and those columns, as a channel, that a person says are in the robot's own unit.

    Raises :class:`UndecidedError` where neither a person nor the model's limits say what the others are in.
    """
    declared, rest = parts(signal)
    if signal.role == "effort" or beside.said == OWN:
        done = settle(where, rest, beside)
        own = replace(rest, role="channel", name=f"{signal.name}_own")
        return replace(done, signal=declared), own
    if not proven_or_said(rest, beside):
        raise _undecided(where, signal, rest)
    done = settle(where, rest, beside)
    values = signal.values.astype(np.float64)
    values[:, [signal.elements.index(name) for name in rest.elements]] = done.signal.values
    named = f"{signal.name} ({', '.join(rest.elements[:_SHOWN])})"
    told = tuple(text.replace(signal.name, named, 1) for text in done.told)
    return replace(done, signal=replace(signal, unit=RADIANS[signal.role], values=values), told=told), None


def parts(signal: Signal) -> tuple[Signal, Signal]:
    """The columns that declare their unit, in rad, m or Nm, and the others."""
    declared = [c for c, name in enumerate(signal.elements) if signal.declared.get(name)]
    others = [c for c, name in enumerate(signal.elements) if not signal.declared.get(name)]
    return replace(_part(signal, declared), unit=RADIANS[signal.role]), _part(signal, others)


def _part(signal: Signal, columns: list[int]) -> Signal:
    return replace(signal, elements=tuple(signal.elements[c] for c in columns), values=signal.values[:, columns])


def _undecided(where: object, signal: Signal, rest: Signal) -> UndecidedError:
    units = ", ".join(sorted({unit for unit in signal.declared.values() if unit}))
    more = f" and {len(rest.elements) - _SHOWN} more" if len(rest.elements) > _SHOWN else ""
    return UndecidedError(
        f"{where}: its header declares {units} for some columns of {signal.name} and nothing for"
        f" {', '.join(rest.elements[:_SHOWN])}{more}; declare the unit of each behind its name, such as"
        f" {rest.elements[0]} [rad], or say of those that declare none --unit rad, --unit deg, or --unit own to keep"
        " them as a channel as they are",
        "unit",
        ("rad", "deg", OWN),
    )
