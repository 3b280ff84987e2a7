"""The reader of HDF5 files of ACT/ALOHA, robomimic and dm_control; each layout is a function, none alters a value."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np

from kinestream.producers.recordings.clocks import counted_clock, unequal
from kinestream.producers.recordings.columns import library
from kinestream.producers.recordings.hdf5_attributes import attribute
from kinestream.producers.recordings.normalise import quaternion_xyzw
from kinestream.producers.recordings.take import RADIANS, UNDECLARED, Choices, Clock, Hint, Role, Signal, Take, Values
from kinestream.producers.recordings.units import RADIANS_WITHIN, largest
from kinestream.schemas.errors import RecordingError

#: No filter of HDF5 packs more densely; a data set that claims more was never written.
_DENSEST: Final = 1100
#: The rate of ACT's recorder (its constant DT = 0.02 s).
_ACT_HZ: Final = 50.0
_ARM: Final = ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate", "gripper")
#: The 14 values of ACT's two ViperX arms, in its recorder's order; the grippers go from 0 (closed) to 1.
ALOHA: Final = tuple(f"{side}_{joint}" for side in ("left", "right") for joint in _ARM)
#: What robomimic's signals of a robot are of its joints; they become joints where a person names their columns.
_ROBOMIMIC: Final[dict[str, Role]] = {"joint_pos": "position", "joint_vel": "velocity"}
_WALKER: Final[dict[str, tuple[Role, str]]] = {"joints": ("position", "rad"), "joints_velocity": ("velocity", "rad/s")}
_BASE: Final = {
    "position": ("base_position", "m", ("x", "y", "z")),
    "quaternion": ("base_orientation", "1", ("qx", "qy", "qz", "qw")),
    "velocity": ("base_velocity", "m/s", ("x", "y", "z")),
    "angular_velocity": ("base_angular_velocity", "rad/s", ("x", "y", "z")),
}


class Hdf5:
    """An HDF5 file as a :class:`Source`, of the layout that its groups show."""

    def __init__(self, path: Path, choices: Choices) -> None:
        self.name, self.hint, self._path, self._choices = path.name, Hint(), path, choices
        self._declared_hz: float | None = None
        #: 14 columns are also two other arms of six joints and a gripper: whoever names robot or joints knows better
        self._aloha = not choices.joints and (not choices.model or "aloha" in choices.model)
        with _opened(path) as file:
            self.format, self._groups, self._read = _layout(path, file)
            if not self._groups:
                raise RecordingError(f"{path} holds no episodes")
            if self.format == "HDF5 of ACT/ALOHA" and len(file["observations/qpos"].shape) == 2:
                self.hint = Hint("aloha") if file["observations/qpos"].shape[1] == len(ALOHA) else Hint()
            self.frames = sum(len(self._read(self, file[g]).clocks[0].t_ns) for g in self._groups)
        self.declared = self.present = tuple(range(len(self._groups)))

    def takes(self) -> Iterator[Take]:
        """The episodes in order."""
        with _opened(self._path) as file:
            for group in self._groups:
                yield self._read(self, file[group])

    def act(self, group: Any) -> Take:
        """ACT: observations/qpos, qvel, effort and action, of one episode."""
        found = {"position": "observations/qpos", "velocity": "observations/qvel"}
        found |= {"effort": "observations/effort", "command": "action"}
        signals: list[Signal] = []
        odd: list[str] = []
        for role, name in found.items():
            if name in group:
                values = self._array(group[name])
                signals += _aloha(role, name, values, self._aloha)  # type: ignore[arg-type]
                odd += [f"{name}: {note}" for note in self._notes(group[name])]
        extra = [n for n in group if n not in ("observations", "action")]
        left = [f"observations/{n}" for n in group["observations"] if n not in ("qpos", "qvel", "effort")]
        rate, why = self._rate(_ACT_HZ, "that of ACT's recorder")
        sim = attribute(self._path, group, "sim")
        labels = {} if sim is None else {"simulated": str(bool(sim))}
        clock = self._clock(signals, rate, why)
        told = ("the columns are named as ACT's recorder orders them",) if signals[0].elements else ()
        return Take(self.name, tuple(signals), (clock,), rate, labels, told, tuple(odd), (*left, *extra))

    def robomimic(self, group: Any) -> Take:
        """robomimic: data/demo_N with obs/* and actions."""
        signals, left, nameless = [], [], []
        for name, data in {**{f"obs/{n}": d for n, d in group["obs"].items()}, "actions": group["actions"]}.items():
            if not hasattr(data, "shape") or len(data.shape) not in (1, 2) or data.dtype.kind != "f":
                left.append(name)
                continue
            measured: Role = next((role for end, role in _ROBOMIMIC.items() if name.endswith(end)), "channel")
            unit = RADIANS.get(measured, UNDECLARED)  # MuJoCo's qpos and qvel
            role: Role = measured if self._choices.joints else "channel"
            values = self._array(data)
            signals.append(Signal(role, name.removeprefix("obs/"), unit, (), values.reshape(len(values), -1)))
            nameless += [f"{name} ({signals[-1].values.shape[1]})"] if measured != role else []
        left += [name for name in group if name not in ("obs", "actions")]
        rate, why = self._rate(self._control_hz(group.file), "control_freq of env_args")
        number = group.name.rsplit("/", 1)[-1]
        clock = self._clock(signals, rate, why)
        each = f"nothing names the columns of {', '.join(nameless)}: each is one channel"
        odd = (f"{each}; --joints A,B,C makes joints of them",) if nameless else ()
        return Take(f"{self.name}#{number}", tuple(signals), (clock,), rate, oddities=odd, left_out=tuple(left))

    def dm_control(self, group: Any) -> Take:
        """dm_control: arrays (width, n) of each walker; the first walker's are read."""
        walkers = group["walkers"]
        signals, told = [], ["arrays turned from (width, n) to (n, width)"]
        for name, data in walkers["walker_0"].items():
            if not hasattr(data, "shape") or len(data.shape) != 2:
                continue
            values: Values = self._array(data).T.copy()
            role, unit = _WALKER.get(name, ("channel", UNDECLARED))
            base, unit, names = _BASE.get(name, (name, unit, ()))
            if name.endswith(("quaternion", "quaternions")) and values.shape[1] % 4 == 0:
                values = quaternion_xyzw(values)
                told.append(f"{name}: w x y z put in the order x y z w")
            signals.append(Signal(role, base, unit, names, values))
        step = float(attribute(self._path, group, "dt", 0))
        rate, why = self._rate(1 / step if step > 0 else 0, "1 / dt of the clip")
        left = tuple(f"walkers/{n}" for n in walkers if n != "walker_0") + tuple(n for n in group if n != "walkers")
        clock = self._clock(signals, rate, why)
        return Take(f"{self.name}{group.name}", tuple(signals), (clock,), rate, {}, tuple(told), (), left)

    def _notes(self, data: Any) -> list[str]:
        notes = (attribute(self._path, data, key) for key in ("note", "comment", "description"))
        return [str(text) for text in notes if text is not None]

    def _control_hz(self, file: Any) -> float:
        """Of the environment that all demos are of, read once."""
        if self._declared_hz is None:
            try:
                arguments = json.loads(attribute(self._path, file["data"], "env_args", "{}"))
                self._declared_hz = float(arguments.get("env_kwargs", {}).get("control_freq", 0))
            except (ValueError, AttributeError, TypeError):
                self._declared_hz = 0.0
        return self._declared_hz

    def _rate(self, declared: float, why: str) -> tuple[float, str]:
        if self._choices.rate_hz:
            return self._choices.rate_hz, "given with --rate"
        return declared, why

    def _clock(self, signals: list[Signal], rate_hz: float, why: str) -> Clock:
        lengths = {len(signal.values) for signal in signals}
        if len(lengths) != 1 or 0 in lengths:
            raise RecordingError(f"{self._path}: {unequal({s.name: len(s.values) for s in signals})}")
        return counted_clock(self._path, lengths.pop(), rate_hz, why)

    def _array(self, data: Any) -> Values:
        values: Values
        if data.dtype.kind != "f" or len(data.shape) > 2:
            raise RecordingError(f"{self._path}: {data.name} holds {data.dtype} {data.shape}, not rows of numbers")
        if data.nbytes > _DENSEST * self._path.stat().st_size:
            raise RecordingError(f"{self._path}: {data.name} claims {data.nbytes} bytes, more than the file can hold")
        values = data[()]
        return values if values.dtype in (np.float32, np.float64) else values.astype(np.float32)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    with library("h5py").File(path, "r") as file:
        yield file


def _layout(path: Path, file: Any) -> tuple[str, list[str], Callable[[Hdf5, Any], Take]]:
    if "observations" in file and "qpos" in file["observations"]:
        return "HDF5 of ACT/ALOHA", ["/"], Hdf5.act
    if "data" in file and any(name.startswith("demo") for name in file["data"]):
        demos = sorted(file["data"], key=lambda name: (len(name), name))
        return "HDF5 of robomimic", [f"data/{name}" for name in demos], Hdf5.robomimic
    clips = [name for name in file if hasattr(file[name], "keys") and "walkers" in file[name]]
    if clips:
        return "HDF5 of dm_control", clips, Hdf5.dm_control
    raise RecordingError(
        f"{path} is HDF5 of none of the known layouts: ACT (observations/qpos), robomimic (data/demo_0), dm_control"
        f" (CLIP/walkers/walker_0); it holds {', '.join(list(file)[:5]) or 'nothing'}; name its groups as one of these"
        " does, or write the same as CSV or npz (docs/formats.md)"
    )


def _aloha(role: Role, name: str, values: Values, aloha: bool) -> list[Signal]:
    """Arms in radians and grippers from 0 to 1, apart, where the values are those of ACT's two arms."""
    if not aloha or values.shape[1] != len(ALOHA):
        return [Signal(role, name, UNDECLARED, (), values)]
    arms = [c for c, joint in enumerate(ALOHA) if not joint.endswith("gripper")]
    if role in ("position", "command") and largest(values[:, arms]) > RADIANS_WITHIN:  # another robot, or degrees
        return [Signal(role, name, UNDECLARED, (), values)]
    grippers = [c for c, joint in enumerate(ALOHA) if joint.endswith("gripper")]
    unit = {"velocity": "rad/s", "effort": "mA"}.get(role, "rad")  # the driver gives currents
    return [
        Signal(role, name, unit, tuple(ALOHA[c] for c in arms), values[:, arms]),
        Signal("channel", f"gripper_{role}", "1", tuple(ALOHA[c] for c in grippers), values[:, grippers]),
    ]
