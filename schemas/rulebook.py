"""Rules of judging as data: which thresholds apply to a model, skill and subtask, and their version. Judges nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache, lru_cache
from importlib import import_module
from importlib.resources import files
from math import isfinite
from typing import Any, Final

from kinestream.schemas.errors import RulesError, SettingError

_FOLDER: Final = files("kinestream.schemas") / "rules"
CLASSES: Final = {"gate": "G", "risk": "R", "information": "I"}
_GLOBAL: Final = {"name", "version", "required", "classes", "thresholds"}
_OVERLAY: Final = {"name", "version", "required", "thresholds"}


@dataclass(frozen=True, slots=True)
class RuleSet:
    """What applies: ``thresholds`` by name, ``classes`` (metric to G, R or I), ``required`` metrics.

    ``version`` is the names of the files and 12 hex digits of SHA-256 over all that applies.
    """

    version: str
    required: tuple[str, ...]
    classes: Mapping[str, str]
    thresholds: Mapping[str, float]


@lru_cache(maxsize=1024)  # skills are what robots say: any text
def load_rules(model_id: str = "", skill: str = "", subtask: str = "") -> RuleSet:
    """The committed rules; an overlay of the model, the skill or ``<skill>.<subtask>`` applies where its file exists.

    Raises :class:`RulesError` naming file, key and what is allowed.
    """
    overlays = (("models", model_id), ("skills", skill), ("subtasks", f"{skill}.{subtask}" if subtask else ""))
    found = [f"{folder}/{name}.yaml" for folder, name in overlays if name and f"{name}.yaml" in _there(folder)]
    return join_rules([(name, (_FOLDER / name).read_text(encoding="utf-8")) for name in ("global.yaml", *found)])


@cache
def _there(folder: str) -> frozenset[str]:
    """File names of a folder; a label comes from outside and must never become a path."""
    place = _FOLDER / folder
    return frozenset(file.name for file in place.iterdir()) if place.is_dir() else frozenset()


def join_rules(texts: Iterable[tuple[str, str]]) -> RuleSet:
    """Rules from YAML documents as (file name, text), the first of which is whole and the others override it."""
    documents = [(name, _parse(name, text)) for name, text in texts]
    (whole_name, whole), *overlays = documents
    _keys(whole_name, whole, _GLOBAL, _GLOBAL)
    classes = _classes(whole_name, whole["classes"])
    thresholds = _numbers(whole_name, whole["thresholds"], None)
    required = _required(whole_name, whole["required"], classes)
    for name, overlay in overlays:
        _keys(name, overlay, {"name", "version"}, _OVERLAY)
        thresholds |= _numbers(name, overlay.get("thresholds") or {}, thresholds)
        required = tuple(dict.fromkeys((*required, *_required(name, overlay.get("required") or [], classes))))
    _order(documents[-1][0], thresholds)
    content = json.dumps([required, classes, thresholds], sort_keys=True).encode()
    label = "+".join(f"{document['name']}-{document['version']}" for _, document in documents)
    return RuleSet(f"{label}@{hashlib.sha256(content).hexdigest()[:12]}", required, classes, thresholds)


def _parse(name: str, text: str) -> dict[str, Any]:
    try:
        yaml: Any = import_module("yaml")
    except ImportError as missing:
        raise SettingError("rules are YAML and PyYAML is not installed: pip install 'kinestream[worker]'") from missing
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as broken:
        raise RulesError(f"{name} is not YAML: {broken}") from broken
    if not isinstance(document, dict):
        raise RulesError(
            f"{name} holds {type(document).__name__}: a mapping with name, version and thresholds is needed"
        )
    return document


def _keys(name: str, document: Mapping[str, Any], needed: set[str], allowed: set[str]) -> None:
    if absent := sorted(needed - document.keys()):
        raise RulesError(f"{name} lacks {', '.join(absent)}: add it")
    if alien := sorted(map(str, document.keys() - allowed)):
        raise RulesError(f"{name} has {', '.join(alien)}: allowed are {', '.join(sorted(allowed))}")
    if not isinstance(document["version"], int) or not isinstance(document["name"], str) or not document["name"]:
        raise RulesError(
            f"{name}: name {document['name']!r} must be text and version {document['version']!r} an integer"
        )


def _classes(name: str, given: Any) -> dict[str, str]:
    if not isinstance(given, dict) or set(given) != set(CLASSES):
        raise RulesError(f"{name}: classes must list metrics under {', '.join(CLASSES)}, not {given!r}")
    classes: dict[str, str] = {}
    for kind, metrics in given.items():
        for metric in metrics:
            if metric in classes:
                raise RulesError(f"{name}: metric {metric} stands in two classes: keep one")
            classes[metric] = CLASSES[kind]
    return classes


def _required(name: str, given: Any, classes: Mapping[str, str]) -> tuple[str, ...]:
    if not isinstance(given, list):
        raise RulesError(f"{name}: required is {given!r}: a list of metrics such as [T5, I1] is needed")
    if alien := [metric for metric in given if metric not in classes]:
        raise RulesError(f"{name}: required metric {alien[0]!r} is not one of {', '.join(classes)}")
    return tuple(given)


def _numbers(name: str, given: Any, known: Mapping[str, float] | None) -> dict[str, float]:
    if not isinstance(given, dict):
        raise RulesError(f"{name}: thresholds is {given!r}: names with numbers are needed")
    for key, value in given.items():
        if known is not None and key not in known:
            near = get_close_matches(str(key), known, n=3)
            raise RulesError(
                f"{name}: there is no threshold {key!r}" + (f"; near it: {', '.join(near)}" if near else "")
            )
        if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value) or value < 0:
            raise RulesError(f"{name}: threshold {key} is {value!r}: a finite number of at least 0 is needed")
        if known is not None and isinstance(known[key], int) and not isinstance(value, int):
            raise RulesError(f"{name}: threshold {key} is {value!r}: it counts, so a whole number is needed")
    return dict(given)


def _order(name: str, thresholds: Mapping[str, float]) -> None:
    for key, value in thresholds.items():
        stem, _, kind = key.rpartition("_suspect")
        fail = thresholds.get(f"{stem}_fail{kind}") if stem else None
        if fail is not None and value > fail:
            raise RulesError(f"{name}: {key} is {value} and fails at {fail} already: SUSPECT must come first")
