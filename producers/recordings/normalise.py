"""From a source's own names, order and units to the contract's; never a guess, and every step is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np

from kinestream.producers.recordings.calibration import beyond, calibrate, merged, read_calibration
from kinestream.producers.recordings.identify import Guess, canonical, of_hand, strange
from kinestream.producers.recordings.naming import named, no_joints_of
from kinestream.producers.recordings.partly import is_partly, settle_partly
from kinestream.producers.recordings.take import OWN, RADIANS, UNDECLARED, Choices, Role, Signal, Values
from kinestream.producers.recordings.units import Beside, Settled, settle
from kinestream.schemas.errors import RecordingError, UndecidedError
from kinestream.schemas.frames import Float32, Int64
from kinestream.schemas.layout import JOINT_CHANNELS, RESERVED, Channel

#: Units of a joint's place, each as the one of the joints it is of.
_KINDS: Final = {"rad": "rad", "deg": "rad", "m": "m", "cm": "m", "mm": "m"}


@dataclass(frozen=True, slots=True, eq=False)
class Normalised:
    """Signals in the contract's form: float32 (n, J) each for the four of joints, and further channels."""

    joints: tuple[str, ...]
    signals: dict[str, Float32]
    channels: tuple[Channel, ...]
    further: dict[str, Float32]
    conversions: tuple[str, ...]
    oddities: tuple[str, ...]
    #: of each signal nobody declares a unit of: rad, deg or own, and why
    units: Mapping[str, tuple[str, str]] = field(default_factory=dict)


