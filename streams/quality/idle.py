"""When a robot stands still: E1, E2. Idle is an absolute speed, never one relative to the data."""

from __future__ import annotations

from typing import Any

import numpy as np

from kinestream.streams.quality.desk import Batch
from kinestream.streams.quality.family import Family, Found, rows
from kinestream.streams.quality.model import NONE, SECOND, SLACK, Context, Finding, Flag, MetricValue, Origin, Span
from kinestream.streams.quality.pauses import Pause, Pauses
from kinestream.streams.quality.rules import Rules


class Idle(Family):
    """E1 idle share: time in runs of at least 0.5 s with max |v_j| < 0.01 rad/s, of all time; 10 % SUSPECT, 30 % FAIL.

    E2: the longest stall between motions, E2.lead before the first, E2.tail after the last, s; 2 s SUSPECT (ours). v
    is measured, else dq/D against 0.015 rad/s (1e-3 rad at 15 Hz, as open training code drops idle frames). The
    shares are an open checker's. What happened in a gap of the stamps (T4) is not known, so it ends a run. A risk:
    hesitation is no defect. Merges exactly.
    """

    merges = True
    metrics = ("E1", "E2", "E2.lead", "E2.tail")

    def __init__(self, context: Context, rules: Rules) -> None:
        super().__init__(context, rules)
        self.pauses = Pauses(round(rules.idle_run_s * SECOND * (1 - SLACK)))
        self.measured = context.measures("velocity")
        limit = rules.idle_speed if self.measured else rules.idle_derived_speed
        self._limit = limit * limit
        rate = context.nominal_rate_hz
        self._longest = rules.gap_periods / rate * (1 + SLACK) if rate > 0 else float("inf")

    def add(self, batch: Batch) -> None:
        """Follow the intervals in which nothing moves; the episode's first frame ends none."""
        if not self.measured and not self.context.measures("position"):
            return
        squares = batch.velocity_squares
        idle = batch.speed_squared < self._limit
        # below the limit in sum is below it in each joint; up to J times it is yet to be seen
        doubtful = np.flatnonzero(~idle & (batch.speed_squared < batch.shop.joints * self._limit))
        if len(doubtful):
            idle[doubtful] = np.maximum.reduce(squares[doubtful], axis=1) < self._limit
        if batch.steady is not None:
            idle &= batch.period <= self._longest
        if idle.any() and (bad := batch.bad("velocity" if self.measured else "position")) is not None:
            idle &= ~bad[1:].any(axis=1)
        first = int(batch.starts)
        self.pauses.add(idle[first:], batch.seq[first:], batch.t[first:], batch.starts)

    def _stall(self) -> Pause | None:
        """The longest pause between motions; live, the open one counts as soon as the robot has moved."""
        pauses = [self.pauses.longest, self.pauses.open]
        known = [p for p in pauses if p is not None and not p.from_start]
        return max(known, key=lambda p: p.ns, default=None)

    def _lead(self) -> Pause | None:
        opened = self.pauses.open
        return opened if opened is not None and opened.from_start else self.pauses.lead

    def findings(self, span: Span, live: bool) -> list[Finding]:
        """The share, and the longest stall, lead-in or tail."""
        share = self._live_share(span) if live else self._share(span)
        found = []
        if share > self.rules.idle_suspect * (1 + SLACK):
            fail = share > self.rules.idle_fail * (1 + SLACK)
            found.append(
                self.finding(
                    span,
                    "E1",
                    "E1",
                    {"share": share},
                    flag=Flag.FAIL if fail else Flag.SUSPECT,
                    value=share,
                    unit="share",
                    threshold=self.rules.idle_fail if fail else self.rules.idle_suspect,
                    origin=Origin.OURS,
                )
            )
        return found + self._stalls(span, live)

    def _stalls(self, span: Span, live: bool) -> list[Finding]:
        lead, stall, tail = self._lead(), self._stall(), None if live else self.pauses.open
        if tail is not None and stall is tail:
            stall = self.pauses.longest
        told = [("E2.stall", stall), ("E2.lead", lead), ("E2.tail", tail if tail is not lead else None)]
        least = self.rules.stall_suspect_s * SECOND * (1 - SLACK)
        long = [(key, pause) for key, pause in told if pause is not None and pause.ns >= least]
        if not long:
            return []
        key, pause = max(long, key=lambda item: item[1].ns)
        seconds = pause.ns / SECOND
        facts: dict[str, Any] = {"value": seconds, "unit": "s", "threshold": self.rules.stall_suspect_s}
        place = {"first_seq": pause.first_seq, "t_start_ns": pause.first_t, "t_end_ns": pause.last_t}
        return [
            self.finding(span, "E2", key, {"seconds": seconds}, flag=Flag.SUSPECT, origin=Origin.OURS, **facts, **place)
        ]

    def _live_share(self, span: Span) -> float:
        """Of at least ``idle_live_s``: half a second at the start of a take is no tenth of it yet."""
        return self.pauses.together_ns() / (max(span.seconds, self.rules.idle_live_s) * SECOND)

    def _share(self, span: Span) -> float:
        return self.pauses.together_ns() / (span.seconds * SECOND) if span.last_t > span.first_t else NONE

    def values(self, span: Span, found: Found) -> list[MetricValue]:
        """The share, the longest stall, the lead-in and the tail."""
        evaluated = span.last_t > span.first_t and (self.measured or self.context.measures("position"))
        tail, lead = self.pauses.open, self._lead()
        between = self.pauses.longest
        lengths = {"E2": between, "E2.lead": lead, "E2.tail": tail}
        values = rows("E1", "share", self._share(span), evaluated, found)
        for metric, pause in lengths.items():
            seconds = pause.ns / SECOND if pause is not None else 0.0
            values += rows(metric, "s", seconds, evaluated, found if metric == "E2" else {})
        return values

    def merge(self, later: Idle, cut: Batch) -> None:
        """Add a later part and the interval over the cut."""
        if self.measured or self.context.measures("position"):
            self.add(cut)
            self.pauses.merge(later.pauses)
