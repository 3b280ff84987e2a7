"""Positions against the robot's declared limits: I3. Looks closely only at joints a min/max cannot clear."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kinestream.streams.quality.described import described
from kinestream.streams.quality.model import (
    NONE,
    SECOND,
    SLACK,
    Context,
    Finding,
    Flag,
    Floats,
    Frames,
    Mask,
    MetricValue,
    Origin,
    Singles,
    Span,
    make_finding,
    say,
)
from kinestream.streams.quality.rules import Rules
from kinestream.streams.quality.scratch import Workshop
from kinestream.streams.quality.spells import Runs

#: beyond every joint's travel: stands for "no limit known", and still catches Inf
ANYWHERE = 1e30


class Bounds:
    """A model's limits made ready: float64 (J,) exact, and float32 rounded inwards for the quick look."""

    __slots__ = (
        "far_high",
        "far_low",
        "high",
        "known",
        "low",
        "near_high",
        "near_low",
        "quick_high",
        "quick_low",
        "tolerance",
    )

    def __init__(self, context: Context, rules: Rules) -> None:
        low, high = np.asarray(context.lower, np.float64), np.asarray(context.upper, np.float64)
        self.known = np.isfinite(low) & np.isfinite(high) & (high > low)
        if not context.model_known:
            self.known = np.zeros_like(self.known)
        self.low, self.high = np.where(self.known, low, -np.inf), np.where(self.known, high, np.inf)
        reach = np.where(self.known, high - low, 0.0)
        prismatic = _mask(context.prismatic, len(low))
        self.tolerance = np.maximum(np.where(prismatic, rules.limit_m, rules.limit_rad), rules.limit_range * reach)
        slack = self.tolerance * (1 + SLACK)
        self.far_low, self.far_high = self.low - slack, self.high + slack
        resting = prismatic if context.rests_on_stop is None else np.asarray(context.rests_on_stop, np.bool_)
        margin = np.where(resting, -np.inf, rules.near_range * reach * (1 - SLACK))
        self.near_low, self.near_high = self.low + margin, self.high - margin
        self.quick_low = _inwards(np.maximum(self.low, self.near_low), 1)
        self.quick_high = _inwards(np.minimum(self.high, self.near_high), -1)


def _mask(mask: Mask | None, joints: int) -> Mask:
    return np.zeros(joints, np.bool_) if mask is None else np.asarray(mask, np.bool_)


def _inwards(bound: Floats, sign: int) -> Singles:
    quick = np.clip(bound, -ANYWHERE, ANYWHERE).astype(np.float32)
    return np.nextafter(quick, np.float32(sign * np.inf))


@dataclass(slots=True)
class _Joint:
    beyond: Runs
    near: Runs
    outside: int = 0
    excess: float = 0.0


