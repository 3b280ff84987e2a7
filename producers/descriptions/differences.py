"""What differs between two descriptions of a robot, joint by joint; says nothing of which is right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from kinestream.schemas.models import Joint, RobotModel

_FIELDS: Final = ("type", "lower", "upper", "velocity", "effort", "mimic")


@dataclass(frozen=True, slots=True)
class Difference:
    """One value that is another: ``joint`` empty where it is of the whole model; ``None`` = unknown or not there."""

    joint: str
    field: str
    first: Any
    second: Any


def differences(first: RobotModel, second: RobotModel) -> list[Difference]:
    """In the order of the first model's joints, then those only the second has, then the model's own fields."""
    ours = {joint.name: joint for joint in first.joints}
    theirs = {joint.name: joint for joint in second.joints}
    found = []
    for name in dict.fromkeys((*ours, *theirs)):
        found += _of_joint(name, ours.get(name), theirs.get(name))
    shared = [name for name in ours if name in theirs]
    if shared != [name for name in theirs if name in ours]:
        orders = (list(model.joint_names) for model in (first, second))
        found.append(Difference("", "order", *orders))
    for field in ("model_id", "maker", "model", "category"):
        if getattr(first, field) != getattr(second, field):
            found.append(Difference("", field, getattr(first, field), getattr(second, field)))
    return found


def _of_joint(name: str, ours: Joint | None, theirs: Joint | None) -> list[Difference]:
    if ours is None or theirs is None:
        return [Difference(name, "joint", ours and ours.type, theirs and theirs.type)]
    return [
        Difference(name, field, getattr(ours, field), getattr(theirs, field))
        for field in _FIELDS
        if getattr(ours, field) != getattr(theirs, field)
    ]
