"""Where movements begin and end in an arm's filtered speed: causal, bounded. Never measures a movement."""

from __future__ import annotations

from math import ceil

import numpy as np

from kinestream.streams.quality.model import SLACK, Floats
from kinestream.streams.quality.rules import Rules


class Segments:
    """Cuts a series (n, m), column 0 the speed (rad/s), into movements.

    A movement opens where the speed rises above 0.05 rad/s, with the samples back to the last below 0.02; it closes
    at the first sample below max(0.02, 5 % of its peak so far), included, or after 10 s; under 6 samples it is
    dropped (ours; so chained reaches are measured alike, however many and however far apart).
    """

    __slots__ = ("_count", "_kept", "_lead", "_longest", "_peak", "_rules", "_speed")

    def __init__(self, rules: Rules, rate_hz: float) -> None:
        self._rules = rules
        self._longest = max(rules.move_frames, ceil(rules.move_longest_s * rate_hz))
        self.reset()

    def reset(self) -> None:
        """Drop the movement that is going on: what follows is not its continuation."""
        self._kept: list[Floats] = []
        self._lead: list[Floats] = []
        self._count = 0
        self._peak = 0.0
        self._speed = float("inf")

    def add(self, series: Floats) -> list[Floats]:
        """Go on; the movements that end in these samples, each (k, m). Keeps views of ``series``."""
        speed, begin = series[:, 0], 0
        ended: list[Floats] = []
        if not len(speed) or self._nothing_happens(series, speed):
            return ended
        values = speed.tolist()
        while begin < len(values):
            begin = self._move(series, values, begin, ended) if self._kept else self._wait(series, values, begin)
        return ended

    def _nothing_happens(self, series: Floats, speed: Floats) -> bool:
        """Take the series whole where a movement goes on throughout, as most do."""
        if not self._kept or self._count + len(speed) >= self._longest:
            return False
        peak = max(self._peak, float(np.maximum.reduce(speed)))
        if not np.minimum.reduce(speed) >= self._floor(peak):
            return False
        self._kept.append(series)
        self._count += len(speed)
        self._peak = peak
        return True

    def _floor(self, peak: float) -> float:
        return max(self._rules.move_rest, self._rules.move_peak * peak) * (1 - SLACK)

    def _wait(self, series: Floats, values: list[float], begin: int) -> int:
        """Up to the sample that opens a movement; keeps those back to the last at rest, and that one."""
        rest, opens, before, lead = self._rules.move_rest, self._rules.move_open, self._speed, begin
        for k in range(begin, len(values)):
            value = values[k]
            if value > opens and value > before:
                self._put_aside(series[lead:k])
                self._kept, self._lead = [*self._lead, series[k : k + 1]], []
                self._count, self._peak = sum(map(len, self._kept)), value
                return k + 1
            if value < rest:
                lead, self._lead = k, []
            before = value
        self._put_aside(series[lead:])
        self._speed = values[-1]
        return len(values)

    def _put_aside(self, series: Floats) -> None:
        if len(series):
            self._lead.append(series)
        while sum(map(len, self._lead)) > self._longest // 2:
            self._lead = self._lead[1:]

    def _move(self, series: Floats, values: list[float], begin: int, ended: list[Floats]) -> int:
        peak, end = self._peak, min(len(values), begin + self._longest - self._count)
        floor = self._floor(peak)
        for k in range(begin, end):
            value = values[k]
            if value > peak:
                peak, floor = value, self._floor(value)
            elif value < floor:
                return self._close(series, begin, k + 1, ended)
        if self._count + end - begin >= self._longest:
            return self._close(series, begin, end, ended)
        self._kept.append(series[begin:end])
        self._count += end - begin
        self._peak = peak
        return end

    def _close(self, series: Floats, begin: int, end: int, ended: list[Floats]) -> int:
        """The movement ends with the sample before ``end``, which may be the rest before the next."""
        kept = [*self._kept, series[begin:end]]
        count = self._count + end - begin
        if count >= self._rules.move_frames:
            ended.append(np.concatenate(kept))
        last = kept[-1][-1:].copy()
        self.reset()
        self._speed = float(last[0, 0])
        self._lead = [last]
        return end

    def finish(self) -> list[Floats]:
        """The movement that is still going on, if it is long enough; the take ended in it."""
        whole = self._kept if self._count >= self._rules.move_frames else []
        return [np.concatenate(whole)] if whole else []
