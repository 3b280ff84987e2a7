"""The vocabulary of labels: skills, areas, subtasks and scene levels of skills.yaml; never refuses an unlisted id."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.resources import files
from typing import Any

from kinestream.schemas.errors import SettingError


@dataclass(frozen=True, slots=True)
class Term:
    """One id of the vocabulary and its names in English and Chinese; an id never changes its meaning."""

    id: str
    en: str
    zh: str
    #: of a skill: the areas it is typical of; empty = all of them
    areas: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """All of skills.yaml, each list in the order of the file."""

    version: int
    areas: tuple[Term, ...]
    skills: tuple[Term, ...]
    subtasks: tuple[Term, ...]
    scene_levels: tuple[Term, ...]

    def skill(self, skill_id: str) -> Term | None:
        """The skill of that id; ``None`` if it is not listed."""
        return next((term for term in self.skills if term.id == skill_id), None)

    def skills_of(self, area_id: str) -> tuple[Term, ...]:
        """The skills typical of an area."""
        return tuple(term for term in self.skills if not term.areas or area_id in term.areas)

    def area(self, area_id: str) -> Term | None:
        """The area of that id; ``None`` if it is not listed."""
        return next((term for term in self.areas if term.id == area_id), None)


@cache
def load_skills() -> Vocabulary:
    """Read skills.yaml; raises :class:`SettingError` where PyYAML is not installed (a robot does without it)."""
    try:
        yaml: Any = import_module("yaml")
    except ImportError as missing:
        raise SettingError(
            "the list of skills is YAML and PyYAML is not installed: pip install 'kinestream[cli]'"
        ) from missing
    content = yaml.safe_load((files("kinestream.schemas") / "skills.yaml").read_text(encoding="utf-8"))
    terms = {name: tuple(_term(**row) for row in rows) for name, rows in content.items() if name != "version"}
    return Vocabulary(version=content["version"], **terms)


def _term(*, areas: Sequence[str] = (), **names: str) -> Term:
    return Term(**names, areas=tuple(areas))
