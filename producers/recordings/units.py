"""In which unit a joint signal is: declared, said by a person or proven by the model's limits; never by size alone.

What could be radians or degrees is an :class:`UndecidedError` with the choices. A unit is proven where every value lies
within the model's limits in it, and in no other unit that joints are recorded in (docs/formats.md, "Units").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from kinestream.producers.recordings.identify import canonical
from kinestream.producers.recordings.take import DEGREES, OWN, RADIANS, UNDECLARED, Signal, Values
from kinestream.schemas.errors import UndecidedError
from kinestream.schemas.frames import Int64
from kinestream.schemas.models import RobotModel

#: A turn and a half: no joint of a robot is beyond it in radians unless it is a wheel, many are within it in degrees.
RADIANS_WITHIN: Final = 3 * np.pi
#: rad: how far an encoder may read beyond a limit, and how far a value must be beyond one to prove anything.
_SLACK: Final = 0.02
#: Largest values of joints recorded as a share (-1..1) or in per cent (-100..100), with what calibrations overshoot.
_SHARE, _PERCENT = 1.05, 105.0
#: Of the size of the positions, or of their differences: how far a command or velocity of their unit lies from them.
_COMMAND_NEAR, _VELOCITY_NEAR = 0.2, 0.5


Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Beside:
    """What is known besides a signal: the robot, what a person says, the ``joints``' position and its stamps."""

    model: RobotModel | None
    said: str = ""
    joints: tuple[str, ...] = ()
    #: (n, J) in rad and m; None where it is not known, or not in these units
    position: Values | None = None
    t_ns: Int64 | None = None
    #: how signals nobody declares were settled in the recording's first episode: rad, deg or own, and why; by name
    first: Mapping[str, tuple[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Settled:
    """A signal with its unit known, or with none where it stays a channel in its own; and what was done, in words."""

    signal: Signal
    told: tuple[str, ...] = ()
    odd: tuple[str, ...] = ()
    #: rad, deg or own, where nobody declares it, and why
    unit: tuple[str, str] = ("", "")


def settle(where: object, signal: Signal, beside: Beside) -> Settled:
    """Joint values in rad and m; raises :class:`UndecidedError` where they could be two things."""
    if signal.unit == DEGREES.get(signal.role, "none"):
        turned = _turned(signal, range(signal.values.shape[1]))
        turned = replace(turned, hand_unit=turned.hand_unit or "rad")
        return Settled(turned, (_degrees(signal, ""),), _unheeded(signal, beside.said, "deg"))
    if signal.unit != UNDECLARED:
        return Settled(signal, (), _unheeded(signal, beside.said, "rad"))
    if beside.said == OWN:
        return Settled(signal, (f"{signal.name}: kept in the robot's own unit, as --unit own says",))
    if signal.role == "effort":
        odd = f"nobody declares the unit of {signal.name}: kept as a channel, not as Nm (a CSV may say tau0 [Nm])"
        return Settled(signal, (), (odd,))
    unit, why = proven_or_said(signal, beside) or ("", "")
    if unit == OWN:
        return _kept(signal)
    if unit:
        return _in_unit(signal, unit, why, beside.model)
    return _undeclared(where, signal, beside)


def proven_or_said(signal: Signal, beside: Beside) -> tuple[str, str] | None:
    """The unit of a signal that declares none, and why: said by a person, that of the first episode, or proven."""
    found = (beside.said, "as --unit says") if beside.said else beside.first.get(signal.name) or _proven(signal, beside)
    return found if found[0] else None


def _unheeded(signal: Signal, said: str, declared: str) -> tuple[str, ...]:
    """That a person said another unit of a signal than it declares, which changes nothing: as an oddity."""
    if said in ("", declared) or signal.role not in DEGREES:
        return ()
    what = f"--unit {said} is of what nobody declares, and changes nothing here"
    return (f"{signal.name} is declared in {signal.unit}: {what}",)


def _undeclared(where: object, signal: Signal, beside: Beside) -> Settled:
    if signal.role in ("position", "command") and largest(signal.values) > RADIANS_WITHIN:
        return _kept(signal)
    if not signal.elements:  # without names it is a channel, or refused for want of them
        return Settled(signal if beside.model is None else replace(signal, unit=RADIANS[signal.role]))
    if signal.role == "velocity" and beside.position is None:
        return Settled(signal)
    raise UndecidedError(
        f"{where}: nobody declares the unit of {signal.name}, and its values ({_span(signal.values)}) could be radians,"
        " degrees or the robot's own unit; say --unit rad, --unit deg, or --unit own to keep them as a channel as they"
        " are, or map them with --calibration FILE",
        "unit",
        ("rad", "deg", OWN),
    )


def _kept(signal: Signal) -> Settled:
    """Too far for radians, as a recording in -100..100 or 0..4095 is: no claim is made of it."""
    odd = (
        f"{signal.name} goes beyond 1.5 turns in a unit nobody declares, too far for radians: kept as a named channel;"
        " if it is degrees, say --unit deg, if it is the robot's own unit, give --calibration FILE"
    )
    return Settled(signal, (), (odd,), (OWN, ""))


def _proven(signal: Signal, beside: Beside) -> tuple[str, str]:
    """The unit, rad or deg, and what proves it; two empty texts where nothing does."""
    unit, why = _by_limits(signal, beside.model) if beside.model and signal.role != "velocity" else ("", "")
    if unit or beside.position is None:
        return unit, why
    if signal.role == "command":
        return _like(signal, beside, beside.position, _COMMAND_NEAR, "proven: it follows the position")
    if signal.role == "velocity" and (speed := _speed(beside.position, beside.t_ns)) is not None:
        return _like(signal, beside, speed, _VELOCITY_NEAR, "proven: the positions differ so")
    return "", ""


def _by_limits(signal: Signal, model: RobotModel) -> tuple[str, str]:
    """Where all values fit the known limits in one unit, and could be in no other."""
    names = [canonical(model, name) or "" for name in signal.elements]
    limits = model.limits(names)
    known = np.isfinite(limits.lower) & np.isfinite(limits.upper)
    turning = {joint.name for joint in model.joints if joint.unit == "rad"}
    columns = [c for c, name in enumerate(names) if name in turning]
    if not columns or not known[columns].all():
        return "", ""
    values = signal.values if len(columns) == signal.values.shape[1] else signal.values[:, columns]
    lower, upper = limits.lower[columns], limits.upper[columns]
    # the least and the greatest of each column, NaN apart, tell what all of them would
    with np.errstate(invalid="ignore"):
        least, most = (one.reduce(values, axis=0, initial=np.nan).astype(np.float64) for one in (np.fmin, np.fmax))
    rad, deg = (_beyond(least * scale, most * scale, lower, upper) for scale in (1.0, np.pi / 180))
    most_of_all = largest(values)
    if not rad.any() and deg.any() and most_of_all > _SHARE:
        return "rad", "proven: " + _why(names, columns, deg, lower, upper, "degrees")
    if not deg.any() and rad.any() and most_of_all > _PERCENT and not _whole(values):
        return "deg", "proven: " + _why(names, columns, rad, lower, upper, "radians")
    return "", ""


def _beyond(least: Values, most: Values, lower: Values, upper: Values) -> Mask:
    """Which columns leave their limits by more than an encoder may; all (J,)."""
    with np.errstate(invalid="ignore"):
        return np.asarray((least < lower - _SLACK) | (most > upper + _SLACK), np.bool_)


def _why(names: list[str], columns: list[int], out: Mask, lower: Values, upper: Values, other: str) -> str:
    first = int(np.flatnonzero(out)[0])
    return f"in {other} {names[columns[first]]} would leave its limits of {lower[first]:g} to {upper[first]:g} rad"


def _speed(position: Values, t_ns: Int64 | None) -> Values | None:
    """(n, J) rad/s by differences, the first frame's as the second's; None where stamps do not go on."""
    steps = np.diff(t_ns) * 1e-9 if t_ns is not None else np.zeros(0)
    if not len(steps) or (steps <= 0).any():
        return None
    speed = np.diff(position.astype(np.float64), axis=0) / steps[:, None]
    return np.concatenate([speed[:1], speed])


def _like(signal: Signal, beside: Beside, reference: Values, near: float, why: str) -> tuple[str, str]:
    """Radians or degrees, by being ``near`` something (n, J) that is in radians and moves."""
    own = [(canonical(beside.model, name) if beside.model else name) for name in signal.elements]
    pairs = [(c, beside.joints.index(name)) for c, name in enumerate(own) if name in beside.joints]
    if not pairs:
        return "", ""
    values = signal.values[:, [c for c, _ in pairs]].astype(np.float64)
    known = reference[:, [j for _, j in pairs]].astype(np.float64)
    if not np.isfinite(values).any():  # what says nothing proves nothing
        return "", ""
    for unit, scale in (("rad", 1.0), ("deg", np.pi / 180)):
        if _rms(values * scale - known) < near * _rms(known):
            return unit, why
    return "", ""


def _rms(values: Values) -> float:
    finite = values[np.isfinite(values)]
    return float(np.sqrt((finite**2).mean())) if finite.size else 0.0


def _in_unit(signal: Signal, unit: str, why: str, model: RobotModel | None) -> Settled:
    """Columns of a hand and of joints that slide stay as they are: nobody spoke of them."""
    if unit == "rad":
        return Settled(replace(signal, unit=RADIANS[signal.role]), (f"{signal.name}: radians, {why}",), (), (unit, why))
    slide = {joint.name for joint in model.joints if joint.unit == "m"} if model else set()
    own = [canonical(model, name) if model else name for name in signal.elements]
    turning = [c for c, name in enumerate(own) if name is not None and name not in slide]
    turning = turning if signal.elements else list(range(signal.values.shape[1]))
    return Settled(_turned(signal, turning), (_degrees(signal, f", {why}"),), (), (unit, why))


def _turned(signal: Signal, columns: range | list[int]) -> Signal:
    values = signal.values.astype(np.float64)
    values[:, list(columns)] *= np.pi / 180
    return replace(signal, unit=RADIANS[signal.role], values=values)


def _degrees(signal: Signal, why: str) -> str:
    return f"{signal.name}: degrees to radians, float64 value * pi / 180 rounded to float32{why}"


def largest(values: Values) -> float:
    """The largest finite size of a value; 0 where there is none."""
    with np.errstate(invalid="ignore"):
        found = max(float(values.max()), -float(values.min())) if values.size else 0.0
    if np.isfinite(found):
        return found
    finite = np.abs(values[np.isfinite(values)])
    return float(finite.max()) if finite.size else 0.0


def _whole(values: Values) -> bool:
    """Whether all are whole numbers, as the steps of an encoder are."""
    finite = values[np.isfinite(values)]
    return bool((finite == np.rint(finite)).all())


def _span(values: Values) -> str:
    finite = values[np.isfinite(values)]
    return f"{finite.min():.4g} to {finite.max():.4g}" if finite.size else "none finite"
