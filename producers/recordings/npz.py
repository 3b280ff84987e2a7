"""The reader of npz files: BeyondMimic's motions, and the takes that `kinestream frames` writes; never unpickles."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from kinestream.producers.recordings.clocks import counted_clock, unequal
from kinestream.producers.recordings.normalise import quaternion_xyzw
from kinestream.producers.recordings.take import (
    RADIANS,
    UNDECLARED,
    Choices,
    Clock,
    Hint,
    Role,
    Signal,
    Take,
    parted_takes,
)
from kinestream.schemas.errors import RecordingError

#: The G1's 29 joints as Isaac Lab numbers them: by their depth from the pelvis, not along each limb.
_ISAAC_G1: Final = (
    *("left_hip_pitch_joint", "right_hip_pitch_joint", "waist_yaw_joint"),
    *("left_hip_roll_joint", "right_hip_roll_joint", "waist_roll_joint"),
    *("left_hip_yaw_joint", "right_hip_yaw_joint", "waist_pitch_joint"),
    *("left_knee_joint", "right_knee_joint", "left_shoulder_pitch_joint", "right_shoulder_pitch_joint"),
    *("left_ankle_pitch_joint", "right_ankle_pitch_joint", "left_shoulder_roll_joint", "right_shoulder_roll_joint"),
    *("left_ankle_roll_joint", "right_ankle_roll_joint", "left_shoulder_yaw_joint", "right_shoulder_yaw_joint"),
    *("left_elbow_joint", "right_elbow_joint", "left_wrist_roll_joint", "right_wrist_roll_joint"),
    *("left_wrist_pitch_joint", "right_wrist_pitch_joint", "left_wrist_yaw_joint", "right_wrist_yaw_joint"),
)
_G1: Final = "unitree-g1-29-dof"
#: Where a file that names its joints does.
_NAMES: Final = "joint_names"
#: Arrays by which a file is one of the two kinds.
_NEEDED: Final = ("joint_pos", "fps", _NAMES, "t_ns", "joints")
#: Axes of frames and joints.
_TABLE: Final = 2
_UNITS: Final = {"body_pos_w": "m", "body_lin_vel_w": "m/s", "body_ang_vel_w": "rad/s", "body_quat_w": "1"}
#: The largest array an npz may hold, bytes: a header of a damaged file may claim anything.
_LARGEST: Final = 4 * 2**30


class Npz:
    """An npz file as a :class:`Source` of one episode."""

    def __init__(self, path: Path, choices: Choices) -> None:
        self.name, self.hint, self._path, self._choices = path.name, Hint(), path, choices
        arrays, self._objects = _arrays(path)
        self._taken = self._exported(arrays) if {"t_ns", "joints"} <= set(arrays) else self._motion(arrays)
        held = {s.name: len(s.values) for s in self._taken.signals}
        lengths = {*held.values(), len(self._taken.clocks[0].t_ns)}
        if len(lengths) != 1 or 0 in lengths:
            raise RecordingError(f"{path}: {unequal(held)}")
        self.format = "npz of kinestream" if "t_ns" in arrays else "npz of BeyondMimic"
        self._takes = parted_takes(self._taken, choices.split_s)
        self.declared = self.present = tuple(range(len(self._takes)))
        self.frames = lengths.pop()

    def takes(self) -> Iterator[Take]:
        """The one episode, or its parts between the gaps a person named."""
        yield from self._takes

    def _motion(self, arrays: dict[str, Any]) -> Take:
        if "joint_pos" not in arrays or arrays["joint_pos"].ndim != _TABLE:
            unread = [f"{name} (Python objects, which are not read)" for name in self._objects[:6]]
            raise RecordingError(
                f"{self._path} holds {', '.join([*_described(arrays), *unread]) or 'nothing'}; an npz needs joint_pos"
                " (frames, joints) and fps (BeyondMimic), or t_ns and joints (kinestream frames)"
            )
        fps = np.ravel(arrays.pop("fps", 0.0))
        rate = self._choices.rate_hz or (float(fps[0]) if fps.size and fps.dtype.kind in "iuf" else 0.0)
        named = _NAMES in arrays
        names, told = self._names(arrays)
        signals, left = [], [f"{name} (Python objects)" for name in self._objects]
        for name, values in arrays.items():
            if values.dtype not in (np.float32, np.float64) or values.ndim not in (2, 3):
                left.append(name)
                continue
            if name == "body_quat_w":
                values = quaternion_xyzw(values)
                told.append("body_quat_w: w x y z put in the order x y z w")
            role: Role = {"joint_pos": "position", "joint_vel": "velocity"}.get(name, "channel")  # type: ignore[assignment]
            unit = RADIANS[role] if role != "channel" else _UNITS.get(name, UNDECLARED)
            signals.append(
                Signal(role, name, unit, names if role != "channel" else (), values.reshape(len(values), -1))
            )
        why = "given with --rate" if self._choices.rate_hz else f"{rate:g} in fps"
        clock = counted_clock(self._path, len(arrays["joint_pos"]), rate, why)
        nameless = () if named else ("the file names neither joints nor bodies",)
        odd = (*_name_against(self.name, rate), *nameless)
        return Take(self.name, tuple(signals), (clock,), rate, {}, tuple(told), odd, tuple(left))

    def _names(self, arrays: dict[str, Any]) -> tuple[tuple[str, ...], list[str]]:
        """Names the file gives; Isaac Lab's order where a person says that it is a G1, for nothing in the file does."""
        width, given = arrays["joint_pos"].shape[1], arrays.pop(_NAMES, None)
        if given is not None and given.dtype.kind in "US":
            if given.shape != (width,):
                raise RecordingError(
                    f"{self._path}: {_NAMES} names {given.size} joints, joint_pos has {width} columns; name each"
                )
            return tuple(map(str, given.astype(np.str_))), []
        if width != len(_ISAAC_G1) or self._choices.model != _G1 or self._choices.joints:
            return (), []
        return _ISAAC_G1, [f"the columns of joint_pos and joint_vel are in Isaac Lab's order of {_G1}"]

    def _exported(self, arrays: dict[str, Any]) -> Take:
        joints = tuple(str(name) for name in arrays["joints"])
        signals = []
        for name, values in arrays.items():
            if name in ("t_ns", "t", "seq", "joints") or values.dtype != np.float32 or values.ndim != 2:
                continue
            role: Role = name if name in RADIANS else "channel"  # type: ignore[assignment]
            unit = RADIANS.get(name, UNDECLARED)
            names = joints if role != "channel" else _columns(arrays, name, values.shape[1])
            signals.append(Signal(role, name, unit, names, values))
        clock = Clock("t_ns", arrays["t_ns"].astype(np.int64), 1, bool(arrays["t_ns"][0] > 10**18), "t_ns as it was")
        return Take(self.name, tuple(signals), (clock,), self._choices.rate_hz)


