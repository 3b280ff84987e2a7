"""The joints of an MJCF (mujoco.readthedocs.io, "XML reference"); simulates nothing and judges no limit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import pi
from pathlib import Path
from typing import Final
from xml.etree.ElementTree import Element

from kinestream.producers.descriptions.found import Found, FoundJoint, number, some
from kinestream.producers.descriptions.mjcf_defaults import ACTUATORS, Attributes, Defaults
from kinestream.producers.descriptions.xml_file import MOST_ELEMENTS, read_xml
from kinestream.schemas.errors import ModelError

_TYPES: Final = {"hinge": "revolute", "slide": "prismatic"}
#: What stands for elements that only MuJoCo itself writes out.
_MADE: Final = ("replicate", "attach", "composite", "flexcomp")
_MOST_FILES: Final = 50


@dataclass(frozen=True, slots=True)
class _Compiler:
    degrees: bool
    autolimits: bool

    @classmethod
    def of(cls, root: Element) -> _Compiler:
        said: Attributes = {}
        for element in root.findall("compiler"):
            said |= element.attrib
        return cls(said.get("angle", "degree") == "degree", said.get("autolimits", "true") == "true")


def read_mjcf(path: Path, root: Element) -> Found:
    """A ``mujoco`` element's hinges and slides, depth first as MuJoCo orders them; includes of its folder are read.

    Raises :class:`ModelError` naming joint and attribute, or what has to be written out by MuJoCo first.
    """
    _include(path, root, [path.resolve()])
    made = next((str(e.tag) for world in root.findall("worldbody") for e in world.iter() if e.tag in _MADE), "")
    if made:
        raise ModelError(f"{path} has <{made}>, which only MuJoCo can expand: save it with mj_saveLastXML first")
    return _Reader(path, root).found()


def _include(path: Path, root: Element, read: list[Path]) -> None:
    """Put the content of included files where they are named; each once, and only from the file's own folder."""
    folder = path.resolve().parent
    for parent in list(root.iter()):
        for place, element in reversed(list(enumerate(parent))):
            if element.tag != "include":
                continue
            other = (folder / element.get("file", "")).resolve()
            if folder not in other.parents or not other.is_file():
                said = element.get("file", "")[:80]
                raise ModelError(f"{path} includes {said!r}, which is not in its folder: copy it there")
            if other in read or len(read) >= _MOST_FILES:
                raise ModelError(f"{path} includes {other.name} again: MJCF includes a file once")
            read.append(other)
            included = read_xml(other)
            _include(path, included, read)
            parent[place : place + 1] = list(included)
            if sum(1 for _ in root.iter()) > MOST_ELEMENTS:
                raise ModelError(f"{path} and what it includes have more than {MOST_ELEMENTS:,} elements: no robot has")


class _Reader:
    def __init__(self, path: Path, root: Element) -> None:
        self._path, self._root = path, root
        self._compiler = _Compiler.of(root)
        self._defaults = Defaults(path, root.findall("default"))
        self._found = Found("MJCF", root.get("model", ""))
        self._free: list[str] = []

    def found(self) -> Found:
        found = self._found
        for world in self._root.findall("worldbody"):
            for element, around in self._joints(world, ""):
                self._add(element, around)
        if self._free:
            found.notes.append(f"{some(self._free)}: free or ball, left out: no joint with one value")
        joints = {joint.name: joint for joint in found.joints}
        self._follow(joints)
        self._drive(joints)
        return found

    def _joints(self, body: Element, around: str) -> Iterator[tuple[Element, str]]:
        """Those of a body, then those of the bodies within it; a frame is no body."""
        bodies: list[tuple[Element, str]] = []
        yield from self._own(body, around, bodies)
        for child, name in bodies:
            yield from self._joints(child, name)

    def _own(self, element: Element, around: str, bodies: list[tuple[Element, str]]) -> Iterator[tuple[Element, str]]:
        for child in element:
            name = child.get("childclass") or around
            if child.tag == "joint":
                yield child, around
            elif child.tag == "freejoint":
                self._free.append(child.get("name") or element.get("name", "") or "freejoint")
            elif child.tag == "frame":
                yield from self._own(child, name, bodies)
            elif child.tag == "body":
                bodies.append((child, name))

    def _add(self, element: Element, around: str) -> None:
        said = self._defaults.of(element, around)
        name, kind = said.get("name", ""), said.get("type", "hinge")
        if kind in ("free", "ball"):
            self._free.append(name or kind)
            return
        if kind not in _TYPES or not name:
            what = f"is of type {kind!r}: MJCF has hinge, slide, ball and free" if name else "has no name: name it"
            raise ModelError(f"{self._path}: a joint {name!r} {what}")
        joint = FoundJoint(name, _TYPES[kind])
        limits = self._range(said, "range", "limited", name)
        scale = pi / 180 if self._compiler.degrees and kind == "hinge" else 1.0
        joint.lower, joint.upper = (None if x is None else x * scale for x in limits)
        joint.effort = _largest(self._range(said, "actuatorfrcrange", "actuatorfrclimited", name))
        self._found.joints.append(joint)

    def _range(self, said: Attributes, name: str, switch: str, whose: str) -> tuple[float | None, float | None]:
        """A range that holds: one switched on, or given where limits are automatic; else (None, None)."""
        on = said.get(switch, "auto")
        if name not in said or on == "false" or (on == "auto" and not self._compiler.autolimits):
            return None, None
        words = said[name].split()
        if len(words) != 2:
            raise ModelError(f"{self._path}: {name} of {whose!r} is {said[name][:40]!r}: two numbers are needed")
        return (number(words[0], f"{self._path}: {name} of {whose!r}"),
                number(words[1], f"{self._path}: {name} of {whose!r}"))  # fmt: skip

    def _follow(self, joints: dict[str, FoundJoint]) -> None:
        """Joints that an equality ties to another one."""
        for tie in (e for section in self._root.findall("equality") for e in section.findall("joint")):
            said = self._defaults.of(tie)
            first, second = said.get("joint1", ""), said.get("joint2", "")
            if said.get("active", "true") == "true" and first in joints and second in joints:
                joints[first].mimic = second

    def _drive(self, joints: dict[str, FoundJoint]) -> None:
        """What actuators can do at most; the least of what several places say."""
        unclear = []
        for element in (e for section in self._root.findall("actuator") for e in section if e.tag in ACTUATORS):
            said = self._defaults.of(element)
            joint = joints.get(said.get("joint") or said.get("jointinparent") or "")
            if joint is None:
                continue
            name = said.get("name", joint.name)
            gear = abs(number((said.get("gear", "1").split() or ["1"])[0], f"{self._path}: gear of {name!r}") or 1.0)
            force = _largest(self._range(said, "forcerange", "forcelimited", name))
            control = self._range(said, "ctrlrange", "ctrllimited", name)
            if element.tag == "motor":  # its gain is 1: what it is told is its force
                force = _least(force, _largest(control))
            elif element.tag == "position" and joint.lower is None and control != (None, None):
                unclear.append(joint.name)
            joint.effort = _least(joint.effort, None if force is None else force * gear)
        if unclear:
            self._found.notes.append(
                f"{some(unclear)}: only the commands of the actuator are limited (ctrlrange), not the joint; unknown"
            )


def _largest(limits: tuple[float | None, float | None]) -> float | None:
    known = [abs(x) for x in limits if x is not None]
    return max(known) if len(known) == 2 else None


def _least(one: float | None, other: float | None) -> float | None:
    known = [x for x in (one, other) if x is not None]
    return min(known) if known else None
