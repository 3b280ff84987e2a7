"""What a description says of joints, before anybody asks whether it is true; reads no file."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite

from kinestream.schemas.errors import ModelError


@dataclass(slots=True)
class FoundJoint:
    """One joint as its source has it, in rad, m, Nm and N; ``None`` where it says nothing."""

    name: str
    #: revolute, continuous or prismatic
    type: str
    lower: float | None = None
    upper: float | None = None
    velocity: float | None = None
    effort: float | None = None
    #: the joint it only follows
    mimic: str = ""


@dataclass(slots=True)
class Found:
    """A robot as its source has it; ``joints`` in the order of the source."""

    format: str
    name: str
    joints: list[FoundJoint] = field(default_factory=list)
    #: what was left out or could not be taken, a sentence each
    notes: list[str] = field(default_factory=list)


def number(text: str, what: str) -> float | None:
    """A number as it stands, ``None`` for one that is infinite or none; raises :class:`ModelError` for other text."""
    try:
        value = float(text)
    except ValueError as problem:
        raise ModelError(f"{what} is {text[:40]!r}: a number is needed") from problem
    return value if isfinite(value) else None


def some(names: list[str], most: int = 6) -> str:
    """A few of many names."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
