"""What motors can do and what units can mean: I4, I5, I11. A maximum a joint clears a batch. Never guesses a limit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from kinestream.schemas.messages import load_messages
from kinestream.streams.quality.described import described
from kinestream.streams.quality.desk import Batch, over_frames
from kinestream.streams.quality.family import Family, Found, constant, join, known_limit, mark, rows, where, without
from kinestream.streams.quality.model import (
    SECOND,
    SLACK,
    Context,
    Finding,
    Flag,
    Floats,
    MetricValue,
    Origin,
    Span,
)
from kinestream.streams.quality.rules import Rules
from kinestream.streams.quality.spells import Runs, Spell


def _greatest(batch: Batch, channel: str) -> Floats | None:
    greatest = batch.greatest(channel)
    if greatest is None and (values := batch.channel(channel)) is not None:
        greatest = over_frames(np.maximum, np.absolute(values[1:]))
    return greatest


def _sizes(batch: Batch, channel: str, joint: int) -> Floats:
    """Absolute values of one joint, float64 (n,)."""
    values = batch.channel(channel)
    assert values is not None  # its greatest value was looked at
    return np.abs(values[1:, joint])


def _speeds(context: Context, rules: Rules) -> tuple[Floats, Floats]:
    limit = constant(known_limit(context.velocity, context))
    return limit, constant(np.where(np.isnan(limit), np.inf, limit * rules.speed_suspect * (1 + SLACK)))


def _efforts(context: Context, rules: Rules) -> tuple[Floats, Floats]:
    limit = constant(known_limit(context.effort, context))
    return limit, constant(np.where(np.isnan(limit), np.inf, limit * rules.effort_saturated * (1 - SLACK)))


def _units(context: Context, rules: Rules) -> Mapping[str, Floats]:
    """What no unit of ours allows, of the channels of which some joint's limit is not known."""
    width = len(context.joints)
    straight = np.zeros(width, np.bool_) if context.prismatic is None else np.asarray(context.prismatic, np.bool_)
    endless = np.zeros(width, np.bool_) if context.continuous is None else np.asarray(context.continuous, np.bool_)
    ranged = np.isfinite(context.lower) & np.isfinite(context.upper) & context.model_known
    fast = ~np.isnan(known_limit(context.velocity, context))
    strong = ~np.isnan(known_limit(context.effort, context))
    bounds = {
        "position": np.where(ranged | endless, np.inf, np.where(straight, rules.unit_m, rules.unit_rad)),
        "velocity": np.where(fast, np.inf, np.where(straight, rules.unit_m_speed, rules.unit_speed)),
        "effort": np.where(strong, np.inf, rules.unit_effort),
    }
    return {name: bound for name, bound in bounds.items() if np.isfinite(bound).any()}


