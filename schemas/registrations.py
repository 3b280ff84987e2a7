"""RobotRegistered: a robot model to a record of the topic ``robots`` and back; sends nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kinestream.schemas.errors import ModelError
from kinestream.schemas.model_files import LIMITS, UNITS, checked, content_of
from kinestream.schemas.models import RobotModel


def registration_of(model: RobotModel, tenant: str, by: str = "") -> dict[str, Any]:
    """The fields of a RobotRegistered."""
    content = content_of(model)
    texts = {name: content[name] for name in ("model_id", "maker", "model", "category", "source")}
    return {
        **texts,
        "tenant": tenant,
        "version": model.version,
        "joints": [{**_without_unit(joint), "type": joint["type"].upper()} for joint in content["joints"]],
        "aliases": [{"name": name, **dialect} for name, dialect in content["aliases"].items()],
        "notes": content.get("notes", []),
        "by": by,
    }


def registered_model(value: Mapping[str, Any]) -> RobotModel:
    """The model of a decoded RobotRegistered; raises :class:`ModelError` where it is none, or not of its version."""
    texts = {name: value[name] for name in ("model_id", "maker", "model", "category", "source", "notes")}
    aliases = {d["name"]: {"source": d["source"], "joints": d["joints"]} for d in value["aliases"]}
    joints = [_joint(joint) for joint in value["joints"]]
    model = checked({**texts, "aliases": aliases, "joints": joints}, f"registration of {value['model_id']!r}")
    if model.version != value["version"]:
        raise ModelError(
            f"registration of {value['model_id']!r} bears the version {value['version']!r}, and its joints are"
            f" {model.version!r}: compute it as docs/robots.md says"
        )
    return model


def registration_key(model: RobotModel) -> str:
    """Key of the message: every version is kept when the topic is compacted."""
    return model.version.replace("@", "/")


def _without_unit(joint: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in joint.items() if name != "unit"}


def _joint(joint: Mapping[str, Any]) -> dict[str, Any]:
    kind = str(joint["type"]).lower()
    known = {"name": joint["name"], "type": kind, "unit": UNITS.get(kind, ""), **{n: joint[n] for n in LIMITS}}
    return known | ({"mimic": joint["mimic"]} if joint["mimic"] else {})
