"""The files of robot models: checked when they come from outside, written in one form; decides no limit itself."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any, Final

from kinestream.schemas.errors import ModelError
from kinestream.schemas.models import Dialect, Joint, RobotModel, model_of

#: Unit of a joint by its type.
UNITS: Final = {"revolute": "rad", "continuous": "rad", "prismatic": "m"}
LIMITS: Final = ("lower", "upper", "velocity", "effort")
#: Bytes of a file, and joints, beyond which it describes no robot.
MOST_BYTES: Final = 4_000_000
MOST_JOINTS: Final = 1_000

_ID: Final = re.compile(r"[a-z0-9][a-z0-9-]{1,99}")
_KEYS: Final = {"model_id", "maker", "model", "category", "source", "aliases", "joints"}
_SOURCE: Final = ("repo", "commit", "path", "licence")


def read_model(path: Path) -> RobotModel:
    """The model a file describes; raises :class:`ModelError`, in one sentence, where it describes none."""
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise ModelError(f"{path} has {size:,} bytes: a description of a robot has at most {MOST_BYTES:,}")
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as problem:
        raise ModelError(f"{path} cannot be read: {problem.strerror or problem}") from problem
    except (ValueError, RecursionError) as problem:
        raise ModelError(f"{path} is no JSON ({' '.join(str(problem).split())[:100]}): see docs/robots.md") from problem
    return checked(content, str(path))


def checked(content: Any, where: str) -> RobotModel:
    """A model of a file's parsed content; raises :class:`ModelError` naming ``where``, field and what is allowed."""
    if not isinstance(content, Mapping):
        raise ModelError(f"{where} holds {type(content).__name__}: a description is an object with {_words(_KEYS)}")
    if absent := _KEYS - content.keys():
        raise ModelError(f"{where} lacks {_words(absent)}: see docs/robots.md")
    if alien := content.keys() - _KEYS - {"notes"}:
        raise ModelError(f"{where} has {_words(map(str, alien))}: allowed are {_words(_KEYS)} and notes")
    _check_texts(content, where)
    _check_joints(content["joints"], where)
    _check_aliases(content["aliases"], {joint["name"] for joint in content["joints"]}, where)
    return model_of(content)


def text_of(model: RobotModel) -> str:
    """A model as its file: one line a joint, so that a difference reads as what it is."""
    source = {name: getattr(model.source, name) for name in _SOURCE}
    lines = [f' "{name}": {_json(getattr(model, name))},' for name in ("model_id", "maker", "model", "category")]
    lines += [f' "source": {_json(source)},']
    if model.notes:
        lines += [' "notes": [', ",\n".join(f"  {_json(note)}" for note in model.notes), " ],"]
    lines += [f' "aliases": {{{", ".join(map(_alias, model.dialects))}}},']
    joints = ",\n".join(f"  {_json(_plain(joint))}" for joint in model.joints)
    return "\n".join(["{", *lines, ' "joints": [', joints, " ]", "}", ""])


def content_of(model: RobotModel) -> dict[str, Any]:
    """A model as the parsed content of its file."""
    content: dict[str, Any] = json.loads(text_of(model))
    return content


def _plain(joint: Joint) -> dict[str, Any]:
    row: dict[str, Any] = {name: getattr(joint, name) for name in ("name", "type", "unit", *LIMITS)}
    return row | ({"mimic": joint.mimic} if joint.mimic else {})


def _alias(dialect: Dialect) -> str:
    content = {"source": dialect.source, "joints": dict(dialect.joints)}
    return f"{_json(dialect.name)}: " + json.dumps(content, ensure_ascii=False, indent=1).replace("\n", "\n ")


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _words(names: Any) -> str:
    return ", ".join(sorted(names))


