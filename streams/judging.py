"""From an EpisodeStart to the judge of its episode: what the robot's model says of the joints it sends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final, TypeAlias

import numpy as np

from kinestream.schemas.errors import RulesError
from kinestream.schemas.layout import Layout
from kinestream.schemas.models import Models, RobotModel
from kinestream.streams.quality import Context, EpisodeJudge
from kinestream.streams.quality.rules import Rules, rules_for
from kinestream.streams.quality.tasks import TaskStatistics

#: What a worker judges by where nothing is registered.
DESCRIBED: Final = Models()


#: Frames a second between which a declared rate is believed: periods beyond overflow, and windows of so many frames
#: would not fit in memory. One start must not cost a worker its life.
RATES_HZ: Final = (1e-3, 1e5)

#: Statistics of the task of an episode, by its start and layout; None = none.
Statistics: TypeAlias = Callable[[Mapping[str, Any], Layout], TaskStatistics | None]


def no_statistics(start: Mapping[str, Any], layout: Layout) -> TaskStatistics | None:
    """Nobody knows any."""
    return None


def judge_for(
    start: Mapping[str, Any],
    layout: Layout,
    models: Models = DESCRIBED,
    overlays: str = "",
    statistics: Statistics = no_statistics,
) -> EpisodeJudge:
    """A judge for an episode; an unknown model is judged on what needs no model (limits NaN).

    ``start``: the fields of an EpisodeStart, its labels set right, and, of an episode that has begun before, ``pins``:
    what it is judged by. ``overlays``: rules that override the committed ones (``read_overlays``). ``statistics``: who
    knows those of its task.
    """
    context = replace(context_of(start, layout, models), task=statistics(start, layout))
    return EpisodeJudge(context, episode_rules(start, overlays))


def core_judge_for(
    start: Mapping[str, Any],
    layout: Layout,
    models: Models = DESCRIBED,
    overlays: str = "",
    statistics: Statistics = no_statistics,
) -> EpisodeJudge:
    """The same for the core metrics alone: where frames come faster than a core can judge them by all."""
    return EpisodeJudge(context_of(start, layout, models), episode_rules(start, overlays), core=True)


def episode_rules(start: Mapping[str, Any], overlays: str = "") -> Rules:
    """The rules of an episode: by its model, its skill, and its subtask where it plans only one.

    It keeps those that it was rescored by; where they mean nothing any more (a threshold has gone since), ``overlays``.
    """
    whose = rules_are_for(start)
    pinned = start.get("pins", {}).get("rules")
    if pinned is not None:
        with suppress(RulesError):
            return rules_for(*whose, pinned)
    return rules_for(*whose, overlays)


def rules_are_for(start: Mapping[str, Any]) -> tuple[str, str, str]:
    """Model, skill and subtask by which the rules of an episode are chosen; empty = none."""
    subtasks = start.get("subtasks") or []
    return start["model_id"], start.get("skill", ""), subtasks[0] if len(subtasks) == 1 else ""


#: What the setting ``metrics`` chooses.
JUDGES: Final[Mapping[str, Callable[..., EpisodeJudge]]] = {"all": judge_for, "core": core_judge_for}


def context_of(start: Mapping[str, Any], layout: Layout, models: Models = DESCRIBED) -> Context:
    """What is known before the first frame. ``start``: as for :func:`judge_for`."""
    model = models.find(start["model_id"], start.get("pins", {}).get("model"))
    return Context(
        episode_id=start["episode_id"],
        nominal_rate_hz=_rate_of(start),
        stamp_resolution_ns=start["stamp_resolution_ns"],
        **_known(model, layout),
    )


def _rate_of(start: Mapping[str, Any]) -> float:
    """The declared rate, frames a second; 0 = none, or one that no robot has."""
    rate: float = start["nominal_rate_hz"]
    slowest, fastest = RATES_HZ
    return rate if slowest <= rate <= fastest else 0.0


@lru_cache(maxsize=1024)
def _known(model: RobotModel | None, layout: Layout) -> dict[str, Any]:
    """What all takes of a robot have in common; its arrays are shared and never written."""
    unknown = np.full(len(layout.joints), np.nan)
    limits = model.limits(layout.joints) if model else None
    return {
        "joints": layout.joints,
        "channels": tuple((c.name, c.width) for c in layout.channels),
        "lower": limits.lower if limits else unknown,
        "upper": limits.upper if limits else unknown,
        "velocity": limits.velocity if limits else unknown,
        "model_known": model is not None,
        "model_version": model.version if model else "",
        "prismatic": _of_type(model, layout, "prismatic"),
        "continuous": _of_type(model, layout, "continuous"),
        "effort": limits.effort if limits else None,
        "model_joints": model.joint_names if model else (),
        "channel_units": {c.name: c.unit for c in layout.channels},
        "element_names": {c.name: c.element_names for c in layout.channels if c.element_names},
    }


def _of_type(model: RobotModel | None, layout: Layout, kind: str) -> np.ndarray[Any, np.dtype[np.bool_]] | None:
    if model is None:
        return None
    of_kind = {joint.name for joint in model.joints if joint.type == kind}
    return np.array([name in of_kind for name in layout.joints])
