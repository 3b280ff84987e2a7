"""What is known of a take before its first frame: the labels of an EpisodeStart; never anything measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from numbers import Real
from typing import Any, TypedDict

from kinestream.schemas.errors import ContractError
from kinestream.schemas.texts import is_text

SCENE_LEVELS = ("UNKNOWN", "L1", "L2", "L3", "L4")


class EpisodeLabels(TypedDict, total=False):
    """Keywords of ``Robot.episode``; see :class:`Labels` for each."""

    skill: str
    area: str
    operator: str
    task: str
    site: str
    station: str
    job: str
    subtasks: Sequence[str]
    scene_level: str
    object_variation: str
    scene_variation: str
    calibration_id: str
    licence: str
    source: str
    source_started_at_ns: int | None
    nominal_rate_hz: float
    stamp_resolution_ns: int
    conversions: Sequence[str]


@dataclass(frozen=True, slots=True)
class Labels:
    """Labels of one episode; raises :class:`ContractError` for a value of another kind."""

    #: skill id (schemas/skills.yaml); an unlisted one is accepted with a finding
    skill: str = ""
    #: application area id (schemas/skills.yaml)
    area: str = ""
    #: pseudonym of the trainer
    operator: str = ""
    #: what is to be done, in words
    task: str = ""
    #: where the robot stands
    site: str = ""
    #: its place at the site
    station: str = ""
    #: long job this take is a part of
    job: str = ""
    #: planned subtasks, in order
    subtasks: Sequence[str] = ()
    #: how much the scene varies: L1 to L4
    scene_level: str = "UNKNOWN"
    #: what of the objects was varied
    object_variation: str = ""
    #: what of the scene was varied
    scene_variation: str = ""
    #: calibration in force
    calibration_id: str = ""
    #: licence of the data
    licence: str = ""
    #: recording this episode is published from; empty = live
    source: str = ""
    #: first stamp of that recording, ns since the epoch, UTC
    source_started_at_ns: int | None = None
    #: frames a second the robot means to send; 0 = not declared
    nominal_rate_hz: float = 0.0
    #: resolution of the stamps' source, ns
    stamp_resolution_ns: int = 1000
    #: conversions the caller made between the source's values and what it sends
    conversions: Sequence[str] = ()

    def __post_init__(self) -> None:
        for field in fields(self):
            if field.type == "str" and not is_text(getattr(self, field.name)):
                raise ContractError(f"{field.name}={getattr(self, field.name)!r}: give a text")
        if not isinstance(self.nominal_rate_hz, Real) or not 0 <= self.nominal_rate_hz < float("inf"):
            raise ContractError(f"nominal_rate_hz={self.nominal_rate_hz!r}: give frames a second, 0 = not declared")
        if self.scene_level not in SCENE_LEVELS:
            raise ContractError(f"scene_level={self.scene_level!r}: allowed are {', '.join(SCENE_LEVELS)}")
        for name in ("subtasks", "conversions"):
            if isinstance(getattr(self, name), str) or not all(map(is_text, getattr(self, name))):
                raise ContractError(f"{name}={getattr(self, name)!r}: give a list of texts")

    def to_avro(self) -> dict[str, Any]:
        """The fields of an EpisodeStart that are labels."""
        values = asdict(self)
        values["subtasks"] = list(self.subtasks)
        values["conversions"] = list(self.conversions)
        values["nominal_rate_hz"] = float(self.nominal_rate_hz)
        return values
