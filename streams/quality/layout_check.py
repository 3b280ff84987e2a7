"""Whether the joints an episode declares are those its robot has: I2. Judged from the start alone, before any frame."""

from __future__ import annotations

from typing import Any

from kinestream.schemas.messages import spoken
from kinestream.streams.quality.described import described
from kinestream.streams.quality.family import Family, Found, rows
from kinestream.streams.quality.model import Context, Finding, Flag, MetricValue, Origin, Span
from kinestream.streams.quality.motors import channel_names
from kinestream.streams.quality.rules import Rules

#: Units that the channels of joints may be declared in.
UNITS = {"position": {"rad", "m"}, "velocity": {"rad/s", "m/s"}, "effort": {"Nm", "N", "A"}, "command": {"rad", "m"}}


class LayoutCheck(Family):
    """I2 schema: joint names, order, number, width and unit constant; any change FAIL (open checkers call it a defect).

    What they are compared with: ``Context.declared`` where an earlier episode or file of the same robot is known, else
    the robot model's order. Within an episode the layout cannot change: its id stands on every chunk. A name that the
    model does not know is told and judged no further; a unit is compared where one is declared. Merges exactly.
    """

    merges = True
    metrics = ("I2",)

    def __init__(self, context: Context, rules: Rules) -> None:
        super().__init__(context, rules)
        self.problems = described(_problems, context, rules)

    def findings(self, span: Span, live: bool) -> list[Finding]:
        """The first problem: the others follow from it."""
        if not self.problems:
            return []
        key, facts = self.problems[0]
        joint = facts.get("joint", "")
        return [
            self.finding(
                span,
                "I2",
                key,
                facts,
                joint=joint,
                flag=Flag.FAIL,
                value=float(len(self.problems)),
                unit="changes",
                threshold=0.0,
                origin=Origin.ROBOT,
            )
        ]

    def values(self, span: Span, found: Found) -> list[MetricValue]:
        """How many declarations differ."""
        evaluated = bool(self.context.declared) or self.context.model_known
        return rows("I2", "changes", float(len(self.problems)), evaluated, found)

    def merge(self, later: Any, cut: Any) -> None:
        """Both parts declare the same."""


def _problems(context: Context, rules: Rules) -> tuple[tuple[str, dict[str, Any]], ...]:
    problems: list[tuple[str, dict[str, Any]]] = []
    seen: set[str] = set()
    for joint in context.joints:
        if joint in seen:
            problems.append(("I2.twice", {"joint": joint}))
        seen.add(joint)
    if context.declared and len(context.declared) != len(context.joints):
        problems.append(("I2.count", {"count": len(context.joints), "expected": len(context.declared)}))
    problems += _out_of_order(context)
    for channel, width in context.channels:
        if channel in UNITS and width != len(context.joints):
            facts = {"count": width, "expected": len(context.joints), **channel_names(channel)}
            problems.append(("I2.width", facts))
        unit = context.channel_units.get(channel, "")
        if unit and channel in UNITS and unit not in UNITS[channel]:
            expected = " or ".join(sorted(UNITS[channel]))
            problems.append(("I2.unit", {"unit": unit, "expected": expected, **channel_names(channel)}))
    return tuple(problems)


def _out_of_order(context: Context) -> list[tuple[str, dict[str, Any]]]:
    order = context.declared or context.model_joints
    known = [joint for joint in context.joints if joint in set(order)]
    wanted = [joint for joint in order if joint in set(known)]
    for joint, other in zip(known, wanted, strict=False):
        if joint != other:
            name = spoken(other)
            return [("I2.order", {"joint": joint, "other": name.en, "other_zh": name.zh})]
    return []
