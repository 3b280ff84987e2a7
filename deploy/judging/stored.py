"""A stored episode as a report with pictures: what the store says of it, drawn as a judged file is; judges nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from kinestream.deploy.judging.report import EpisodeReport
from kinestream.deploy.judging.signals import Recorded, traces_of
from kinestream.schemas.layout import JOINT_CHANNELS, Channel
from kinestream.schemas.models import find_model
from kinestream.streams.quality import Finding, Flag, MetricValue


def stored_report(found: Mapping[str, Any], frames: Mapping[str, Any]) -> EpisodeReport:
    """``found`` and ``frames`` as :class:`Archive` gives them of one episode; one in flight has no verdict yet."""
    findings = tuple(_finding(one) for one in found["findings"])
    metrics = tuple(
        MetricValue(m["id"], m["joint"] or "", _value(m["value"]), m["unit"], m["flag"]) for m in found["metrics"]
    )
    whole = (m for m in metrics if not m.joint and "." not in m.id)
    t_ns = frames["t_ns"]
    return EpisodeReport(
        path="",
        source=f"{found['episode_id']} · {found['robot_id']} · {found['skill']}".rstrip(" ·"),
        model_id=found["model_id"],
        frames=found["frames"],
        duration_s=float(frames["t"][-1]) if len(t_ns) else 0.0,
        verdict=found["verdict"],
        rule_version=found.get("rule_version", ""),
        begins_ns=int(t_ns[0]) if len(t_ns) else 0,
        findings=findings,
        metrics=metrics,
        not_evaluated=tuple(m.id for m in whole if m.flag == Flag.NOT_EVALUATED),
        lacking=(),
        oddities=(),
        traces=traces_of(_recorded(found, frames), findings),
    )


def _recorded(found: Mapping[str, Any], frames: Mapping[str, Any]) -> Recorded:
    channels = {name: values for name, values in frames.items() if name not in ("seq", "t", "t_ns", "joints")}
    further = tuple(Channel(name, v.shape[1], "") for name, v in channels.items() if name not in JOINT_CHANNELS)
    joints = tuple(str(joint) for joint in frames["joints"])
    return Recorded(frames["t_ns"], joints, channels, further, find_model(found["model_id"]))


def _finding(one: Mapping[str, Any]) -> Finding:
    told: dict[str, Any] = {field.name: one.get(field.name) for field in fields(Finding)}
    told |= {name: told[name] or "" for name in ("joint", "message_zh")}
    return Finding(**told | {name: _value(one[name]) for name in ("value", "threshold")})


def _value(value: float | None) -> float:
    return math.nan if value is None else value
