"""Steps no motor can make: I8. One maximum a joint clears a fetch; exact float64 only where that fails."""

from __future__ import annotations

from dataclasses import dataclass, field

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
    Integers,
    Mask,
    MetricValue,
    Origin,
    Singles,
    Span,
    make_finding,
    say,
)
from kinestream.streams.quality.rules import Rules
from kinestream.streams.quality.scratch import Bench, Workshop
from kinestream.streams.quality.spells import Spell

#: keeps the quick float32 look on the safe side of the exact one
_CAUTION = 1 - 1e-5
_NOBODY = np.empty(0, np.int64)


@dataclass(slots=True)
class _Joint:
    jumps: Spell = field(default_factory=Spell)
    fails: int = 0


def _limits(context: Context, rules: Rules) -> tuple[Floats, Singles]:
    """Of each joint vmax, NaN = unknown, and what the quick look allows a nanosecond."""
    velocity = np.asarray(context.velocity, np.float64)
    known = np.isfinite(velocity) & (velocity > 0) & context.model_known
    quick = np.where(known, velocity * rules.jump_suspect * _CAUTION / SECOND, np.inf).astype(np.float32)
    return np.where(known, velocity, NONE), quick


@dataclass(frozen=True, slots=True, eq=False)
class _Step:
    """The step of some joints (``columns``) to one frame, rad or m: its number and stamp, and over how long, s."""

    at: tuple[int, int]
    columns: Integers
    step: Floats
    seconds: float


def _add(joints: dict[int, _Joint], later: dict[int, _Joint]) -> None:
    for j, other in later.items():
        mine = joints.setdefault(j, _Joint())
        mine.jumps.merge(other.jumps)
        mine.fails += other.fails