class Normaliser:
    """Puts the signals of one take into the form of one robot; raises :class:`RecordingError` with the choices."""

    def __init__(
        self, where: object, guess: Guess, choices: Choices, first: Mapping[str, tuple[str, str]] | None = None
    ) -> None:
        """``first``: ``units`` of the recording's first take, for one recording has one unit."""
        self._where, self._guess, self._choices = where, guess, choices
        self._first, self._units = first or {}, dict[str, tuple[str, str]]()
        self._told: list[str] = []
        self._odd: list[str] = []
        self._t_ns: Int64 | None = None
        self._joints: tuple[str, ...] = ()
        self._renamed = dict[str, str]()
        self._nameless: list[str] = []
        self._signals: dict[str, Float32] = {}
        self._channels: list[Channel] = []
        self._further: dict[str, Float32] = {}

    def apply(self, signals: Sequence[Signal], t_ns: Int64 | None = None) -> Normalised:
        """All signals of a take, once; ``t_ns`` (n,) are its stamps, where they are known."""
        self._t_ns = t_ns
        ordered = sorted(self._calibrated(signals), key=lambda s: ("channel", *JOINT_CHANNELS).index(s.role) or 9)
        for signal in ordered:
            self._take(signal)
        self._check()
        if self._nameless:
            self._odd.append(
                f"nothing names the columns of {', '.join(self._nameless)}, nor says their unit: each is one channel,"
                " and there are no joints; --joints A,B,C and --unit make joints of them"
            )
        return Normalised(
            self._joints,
            self._signals,
            tuple(self._channels),
            self._further,
            tuple(dict.fromkeys(self._told)),
            tuple(dict.fromkeys(self._odd)),
            self._units,
        )

    def _calibrated(self, signals: Sequence[Signal]) -> list[Signal]:
        if not self._choices.calibration:
            return list(signals)
        calibration = read_calibration(Path(self._choices.calibration))
        found, told = [], []
        for signal in signals:
            named = signal if signal.role == "channel" else self._named(signal)
            mapped, done = calibrate(self._where, named, calibration, self._guess)
            found += mapped
            told += done
            self._odd += beyond(named, calibration) if done else []
        if not told:
            raise RecordingError(
                f"{self._where}: none of {', '.join(calibration.columns)} in {calibration.path} is one of its joints;"
                f" they are {', '.join(joint_names(signals)) or 'not named: name them with --joints'}"
            )
        self._told += told
        return merged(found)

    def _take(self, signal: Signal) -> None:
        if signal.role == "channel":
            self._keep(signal)
            return
        signal, own = self._settled(self._named(signal))
        if own is not None:
            self._keep(own)
        if not signal.elements and signal.unit == UNDECLARED and self._choices.unit != OWN:
            self._nameless.append(f"{signal.name} ({signal.values.shape[1]})")
        if signal.unit != RADIANS[signal.role] or signal.role in self._signals:  # a second arm of unnamed columns
            self._keep(signal)
        else:
            self._place(signal)

    def _named(self, signal: Signal) -> Signal:
        """With the names a person gives for columns that have none, or only numbers."""
        found = named(self._where, signal, self._choices, self._guess.model, self._renamed)
        self._told += found.told
        self._odd += found.odd
        self._renamed |= found.renamed
        return found.signal

    def _settled(self, signal: Signal) -> tuple[Signal, Signal | None]:
        """With its unit known, and the columns of it that stay as they are; raises where it could be two."""
        position = self._signals.get("position")
        beside = Beside(self._guess.model, self._choices.unit, self._joints, position, self._t_ns, self._first)
        try:
            done, own = (settle_partly if is_partly(signal) else _settle_whole)(self._where, signal, beside)
        except UndecidedError:
            self._check_names(signal, {})  # a robot that is another one is told before its unit is asked for
            raise
        self._told += done.told
        self._odd += done.odd
        self._units |= {signal.name: done.unit} if done.unit[0] else {}
        return done.signal, own

    def _place(self, signal: Signal) -> None:
        """Columns of the model's joints to their place; those of hands to channels of their own."""
        columns, model = self._columns(signal), self._guess.model
        self._check_units(signal, columns)
        hands = [c for c, name in enumerate(self._elements(signal)) if c not in columns.values()]
        if not self._joints:
            self._begin(signal, columns)
        if not columns:
            self._keep(signal)
            return
        if list(columns) == list(self._joints):
            self._signals[signal.role] = self._rounded(signal.name, signal.values, list(columns.values()))
            self._told.append(f"{signal.name} -> {signal.role}")
            if model is None and list(columns.values()) != sorted(columns.values()):
                self._told.append(f"{signal.name}: columns put in the order of the position's, by name")
        else:
            self._keep_part(signal, columns)
        if hands:
            self._keep_hands(signal, hands)

    def _check_units(self, signal: Signal, columns: dict[str, int]) -> None:
        """Raises where a column declares a length and its joint turns, or an angle and its joint slides."""
        model, elements = self._guess.model, self._elements(signal)
        if model is None or signal.role == "effort":
            return
        for joint in model.joints:
            name = elements[columns[joint.name]] if joint.name in columns else ""
            declared = signal.declared.get(name, UNDECLARED)
            if _KINDS.get(declared.partition("/")[0], joint.unit) != joint.unit:
                does = "slides" if joint.unit == "m" else "turns"
                raise RecordingError(
                    f"{self._where}: {name} is declared in {declared}, but {joint.name} of {model.model_id} {does}: put"
                    " its unit right, or, if it is another robot, name it with --model"
                )

    def _columns(self, signal: Signal) -> dict[str, int]:
        """Column of each joint, in the model's order, or in the source's where nobody has described the robot."""
        elements, model = self._elements(signal), self._guess.model
        if model is None:  # a command or velocity in another order than the position is put in the position's
            found = {name: column for column, name in enumerate(elements)}
            return {name: found[name] for name in dict.fromkeys((*self._joints, *elements)) if name in found}
        if not signal.elements:
            raise UndecidedError(
                f"{self._where}: nothing names the {len(elements)} columns of {signal.name}; give their joints in order"
                f" with --joints A,B,C (--joints model: the {len(model.joint_names)} of {model.model_id})",
                "joints",
                ("model",) if len(elements) == len(model.joint_names) else (),
            )
        found = {joint: c for c, name in enumerate(elements) if (joint := canonical(model, name))}
        order = {joint.name: place for place, joint in enumerate(model.joints)}
        return dict(sorted(found.items(), key=lambda pair: order[pair[0]]))

    def _elements(self, signal: Signal) -> tuple[str, ...]:
        return signal.elements or tuple(f"joint_{i}" for i in range(signal.values.shape[1]))

    def _begin(self, signal: Signal, columns: dict[str, int]) -> None:
        """The joints of the episode are those of its first signal: the position, where that is measured."""
        elements, model = self._elements(signal), self._guess.model
        self._check_names(signal, columns)
        self._joints = tuple(columns)
        missing = [name for name in model.joint_names if name not in columns] if model else []
        missing = [name for name in missing if not of_hand(name)]  # an arm is recorded without its hand
        if model and 0 < len(missing) <= max(1, len(model.joint_names) // 10):
            self._odd.append(f"of the joints of {model.model_id} {', '.join(missing)} is not here: is a name misspelt?")
        if model is None and len({name.rstrip("0123456789") for name in elements}) == 1 < len(elements):
            self._odd.append(f"the joints are only numbered ({elements[0]} to {elements[-1]})")
        renamed = [f"{elements[c]} -> {joint}" for joint, c in columns.items() if elements[c] != joint]
        self._told += [f"names: {', '.join(renamed)}"] if renamed else []
        if list(columns.values()) != sorted(columns.values()):
            self._told.append(f"{signal.name}: columns put in the order of {self._guess.model_id}")

    def _check_names(self, signal: Signal, columns: dict[str, int]) -> None:
        """Raises for a name that occurs twice, and for names the robot's model has not."""
        elements, model = self._elements(signal), self._guess.model
        if twice := sorted({name for name in elements if elements.count(name) > 1}):
            raise RecordingError(
                f"{self._where}: {signal.name} names {', '.join(twice)} more than once; name each once"
            )
        foreign = strange(model, elements) if model else ()
        if model and (foreign or not (columns or self._columns(signal))):
            raise no_joints_of(self._where, foreign or elements, elements, model)

    def _keep_part(self, signal: Signal, columns: dict[str, int]) -> None:
        """Joints that are not all those of the episode: a channel that names them, for no value is invented."""
        name = f"joint_{signal.role}"
        more = sorted(set(columns) - set(self._joints))
        what = f"has {len(columns)} of the {len(self._joints)} joints"
        what = f"names joints the position has not ({', '.join(more)})" if more else what
        self._odd.append(f"{signal.name} {what}: kept as the channel {name}")
        taken = self._rounded(signal.name, signal.values, list(columns.values()))
        self._add(Channel(name, len(columns), RADIANS[signal.role], tuple(columns)), taken)

    def _keep_hands(self, signal: Signal, hands: list[int]) -> None:
        elements = self._elements(signal)
        names = tuple(elements[c] for c in hands)
        name = f"hand_{signal.role}"
        self._told.append(f"{', '.join(names)} -> {name}")
        self._add(Channel(name, len(hands), signal.hand_unit, names), self._rounded(signal.name, signal.values, hands))

    def _keep(self, signal: Signal) -> None:
        """As a channel under the source's name."""
        name = signal.name
        if name in JOINT_CHANNELS or name in RESERVED or name in self._further:
            name = next(n for k in range(9) if (n := f"source_{name}{k or ''}") not in self._further)
            self._told.append(f"{signal.name} -> channel {name}")
        width = signal.values.shape[1]
        values = self._rounded(signal.name, signal.values, list(range(width)))
        self._add(Channel(name, width, signal.unit, signal.elements), values)

    def _add(self, channel: Channel, values: Float32) -> None:
        if channel.name in self._further:
            channel = replace(
                channel, name=next(n for k in range(2, 99) if (n := f"{channel.name}_{k}") not in self._further)
            )
        self._channels.append(channel)
        self._further[channel.name] = values

    def _rounded(self, name: str, values: Values, columns: list[int]) -> Float32:
        if values.dtype != np.float32:
            self._told.append(f"{name}: {values.dtype} rounded to float32")
        elif columns == list(range(values.shape[1])):
            return np.ascontiguousarray(values, np.float32)  # as it was read: nothing is moved
        with np.errstate(over="ignore"):
            taken: Float32 = np.ascontiguousarray(values[:, columns].astype(np.float32))
        lost = np.argwhere(np.isinf(taken) & np.isfinite(values[:, columns]))
        if len(lost):
            frame, column = lost[0].tolist()
            raise RecordingError(
                f"{self._where}: {name} holds {values[frame, columns[column]]:g} in frame {frame}, column"
                f" {columns[column] + 1}{_and_more(len(lost) - 1)}: more than a float32 holds (3.4e38); mend it, or"
                " write NaN for a missing value"
            )
        return taken

    def _check(self) -> None:
        if not self._signals and not self._channels:
            raise RecordingError(f"{self._where} measures nothing a frame could hold; it is no recording of motion")


def _settle_whole(where: object, signal: Signal, beside: Beside) -> tuple[Settled, None]:
    return settle(where, signal, beside), None


def _and_more(count: int) -> str:
    return f" (and {count} more)" if count else ""


def joint_names(signals: Sequence[Signal]) -> tuple[str, ...]:
    """Names of the joints a take measures, as its source spells them."""
    role: Role
    for role in ("position", "command", "velocity", "effort"):
        found = next((s.elements for s in signals if s.role == role and s.elements), ())
        if found:
            return found
    return ()


def all_joint_names(signals: Sequence[Signal]) -> tuple[str, ...]:
    """Names of the joints any signal of a take is of, those in a foreign unit too; each once."""
    return tuple(dict.fromkeys(name for s in signals if s.role != "channel" for name in s.elements))


def layout(signals: Sequence[Signal]) -> tuple[str, ...]:
    """What a take without names of joints is known by: role, name and width of its joint signals, else of all."""
    joints = [s for s in signals if s.role != "channel"] or list(signals)
    return tuple(f"{s.role} {s.name} {s.values.shape[1]}" for s in joints)


def quaternion_xyzw(wxyz: Values) -> Values:
    """(n, 4m) quaternions w first to w last."""
    turned: Values = wxyz.reshape(len(wxyz), -1, 4)[:, :, [1, 2, 3, 0]].reshape(len(wxyz), -1)
    return turned
