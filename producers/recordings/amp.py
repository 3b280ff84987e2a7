"""The reader of AMP motions, JSON of TienKung-Lab; it tells its two layouts apart by proof and never assumes one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from kinestream.producers.recordings.clocks import counted_clock
from kinestream.producers.recordings.take import UNDECLARED, Choices, Hint, Signal, Take
from kinestream.schemas.errors import RecordingError

MODEL: Final = "x-humanoid-tienkung-2-0-lite"
_LEG: Final = ("hip_roll", "hip_pitch", "hip_yaw", "knee_pitch", "ankle_pitch", "ankle_roll")
_ARM: Final = ("shoulder_pitch", "shoulder_roll", "shoulder_yaw", "elbow_pitch")
_WIDTH: Final = 52
_JOINTS: Final = 20
#: Share of the velocities that must be the differences of the positions, within 5 % of their spread.
_PROVEN, _WITHIN = 0.9, 0.05


def _limb(joints: tuple[str, ...], side: str) -> tuple[str, ...]:
    return tuple(f"{joint}_{side}_joint" for joint in joints)


#: Legs first, as the motions that are shown ...
_SHOWN: Final = (*_limb(_LEG, "l"), *_limb(_LEG, "r"), *_limb(_ARM, "l"), *_limb(_ARM, "r"))
#: ... and right arm first, as those that a policy is trained on.
_EXPERT: Final = (*_limb(_ARM, "r"), *_limb(_ARM, "l"), *_limb(_LEG, "r"), *_limb(_LEG, "l"))
#: Layout: names of the joints, first column of their positions, of their velocities, and further columns.
_LAYOUTS: Final = {
    "shown": (_SHOWN, 6, 32, {"base_position": (0, 3, "m"), "base_euler": (3, 6, "rad"),
                              "base_velocity": (26, 29, "m/s"), "base_angular_velocity": (29, 32, "rad/s")}),
    "expert": (_EXPERT, 0, 20, {"end_effector_position": (40, 52, "m")}),
}  # fmt: skip
_ENDS: Final = tuple(
    f"{end}_{axis}" for end in ("left_hand", "right_hand", "left_foot", "right_foot") for axis in "xyz"
)


class AmpJson:
    """An AMP motion as a :class:`Source` of one episode."""

    format = "AMP JSON of TienKung-Lab"

    def __init__(self, path: Path, choices: Choices) -> None:
        self.name, self.hint, self._path = path.name, Hint("TienKung 2.0 Lite", MODEL), path
        content, frames = _read(path)
        step = float(content["FrameDuration"])
        rate = choices.rate_hz or (1 / step if step > 0 else 0.0)
        self._taken = self._take(content, frames, rate)
        self.declared = self.present = (0,)
        self.frames = len(frames)

    def takes(self) -> Iterator[Take]:
        """The one episode."""
        yield self._taken

    def _take(self, content: dict[str, Any], frames: npt.NDArray[np.float64], rate: float) -> Take:
        clock = counted_clock(self._path, len(frames), rate, f"1 / FrameDuration {content['FrameDuration']} s")
        share = {name: _differences(frames, first, vel, rate) for name, (_, first, vel, _) in _LAYOUTS.items()}
        proven = [name for name, of in share.items() if of >= _PROVEN]
        if len(proven) != 1:
            raise RecordingError(
                f"{self._path}: no layout of {_WIDTH} columns is proven by velocities that are the differences of"
                f" positions ({', '.join(f'{n}: {s:.0%}' for n, s in share.items())}); nothing else says which it is"
            )
        names, first, vel, further = _LAYOUTS[proven[0]]
        signals = [
            Signal("position", "joint_pos", "rad", names, frames[:, first : first + _JOINTS]),
            Signal("velocity", "joint_vel", "rad/s", names, frames[:, vel : vel + _JOINTS]),
        ]
        for name, (begin, end, unit) in further.items():
            elements = _ENDS if name == "end_effector_position" else ("x", "y", "z")
            signals.append(Signal("channel", name, unit or UNDECLARED, elements, frames[:, begin:end]))
        odd = [
            f"joints are in the order {proven[0]!r} of this format's two: {names[0]} first; both have {_WIDTH} columns"
        ]
        odd += [*_first_frame(frames, first, vel, rate), *_another_rate(frames, first, vel, rate)]
        labels: dict[str, str] = {key: str(content[key]) for key in ("LoopMode", "MotionWeight") if key in content}
        told = (f"layout {proven[0]!r}, proven: {share[proven[0]]:.0%} of velocities are differences of positions",)
        return Take(self.name, tuple(signals), (clock,), rate, labels, told, tuple(odd))


def is_amp(head: bytes) -> bool:
    """Whether a file begins as an AMP motion."""
    return head.lstrip()[:1] == b"{" and b'"FrameDuration"' in head


def _read(path: Path) -> tuple[dict[str, Any], npt.NDArray[np.float64]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as problem:
        raise RecordingError(f"{path} is cut short or no JSON ({problem}); copy it anew") from problem
    rows = content.get("Frames") if isinstance(content, dict) else None
    if not rows or any(len(row) != _WIDTH for row in rows):
        raise RecordingError(f"{path}: Frames must hold rows of {_WIDTH} numbers (20 joints of a TienKung)")
    return content, np.array(rows, np.float64)


def _differences(frames: npt.NDArray[np.float64], first: int, vel: int, rate: float) -> float:
    """Share of velocities that are the differences of positions, before or after."""
    moved = np.diff(frames[:, first : first + _JOINTS], axis=0) * rate
    said = frames[:, vel : vel + _JOINTS]
    spread = np.maximum(np.std(said[1:], axis=0), 1e-6)
    near = np.minimum(np.abs(moved - said[1:]), np.abs(moved - said[:-1])) < _WITHIN * spread
    return float(near.mean()) if near.size else 0.0


def _first_frame(frames: npt.NDArray[np.float64], first: int, vel: int, rate: float) -> list[str]:
    said, position = frames[0, vel : vel + _JOINTS], frames[0, first : first + _JOINTS]
    if np.allclose(said, position * np.rint(rate), rtol=0.02, atol=1e-3):
        return [
            "the velocities of the first frame are its positions times the rate: a difference from zero, not a speed"
        ]
    return []


def _another_rate(frames: npt.NDArray[np.float64], first: int, vel: int, rate: float) -> list[str]:
    """The rate at which the velocities are differences of positions, where that is not the declared one."""
    moved, said = np.diff(frames[:, first : first + _JOINTS], axis=0), frames[1:, vel : vel + _JOINTS]
    fast = np.abs(said) > np.quantile(np.abs(said), 0.5)
    ratio = float(np.median(said[fast] / moved[fast])) if fast.any() else rate
    if abs(ratio / rate - 1) > 0.002:
        return [f"the velocities are differences at {ratio:.1f} Hz, FrameDuration says {rate:.1f} Hz"]
    return []