class Speed(Family):
    """I4 velocity limit: frames with |v| > vmax, share; any SUSPECT, |v| > 2 vmax FAIL. vmax: the robot description's.

    v is the measured velocity; dq/dt against the same limit is I8's. Merges exactly.
    """

    merges = True
    metrics = ("I4",)

    def __init__(self, context: Context, rules: Rules) -> None:
        super().__init__(context, rules)
        self.limit, self._bound = described(_speeds, context, rules)
        self.over: dict[int, Spell] = {}

    def add(self, batch: Batch) -> None:
        """Count the frames above the limit."""
        greatest = _greatest(batch, "velocity")
        if greatest is None or not (above := greatest > self._bound).any():
            return
        bad = batch.bad("velocity")
        for j in np.flatnonzero(above).tolist():
            mask = _sizes(batch, "velocity", j) > self._bound[j]
            if bad is not None:
                mask &= ~bad[1:, j]
            mark(self.over, j, mask, batch.frames, float(greatest[j]))

    def findings(self, span: Span, live: bool) -> list[Finding]:
        """One a joint."""
        return [self._one(span, j, spell) for j, spell in sorted(self.over.items())]

    def _one(self, span: Span, j: int, spell: Spell) -> Finding:
        limit, unit = float(self.limit[j]), f"{self.context.unit(j)}/s"
        fail = spell.worst > limit * self.rules.speed_fail * (1 + SLACK)
        return self.finding(
            span,
            "I4",
            "I4",
            {"speed": spell.worst, "unit": unit, "limit": limit},
            joint=self.context.joints[j],
            flag=Flag.FAIL if fail else Flag.SUSPECT,
            value=spell.worst,
            unit=unit,
            threshold=limit * (self.rules.speed_fail if fail else self.rules.speed_suspect),
            origin=Origin.ROBOT,
            **where(spell),
        )

    def values(self, span: Span, found: Found) -> list[MetricValue]:
        """The worst joint's share of frames above its limit."""
        evaluated = span.frames > 0 and bool((self.limit > 0).any()) and self.context.measures("velocity")
        worst = max((spell.count for spell in self.over.values()), default=0) / max(1, span.frames)
        return rows("I4", "share", worst, evaluated, found, without(self.limit > 0, self.context))

    def merge(self, later: Speed, cut: Batch) -> None:
        """Add a later part."""
        join(self.over, later.over)


class Effort(Family):
    """I5 effort limit: frames with |tau| > taumax, share; any SUSPECT, |tau| >= 0.98 taumax for over 1 s FAIL (ours).

    taumax is the robot description's. Merges exactly.
    """

    merges = True
    metrics = ("I5", "I5.saturated")

    def __init__(self, context: Context, rules: Rules) -> None:
        super().__init__(context, rules)
        self.limit, self._full = described(_efforts, context, rules)
        self._ns = int(rules.effort_fail_s * SECOND * (1 + SLACK)) + 1
        self.over: dict[int, Spell] = {}
        self.full: dict[int, Runs] = {}

    def add(self, batch: Batch) -> None:
        """Count frames above the limit and follow runs at it."""
        greatest = _greatest(batch, "effort")
        if greatest is None:
            return
        columns = set(np.flatnonzero(greatest >= self._full).tolist())
        columns |= {j for j, runs in self.full.items() if runs.open is not None}
        bad = batch.bad("effort") if columns else None
        for j in sorted(columns):
            size = _sizes(batch, "effort", j)
            usable = ~bad[1:, j] if bad is not None else np.ones(batch.n, np.bool_)
            runs = self.full.setdefault(j, Runs(1, self._ns))
            runs.add(usable & (size >= self._full[j]), batch.seq, batch.frames.t_ns, batch.starts)
            above = usable & (size > self.limit[j] * (1 + SLACK))
            mark(self.over, j, above, batch.frames, float(greatest[j]))

    def findings(self, span: Span, live: bool) -> list[Finding]:
        """One a joint: saturated before above."""
        found = []
        for j in sorted(self.full):
            spell, total_ns = self.full[j].summary()
            if spell.count:
                found.append(self._one(span, j, spell, total_ns / SECOND))
            elif j in self.over:
                found.append(self._one(span, j, self.over[j], 0.0))
        return found

    def _one(self, span: Span, j: int, spell: Spell, seconds: float) -> Finding:
        unit, limit = "N" if self.context.unit(j) == "m" else "Nm", float(self.limit[j])
        facts: dict[str, Any] = {"unit": unit, "limit": limit, "seconds": seconds, "effort": spell.worst}
        known: dict[str, Any] = {"value": spell.worst, "unit": unit, "threshold": limit}
        if seconds:
            known = {"value": seconds, "unit": "s", "threshold": self.rules.effort_fail_s}
        return self.finding(
            span,
            "I5",
            "I5.saturated" if seconds else "I5.beyond",
            facts,
            joint=self.context.joints[j],
            flag=Flag.FAIL if seconds else Flag.SUSPECT,
            # how long is ours to say, how much is the robot's
            origin=Origin.OURS if seconds else Origin.ROBOT,
            **known,
            **where(spell),
        )

    def values(self, span: Span, found: Found) -> list[MetricValue]:
        """The worst joint's share of frames above its limit, and its longest time in runs at it, s."""
        evaluated = span.frames > 0 and bool((self.limit > 0).any()) and self.context.measures("effort")
        worst = max((spell.count for spell in self.over.values()), default=0) / max(1, span.frames)
        longest = max((runs.summary()[1] for runs in self.full.values()), default=0) / SECOND
        unknown = without(self.limit > 0, self.context)
        share = rows("I5", "share", worst, evaluated, found, unknown)
        return share + rows("I5.saturated", "s", longest, evaluated, {})

    def merge(self, later: Effort, cut: Batch) -> None:
        """Add a later part; a run over the cut becomes one."""
        for j in self.full.keys() | later.full.keys():
            self.full.setdefault(j, Runs(1, self._ns)).merge(later.full.get(j, Runs(1, self._ns)))
        join(self.over, later.over)


