"""Which signals explain a finding: its joint's position, speed or effort, or the stamps; judges and draws nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from kinestream.deploy.judging.traces import COLUMNS, Line, Mark, Trace, envelope, merged
from kinestream.schemas.frames import Float32, Float64, Int64
from kinestream.schemas.layout import Channel
from kinestream.schemas.messages import spoken
from kinestream.schemas.models import RobotModel
from kinestream.streams.quality import Finding

#: Panels of an episode at most, the worst findings' first.
PANELS: Final = 6
#: Metric -> what explains it; by default a joint's position and command, and no joint's: how fast the robot moves.
_KINDS: Final = {
    **dict.fromkeys(("I4", "C1", "C2", "I7"), "velocity"),
    "I5": "effort",
    **dict.fromkeys(("T1", "T2", "T4", "T5", "T6", "T8"), "stamps"),
}
_TITLES: Final = {
    "stamps": ("time between frames", "帧间隔"),
    "speed": ("speed of the fastest joint", "最快关节的速度"),
}


@dataclass(frozen=True, slots=True, eq=False)
class Recorded:
    """An episode's frames to draw: ``t_ns`` int64 (n,), channels float32 (n, width), its model if one is described."""

    t_ns: Int64
    joints: tuple[str, ...]
    channels: Mapping[str, Float32]
    #: the further channels' units and elements
    further: tuple[Channel, ...] = ()
    model: RobotModel | None = None

    @property
    def t(self) -> Float64:
        """Seconds from the first frame."""
        return (self.t_ns - self.t_ns[0]) / 1e9


def traces_of(recorded: Recorded, findings: Sequence[Finding], columns: int = COLUMNS) -> tuple[Trace, ...]:
    """A panel for each joint and kind of signal that findings are about, the worst finding's first."""
    if len(recorded.t_ns) < 2:  # nothing to see of one frame
        return ()
    panels: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        joint = finding.joint
        kind = _KINDS.get(finding.metric, "position" if joint else "speed")
        panels.setdefault((kind, "" if kind in _TITLES else joint), []).append(finding)
    drawn = (_trace(recorded, kind, joint, of_it, columns) for (kind, joint), of_it in panels.items())
    return tuple([trace for trace in drawn if trace is not None][:PANELS])


def _trace(recorded: Recorded, kind: str, joint: str, findings: list[Finding], columns: int) -> Trace | None:
    if kind in _TITLES:
        lines, unit, limits = _whole(recorded, kind)
        title, title_zh = _TITLES[kind]
    elif joint in recorded.joints:
        lines, unit, limits = _of_joint(recorded, kind, recorded.joints.index(joint))
        title, title_zh = spoken(joint).en, spoken(joint).zh
    else:
        lines, unit, limits = _of_element(recorded, joint)
        title, title_zh = joint, joint
    shown = _known(tuple(envelope(name, recorded.t, values, columns) for name, values in lines.items()))
    if not shown:
        return None
    return Trace(title, title_zh, unit, float(recorded.t[-1]), shown, limits, _marks(recorded, findings))


_Signals = tuple[dict[str, Float64], str, tuple[float, ...]]


def _whole(recorded: Recorded, kind: str) -> _Signals:
    if kind == "stamps":
        return {"time between frames": np.diff(recorded.t, prepend=np.nan) * 1e3}, "ms", ()
    measured, position = recorded.channels.get("velocity"), recorded.channels.get("position")
    if measured is not None:
        speeds = measured.astype(np.float64)
    elif position is not None:
        speeds = _rate(recorded, position)
    else:
        return {}, "", ()
    return {"speed": np.abs(speeds).max(axis=1, initial=0.0)}, "rad/s", ()


def _of_joint(recorded: Recorded, kind: str, column: int) -> _Signals:
    joint, model = recorded.joints[column], recorded.model
    unit = next((one.unit for one in model.joints if one.name == joint), "rad") if model else "rad"
    known = model.limits((joint,)) if model else None
    if kind == "velocity":
        lines = dict(_columns(recorded, ("velocity",), column))
        if (position := recorded.channels.get("position")) is not None:
            lines["change of position"] = _rate(recorded, position[:, column : column + 1])[:, 0]
        return lines, f"{unit}/s", _finite(-known.velocity[0], known.velocity[0]) if known else ()
    if kind == "effort":
        lines = dict(_columns(recorded, ("effort",), column))
        return lines, "Nm" if unit == "rad" else "N", _finite(-known.effort[0], known.effort[0]) if known else ()
    lines = dict(_columns(recorded, ("position", "command"), column))
    return lines, unit, _finite(known.lower[0], known.upper[0]) if known else ()


def _of_element(recorded: Recorded, place: str) -> _Signals:
    """``channel.element`` of a further channel, as findings name it."""
    for channel in recorded.further:
        names = channel.element_names or tuple(map(str, range(channel.width)))
        if channel.name in recorded.channels and place.removeprefix(f"{channel.name}.") in names:
            values = recorded.channels[channel.name][:, names.index(place.removeprefix(f"{channel.name}."))]
            return {channel.name: values.astype(np.float64)}, channel.unit, ()
    return {}, "", ()


def _columns(recorded: Recorded, names: Sequence[str], column: int) -> Iterator[tuple[str, Float64]]:
    for name in names:
        if name in recorded.channels:
            yield name, recorded.channels[name][:, column].astype(np.float64)


def _rate(recorded: Recorded, values: Float32) -> Float64:
    """Changes of (n, w) a second, float64 (n, w); NaN where the stamps stand still."""
    steps = np.diff(recorded.t, prepend=np.nan)[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        rate: Float64 = np.diff(values.astype(np.float64), axis=0, prepend=np.nan) / steps
    return np.where(np.isfinite(rate), rate, np.nan)


def _finite(*limits: float) -> tuple[float, ...]:
    return tuple(float(limit) for limit in limits if np.isfinite(limit))


def _known(lines: tuple[Line, ...]) -> tuple[Line, ...]:
    """Those with a value to draw: a dead sensor has none."""
    return tuple(line for line in lines if np.isfinite(line.high).any())


def _marks(recorded: Recorded, findings: Sequence[Finding]) -> tuple[Mark, ...]:
    zero = int(recorded.t_ns[0])
    marks = [Mark(f.metric, str(f.flag), (f.t_start_ns - zero) / 1e9, (f.t_end_ns - zero) / 1e9) for f in findings]
    return merged(marks)
