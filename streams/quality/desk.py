"""A batch of frames laid out for the metrics: float64 arrays they share, computed once. Never judges, keeps no state.

Values that are not numbers are replaced by the joint's last number (0 before the first); :meth:`Batch.steps` says
which steps may be used; where all is well that mask is None and costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from math import isfinite
from threading import local
from typing import Any

import numpy as np

from kinestream.streams.quality.model import SECOND, SLACK, Context, Floats, Frames, Integers, Mask, Singles
from kinestream.streams.quality.rules import Rules

#: Frames of a batch while a take is recorded, at most: those that wait for it to be whole are held by somebody.
LARGEST = 512
#: Frames after which what depends on how far a take has come goes on, in a batch of any size.
PART = 256
#: Frames of a batch of a take that is there as a whole, at most: numpy's price is by the call.
WHOLE = 1024
#: An interval of unknown length, s.
_UNKNOWN = 1.0
JOINT_CHANNELS = ("position", "velocity", "effort", "command")
_FOLDED = 8
_thread = local()
_ONES = np.ones(WHOLE + 1)


@dataclass(slots=True)
class Before:
    """The frame before a batch: number, stamp (ns) and last numbers of each joint channel, float64 (J,)."""

    seq: int = -1
    t: int = 0
    frames: int = 0
    rows: dict[str, Floats] = field(default_factory=dict)
    bad: dict[str, Mask] = field(default_factory=dict)
    #: the interval before it was a gap
    gap: bool = False


class Batch:
    """n frames of J joints and the frame before them (row 0 where there is one more row than frames)."""

    def __init__(self, context: Context, rules: Rules, before: Before, frames: Frames) -> None:
        n = len(frames.seq)
        self.n, self.seq, self.frames, self.starts = n, frames.seq, frames, not before.frames
        self.shop = _shop(len(context.joints))
        self.ones: Floats = _ONES[:n]
        self.first = before.frames
        self._bad: dict[str, Mask] = {}
        with np.errstate(over="ignore", invalid="ignore"):  # infinities and signalling NaNs are looked for here
            self._given = {
                name: values
                for name in JOINT_CHANNELS
                if (values := frames.channels.get(name)) is not None and values.shape[1] == len(context.joints)
            }
            self._earlier = before
            self._rows = {
                name: self._laid_out(name)
                for name, values in self._given.items()
                if name != "effort" or not isfinite(_energy(values))
            }
        self._periods(context, rules, before)

    def _periods(self, context: Context, rules: Rules, before: Before) -> None:
        n = self.n
        t = self.t = self.shop.stamps[: n + 1]
        t[0] = self.frames.t_ns[0] if self.starts else before.t
        t[1:] = self.frames.t_ns
        #: stamp differences, int64 (n,), ns; the episode's first is 0
        self.period_ns: Integers = np.subtract(t[1:], t[:-1], out=self.shop.period_ns[:n])
        period = np.divide(self.period_ns, SECOND, out=self.shop.period[:n])
        rate = context.nominal_rate_hz
        longest = rules.gap_periods / rate * (1 + SLACK) if rate > 0 else np.inf
        follows = int(self.seq[-1]) - int(self.seq[0]) == n - 1
        self._first_seq = int(self.seq[0]) if follows else -1
        consecutive = follows and self._first_seq == before.seq + 1 and not self.starts
        #: bool (n,): intervals that tell of motion: neither the first, nor over missing numbers, nor a gap; None = all
        self.steady: Mask | None = None
        #: bool (n,): intervals that follow a gap: the sample they begin at may have been stamped late; None = none
        self.late: Mask | None = None
        self._gap = bool(period[-1] > longest)
        if before.gap or not period.max() <= longest:
            self.late = np.concatenate(([before.gap], period[:-1] > longest))
        if not consecutive or not (period.min() > 0 and period.max() <= longest):
            steps = np.diff(self.seq, prepend=before.seq)
            self.steady = (period > 0) & (period <= longest) & (steps == 1)
            if self.starts:
                self.steady[0] = False
            period[period <= 0] = 1 / rate if rate > 0 else _UNKNOWN
        #: float64 (n,), s; above 0
        self.period: Floats = period

    def _laid_out(self, name: str) -> Floats:
        values, before, rows = self._given[name], self._earlier, self.shop.rows[name][: self.n + 1]
        rows[1:] = values
        bad = None
        if not isfinite(_energy(rows[1:])):
            bad = ~np.isfinite(rows[1:])
        earlier = before.rows.get(name)
        if bad is not None and bad.any():
            self._fill(name, rows, bad, earlier, before)
        else:
            rows[0] = rows[1] if earlier is None else earlier
            last = before.bad.get(name) if before.bad else None
            if last is not None and last.any():
                self._bad[name] = np.vstack((last, np.zeros((self.n, rows.shape[1]), np.bool_)))
        return rows

    def _fill(self, name: str, rows: Floats, bad: Mask, earlier: Floats | None, before: Before) -> None:
        """Give every hole the joint's last number."""
        # before a take's first frame stands what it holds, as where all are numbers
        rows[0] = np.where(bad[0], 0.0, rows[1]) if earlier is None else earlier
        last = np.maximum.accumulate(np.where(bad, 0, np.arange(1, self.n + 1)[:, None]), axis=0)
        rows[1:] = np.take_along_axis(rows, last, axis=0)
        first = before.bad.get(name, np.full(rows.shape[1], earlier is None))
        self._bad[name] = np.vstack((first, bad))

    def parts(self) -> Sequence[Batch]:
        """The batches in which these frames come while a take is recorded, for what depends on them.

        They share what this one has computed, and the arrays of its shop that are for a metric's own use.
        """
        if int(self.seq[0]) // PART == int(self.seq[-1]) // PART:
            return [self]
        cuts = (np.flatnonzero(np.diff(self.seq // PART)) + 1).tolist()
        return [self._part(begin, end) for begin, end in pairwise([0, *cuts, self.n])]

    def _part(self, begin: int, end: int) -> Batch:
        part, rows = object.__new__(Batch), slice(begin, end + 1)
        part.n, part.seq, part.shop, part.ones = end - begin, self.seq[begin:end], self.shop, _ONES[: end - begin]
        part.first, part.starts = self.first + begin, self.starts and not begin
        part._given = {name: values[begin:end] for name, values in self._given.items()}
        part.frames = Frames(part.seq, self.frames.t_ns[begin:end], part._given)
        part._rows = {name: values[rows] for name, values in self._rows.items()}
        part._bad = {name: mask[rows] for name, mask in self._bad.items() if mask[rows].any()}
        part.t, part.period_ns, part.period = self.t[rows], self.period_ns[begin:end], self.period[begin:end]
        steady = self.steady
        part.steady = None if steady is None or steady[begin:end].all() else steady[begin:end]
        if "position" in self._rows:
            for name in ("step", "step_size", "step_norms_squared", "speed_squared"):
                part.__dict__[name] = getattr(self, name)[begin:end]
        return part

    def ends(self, before: Before) -> Before:
        """What the next batch must know."""
        rows = {name: values[-1].astype(np.float64) for name, values in self._given.items()}
        rows |= {name: values[-1].copy() for name, values in self._rows.items()}
        bad = {name: mask[-1].copy() for name, mask in self._bad.items()}
        return Before(int(self.seq[-1]), int(self.frames.t_ns[-1]), before.frames + self.n, rows, bad, self._gap)

    @property
    def ends_in_gap(self) -> bool:
        """The last interval is one."""
        return self._gap

    def every(self, count: int) -> slice | Integers:
        """Places of the frames whose numbers are multiples of ``count``."""
        if self._first_seq >= 0:
            return slice(-self._first_seq % count, None, count)
        return np.flatnonzero(self.seq % count == 0)

    def bad(self, name: str) -> Mask | None:
        """Which values (n+1, J) of a channel were no numbers; None = none."""
        return self._bad.get(name)

    def steps(self, *names: str) -> Mask | None:
        """Bool (n, J): steps that are steady and whose ends are numbers in all these channels; None = all are."""
        masks = [self._bad[name] for name in names if name in self._bad]
        if self.steady is None and not masks:
            return None
        usable = np.ones((self.n, self.shop.joints), np.bool_)
        if self.steady is not None:
            usable &= self.steady[:, None]
        for bad in masks:
            usable &= ~(bad[1:] | bad[:-1])
        return usable

    def channel(self, name: str) -> Floats | None:
        """A joint channel with the frame before it, float64 (n+1, J); None = not measured."""
        if name == "effort" and name in self._given and name not in self._rows:
            with np.errstate(over="ignore", invalid="ignore"):
                self._rows[name] = self._laid_out(name)
        return self._rows.get(name)

    def greatest(self, name: str) -> Floats | None:
        """Each joint's greatest absolute value in a channel that is all numbers, (J,); None = look at :meth:`channel`.

        As the frames gave it, so not a digit less.
        """
        values = self._given.get(name)
        if values is None or name in self._bad:
            return None
        return np.maximum(over_frames(np.maximum, values), -over_frames(np.minimum, values))

    @cached_property
    def step(self) -> Floats:
        """q_k - q_(k-1), float64 (n, J)."""
        q = self._rows["position"]
        return np.subtract(q[1:], q[:-1], out=self.shop.step[: self.n])

    @cached_property
    def step_size(self) -> Floats:
        """Absolute values of :attr:`step`."""
        return np.absolute(self.step, out=self.shop.step_size[: self.n])

    @cached_property
    def least_step(self) -> Floats:
        """Each joint's least absolute step, (J,)."""
        least: Floats = over_frames(np.minimum, self.step_size)
        return least

    @cached_property
    def step_squares(self) -> Floats:
        """Squares of :attr:`step`."""
        return np.multiply(self.step, self.step, out=self.shop.step_squares[: self.n])

    @cached_property
    def step_norms_squared(self) -> Floats:
        """Sum of the squared steps of all joints, float64 (n,)."""
        return self.step_squares @ self.shop.ones

    @cached_property
    def rate(self) -> Floats:
        """Steps over their periods, float64 (n, J), rad/s."""
        # a column that is repeated divides five times as fast as one that is broadcast
        periods = np.repeat(self.period, self.shop.joints).reshape(self.n, -1)
        return np.divide(self.step, periods, out=self.shop.rate[: self.n])

    @cached_property
    def velocity(self) -> Floats:
        """Measured velocity, else :attr:`rate`; float64 (n, J)."""
        measured = self._rows.get("velocity")
        return self.rate if measured is None else measured[1:]

    @cached_property
    def velocity_squares(self) -> Floats:
        """Squares of :attr:`velocity`."""
        return np.multiply(self.velocity, self.velocity, out=self.shop.velocity_squares[: self.n])

    @cached_property
    def velocity_energy(self) -> Floats:
        """Sum of :attr:`velocity_squares` of each joint, float64 (J,)."""
        return self.ones @ self.velocity_squares

    @cached_property
    def speed_squared(self) -> Floats:
        """Sum of the squared velocities of all joints, float64 (n,)."""
        return self.velocity_squares @ self.shop.ones

    @cached_property
    def error(self) -> Floats:
        """Command minus position, float64 (n, J)."""
        return np.subtract(self._rows["command"][1:], self._rows["position"][1:], out=self.shop.error[: self.n])

    @cached_property
    def error_squares(self) -> Floats:
        """Squares of :attr:`error`."""
        return np.multiply(self.error, self.error, out=self.shop.error_squares[: self.n])


def _energy(values: Singles | Floats) -> float:
    """Sum of squares: finite if all values are numbers and none is huge."""
    flat = values.reshape(-1)
    return float(np.dot(flat, flat))


def over_frames(ufunc: np.ufunc, values: Any) -> Any:
    """``ufunc.reduce`` over the frames of (n, J): eight frames side by side, as long rows cost less than many."""
    n, width = values.shape
    if n < _FOLDED or not values.flags.c_contiguous:
        return ufunc.reduce(values, axis=0)
    whole = n - n % _FOLDED
    folded = ufunc.reduce(values[:whole].reshape(-1, _FOLDED * width), axis=0)
    found = ufunc.reduce(folded.reshape(_FOLDED, width), axis=0)
    return found if whole == n else ufunc(found, ufunc.reduce(values[whole:], axis=0))


#: arrays of a batch's size that a shop has
_SHARED = ("step", "step_size", "step_squares", "rate", "velocity_squares", "error", "error_squares", "spare", "other")


class _Shop:
    """Arrays for J joints that all batches of a thread use in turn."""

    def __init__(self, joints: int) -> None:
        self.joints = joints
        self.ones = np.ones(joints)
        self.stamps = np.zeros(WHOLE + 1, np.int64)
        self.period_ns = np.zeros(WHOLE, np.int64)
        self.period = np.zeros(WHOLE)
        self.rows = {name: np.zeros((WHOLE + 1, joints)) for name in JOINT_CHANNELS}
        for name in _SHARED:
            setattr(self, name, np.zeros((WHOLE + 1, joints)))
        # with room for a few frames before a batch
        self.lagged, self.lagged_rate = np.zeros((WHOLE + 8, joints)), np.zeros((WHOLE + 8, joints))
        self.flags = np.zeros((WHOLE + 1, joints), np.bool_)

    step: Floats
    step_size: Floats
    step_squares: Floats
    rate: Floats
    velocity_squares: Floats
    error: Floats
    error_squares: Floats
    #: for a metric's own use within one call
    spare: Floats
    other: Floats


def _shop(joints: int) -> _Shop:
    shops: dict[int, _Shop] | None = getattr(_thread, "shops", None)
    if shops is None:
        shops = _thread.shops = {}
    if joints not in shops:
        if len(shops) >= 64:
            shops.clear()
        shops[joints] = _Shop(joints)
    return shops[joints]
