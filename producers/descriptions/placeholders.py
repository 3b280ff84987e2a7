"""Which limits of a description nobody meant: exporters' defaults become unknown, and are told; invents no limit."""

from __future__ import annotations

from collections.abc import Sequence
from math import pi
from typing import Final

from kinestream.producers.descriptions.found import FoundJoint, some

#: No joint of a robot goes as far (rad, m), is as fast (rad/s, m/s) or as strong (Nm, N).
FAR: Final = 100.0
FAST: Final = 100.0
STRONG: Final = 1000.0
#: What exporters write where nobody knows: half a turn or a whole one each way, as rounded as 3.14.
_TURNS: Final = (pi, 2 * pi)
_ROUNDED: Final = 0.01
TURN: Final = "are half a turn or a whole one each way, as exporters write where nobody knows"
#: A note of a description that begins so names the joints whose turns are no placeholder, and who says so.
DOCUMENTED: Final = "turns the maker documents: "
#: ... and one that begins so, which figures that all joints share are no default of an exporter.
ONE_FIGURE: Final = "one figure for every joint, which the maker documents: "
#: Joints that may share one velocity and one effort by chance.
_ALIKE: Final = 3


def settle(joints: list[FoundJoint], keep_turns: bool = False) -> list[str]:
    """Make placeholders unknown, in place, and say so, a sentence each; ``keep_turns``: the maker documents turns.

    Unknown is safe: a limit nobody meant would either never be passed, or be passed all day.
    """
    told: dict[str, list[str]] = {}
    kept: list[str] = []
    for joint in joints:
        reason = no_range(joint.type, joint.lower, joint.upper)
        if reason == TURN and keep_turns:
            kept.append(joint.name)
        elif reason:
            joint.lower = joint.upper = None
            told.setdefault(f"position limits {reason}: unknown", []).append(joint.name)
        for what, most, unit in (("velocity", FAST, "/s"), ("effort", STRONG, " Nm or N")):
            value = getattr(joint, what)
            if value is not None and not 0 < value < most:
                setattr(joint, what, None)
                why = "not above 0" if value <= 0 else f"{most:g}{unit} or more"
                told.setdefault(f"{what} {why}, which no robot has: unknown", []).append(joint.name)
    notes = [f"{text} ({some(names)})" for text, names in told.items()]
    notes += [f"{DOCUMENTED}{', '.join(kept)} (say where)"] if kept else []
    return notes + [text for what in ("velocity", "effort") if (text := _alike(joints, what))]


def no_range(kind: str, lower: float | None, upper: float | None) -> str:
    """Why a joint's position limits are none that anybody meant; empty where they may be meant."""
    if lower is None or upper is None:
        return "half given" if (lower is None) != (upper is None) else ""
    if lower >= upper:
        return "both 0" if lower == upper == 0 else "leave no way between them"
    if max(-lower, upper) >= FAR:
        return f"of {FAR:g} or more"
    turn = kind == "revolute" and any(abs(upper - t) < _ROUNDED and abs(lower + t) < _ROUNDED for t in _TURNS)
    return TURN if turn else ""


def alike(figures: Sequence[float | None]) -> float | None:
    """The one velocity or effort that all turning joints of a robot have; ``None`` where they differ, or are few."""
    known = set(figures)
    return figures[0] if len(figures) > _ALIKE and len(known) == 1 else None


def _alike(joints: list[FoundJoint], what: str) -> str:
    figure = alike([getattr(joint, what) for joint in joints if not joint.mimic and joint.type != "prismatic"])
    if figure is None:
        return ""
    return f"{what} is {figure:g} for every turning joint: an exporter's default? Look it up before you rely on it"
