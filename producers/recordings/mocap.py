"""The readers of human motion: BVH, and AMC with its ASF skeleton; it takes no angle for degrees unless told so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kinestream.producers.recordings.clocks import counted_clock
from kinestream.producers.recordings.take import UNDECLARED, Choices, Hint, Signal, Take
from kinestream.schemas.errors import RecordingError


class Mocap:
    """One motion of a human figure as a :class:`Source`; each rotation is a joint of its own."""

    def __init__(self, path: Path, choices: Choices) -> None:
        self.name = path.name
        if path.suffix.lower() == ".bvh":
            self.format, self.hint, self._taken = "BVH", Hint("human bvh"), _bvh(path, choices)
        else:
            self.format, self.hint, self._taken = "ASF/AMC", Hint("human amc"), _amc(path, choices)
        self.declared = self.present = (0,)
        self.frames = len(self._taken.signals[0].values)

    def takes(self) -> Iterator[Take]:
        """The one episode."""
        yield self._taken


@dataclass(frozen=True, slots=True)
class _Column:
    joint: str
    channel: str


def _bvh(path: Path, choices: Choices) -> Take:
    words = path.read_text(encoding="utf-8", errors="strict").split()
    if words[:1] != ["HIERARCHY"] or "MOTION" not in words:
        raise RecordingError(f"{path} is no BVH: it needs HIERARCHY and MOTION; it is cut short or of another format")
    at = words.index("MOTION")
    columns = list(_columns(words[:at]))
    if words[at + 1 : at + 2] != ["Frames:"] or words[at + 3 : at + 5] != ["Frame", "Time:"]:
        raise RecordingError(f"{path}: MOTION must be followed by Frames: and Frame Time:; it is damaged")
    frames, step = int(words[at + 2]), float(words[at + 5])
    values = np.array(words[at + 6 :], np.float64)
    if frames < 1 or not columns or values.size != frames * len(columns):
        raise RecordingError(
            f"{path} declares {frames} frames of {len(columns)} values and holds {values.size} values; it is cut short"
        )
    table = values.reshape(frames, len(columns))
    rate = choices.rate_hz or (1 / step if step > 0 else 0.0)
    clock = counted_clock(path, frames, rate, f"1 / Frame Time {step} s")
    odd = ("human motion: the joints are rotations about the axes of a figure, not those of a robot",)
    return Take(path.name, tuple(_of_columns(columns, table)), (clock,), rate, oddities=odd)


def _columns(words: list[str]) -> Iterator[_Column]:
    joint, at = "", 0
    while at < len(words):
        if words[at] in ("ROOT", "JOINT"):
            joint = words[at + 1]
        elif words[at] == "CHANNELS":
            count = int(words[at + 1])
            if not 0 <= count <= 6:
                raise RecordingError(f"joint {joint} declares {count} channels; a BVH joint has 0 to 6")
            yield from (_Column(joint, channel) for channel in words[at + 2 : at + 2 + count])
        at += 1


def _of_columns(columns: list[_Column], table: npt.NDArray[np.float64]) -> Iterator[Signal]:
    """Rotations, degrees by the format, as joints; positions in the file's own unit of length as channels."""
    turning = [c for c, column in enumerate(columns) if column.channel.endswith("rotation")]
    moving = [c for c, column in enumerate(columns) if column.channel.endswith("position")]
    names = tuple(f"{columns[c].joint}.{columns[c].channel}" for c in turning)
    yield Signal("position", "rotations", "deg", names, table[:, turning])
    for joint in dict.fromkeys(columns[c].joint for c in moving):
        part = [c for c in moving if columns[c].joint == joint]
        elements = tuple(columns[c].channel for c in part)
        yield Signal("channel", f"{joint}_position", UNDECLARED, elements, table[:, part])