def _check_texts(content: Mapping[str, Any], where: str) -> None:
    for name in ("model_id", "maker", "model", "category"):
        if not isinstance(content[name], str) or not content[name]:
            raise ModelError(f"{where}: {name} is {content[name]!r}: give a text")
    if not _ID.fullmatch(content["model_id"]):
        raise ModelError(f"{where}: model_id {content['model_id']!r}: 2 to 100 of a-z, 0-9 and - are allowed")
    source = content["source"]
    if not isinstance(source, Mapping) or set(source) != set(_SOURCE):
        raise ModelError(f"{where}: source must have {', '.join(_SOURCE)}: where the description was read")
    if not all(isinstance(text, str) for text in source.values()):
        raise ModelError(f"{where}: source has {dict(source)!r}: give texts")
    notes = content.get("notes", [])
    if not isinstance(notes, list) or not all(isinstance(note, str) for note in notes):
        raise ModelError(f"{where}: notes is {notes!r}: give a list of sentences")


def _check_joints(joints: Any, where: str) -> None:
    if not isinstance(joints, list) or not 0 < len(joints) <= MOST_JOINTS:
        raise ModelError(f"{where}: joints must be a list of 1 to {MOST_JOINTS} objects, in the robot's order")
    for joint in joints:
        _check_joint(joint, where)
    names = [joint["name"] for joint in joints]
    if twice := next((name for name in names if names.count(name) > 1), ""):
        raise ModelError(f"{where}: joint {twice!r} is there twice: a name occurs once")
    for joint in joints:
        mimic = joint.get("mimic", "")
        if mimic and (mimic not in names or mimic == joint["name"]):
            raise ModelError(f"{where}: joint {joint['name']!r} follows {mimic!r}: name another joint of this robot")
    if all(joint.get("mimic") for joint in joints):
        raise ModelError(f"{where}: every joint only follows another: at least one is driven")


def _check_joint(joint: Any, where: str) -> None:
    needed = {"name", "type", "unit", *LIMITS}
    if not isinstance(joint, Mapping) or not needed <= joint.keys() <= needed | {"mimic"}:
        raise ModelError(f"{where}: joint {str(joint)[:80]} must have {_words(needed)}, null = unknown, and may mimic")
    name, kind = joint["name"], joint["type"]
    if not isinstance(name, str) or not name or not isinstance(joint.get("mimic", ""), str):
        raise ModelError(f"{where}: joint {name!r}: names are texts that are not empty")
    if kind not in UNITS or joint["unit"] != UNITS[kind]:
        allowed = ", ".join(f"{kind} in {unit}" for kind, unit in UNITS.items())
        raise ModelError(f"{where}: joint {name!r} is {kind!r} in {joint['unit']!r}: allowed are {allowed}")
    for limit in LIMITS:
        value = joint[limit]
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
            raise ModelError(f"{where}: {limit} of {name!r} is {value!r}: give a number in SI units, null = unknown")
        if limit in ("velocity", "effort") and value <= 0:
            raise ModelError(f"{where}: {limit} of {name!r} is {value:g}: above 0, or null = unknown")
    lower, upper = joint["lower"], joint["upper"]
    if lower is not None and upper is not None and lower >= upper:
        raise ModelError(f"{where}: {name!r} reaches from {lower:g} to {upper:g}: lower is below upper, null = unknown")


def _check_aliases(aliases: Any, names: set[str], where: str) -> None:
    if not isinstance(aliases, Mapping):
        raise ModelError(f"{where}: aliases is {aliases!r}: give an object, empty where there is no other naming")
    for dialect, content in aliases.items():
        if not isinstance(content, Mapping) or set(content) != {"source", "joints"}:
            raise ModelError(f"{where}: alias {dialect!r} must have source and joints (their name: ours)")
        joints = content["joints"]
        if not isinstance(content["source"], str) or not isinstance(joints, Mapping):
            raise ModelError(f"{where}: alias {dialect!r} must have a text as source and an object as joints")
        if strange := [str(ours) for ours in joints.values() if ours not in names]:
            raise ModelError(f"{where}: alias {dialect!r} names {strange[0]!r}, which is no joint of this robot")