def _arrays(path: Path) -> tuple[dict[str, Any], list[str]]:
    """The arrays of an npz, and the names of those that hold Python objects, which are never unpickled."""
    with zipfile.ZipFile(path) as packed:
        if sum(member.file_size for member in packed.infolist()) > _LARGEST:
            raise RecordingError(f"{path} claims to hold more than {_LARGEST >> 30} GiB; split it")
    arrays, objects = {}, []
    with np.load(path, allow_pickle=False) as file:
        for name in file.files:
            try:
                arrays[name] = file[name]
            except ValueError as problem:
                if "allow_pickle" not in str(problem):
                    raise
                objects.append(name)
    if needed := [name for name in objects if name in _NEEDED]:
        raise RecordingError(
            f"{path}: {' and '.join(needed)} {'hold' if needed[1:] else 'holds'} Python objects, which may run anything"
            " and are not read; save numbers (an array of float32, every row as long), or texts as np.array([...],"
            " dtype=str)"
        )
    return arrays, objects


def _columns(arrays: dict[str, Any], name: str, width: int) -> tuple[str, ...]:
    """What ``kinestream frames`` calls the columns of a channel."""
    names = arrays.get(f"{name}.names")
    return tuple(map(str, names)) if names is not None and names.shape == (width,) else ()


def _described(arrays: dict[str, Any]) -> list[str]:
    return [f"{name} {values.dtype} {values.shape}" for name, values in list(arrays.items())[:6]]


def _name_against(name: str, rate_hz: float) -> tuple[str, ...]:
    """What the file's name says of the rate, where that is not what the file says."""
    spoken = [part[:-2] for part in name.lower().replace(".", "_").split("_") if part.endswith("hz")]
    if spoken and spoken[0].isdigit() and int(spoken[0]) != rate_hz:
        return (f"the file's name says {spoken[0]} Hz, its fps {rate_hz:g}: fps is used",)
    return ()
