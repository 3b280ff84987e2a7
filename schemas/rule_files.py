"""Rules files as they are written: YAML to a checked document with its lines. Joins nothing, judges nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib import import_module
from math import isfinite
from pathlib import Path
from typing import Any, Final

from kinestream.schemas.errors import RulesError, SettingError
from kinestream.schemas.skills import load_skills

#: What rules can be for, in the order in which they override each other, and the folder of each.
SCOPES: Final = {"global": "", "model": "models", "skill": "skills", "subtask": "subtasks"}
_ALWAYS: Final = {"name", "version"}
#: Keys of the whole rules, and of those that override some.
WHOLE: Final = {"name", "version", "required", "classes", "thresholds"}
OVERLAY: Final = {"name", "version", "required", "thresholds", "model", "skill", "subtask"}
#: Thresholds that are places, and may lie below 0.
PLACES: Final = "box_"
#: The most a threshold may be, and one in seconds: what is kept of a take grows with some. And those that divide.
MOST, MOST_S = 1e6, 600.0
ABOVE_0: Final = frozenset({"step_window_s", "spike_reach_s", "copy_motion_s"})
_LAYOUT: Final = "global.yaml, models/MODEL_ID.yaml, skills/SKILL.yaml and subtasks/SKILL.SUBTASK.yaml are"


@dataclass(frozen=True, slots=True)
class RuleFile:
    """One rules document: ``file`` as errors name it, what it is for (``scope``, ``of``), what it says."""

    file: str
    scope: str
    of: str
    content: Mapping[str, Any]
    #: line of each key, from 1; nested keys by their path
    lines: Mapping[tuple[str, ...], int] = field(default_factory=dict)

    def where(self, *key: str) -> str:
        """The file, and the line of a key where it is known."""
        line = self.lines.get(key)
        return f"{self.file}, line {line}" if line else self.file


def read_rules(path: Path) -> tuple[RuleFile, ...]:
    """Overlays from a file, or from a folder laid out as schemas/rules, in the order in which they apply.

    Raises :class:`RulesError` saying where, what was received and what is allowed.
    """
    if path.is_dir():
        found = [_filed(path, file) for file in sorted(path.rglob("*")) if file.is_file()]
        if not found:
            raise RulesError(f"{path} holds no rules: {_LAYOUT} what it may hold")
    else:
        found = [overlay(path.name, _text(path))]
    return tuple(sorted(found, key=lambda one: list(SCOPES).index(one.scope)))


def _filed(folder: Path, file: Path) -> RuleFile:
    """A file of a folder: where it lies says what it is for."""
    place = file.relative_to(folder)
    kinds = {name: scope for scope, name in SCOPES.items() if name}
    scope = kinds.get(str(place.parent), "global" if str(place) == "global.yaml" else "")
    if not scope or place.suffix != ".yaml":
        raise RulesError(f"{place} in {folder} is no rules file: {_LAYOUT}")
    return overlay(str(place), _text(file), scope, place.stem if scope != "global" else "")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise RulesError(f"rules {path} cannot be read ({problem}): name a YAML file or a folder of them") from problem


def overlay(name: str, text: str, scope: str = "", of: str = "") -> RuleFile:
    """Rules that override some; what they are for says their place, or else one of model, skill, subtask in them."""
    content, lines = parse(name, text)
    said = [(kind, content[kind]) for kind in ("model", "skill", "subtask") if kind in content]
    given = RuleFile(name, scope or (said[0][0] if said else "global"), str(of or (said[0][1] if said else "")),
                     content, lines)  # fmt: skip
    check_keys(given, _ALWAYS, OVERLAY)
    if len(said) > 1 or (said and (said[0][0], str(said[0][1])) != (given.scope, given.of)):
        kind, value = said[-1]
        raise RulesError(f"{given.where(kind)}: {kind} {value!r} in rules for {given.scope} {given.of or ''}: keep one")
    _check_whose(given)
    return given


def _check_whose(given: RuleFile) -> None:
    """Rules for a skill or subtask that nobody lists would never apply, and nobody would notice."""
    if given.scope not in ("skill", "subtask"):
        return
    skill, _, subtask = given.of.partition(".")
    listed = [(f"skill {skill!r}", skill, load_skills().skills)]
    if given.scope == "subtask":
        listed.append((f"subtask {subtask!r} (it is written SKILL.SUBTASK)", subtask, load_skills().subtasks))
    for said, name, terms in listed:
        known = [term.id for term in terms]
        if name not in known:
            near = get_close_matches(name, known, n=3) or known[:3]
            where = given.where(given.scope)
            raise RulesError(f"{where}: {said} is not in skills.yaml; near it: {', '.join(near)}")


def parse(name: str, text: str) -> tuple[dict[str, Any], dict[tuple[str, ...], int]]:
    """A YAML mapping and the lines of its keys; a key that stands twice is refused, for YAML would drop the first."""
    try:
        yaml: Any = import_module("yaml")
    except ImportError as missing:
        raise SettingError("rules are YAML and PyYAML is not installed: pip install 'kinestream[worker]'") from missing
    # the parser in C where PyYAML has it: the other takes as long as all else of a short command
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        document = yaml.load(text, loader)
        lines = dict(_lines(name, yaml.compose(text, loader)))
    except yaml.YAMLError as broken:
        raise RulesError(f"{name} is not YAML: {broken}") from broken
    if not isinstance(document, dict):
        raise RulesError(
            f"{name} holds {type(document).__name__}: a mapping with name, version and thresholds is needed"
        )
    return document, lines


def _lines(name: str, node: Any, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], int]]:
    seen: set[str] = set()
    for key, value in node.value if node is not None and node.id == "mapping" else ():
        word, line = str(key.value), key.start_mark.line + 1
        if word in seen:
            raise RulesError(f"{name}, line {line}: {word} stands twice: keep one")
        seen.add(word)
        yield (*above, word), line
        yield from _lines(name, value, (*above, word))


def check_keys(given: RuleFile, needed: set[str], allowed: set[str]) -> None:
    """The keys of a document, its name and its version."""
    content = given.content
    if absent := sorted(needed - content.keys()):
        raise RulesError(f"{given.file} lacks {', '.join(absent)}: add it")
    if alien := sorted(map(str, content.keys() - allowed)):
        where = given.where(alien[0])
        raise RulesError(f"{where} has {', '.join(alien)}: allowed are {', '.join(sorted(allowed))}")
    name, version = content["name"], content["version"]
    if isinstance(version, bool) or not isinstance(version, int) or not isinstance(name, str) or not name:
        raise RulesError(f"{given.where('version')}: name {name!r} must be text and version {version!r} an integer")


def numbers(given: RuleFile, thresholds: Any, known: Mapping[str, float] | None) -> dict[str, float]:
    """Thresholds by name; with ``known`` only those, and whole numbers where those are."""
    if not isinstance(thresholds, dict):
        where = given.where("thresholds")
        raise RulesError(f"{where}: thresholds is {thresholds!r}: names with numbers are needed")
    for key, value in thresholds.items():
        where = given.where("thresholds", str(key))
        if known is not None and key not in known:
            near = get_close_matches(str(key), known, n=3)
            raise RulesError(
                f"{where}: there is no threshold {key!r}" + (f"; near it: {', '.join(near)}" if near else "")
            )
        if (fault := _out_of_bounds(str(key), value)) is not None:
            raise RulesError(f"{where}: threshold {key} is {value!r}: {fault} is needed")
        if known is not None and isinstance(known[key], int) and not isinstance(value, int):
            raise RulesError(f"{where}: threshold {key} is {value!r}: it counts, so a whole number is needed")
    return dict(thresholds)


def _out_of_bounds(key: str, value: Any) -> str | None:
    """What a threshold must be, where it is not that."""
    most = MOST_S if key.endswith("_s") else MOST
    above = "above 0" if key in ABOVE_0 else f"of at least {-most:g}" if key.startswith(PLACES) else "of at least 0"
    needed = f"a finite number {above} and at most {most:g}"
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value) or abs(value) > most:
        return needed
    if key.startswith(PLACES) or value > 0 or (value == 0 and key not in ABOVE_0):
        return None
    return needed
