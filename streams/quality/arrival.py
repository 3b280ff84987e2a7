"""How frames arrive: T3, T7, T9, T10. Judges the delivery, so a replay or another order gives other values.

Reads the broker's stamp of each frame's record beside the robot's own; never a clock.
"""

from __future__ import annotations

from copy import deepcopy
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from kinestream.streams.quality.family import Found, plain, rows
from kinestream.streams.quality.model import (
    NONE,
    SECOND,
    SLACK,
    Context,
    Delivery,
    Finding,
    Flag,
    Floats,
    Integers,
    MetricValue,
    Origin,
    Span,
    make_finding,
    say,
)
from kinestream.streams.quality.rules import Rules
from kinestream.streams.quality.sketch import LogHistogram

#: slopes need so many standard errors beyond a limit before they are called skewed
_SURE = 3.0
#: steps need so many times the usual change between windows
_ODD = 4.0


def interarrival_jitter(transit_s: Floats) -> Floats:
    """T3: J += (|D| - J) / 16, D differences of transit times r - t (n,), s (RFC 3550, 6.4.1); J after each, (n-1,)."""
    jitter, found = 0.0, []
    for change in np.abs(np.diff(transit_s)).tolist():
        jitter += (change - jitter) / 16
        found.append(jitter)
    return np.array(found)


