"""The default classes of an MJCF (mujoco.readthedocs.io, "Default settings"); knows no joint."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from xml.etree.ElementTree import Element

from kinestream.schemas.errors import ModelError

Attributes = dict[str, str]
#: Every shortcut for an actuator sets, and takes, the defaults of one and the same element.
ACTUATORS: Final = (
    "general", "motor", "position", "velocity", "intvelocity", "damper", "cylinder", "muscle", "adhesion",
)  # fmt: skip
_MAIN: Final = "main"


class Defaults:
    """Attributes an element has where it does not say them itself, by class; a class inherits from the one around."""

    def __init__(self, path: Path, roots: list[Element]) -> None:
        self._path = path
        self._classes: dict[str, dict[str, Attributes]] = {_MAIN: {}}
        for root in roots:  # sections of one name are one
            self._add(root, root.get("class") or _MAIN, self._classes[_MAIN])

    def _add(self, element: Element, name: str, around: dict[str, Attributes]) -> None:
        own = {kind: dict(attributes) for kind, attributes in (self._classes.get(name) or around).items()}
        for child in element:
            kind = kind_of(str(child.tag))
            if child.tag != "default":
                own[kind] = own.get(kind, {}) | dict(child.attrib)
        self._classes[name] = own
        for child in element.findall("default"):
            inner = child.get("class")
            if not inner:
                raise ModelError(f"{self._path}: a default within a default has no class: name it")
            self._add(child, inner, own)

    def of(self, element: Element, around: str = "") -> Attributes:
        """The element's attributes over those of its class, else of the class of the bodies ``around`` it."""
        name = element.get("class") or around or _MAIN
        if name not in self._classes:
            raise ModelError(f"{self._path}: class {name!r} of a {element.tag} is not among the defaults")
        return self._classes[name].get(kind_of(str(element.tag)), {}) | dict(element.attrib)


def kind_of(tag: str) -> str:
    """The element whose defaults ``tag`` takes."""
    return "general" if tag in ACTUATORS else tag
