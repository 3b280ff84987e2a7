"""Single samples off their neighbours, and the least step of a sensor: I9, I10. Never smooths anything."""

from __future__ import annotations

import numpy as np

from kinestream.streams.quality.described import described
from kinestream.streams.quality.desk import Batch, over_frames
from kinestream.streams.quality.family import Family, Found, constant, known_limit, rows, where, without
from kinestream.streams.quality.model import SLACK, Context, Finding, Flag, Floats, Mask, MetricValue, Origin, Span
from kinestream.streams.quality.rules import Rules
from kinestream.streams.quality.spells import Spell

#: stands for "no step seen"
_NONE = np.uint64(np.iinfo(np.uint64).max)
_ONE = np.uint64(1)


def _motion(context: Context, rules: Rules) -> tuple[Mask, Floats, Floats]:
    """Of each joint whether vmax is known, amax, and the speed beyond which a step of half a period is I8's."""
    speed = known_limit(context.velocity, context)
    known = ~np.isnan(speed)
    known.flags.writeable = False
    acceleration = np.where(known, speed / rules.spike_reach_s, np.inf)
    return known, constant(acceleration), constant(np.where(known, speed * rules.jump_suspect, np.inf) * (1 + SLACK))


class Spikes(Family):
    """I9 spike: |q_(k-1) - (q_k + q_(k-2))/2| (QARTOD's spike test), rad; I10 resolution: least nonzero |dq|, rad.

    I9 SUSPECT above 1/2 amax D^2 + 3 LSB, amax = vmax / 0.05 s (ours), LSB the resolution so far, D no less than the
    nominal period; both with the stamps' own spacing and with equal spacing, so that an uneven stamp is no spike. A
    loop that stalls stamps a sample late (the interval before it is a gap, T4's, the one after too short for what
    moved) or several at once (intervals next to nothing): neither is a spike. A step that is a jump (I8) makes no
    spike of its neighbours: one fault, one finding. Needs vmax. I10 SUSPECT, as information only, above 2 pi / 2^12 (a
    12-bit encoder; ours) once a joint made 100 steps.
    """

    metrics = ("I9", "I10")

    def __init__(self, context: Context, rules: Rules) -> None:
        super().__init__(context, rules)
        width = len(context.joints)
        self.known, self.acceleration, self._fastest = described(_motion, context, rules)
        rate = context.nominal_rate_hz
        self._least_s = rules.jump_least_period / rate if rate > 0 else 0.0
        self._nominal_s = 1 / rate if rate > 0 else 0.0
        self._longest_s = rules.gap_periods / rate * (1 + SLACK) if rate > 0 else np.inf
        self._least_acceleration = float(self.acceleration.min(initial=np.inf))
        self._least = np.full(width, _NONE, np.uint64)
        #: the least steps so far by the end of each part of the last batch
        self.leasts: list[Floats] = []
        # the last step of the batch before, its validity and period, and whether the interval before it was a gap
        self._before: tuple[Floats, Mask, float, bool] | None = None
        self.spells: dict[int, Spell] = {}

    def add(self, batch: Batch) -> None:
        """Compare each sample with its neighbours."""
        if batch.channel("position") is None:
            return
        step, n = batch.step, batch.n
        usable = batch.steps("position")
        nothing = (step[0], np.zeros(step.shape[1], np.bool_), float(batch.period[0]), False)
        earlier, valid, period, late = self._before or nothing
        least = max(min(float(np.minimum.reduce(batch.period)), period), self._nominal_s) ** 2
        # two steps together turn no further than twice the largest: that is often below the least of all limits
        widest = max(float(np.maximum.reduce(batch.step_size.reshape(-1))), float(np.absolute(earlier).max()))
        if not 2 * widest <= self._least_acceleration * least:
            turn = batch.shop.spare[:n]
            np.subtract(step[1:], step[:-1], out=turn[1:])
            np.subtract(step[0], earlier, out=turn[0])
            doubtful = over_frames(np.maximum, np.absolute(turn, out=turn)) > self.acceleration * least
            self._look(batch, usable, doubtful, earlier, valid & (not late), period)
        self.leasts = []
        for part in batch.parts():
            self._resolve(part, part.steps("position"))
            self.leasts.append(self.least)
        self._before = (
            step[-1].copy(),
            np.ones(step.shape[1], np.bool_) if usable is None else usable[-1].copy(),
            float(batch.period[-1]),
            bool((batch.period[-2] if n > 1 else period) > self._longest_s),
        )

    def _look(
        self, batch: Batch, usable: Mask | None, doubtful: Mask, earlier: Floats, valid: Mask, period: float
    ) -> None:
        if not doubtful.any():
            return
        mask = np.ones(batch.step.shape, np.bool_) if usable is None else usable
        pairs = mask & np.vstack((valid, mask[:-1]))
        # the first step of a pair begins at a sample that a stalled loop may have stamped late
        gaps = np.concatenate(([period], batch.period[:-1])) > self._longest_s
        pairs[1:] &= ~gaps[:-1, None]
        for j in np.flatnonzero(doubtful).tolist():
            self._closely(batch, j, pairs[:, j], earlier[j], period)

    def _closely(self, batch: Batch, j: int, pairs: Mask, earlier: float, period: float) -> None:
        step = np.concatenate(([earlier], batch.step[:, j]))
        length = np.concatenate(([period], batch.period))
        longer = np.maximum(np.maximum(length[1:], length[:-1]), self._nominal_s)
        plain = np.abs(step[1:] - step[:-1]) / 2
        # q_(k-1) off the straight line from q_(k-2) to q_k, by the stamps
        timed = np.abs(step[1:] * length[:-1] - step[:-1] * length[1:]) / (length[1:] + length[:-1])
        off = np.minimum(plain, timed)
        allowed = self.acceleration[j] / 2 * longer**2 + self.rules.spike_steps * self._resolution(j, step[1:])
        jumps = np.abs(step) > self._fastest[j] * np.maximum(length, self._least_s)
        at = np.flatnonzero((off > allowed * (1 + SLACK)) & pairs & ~(jumps[1:] | jumps[:-1]))
        if len(at):
            # the sample that stands out is the one before
            first = (int(batch.seq[at[0]]) - 1, int(batch.t[at[0]]))
            self.spells.setdefault(j, Spell()).add(len(at), first, int(batch.t[at[-1]]), float(off[at].max()))

    def _resolution(self, j: int, step: Floats) -> Floats:
        size = np.abs(step)
        size[size == 0] = np.inf
        known = float(self._least[j : j + 1].view(np.float64)[0]) if self._least[j] != _NONE else np.inf
        causal = np.minimum.accumulate(np.minimum(size, known))
        causal[~np.isfinite(causal)] = 0.0
        return causal

    def _resolve(self, batch: Batch, usable: Mask | None) -> None:
        if usable is None and batch.least_step.all():
            np.minimum(self._least, batch.least_step.view(np.uint64), out=self._least)
            return
        # bits of |dq| minus one: 0 becomes the greatest number, so that a minimum passes over it
        bits = batch.shop.other[: batch.n].view(np.uint64)
        bits[:] = batch.step_size.view(np.uint64)
        if usable is not None:
            bits[~usable] = 0
        np.subtract(bits, _ONE, out=bits)
        least = over_frames(np.minimum, bits)
        seen = least != _NONE
        least[seen] += _ONE
        np.minimum(self._least, least, out=self._least)

    @property
    def resolution(self) -> Floats:
        """I10: the least nonzero step of each joint, float64 (J,), NaN where none moved."""
        return np.where(self._least != _NONE, self.least, np.nan)

    @property
    def least(self) -> Floats:
        """The same, 0 where none moved."""
        return np.where(self._least != _NONE, self._least, 0).view(np.float64)

    def merge(self, later: Spikes, cut: Batch) -> None:
        """Add a later part's resolution, which C1 reads; its spikes are recomputed."""
        if cut.channel("position") is not None:
            self._resolve(cut, cut.steps("position"))
        np.minimum(self._least, later._least, out=self._least)

    def findings(self, span: Span, live: bool) -> list[Finding]:
        """One a joint."""
        return [self._one(span, j, spell) for j, spell in sorted(self.spells.items())]

    def _one(self, span: Span, j: int, spell: Spell) -> Finding:
        unit, rate = self.context.unit(j), self.context.nominal_rate_hz
        period = 1 / rate if rate > 0 else (self._before[2] if self._before else 0.0)
        return self.finding(
            span,
            "I9",
            "I9",
            {"count": spell.count, "spike": spell.worst, "unit": unit},
            joint=self.context.joints[j],
            flag=Flag.SUSPECT,
            value=spell.worst,
            unit=unit,
            threshold=float(self.acceleration[j]) / 2 * period**2,
            # in how long a motor is fast is our guess, whatever its fastest speed is
            origin=Origin.OURS,
            **where(spell),
        )

    def values(self, span: Span, found: Found) -> list[MetricValue]:
        """I9 the largest spike; I10 the coarsest joint's resolution."""
        measured = self.context.measures("position")
        evaluated = measured and span.frames >= 3 and bool(self.known.any())
        worst, of = max(((spell.worst, j) for j, spell in self.spells.items()), default=(0.0, -1))
        unit = self.context.unit(of) if of >= 0 else "rad"
        spikes = rows("I9", unit, worst, evaluated, found, without(self.known, self.context))
        straight = self.context.prismatic
        # a resolution in m is beside no limit in rad
        resolution = self.resolution if straight is None else self.resolution[~np.asarray(straight, np.bool_)]
        judged = measured and span.frames >= self.rules.resolution_frames and bool(np.isfinite(resolution).any())
        coarsest = float(np.nanmax(resolution)) if judged else float("nan")
        flag = Flag.SUSPECT if coarsest > self.rules.resolution_rad * (1 + SLACK) else Flag.GOOD
        return [*spikes, MetricValue("I10", "", coarsest, "rad", flag if judged else Flag.NOT_EVALUATED)]