class Arrivals:
    """T3 jitter; T9 latency max(r - t, 0) (p50, p95, p99, max), s; T10 skew (slope of r - t on t, ppm) and clock steps.

    T9: median above 0.15 s SUSPECT, 0.3 s FAIL (an operator's limits, a weak source); a robot clock over 1 s ahead
    SUSPECT. T10: |skew| > 100 ppm by three standard errors SUSPECT (ours); the least r - t of neighbouring 5 s windows
    apart by more than 1 ms (GB/Z 218.1-2026, 6.2.5.2, advisory) and four times their usual change SUSPECT. T3 and T9
    on the last frame of each record: those before it waited for it on the robot. All but T3's flag are risks.
    """

    def __init__(self, context: Context, rules: Rules) -> None:
        self.context, self.rules = context, rules
        self.records, self.jitter = 0, 0.0
        self._last: tuple[int, int] | None = None
        #: number and stamps of the last frame, whose record may go on
        self._open: tuple[int, int, int] | None = None
        self.ages = LogHistogram(-14, 40)
        self.oldest = -np.inf
        self.ahead, self.ahead_first = 0.0, 0
        # sums for the slope of the transit time on robot time, s from the first record's
        self._origin = (0, 0)
        self._n, self._t, self._x, self._tt, self._tx, self._xx = 0, 0.0, 0.0, 0.0, 0.0, 0.0
        self._window, self._lowest = 0, np.inf
        self._minima: list[float] = []
        self._changes: list[float] = []
        self.step, self.step_at = 0.0, 0

    def add(self, seq: Integers, t_ns: Integers, broker_ns: Integers) -> None:
        """Frames in the order of their numbers: numbers, robot stamps and the broker's, int64 (n,)."""
        if not len(seq):
            return
        if self._open is not None:
            seq, t_ns, broker_ns = (
                np.concatenate(([one], rest)) for one, rest in zip(self._open, (seq, t_ns, broker_ns), strict=True)
            )
        # the last frame's record may go on in frames yet to come
        self._open = (int(seq[-1]), int(t_ns[-1]), int(broker_ns[-1]))
        last = np.flatnonzero(broker_ns[1:] != broker_ns[:-1])
        if len(last):
            self._add(seq, t_ns, broker_ns, last)

    def _whole(self) -> Arrivals:
        """With the record that is still open, as a copy: more frames may come."""
        if self._open is None:
            return self
        whole = deepcopy(self, {id(self.context): self.context, id(self.rules): self.rules})
        seq, t_ns, broker_ns = (np.array([one], np.int64) for one in self._open)
        whole._add(seq, t_ns, broker_ns, np.zeros(1, np.intp))
        return whole

    def _add(self, seq: Integers, t_ns: Integers, broker_ns: Integers, last: NDArray[np.intp]) -> None:
        age = (broker_ns[last] - t_ns[last]) / SECOND
        self.ages.add(np.maximum(age, 0.0))
        self.oldest = max(self.oldest, float(age.max()), 0.0)
        if -float(age.min()) > self.ahead:
            at = last[int(age.argmin())]
            self.ahead, self.ahead_first = -float(age.min()), int(seq[at])
        for t, r in zip(t_ns[last].tolist(), broker_ns[last].tolist(), strict=True):
            self._record(t, r)

    def _record(self, t: int, r: int) -> None:
        if self._last is None:
            self._origin = (t, r)
        else:
            change = abs((r - self._last[1]) - (t - self._last[0])) / SECOND
            self.jitter += (change - self.jitter) / 16
        self._last = (t, r)
        self.records += 1
        time, transit = (t - self._origin[0]) / SECOND, ((r - self._origin[1]) - (t - self._origin[0])) / SECOND
        # Welford's form: a long take far from its origin costs no digit
        self._n += 1
        dt, dx = time - self._t, transit - self._x
        self._t += dt / self._n
        self._x += dx / self._n
        self._tt += dt * (time - self._t)
        self._tx += dt * (transit - self._x)
        self._xx += dx * (transit - self._x)
        self._look_for_step(time, transit)

    def _look_for_step(self, time: float, transit: float) -> None:
        window = int(time // self.rules.step_window_s)
        if window != self._window:
            if np.isfinite(self._lowest):
                self._close_window(self._window * self.rules.step_window_s)
            self._window, self._lowest = window, np.inf
        self._lowest = min(self._lowest, transit)

    def _close_window(self, begins: float) -> None:
        if self._minima:
            change = self._lowest - self._minima[-1]
            usual = float(np.median(np.abs(self._changes))) if len(self._changes) >= 2 else np.inf
            if abs(change) > max(self.rules.step_s * (1 + SLACK), _ODD * usual) and abs(change) > abs(self.step):
                self.step, self.step_at = change, self._origin[0] + round(begins * SECOND)
            self._changes = [*self._changes, change][-16:]
        self._minima = [self._lowest]

    def skew_ppm(self) -> float:
        """Slope of r - t on t, parts per million; NaN below three records."""
        return 1e6 * self._tx / self._tt if self._n >= 3 and self._tt > 0 else NONE

    def _skew_error(self) -> float:
        residual = max(0.0, self._xx - self._tx**2 / self._tt)
        return 1e6 * sqrt(residual / max(1, self._n - 2) / self._tt)

    def _age_of(self, share: float) -> float:
        """A quantile of the ages, s; never above the greatest, as the middle of its bin may be."""
        return min(self.ages.quantile(share), self.oldest)

    def _rebased(self) -> bool:
        """Whether ages mean anything: a recording sent later is old by choice."""
        return self.context.live

    def findings(self, span: Span) -> list[Finding]:
        """T9 and T10, at most one each."""
        whole = self._whole()
        return whole._age(span) + whole._clock(span) if whole.records else []

    def _age(self, span: Span) -> list[Finding]:
        rules, age = self.rules, self._age_of(0.5)
        if self.ahead > rules.ahead_s:
            told = _duration(self.ahead)
            facts = {"value": -self.ahead, "threshold": -rules.ahead_s, "flag": Flag.SUSPECT, "origin": Origin.OURS}
            words = say("T9.ahead", ahead=told)
            return [make_finding(self.context, span, "T9", unit="s", first_seq=self.ahead_first, **facts, **words)]
        if not self._rebased() or not age > rules.age_suspect_s * (1 + SLACK):
            return []
        fail = age > rules.age_fail_s * (1 + SLACK)
        facts = {
            "flag": Flag.FAIL if fail else Flag.SUSPECT,
            "threshold": rules.age_fail_s if fail else rules.age_suspect_s,
            "value": age,
            "origin": Origin.OURS,
        }
        return [make_finding(self.context, span, "T9", unit="s", **facts, **say("T9.age", age=age))]

    def _clock(self, span: Span) -> list[Finding]:
        rules, skew = self.rules, self.skew_ppm()
        if self.step:
            facts = {"value": self.step, "unit": "s", "threshold": rules.step_s, "origin": Origin.STANDARD}
            words = say("T10.step", step_ms=self.step * 1e3)
            place = {"t_start_ns": self.step_at, "t_end_ns": span.last_t}
            return [make_finding(self.context, span, "T10", flag=Flag.SUSPECT, **place, **facts, **words)]
        if skew != skew or not abs(skew) - _SURE * self._skew_error() > rules.skew_ppm * (1 + SLACK):
            return []
        facts = {"value": skew, "unit": "ppm", "threshold": float(rules.skew_ppm), "origin": Origin.OURS}
        return [make_finding(self.context, span, "T10", flag=Flag.SUSPECT, **facts, **say("T10.skew", ppm=skew))]

    def values(self, delivery: Delivery, found: Found) -> list[MetricValue]:
        """T3, T7 (frames that came behind a later one), T9 and T10 with their further values."""
        return self._whole()._values(delivery, found)

    def _values(self, delivery: Delivery, found: Found) -> list[MetricValue]:
        arrived = self.records > 0
        nominal = self.context.nominal_rate_hz
        late = nominal > 0 and self.jitter > self.rules.arrival_jitter_periods / nominal * (1 + SLACK)
        jitter = self.jitter if self.records > 1 else NONE
        flag = Flag.NOT_EVALUATED if self.records < 2 else Flag.SUSPECT if late else Flag.GOOD
        reordered = float(delivery.reordered) if delivery.reordered >= 0 else NONE
        ages = {f"T9.p{q}": self._age_of(q / 100) for q in (95, 99)}
        return [
            MetricValue("T3", "", jitter, "s", flag),
            plain("T7", reordered, "frames"),
            *rows("T9", "s", self._age_of(0.5), arrived, found),
            *(plain(name, value, "s") for name, value in ages.items()),
            plain("T9.max", self.oldest if arrived else NONE, "s"),
            *rows("T10", "ppm", self.skew_ppm(), self._n >= 3, found),
            plain("T10.step", self.step if arrived else NONE, "s"),
        ]


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 3600:.1f} h" if seconds < 2 * 86_400 else f"{seconds / 86_400:.1f} d"


def reordering(seq: Integers) -> tuple[int, int]:
    """T7: frames seen first after a higher number, and the greatest lateness in numbers (RFC 4737); (n,) as arrived."""
    highest, late, extent = -1, 0, 0
    seen: set[int] = set()
    for number in seq.tolist():
        if number in seen:
            continue
        seen.add(number)
        if number < highest:
            late, extent = late + 1, max(extent, highest - number)
        highest = max(highest, number)
    return late, extent


def rfc3550_loss(seq: Integers) -> tuple[int, int, int, int]:
    """Expected (max - min + 1), received, unique and lost of frame numbers as they arrived (RFC 3550, A.3)."""
    unique = len(np.unique(seq))
    expected = int(seq.max() - seq.min()) + 1
    return expected, len(seq), unique, expected - unique