class Units(Family):
    """I11 unit sanity: |q| > 4 pi, |v| > 100, |tau| > 1e3 where no limit is known (a clean arm holds 4.7 rad).

    The figures of an open checker's numeric check, its 3.2 rad widened; prismatic joints are judged in m; joints that
    turn without end hold any angle. Limits, where known, are I3's, I4's and I5's. Merges exactly.
    """

    merges = True
    metrics = ("I11",)

    def __init__(self, context: Context, rules: Rules) -> None:
        super().__init__(context, rules)
        self._bounds = described(_units, context, rules)
        self.over: dict[str, dict[int, Spell]] = {name: {} for name in self._bounds}

    def add(self, batch: Batch) -> None:
        """Count values that no unit of ours allows."""
        for channel, bound in self._bounds.items():
            greatest = _greatest(batch, channel)
            if greatest is None or not (above := greatest > bound * (1 + SLACK)).any():
                continue
            for j in np.flatnonzero(above).tolist():
                mask = _sizes(batch, channel, j) > bound[j] * (1 + SLACK)
                mark(self.over[channel], j, mask, batch.frames, float(greatest[j]))

    def findings(self, span: Span, live: bool) -> list[Finding]:
        """One a joint, of its first channel that is off."""
        first: dict[int, str] = {}
        for channel, spells in self.over.items():
            for j in spells:
                first.setdefault(j, channel)
        return [self._one(span, j, channel) for j, channel in sorted(first.items())]

    def _one(self, span: Span, j: int, channel: str) -> Finding:
        spell, straight = self.over[channel][j], self.context.unit(j) == "m"
        unit = {"position": "m" if straight else "rad", "velocity": "m/s" if straight else "rad/s"}
        told = unit.get(channel, "N" if straight else "Nm")
        names = channel_names(channel)
        return self.finding(
            span,
            "I11",
            "I11",
            {"value": spell.worst, "unit": told, **names},
            joint=self.context.joints[j],
            flag=Flag.SUSPECT,
            value=spell.worst,
            unit=told,
            threshold=float(self._bounds[channel][j]),
            origin=Origin.OURS,
            **where(spell),
        )

    def values(self, span: Span, found: Found) -> list[MetricValue]:
        """How many joints have values that no unit of ours allows; NOT_EVALUATED where every limit is known."""
        evaluated = span.frames > 0 and any(self.context.measures(channel) for channel in self._bounds)
        joints = {j for spells in self.over.values() for j in spells}
        return rows("I11", "joints", float(len(joints)), evaluated, found)

    def merge(self, later: Units, cut: Batch) -> None:
        """Add a later part."""
        for channel, spells in later.over.items():
            join(self.over[channel], spells)


def channel_names(channel: str) -> dict[str, str]:
    """A channel's name for a sentence, in both languages."""
    name = load_messages().channels.get(channel)
    return {"channel": name.en if name else channel, "channel_zh": name.zh if name else channel}
