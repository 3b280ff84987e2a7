"""Which metrics a take cannot be judged by for lack of limits: one answer for every command; it judges nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from kinestream.schemas.layout import JOINT_CHANNELS
from kinestream.schemas.models import Joint, RobotModel

#: Metric -> what of a description it needs (its joints' order, or a limit), and the channel it also needs.
_NEEDS: Final = {
    "I2": ("joints", ""),
    "I3": ("position", ""),
    "I4": ("velocity", "velocity"),
    "I5": ("effort", "effort"),
    "I5.saturated": ("effort", "effort"),
    "I6": ("position", "command"),
    "I8": ("velocity", ""),
    "I9": ("velocity", ""),
}


def lacking(model: RobotModel | None, channels: Collection[str] = JOINT_CHANNELS) -> dict[str, tuple[str, ...]]:
    """Metric -> joints of a robot it is not judged of in a take that measures ``channels``.

    ``model`` is None for a robot nobody has described: no metric of those that need one is judged, and it has no
    joints to name. Joints that turn without end need no limits of position.
    """
    needed = {metric: limit for metric, (limit, channel) in _NEEDS.items() if not channel or channel in channels}
    if model is None:
        return dict.fromkeys(needed, ())
    found = {metric: _without(model, limit) for metric, limit in needed.items()}
    return {metric: joints for metric, joints in found.items() if joints}


def limit_of(metric: str) -> str:
    """What of a description ``metric`` needs: joints, position, velocity or effort."""
    return _NEEDS[metric][0]


def lack_limits(metrics: Iterable[str], channels: Collection[str]) -> tuple[str, ...]:
    """Those of ``metrics`` of a take of a robot nobody described that its description would have judged."""
    lacked = lacking(None, channels)
    return tuple(metric for metric in metrics if metric in lacked)


def _without(model: RobotModel, limit: str) -> tuple[str, ...]:
    if limit == "joints":
        return ()
    return tuple(joint.name for joint in model.joints if not joint.mimic and _unknown(joint, limit))


def _unknown(joint: Joint, limit: str) -> bool:
    if limit == "position":
        return joint.type != "continuous" and None in (joint.lower, joint.upper)
    return (joint.velocity if limit == "velocity" else joint.effort) is None
