"""The joints of a URDF (wiki.ros.org/urdf/XML/joint); reads no mesh and judges no limit."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from xml.etree.ElementTree import Element

from kinestream.producers.descriptions.found import Found, FoundJoint, number, some
from kinestream.schemas.errors import ModelError

_DRIVEN: Final = ("revolute", "continuous", "prismatic")
_LEFT_OUT: Final = ("floating", "planar")


def read_urdf(path: Path, root: Element) -> Found:
    """A ``robot`` element's joints, fixed ones left out; raises :class:`ModelError` naming joint and attribute."""
    xacro = next((e.tag for e in root.iter() if str(e.tag).startswith("xacro:")), "")
    if xacro:
        raise ModelError(f"{path} is a xacro ({xacro}): make a URDF of it first: xacro {path.name} > robot.urdf")
    found = Found("URDF", root.get("name", ""))
    others: dict[str, list[str]] = {}
    for element in root.findall("joint"):  # not deeper: a transmission names joints too
        name, kind = element.get("name", ""), element.get("type", "")
        if not name:
            raise ModelError(f"{path}: a joint of type {kind!r} has no name: name it")
        if kind in _DRIVEN:
            found.joints.append(_joint(path, element, name, kind))
        elif kind in _LEFT_OUT:
            others.setdefault(kind, []).append(name)
        elif kind != "fixed":
            raise ModelError(f"{path}: joint {name!r} is of type {kind!r}: URDF has {', '.join(_DRIVEN)} and fixed")
    found.notes += [f"{some(names)}: {kind}, left out: no joint with one value" for kind, names in others.items()]
    return found


def _joint(path: Path, element: Element, name: str, kind: str) -> FoundJoint:
    joint = FoundJoint(name, kind)
    limit = element.find("limit")
    for what in ("lower", "upper", "velocity", "effort") if limit is not None else ():
        text = limit.get(what) if limit is not None else None
        if text is not None and not (kind == "continuous" and what in ("lower", "upper")):
            setattr(joint, what, number(text, f"{path}: {what} of joint {name!r}"))
    if (joint.lower is None) != (joint.upper is None):  # the format's own default: 0 where one of the two is left out
        joint.lower, joint.upper = joint.lower or 0.0, joint.upper or 0.0
    mimic = element.find("mimic")
    if mimic is not None:
        joint.mimic = mimic.get("joint", "")
        if not joint.mimic:
            raise ModelError(f"{path}: joint {name!r} follows no named joint: give <mimic joint=...>")
    return joint