class Jumps:
    """I8 jump: |q_k - q_(k-1)| > m vmax D_k, D from the stamps, m = 1 SUSPECT, m = 2 FAIL (open checkers' factor).

    vmax is the robot description's. D counts at least half a nominal period: a stamp that comes late makes the next
    interval short, which is T2's. After a gap D also counts what the gap is longer than a period: a loop that stalled
    may have stamped the sample late at which it begins. Neighbours are the frames that exist: over missing numbers D is
    longer and allows more. Not evaluated where D <= 0, where either value is not a number, or for joints without vmax.
    Merges exactly.
    """

    __slots__ = (
        *("_gap_ns", "_last_ns", "_least_ns", "_nominal_ns", "_quick", "_second", "_steps", "joints", "rules"),
        "velocity",
    )

    def __init__(self, context: Context, rules: Rules) -> None:
        self.velocity, self._quick = described(_limits, context, rules)
        rate = context.nominal_rate_hz
        self._least_ns = round(rules.jump_least_period * SECOND / rate) if rate > 0 else 0
        self._nominal_ns = round(SECOND / rate) if rate > 0 else 0
        self._gap_ns = round(rules.gap_periods * SECOND / rate * (1 + SLACK)) if rate > 0 else np.iinfo(np.int64).max
        #: the last interval, and how many there were, the episode's first with its 0 among them
        self._last_ns, self._steps = 0, 0
        #: the jump to the second frame of these: whether it follows a gap is known when a part before it is
        self._second: _Step | None = None
        self.rules = rules
        self.joints: dict[int, _Joint] = {}

    def add(self, shop: Workshop, bench: Bench, frames: Frames, shortest_ns: int, finite: bool) -> None:
        """Judge the steps between ``bench.rows`` ((n+1, J), row 0 the frame before) over ``bench.period`` ns.

        ``shortest_ns`` is the shortest period; ``finite`` = no row holds NaN, Inf or a value no joint can have.
        """
        least_ns = max(shortest_ns, self._least_ns)
        if least_ns <= 0:
            columns = np.flatnonzero(self.velocity > 0)
        elif finite:
            columns = self._doubtful(shop, bench, least_ns)
        else:
            with np.errstate(invalid="ignore", over="ignore"):
                columns = self._doubtful(shop, bench, least_ns)
        if len(columns):
            self._judge(bench.rows, bench.period, frames, columns)
        self._steps += len(bench.period)
        self._last_ns = int(bench.period[-1])

    def _doubtful(self, shop: Workshop, bench: Bench, least_ns: int) -> Integers:
        """Joints whose greatest step is no number or more than vmax allows in the shortest period."""
        step = np.subtract(bench.rows_tail, bench.rows_head, out=bench.step)
        np.absolute(step, out=step)
        np.maximum.reduce(step, axis=0, out=shop.widest)
        np.multiply(self._quick, np.float32(least_ns), out=shop.highest)
        np.less_equal(shop.widest, shop.highest, out=shop.ok[0])
        return np.flatnonzero(~shop.ok[0]) if 0 in shop.ok_bytes else _NOBODY

    def _judge(self, rows: Singles, period: Integers, frames: Frames, columns: Integers) -> None:
        seconds = np.maximum(period, self._least_ns) / SECOND
        late_ns = self._late_ns(np.concatenate(([self._last_ns], period[:-1])))
        with np.errstate(invalid="ignore"):  # also of the cast: a foreign producer's NaN may be a signalling one
            q = rows[:, columns].astype(np.float64)
            step = np.abs(q[1:] - q[:-1])
            allowed = np.outer(seconds + late_ns / SECOND, self.velocity[columns]) * (1 + SLACK)
            jumps = (step > allowed * self.rules.jump_suspect) & np.isfinite(step) & (period > 0)[:, None]
        if 0 <= (second := 1 - self._steps) < len(period) and jumps[second].any():
            at = (int(frames.seq[second]), int(frames.t_ns[second]))
            of = np.flatnonzero(jumps[second])
            self._second = _Step(at, columns[of], step[second, of], float(seconds[second]))
            jumps[second] = False
        for c in np.flatnonzero(jumps.any(axis=0)).tolist():
            self._record(int(columns[c]), jumps[:, c], step[:, c], allowed[:, c], seconds, frames)

    def _late_ns(self, before_ns: Integers) -> Integers:
        """How late the sample may be at which an interval begins, by the interval before it."""
        return np.where(before_ns > self._gap_ns, before_ns - self._nominal_ns, 0)

    def _with_second(self, before_ns: int) -> dict[int, _Joint]:
        """All jumps, that to the second frame among them: before its interval was one of ``before_ns``."""
        second = self._second
        if second is None:
            return self.joints
        late_s = int(self._late_ns(np.array([before_ns]))[0]) / SECOND
        allowed = (second.seconds + late_s) * self.velocity[second.columns] * (1 + SLACK)
        found: dict[int, _Joint] = {}
        for j, step, most in zip(second.columns.tolist(), second.step.tolist(), allowed.tolist(), strict=True):
            if step > most * self.rules.jump_suspect:
                joint = found[j] = _Joint(fails=int(step > most * self.rules.jump_fail))
                joint.jumps.add(1, second.at, second.at[1], step / second.seconds)
        _add(found, self.joints)
        return dict(sorted(found.items()))

    def _record(self, j: int, jumps: Mask, step: Floats, allowed: Floats, seconds: Floats, frames: Frames) -> None:
        at = np.flatnonzero(jumps)
        joint = self.joints.setdefault(j, _Joint())
        first = (int(frames.seq[at[0]]), int(frames.t_ns[at[0]]))
        joint.jumps.add(len(at), first, int(frames.t_ns[at[-1]]), float((step[at] / seconds[at]).max()))
        joint.fails += int(np.count_nonzero(step[at] > allowed[at] * self.rules.jump_fail))

    def add_cut(self, before: Singles, after: Singles, later_span: Span, ns: int) -> None:
        """Judge the step over the cut between two merged parts: rows float32 (J,), ``ns`` apart."""
        edge = Frames(np.array([later_span.first_seq]), np.array([later_span.first_t]), {})
        known = np.flatnonzero(self.velocity > 0)
        self._judge(np.stack((before, after)), np.array([ns], np.int64), edge, known)
        self._steps += 1
        self._last_ns = ns

    def merge(self, later: Jumps) -> None:
        """Add the jumps of a later part, after that over the cut (:meth:`add_cut`)."""
        _add(self.joints, later._with_second(self._last_ns))
        self._steps += later._steps - 1
        if later._steps > 1:
            self._last_ns = later._last_ns

    @property
    def jumped(self) -> dict[int, _Joint]:
        """The joints that jump."""
        return self._with_second(0)

    def findings(self, context: Context, span: Span) -> list[Finding]:
        """One finding a joint that jumps."""
        return [self._finding(context, span, j, joint) for j, joint in sorted(self.jumped.items())]

    def _finding(self, context: Context, span: Span, j: int, joint: _Joint) -> Finding:
        name, unit = context.joints[j], context.unit(j)
        fail, vmax = joint.fails > 0, float(self.velocity[j])
        key = "I8.once" if joint.jumps.count == 1 else "I8.often"
        return make_finding(
            context,
            span,
            "I8",
            joint=name,
            flag=Flag.FAIL if fail else Flag.SUSPECT,
            value=joint.jumps.worst,
            unit=f"{unit}/s",
            threshold=vmax * (self.rules.jump_fail if fail else self.rules.jump_suspect),
            origin=Origin.ROBOT,
            first_seq=joint.jumps.first_seq,
            t_start_ns=joint.jumps.first_t,
            t_end_ns=joint.jumps.last_t,
            **say(key, joint=name, count=joint.jumps.count, speed=joint.jumps.worst, unit=f"{unit}/s", limit=vmax),
        )

    def values(self, context: Context, span: Span, findings: list[Finding]) -> list[MetricValue]:
        """The worst joint's count of jumps, and each joint's that is not GOOD."""
        counts = {context.joints[j]: float(joint.jumps.count) for j, joint in self.jumped.items()}
        evaluated = span.frames >= 2 and bool((self.velocity > 0).any()) and context.measures("position")
        flag = Flag.FAIL if any(f.flag == Flag.FAIL for f in findings) else Flag.SUSPECT if findings else Flag.GOOD
        worst = max(counts.values(), default=0.0) if evaluated else NONE
        rows = [MetricValue("I8", "", worst, "steps", flag if evaluated else Flag.NOT_EVALUATED)]
        rows += [MetricValue("I8", f.joint, counts[f.joint], "steps", Flag(f.flag)) for f in findings]
        if evaluated:
            unknown = np.flatnonzero(np.isnan(self.velocity)).tolist()
            rows += [MetricValue("I8", context.joints[j], NONE, "steps", Flag.NOT_EVALUATED) for j in unknown]
        return rows