def _amc(path: Path, choices: Choices) -> Take:
    lines = [line.split("#")[0].split() for line in path.read_text(encoding="utf-8").splitlines()]
    flags = {line[0].upper() for line in lines if len(line) == 1 and line[0].startswith(":")}
    bones, rows = _frames(path, [line for line in lines if line and not line[0].startswith(":")])
    skeleton = _skeleton(path)
    turning = {bone: _dof(path, skeleton, bone, width) for bone, width in bones.items()}
    columns = [_Column(bone, axis) for bone, axes in turning.items() for axis in axes]
    table = np.array(rows, np.float64)
    degrees = ":DEGREES" in flags or (skeleton is not None and skeleton.degrees)
    unit = "deg" if degrees else "rad" if ":RADIANS" in flags else UNDECLARED
    rotations = [c for c, column in enumerate(columns) if column.channel.lower().startswith("r") or not skeleton]
    names = tuple(f"{columns[c].joint}.{columns[c].channel}" for c in rotations)
    moving = [c for c in range(len(columns)) if c not in rotations]
    signals = [Signal("position", "rotations", unit, names, table[:, rotations])]
    if moving:
        elements = tuple(f"{columns[c].joint}.{columns[c].channel}" for c in moving)
        signals.append(Signal("channel", "translations", UNDECLARED, elements, table[:, moving]))
    clock = counted_clock(path, len(table), choices.rate_hz, "given with --rate")
    odd = ("human motion: the joints are rotations about the axes of a figure, not those of a robot",)
    told = () if skeleton else ("no skeleton (.asf) beside it: its columns are numbered within each bone",)
    return Take(path.name, tuple(signals), (clock,), choices.rate_hz, oddities=(*odd, *told))


def _frames(path: Path, lines: list[list[str]]) -> tuple[dict[str, int], list[list[float]]]:
    """Values a bone in the order of the first frame, and the rows of all frames."""
    bones: dict[str, int] = {}
    rows: list[list[float]] = []
    found: dict[str, list[float]] = {}
    for words in [*lines, ["0"]]:
        if len(words) > 1:
            found[words[0]] = [float(value) for value in words[1:]]
        elif words[0].isdigit() and found:
            bones = bones or {bone: len(values) for bone, values in found.items()}
            if {bone: len(values) for bone, values in found.items()} != bones:
                raise RecordingError(
                    f"{path}: frame {len(rows) + 1} does not hold the bones of the first; it is cut short"
                )
            rows.append([value for bone in bones for value in found[bone]])
            found = {}
    if not rows:
        raise RecordingError(f"{path} holds no frames; is it an AMC?")
    return bones, rows


@dataclass(frozen=True, slots=True)
class _Skeleton:
    dof: dict[str, tuple[str, ...]]
    degrees: bool


def _skeleton(path: Path) -> _Skeleton | None:
    """The ASF beside an AMC: of its name, of its subject (01_01.amc: 01.asf), or the only one there."""
    beside = sorted(path.parent.glob("*.asf"))
    stems = (path.stem, path.stem.split("_")[0])
    found = next((asf for stem in stems for asf in beside if asf.stem == stem), beside[0] if len(beside) == 1 else None)
    if found is None:
        return None
    dof: dict[str, tuple[str, ...]] = {}
    section = bone = ""
    degrees = False
    for words in (line.split() for line in found.read_text(encoding="utf-8").splitlines()):
        section = words[0].lower() if words and words[0].startswith(":") else section
        degrees = degrees or (section == ":units" and [w.lower() for w in words] == ["angle", "deg"])
        if section == ":root" and words[:1] == ["order"]:
            dof["root"] = tuple(words[1:])
        bone = words[1] if words[:1] == ["name"] and len(words) > 1 else bone
        if section == ":bonedata" and words[:1] == ["dof"]:
            dof[bone] = tuple(words[1:])
    return _Skeleton(dof, degrees)


def _dof(path: Path, skeleton: _Skeleton | None, bone: str, width: int) -> tuple[str, ...]:
    if skeleton is None:
        return tuple(str(k) for k in range(width))
    axes = skeleton.dof.get(bone, ())
    if len(axes) != width:
        raise RecordingError(
            f"{path}: bone {bone} holds {width} values, its skeleton says {len(axes)}; take its own .asf"
        )
    return axes
