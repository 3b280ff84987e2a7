"""Rules of judging as data: which thresholds apply to a model, skill and subtask, and their version. Judges nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from kinestream.schemas.errors import RulesError
from kinestream.schemas.rule_files import (
    OVERLAY,
    SCOPES,
    WHOLE,
    RuleFile,
    check_keys,
    numbers,
    overlay,
    parse,
    read_rules,
)

_FOLDER: Final = files("kinestream.schemas") / "rules"
CLASSES: Final = {"gate": "G", "risk": "R", "information": "I"}


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
def load_rules(model_id: str = "", skill: str = "", subtask: str = "", overlays: str = "") -> RuleSet:
    """The committed rules, overridden by those for the model, the skill and ``<skill>.<subtask>`` where there are any.

    ``overlays``: further ones, as :func:`read_overlays` gives them: in each scope they override the committed.
    Raises :class:`RulesError` naming file, key and what is allowed.
    """
    return _join([_whole(), *_overriding(model_id, skill, subtask, _unpacked(overlays))])


def _overriding(model_id: str, skill: str, subtask: str, further: Iterable[RuleFile]) -> list[RuleFile]:
    """What overrides the global rules, in order: of each scope the committed, then the further ones."""
    whose = _whose(model_id, skill, subtask)
    return [one for scope, of in whose.items() for one in (*_committed(scope, of), *_for(further, scope, of))]


def read_overlays(path: Path | str) -> str:
    """Rules of a file, or of a folder laid out as schemas/rules, as one line of text that :func:`load_rules` takes.

    The same rules give the same text. Raises :class:`RulesError` for any that could not be applied.
    """
    packed = _packed(found := read_rules(Path(path)))
    places = [one.of.partition(".") for one in found if one.scope in ("skill", "subtask")]
    for model_id in {"", *(one.of for one in found if one.scope == "model")}:
        for skill, _, subtask in [("", "", ""), *places]:
            _join([_whole(), *_overriding(model_id, skill, subtask, found)])
    return packed


def check_overlays(overlays: str) -> None:
    """Raises :class:`RulesError` for text that :func:`load_rules` would not take, whatever the episode."""
    for one in _unpacked(overlays):
        _join([_whole(), one])


@lru_cache(maxsize=1024)
def overlays_for(overlays: str, model_id: str = "", skill: str = "", subtask: str = "") -> str:
    """Of ``overlays`` those that apply to an episode."""
    whose = _whose(model_id, skill, subtask)
    return _packed([one for one in _unpacked(overlays) if whose[one.scope] == one.of])


def _whose(model_id: str, skill: str, subtask: str) -> dict[str, str | None]:
    """What rules of each scope must be for; None: none can be."""
    part = f"{skill}.{subtask}" if subtask else None
    return {"global": "", "model": model_id or None, "skill": skill or None, "subtask": part}


def _packed(found: Iterable[RuleFile]) -> str:
    rows = [{"file": one.file, "scope": one.scope, "of": one.of, **one.content} for one in found]
    return json.dumps(rows, sort_keys=True, separators=(",", ":"))


@lru_cache(maxsize=64)
def _unpacked(overlays: str) -> tuple[RuleFile, ...]:
    """Text that came over the log is checked as a file is."""
    try:
        rows = json.loads(overlays) if overlays else []
        if not isinstance(rows, list):
            raise TypeError(f"a {type(rows).__name__}")
        found = tuple(
            RuleFile(row.pop("file"), row.pop("scope"), row.pop("of"), row) for row in (dict(one) for one in rows)
        )
    except (ValueError, TypeError, KeyError, RecursionError) as problem:
        raise RulesError(f"rules {overlays[:80]!r} are no JSON array of overlays: {problem!r}") from problem
    if alien := [one.scope for one in found if one.scope not in SCOPES]:
        raise RulesError(f"rules for a {alien[0]!r}: allowed are {', '.join(SCOPES)}")
    return found


def _for(further: Iterable[RuleFile], scope: str, of: str | None) -> list[RuleFile]:
    return [one for one in further if (one.scope, one.of) == (scope, of)]


@cache
def _whole() -> RuleFile:
    content, lines = parse("global.yaml", (_FOLDER / "global.yaml").read_text(encoding="utf-8"))
    return RuleFile("global.yaml", "global", "", content, lines)


@lru_cache(maxsize=1024)
def _committed(scope: str, of: str | None) -> tuple[RuleFile, ...]:
    """The committed overlay of a model, skill or subtask; a label comes from outside and must never become a path."""
    folder = SCOPES[scope]
    if not folder or of is None or f"{of}.yaml" not in _there(folder):
        return ()
    name = f"{folder}/{of}.yaml"
    return (overlay(name, (_FOLDER / name).read_text(encoding="utf-8"), scope, of),)


@cache
def _there(folder: str) -> frozenset[str]:
    place = _FOLDER / folder
    return frozenset(file.name for file in place.iterdir()) if place.is_dir() else frozenset()


def join_rules(texts: Iterable[tuple[str, str]]) -> RuleSet:
    """Rules from YAML documents as (file name, text), the first of which is whole and the others override it."""
    (name, text), *others = texts
    content, lines = parse(name, text)
    return _join([RuleFile(name, "global", "", content, lines), *(overlay(*one) for one in others)])


def _join(documents: list[RuleFile]) -> RuleSet:
    whole, *overlays = documents
    check_keys(whole, WHOLE, WHOLE)
    classes = _classes(whole)
    thresholds = numbers(whole, whole.content["thresholds"], None)
    required = _required(whole, whole.content["required"], classes)
    _order(whole, thresholds)
    for one in overlays:
        check_keys(one, {"name", "version"}, OVERLAY)
        thresholds |= numbers(one, one.content.get("thresholds") or {}, thresholds)
        required = tuple(dict.fromkeys((*required, *_required(one, one.content.get("required") or [], classes))))
        _order(one, thresholds)
    content = json.dumps([required, classes, thresholds], sort_keys=True).encode()
    label = "+".join(f"{one.content['name']}-{one.content['version']}" for one in documents)
    return RuleSet(f"{label}@{hashlib.sha256(content).hexdigest()[:12]}", required, classes, thresholds)


def _classes(whole: RuleFile) -> dict[str, str]:
    given, where = whole.content["classes"], whole.where("classes")
    if not isinstance(given, dict) or set(given) != set(CLASSES):
        raise RulesError(f"{where}: classes must list metrics under {', '.join(CLASSES)}, not {given!r}")
    classes: dict[str, str] = {}
    for kind, metrics in given.items():
        for metric in metrics:
            if metric in classes:
                raise RulesError(f"{where}: metric {metric} stands in two classes: keep one")
            classes[metric] = CLASSES[kind]
    return classes


def _required(one: RuleFile, given: Any, classes: Mapping[str, str]) -> tuple[str, ...]:
    where = one.where("required")
    if not isinstance(given, list):
        raise RulesError(f"{where}: required is {given!r}: a list of metrics such as [T5, I1] is needed")
    if alien := [metric for metric in given if metric not in classes]:
        raise RulesError(f"{where}: required metric {alien[0]!r} is not one of {', '.join(classes)}")
    return tuple(given)


def _order(one: RuleFile, thresholds: Mapping[str, float]) -> None:
    for key, value in thresholds.items():
        stem, _, kind = key.rpartition("_suspect")
        fail_key = f"{stem}_fail{kind}"
        fail = thresholds.get(fail_key) if stem else None
        if fail is not None and value > fail:
            where = one.where("thresholds", key if ("thresholds", key) in one.lines else fail_key)
            raise RulesError(f"{where}: {key} is {value} and fails at {fail} already: SUSPECT must come first")
