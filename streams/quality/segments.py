"""Where movements begin and end in an arm's filtered speed: causal, bounded. Never measures a movement."""

from __future__ import annotations

from copy import copy
from functools import reduce
from math import ceil
from operator import add
from typing import Final, NamedTuple

import numpy as np

from kinestream.streams.quality.filters import BLOCK
from kinestream.streams.quality.model import SLACK, Floats
from kinestream.streams.quality.rules import Rules

#: Samples at the beginning of a movement whose second differences reach before it: they are left out.
_RAW: Final = 2
#: A speed that rises, rises by more than rounding: a filter leaves its digits behind on a speed that stays.
_MORE: Final = 1 + SLACK


class Movement(NamedTuple):
    """``speed`` (k,) of each sample, the sum of ``bends`` from the third on, where in the series it ends."""

    speed: Floats
    bends: float
    end: int


class Segments:
    """Cuts a speed (n,), rad/s, with a second quantity that is summed, into movements.

    A movement opens where the speed rises above 0.05 rad/s, with the samples back to the last below 0.02; it closes
    at the first sample below max(0.02, 5 % of its peak so far), included, or after 10 s; under 6 samples it is
    dropped (ours; so chained reaches are measured alike, however many and however far apart). Sums are taken sample by
    sample, so that no cut of the series changes a digit.
    """

    __slots__ = ("_bends", "_count", "_from", "_kept", "_lead", "_longest", "_peak", "_rules", "_speed", "_speeds")

    def __init__(self, rules: Rules, rate_hz: float) -> None:
        self._rules = rules
        self._longest = max(rules.move_frames, ceil(rules.move_longest_s * rate_hz))
        self.reset()

    def copied(self) -> Segments:
        """One that goes on by itself."""
        other = copy(self)
        other._lead, other._speeds = [*self._lead], [*self._speeds]
        return other

    def reset(self) -> None:
        """Drop the movement that is going on: what follows is not its continuation."""
        #: at rest: speeds and bends that a movement would begin with, of earlier series
        self._lead: list[Floats] = []
        #: of the movement that goes on: its speeds that were kept, how many those are, the sum of their bends; where
        #: those begin in the series at hand that are not yet kept; all its samples and the greatest speed of them
        self._speeds: list[Floats] = []
        self._kept = 0
        self._bends = 0.0
        self._from = 0
        self._count = 0
        self._peak = 0.0
        self._speed = float("inf")

    def add(self, series: Floats) -> list[Movement]:
        """Go on with (2, n): speeds, and what is summed; the movements that end in these samples.

        n: whole blocks of the filters, of which the last may be shorter. Keeps no view of ``series``, and of its second
        row only what a movement might begin with.
        """
        ended: list[Movement] = []
        if not series.shape[1] or self._nothing_happens(series):
            return ended
        # one by one: a movement or a rest is too short for whole-array steps to be worth their price
        values: list[float] = series[0].tolist()
        begin = self._from = 0
        while begin < len(values):
            begin = self._move(values, series, begin, ended) if self._count else self._wait(values, series, begin)
        if self._count > self._kept:
            self._keep(series[:, self._from :])
        return ended

    def _nothing_happens(self, series: Floats) -> bool:
        """Take the series whole where a movement goes on throughout, as most do."""
        speed = series[0]
        if not self._count or self._count + len(speed) >= self._longest:
            return False
        peak = max(self._peak, float(np.maximum.reduce(speed)))
        if not np.minimum.reduce(speed) >= self._floor(peak):
            return False
        self._keep(series)
        self._count += len(speed)
        self._peak = peak
        return True

    def _floor(self, peak: float) -> float:
        return max(self._rules.move_rest, self._rules.move_peak * peak) * (1 - SLACK)

    def _wait(self, values: list[float], series: Floats, begin: int) -> int:
        """Up to the sample that opens a movement; keeps those back to the last at rest, and that one."""
        rest, opens, before, lead = self._rules.move_rest, self._rules.move_open * _MORE, self._speed, begin
        for k in range(begin, len(values)):
            value = values[k]
            if value > opens and value > before * _MORE:
                lead = self._trimmed(lead, k)
                for one in self._lead:
                    self._keep(one)
                self._from, self._lead = lead, []
                self._count = self._kept + k + 1 - lead
                self._peak = value
                return k + 1
            if value < rest:
                lead, self._lead = k, []
            before = value
        lead = self._trimmed(lead, len(values))
        if lead < len(values):
            self._lead = [np.concatenate([*self._lead, series[:, lead:]], axis=1)]
        self._speed = before
        return len(values)

    def _trimmed(self, begin: int, end: int) -> int:
        """From where samples [begin, end) at rest count with those before: block by block, half a movement at most."""
        held, half, at, lead = sum(one.shape[1] for one in self._lead), self._longest // 2, begin, begin
        while at < end:
            stop = min(end, (at // BLOCK + 1) * BLOCK)
            if held + stop - at > half:
                self._lead, held, lead = [], 0, at if stop - at <= half else stop
            held += stop - max(at, lead)
            at = stop
        return lead

    def _keep(self, series: Floats) -> None:
        """The movement goes on with these samples."""
        speed, bends = series
        self._speeds.append(speed.copy())
        # one after the other, so that no cut changes a digit
        self._bends = reduce(add, bends[max(0, _RAW - self._kept) :].tolist(), self._bends)
        self._kept += len(speed)

    def _move(self, values: list[float], series: Floats, begin: int, ended: list[Movement]) -> int:
        """Up to the sample that ends the movement, included."""
        end = min(len(values), begin + self._longest - self._count)
        rest, share = self._floor(0.0), self._rules.move_peak * (1 - SLACK)
        peak, floor = self._peak, share * self._peak
        for k, value in enumerate(values[begin:end], begin):
            if value > peak:
                peak, floor = value, share * value
            elif value < floor or value < rest:
                return self._close(series, begin, k + 1, ended)
        if self._longest == self._count + end - begin:
            return self._close(series, begin, end, ended)
        self._count += end - begin
        self._peak = peak
        return end

    def _close(self, series: Floats, begin: int, end: int, ended: list[Movement]) -> int:
        """The movement ends with the sample before ``end``, which may be the rest before the next."""
        if end > self._from:
            self._keep(series[:, self._from : end])
        self._count += end - begin
        ended += self._whole(end)
        last = series[:, end - 1 : end].copy()
        self.reset()
        self._speed = float(last[0, 0])
        self._lead = [last]
        return end

    def finish(self) -> list[Movement]:
        """The movement that is still going on, if it is long enough; the take ended in it."""
        return self._whole(0) if self._count else []

    def _whole(self, end: int) -> list[Movement]:
        if self._count < self._rules.move_frames:
            return []
        speed = np.concatenate(self._speeds) if len(self._speeds) > 1 else self._speeds[0]
        return [Movement(speed, self._bends, end)]
