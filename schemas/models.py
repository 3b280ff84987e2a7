"""Robot models: what a maker declares of a robot's joints; never guesses a limit nobody wrote down (NaN = unknown)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from kinestream.schemas.errors import UnknownModelError
from kinestream.schemas.nearest import nearest

Array = npt.NDArray[np.float64]

_FOLDER = files("kinestream.schemas") / "robots"
_LIMITS = ("lower", "upper", "velocity", "effort")


@dataclass(frozen=True, slots=True, eq=False)
class JointLimits:
    """Limits of some joints, float64 (J,), NaN where unknown; rad, rad/s, Nm, or m, m/s, N for prismatic joints."""

    joints: tuple[str, ...]
    lower: Array
    upper: Array
    velocity: Array
    effort: Array


@dataclass(frozen=True, slots=True)
class Joint:
    """One joint as its maker describes it; ``None`` = unknown, ``mimic`` = the joint it only follows."""

    name: str
    type: str
    unit: str
    lower: float | None
    upper: float | None
    velocity: float | None
    effort: float | None
    mimic: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a description was read."""

    repo: str
    commit: str
    path: str
    licence: str


@dataclass(frozen=True, slots=True)
class Dialect:
    """Another naming of a model's joints, and who uses it."""

    name: str
    source: str
    joints: Mapping[str, str]


@dataclass(frozen=True, slots=True, eq=False)
class RobotModel:
    """One robot model; the arrays are float64 (J,) over ``joint_names``, NaN = unknown.

    ``joint_names`` are the actuated joints in the maker's order; ``joints`` also holds those that only follow another.
    ``version`` is the model_id and 12 hex digits of SHA-256 over the joints: another limit is another version.
    """

    model_id: str
    version: str
    maker: str
    model: str
    category: str
    joints: tuple[Joint, ...]
    source: Source
    dialects: tuple[Dialect, ...]
    #: what a reader of the description should know, a sentence each
    notes: tuple[str, ...]
    joint_names: tuple[str, ...]
    lower: Array
    upper: Array
    velocity: Array
    effort: Array

    def limits(self, joints: Sequence[str]) -> JointLimits:
        """Limits of ``joints`` in the order given; NaN where this model does not know the joint."""
        return _limits(self.joints, joints)

    def canonical(self, name: str) -> str | None:
        """The model's own name of a joint called ``name`` in any known dialect; ``None`` if nobody calls it so."""
        if any(joint.name == name for joint in self.joints):
            return name
        return next((d.joints[name] for d in self.dialects if name in d.joints), None)


#: Letters in order that an id near another shares with it: ids are long, and people know a word of them.
_NEAR_ID: Final = 0.5


@cache
def model_ids() -> tuple[str, ...]:
    """Every described model, sorted."""
    return tuple(sorted(f.name.removesuffix(".json") for f in _FOLDER.iterdir() if f.name.endswith(".json")))


@cache
def load_model(model_id: str) -> RobotModel:
    """The description of ``model_id``; raises :class:`UnknownModelError` naming the nearest ones."""
    if model_id not in model_ids():
        near = nearest(model_id, model_ids(), 5, _NEAR_ID)
        raise UnknownModelError(
            f"robot model {model_id!r} is not described; "
            + (f"near it: {', '.join(near)}" if near else f"there are {len(model_ids())}, such as {model_ids()[0]}")
            + " (`kinestream robots list` shows all)"
        )
    return model_of(json.loads((_FOLDER / f"{model_id}.json").read_text(encoding="utf-8")))


def find_model(model_id: str) -> RobotModel | None:
    """As :func:`load_model`; ``None`` for a model nobody has described, which is no fault of the data."""
    return load_model(model_id) if model_id in model_ids() else None


class Models:
    """The described models, and those registered over them: what is registered last is in force."""

    def __init__(self) -> None:
        self._versions: dict[str, RobotModel] = {}
        self._in_force: dict[str, tuple[int, RobotModel]] = {}

    def register(self, model: RobotModel, broker_ms: int = 0) -> None:
        """``model`` is what its id stands for, unless one was registered later; all versions stay known."""
        self._versions[model.version] = model
        if broker_ms >= self._in_force.get(model.model_id, (broker_ms, model))[0]:
            self._in_force[model.model_id] = broker_ms, model

    def find(self, model_id: str, version: str | None = None) -> RobotModel | None:
        """The model in force, or the ``version`` named if it is known ("": none); ``None``: nobody described it."""
        if version is not None and not version:
            return None
        described = find_model(model_id)
        if version is not None and described is not None and described.version == version:
            return described
        known = self._versions.get(version or "")
        return known or self._in_force.get(model_id, (0, described))[1]

    def registered(self) -> tuple[RobotModel, ...]:
        """What is registered and in force, by id."""
        return tuple(self._in_force[model_id][1] for model_id in sorted(self._in_force))


def model_of(described: Mapping[str, Any]) -> RobotModel:
    """A model from the content of its file, taken as it is."""
    joints = tuple(_joint(joint) for joint in described["joints"])
    names = tuple(joint.name for joint in joints if not joint.mimic)
    limits = _limits(joints, names)
    return RobotModel(
        model_id=described["model_id"],
        version=f"{described['model_id']}@{_digest(joints)}",
        maker=described["maker"],
        model=described["model"],
        category=described["category"],
        joints=joints,
        source=Source(**described["source"]),
        dialects=tuple(Dialect(name, **dialect) for name, dialect in described["aliases"].items()),
        notes=tuple(described.get("notes", ())),
        joint_names=names,
        lower=limits.lower,
        upper=limits.upper,
        velocity=limits.velocity,
        effort=limits.effort,
    )


def _joint(described: Mapping[str, Any]) -> Joint:
    """With limits as float64: 1 and 1.0 are one limit, and one version."""
    limits = {limit: None if described[limit] is None else float(described[limit]) for limit in _LIMITS}
    return Joint(**{**described, **limits})


def _digest(joints: Sequence[Joint]) -> str:
    return hashlib.sha256(json.dumps([astuple(joint) for joint in joints]).encode()).hexdigest()[:12]


def _limits(described: Sequence[Joint], names: Sequence[str]) -> JointLimits:
    by_name = {joint.name: joint for joint in described}
    columns = {limit: _column([getattr(by_name.get(name), limit, None) for name in names]) for limit in _LIMITS}
    return JointLimits(tuple(names), **columns)


def _column(values: Sequence[float | None]) -> Array:
    column = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    column.flags.writeable = False  # a cached model is shared by every caller
    return column
