"""XML of strangers, bounded: no DTD, no entities, so many bytes, elements and levels; knows no robot.

Python's own expat with four bounds, and no package: what URDF and MJCF parsers on offer add are meshes and physics
(yourdfpy needs trimesh, mujoco is a physics engine of 20 MB that wants every mesh to be there, urdf-parser-py has not
been kept for years), and defusedxml, last released in 2021, does what the one handler here does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from kinestream.schemas.errors import ModelError

#: Bytes of a file, its elements, and how deep they stand within each other; descriptions seen have a hundredth.
MOST_BYTES: Final = 16_000_000
MOST_ELEMENTS: Final = 100_000
MOST_LEVELS: Final = 500
_PIECE: Final = 65_536


def read_xml(path: Path) -> Element:
    """The root of a file's elements, without their text; raises :class:`ModelError` in one sentence."""
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise ModelError(f"{path} has {size:,} bytes: a description of a robot has at most {MOST_BYTES:,}")
        with path.open("rb") as file:
            return _Bounded(path).parse(file)
    except OSError as problem:
        raise ModelError(f"{path} cannot be read: {problem.strerror or problem}") from problem


class _Bounded:
    def __init__(self, path: Path) -> None:
        self._path, self._builder = path, TreeBuilder()
        self._elements = self._level = 0

    def parse(self, file: Any) -> Element:
        parser = expat.ParserCreate()
        parser.StartDoctypeDeclHandler = self._refuse_doctype
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        try:
            while piece := file.read(_PIECE):
                parser.Parse(piece, False)
            parser.Parse(b"", True)
        except (expat.ExpatError, ValueError, LookupError) as problem:  # an encoding nobody knows is a LookupError
            raise ModelError(f"{self._path} is no whole XML file ({problem}): export it anew") from problem
        return self._builder.close()

    def _refuse_doctype(self, name: str, *_: Any) -> None:
        raise ModelError(
            f"{self._path} declares a document type ({name[:80]}), which can hold entities: neither URDF nor MJCF has"
            " one; remove it"
        )

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self._elements += 1
        self._level += 1
        if self._elements > MOST_ELEMENTS:
            raise ModelError(f"{self._path} has more than {MOST_ELEMENTS:,} elements: no robot has")
        if self._level > MOST_LEVELS:
            raise ModelError(f"{self._path} has elements more than {MOST_LEVELS} levels deep: no robot has")
        self._builder.start(tag, attributes)

    def _end(self, tag: str) -> None:
        self._level -= 1
        self._builder.end(tag)
