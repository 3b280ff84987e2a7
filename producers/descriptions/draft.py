"""From a URDF or MJCF to a draft in the project's own form; a person reviews it before it is registered."""

from __future__ import annotations

import hashlib
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kinestream.producers.descriptions.found import Found
from kinestream.producers.descriptions.mjcf import read_mjcf
from kinestream.producers.descriptions.placeholders import settle
from kinestream.producers.descriptions.urdf import read_urdf
from kinestream.producers.descriptions.xml_file import read_xml
from kinestream.schemas.errors import ModelError
from kinestream.schemas.model_files import UNITS, checked
from kinestream.schemas.models import RobotModel

_READERS = {"robot": read_urdf, "mujoco": read_mjcf}


@dataclass(frozen=True, slots=True)
class Labels:
    """What a description does not say of itself; empty = made of what it says."""

    maker: str = ""
    model: str = ""
    category: str = ""
    model_id: str = ""
    licence: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Draft:
    """A model that nobody has reviewed yet; its ``notes`` say what was left out or is not known."""

    format: str
    model: RobotModel


def import_description(path: Path, labels: Labels | None = None, *, keep_turns: bool = False) -> Draft:
    """Read a URDF or MJCF; raises :class:`ModelError`, in one sentence, for what is neither or contradicts itself."""
    root = read_xml(path)
    reader = _READERS.get(str(root.tag))
    if reader is None:
        raise ModelError(f"{path} is <{str(root.tag)[:40]}>: a URDF begins with <robot>, an MJCF with <mujoco>")
    found = reader(path, root)
    if not found.joints:
        raise ModelError(f"{path} has no joint that moves: {'; '.join(found.notes) or 'nothing to describe'}")
    found.notes += settle(found.joints, keep_turns)
    return Draft(found.format, checked(_content(path, found, labels or Labels()), str(path)))


def _content(path: Path, found: Found, labels: Labels) -> dict[str, Any]:
    maker = labels.maker or "unknown"
    model = labels.model or found.name or path.stem
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    return {
        "model_id": labels.model_id or re.sub(r"[^a-z0-9]+", "-", f"{maker} {model}".lower()).strip("-"),
        "maker": maker,
        "model": model,
        "category": labels.category or "unknown",
        "source": {
            "repo": "file",
            "commit": f"{digest} (sha256/16)",
            "path": path.name,
            "licence": labels.licence or "not stated",
        },
        "notes": found.notes,
        "aliases": {},
        "joints": [
            {k: v for k, v in asdict(joint).items() if k != "mimic" or v} | {"unit": UNITS[joint.type]}
            for joint in found.joints
        ],
    }