class Limits:
    """I3 position limit: frames with q < lo or q > hi, and the margin min(q - lo, hi - q) / (hi - lo).

    FAIL: beyond by more than max(0.005 rad, 0.2 % of the range) in >= 2 consecutive frames (a joint resting on its
    stop reads a little beyond a rounded limit). SUSPECT: margin < 2 % in runs >= 0.2 s that take >= 10 % of the time.
    Limits are the robot description's. A NaN or Inf ends a run and does nothing else. Merges exactly.
    """

    __slots__ = ("_run_ns", "bounds", "joints", "rules")

    def __init__(self, context: Context, rules: Rules) -> None:
        self.bounds = described(Bounds, context, rules)
        self.rules = rules
        self.joints: dict[int, _Joint] = {}
        self._run_ns = round(rules.near_run_s * SECOND * (1 - SLACK))

    def clear(self, shop: Workshop) -> bool:
        """Whether ``shop.lowest`` and ``shop.highest`` (float32 (J,)) show all joints finite and away from limits."""
        np.less_equal(shop.highest, self.bounds.quick_high, out=shop.ok[0])
        np.greater_equal(shop.lowest, self.bounds.quick_low, out=shop.ok[1])
        return 0 not in shop.ok_bytes

    def add(self, shop: Workshop, frames: Frames, starts: bool) -> None:
        """Go through the joints that :meth:`clear` could not clear; ``starts`` = the episode's first frames."""
        bounds = self.bounds
        for j in np.flatnonzero(~(shop.ok[0] & shop.ok[1]) & bounds.known).tolist():
            with np.errstate(invalid="ignore"):  # a signalling NaN stays one that compares false
                q = frames.channels["position"][:, j].astype(np.float64)
            joint = self._joint(j)
            # what is no number is I1's. NaN compares false everywhere: it is neither near nor beyond
            q[np.isinf(q)] = NONE
            joint.near.add((q < bounds.near_low[j]) | (q > bounds.near_high[j]), frames.seq, frames.t_ns, starts)
            outside = (q < bounds.low[j]) | (q > bounds.high[j])
            joint.outside += int(np.count_nonzero(outside))
            if joint.outside:
                beyond = (q < bounds.far_low[j]) | (q > bounds.far_high[j])
                joint.beyond.add(beyond, frames.seq, frames.t_ns, starts)
                excess = np.maximum(bounds.low[j] - q, q - bounds.high[j])[beyond]
                joint.excess = max(joint.excess, float(excess.max(initial=0.0)))

    def _joint(self, j: int) -> _Joint:
        joint = self.joints.get(j)
        if joint is None:
            joint = self.joints[j] = _Joint(Runs(self.rules.limit_frames, 0), Runs(1, self._run_ns))
        return joint

    def merge(self, later: Limits) -> None:
        """Add a contiguous later part."""
        for j in self.joints.keys() | later.joints.keys():
            mine, other = self._joint(j), later._joint(j)
            mine.beyond.merge(other.beyond)
            mine.near.merge(other.near)
            mine.outside += other.outside
            mine.excess = max(mine.excess, other.excess)

    def findings(self, context: Context, span: Span, live: bool) -> list[Finding]:
        """At most one finding a joint."""
        found = []
        for j in sorted(self.joints):
            finding = self._beyond(context, span, j) or self._near(context, span, j, live)
            if finding:
                found.append(finding)
        return found

    def _beyond(self, context: Context, span: Span, j: int) -> Finding | None:
        joint = self.joints[j]
        runs, _ = joint.beyond.summary()
        if not runs.count:
            return None
        name, unit = context.joints[j], context.unit(j)
        facts = {"excess": joint.excess, "low": self.bounds.low[j], "high": self.bounds.high[j], "unit": unit}
        return make_finding(
            context,
            span,
            "I3",
            joint=name,
            flag=Flag.FAIL,
            value=joint.excess,
            unit=unit,
            threshold=float(self.bounds.tolerance[j]),
            origin=Origin.ROBOT,
            first_seq=runs.first_seq,
            t_start_ns=runs.first_t,
            t_end_ns=runs.last_t,
            **say("I3.beyond", joint=name, **facts),
        )

    def _near(self, context: Context, span: Span, j: int, live: bool) -> Finding | None:
        runs, ns = self.joints[j].near.summary()
        ready = not live or (span.frames >= self.rules.live_frames and span.seconds >= self.rules.live_s)
        share = ns / (span.seconds * SECOND) if span.last_t > span.first_t else 0.0
        if not runs.count or not ready or share < self.rules.near_time * (1 - SLACK):
            return None
        name = context.joints[j]
        return make_finding(
            context,
            span,
            "I3",
            joint=name,
            flag=Flag.SUSPECT,
            value=share,
            unit="share",
            threshold=self.rules.near_time,
            origin=Origin.OURS,
            first_seq=runs.first_seq,
            t_start_ns=runs.first_t,
            t_end_ns=runs.last_t,
            **say("I3.near", joint=name, near=self.rules.near_range, share=share),
        )

    def values(self, context: Context, span: Span, findings: list[Finding]) -> list[MetricValue]:
        """The worst joint's share of frames outside its limits, and each joint's that is not GOOD."""
        judged = self.bounds.known | _mask(context.continuous, len(self.bounds.known))
        evaluated = bool(span.frames) and self.bounds.known.any() and context.measures("position")
        flag = Flag.FAIL if any(f.flag == Flag.FAIL for f in findings) else Flag.SUSPECT if findings else Flag.GOOD
        if not findings and not (evaluated and judged.all()):
            flag = Flag.NOT_EVALUATED
        shares = {context.joints[j]: joint.outside / span.frames for j, joint in self.joints.items()}
        worst = max(shares.values(), default=0.0) if evaluated else NONE
        rows = [MetricValue("I3", "", worst, "share", flag)]
        rows += [MetricValue("I3", f.joint, shares[f.joint], "share", Flag(f.flag)) for f in findings]
        if evaluated:
            unknown = np.flatnonzero(~judged).tolist()
            rows += [MetricValue("I3", context.joints[j], NONE, "share", Flag.NOT_EVALUATED) for j in unknown]
        return rows
