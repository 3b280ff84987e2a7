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
        self._speed = np.inf

    def add(self, series: Floats) -> list[Floats]:
        """Go on; the movements that end in these samples, each (k, m)."""
        rules, begin = self._rules, 0
        ended: list[Floats] = []
        speed = series[:, 0]
        while begin < len(series):
            if not self._kept:
                rising = np.diff(speed[begin:], prepend=self._speed) > 0
                opens = np.flatnonzero((speed[begin:] > rules.move_open) & rising)
                end = begin + int(opens[0]) if len(opens) else len(series)
                self._wait(series[begin:end])
                if len(opens):
                    self._kept, self._lead = [*self._lead, series[end : end + 1].copy()], []
                    self._count = sum(map(len, self._kept))
                    self._peak = float(speed[end])
                self._speed = float(speed[min(end, len(series) - 1)])
                begin = end + 1 if len(opens) else len(series)
            else:
                begin = self._move(series, begin, ended)
        return ended

    def _wait(self, series: Floats) -> None:
        """Keep the samples back to the last at rest, and that one."""
        rest = np.flatnonzero(series[:, 0] < self._rules.move_rest)
        if len(rest):
            self._lead = []
            series = series[rest[-1] :]
        if len(series):
            self._lead.append(series.copy())
        while sum(map(len, self._lead)) > self._longest // 2:
            self._lead = self._lead[1:]

    def _move(self, series: Floats, begin: int, ended: list[Floats]) -> int:
        rules, rest = self._rules, series[begin:, 0]
        peaks = np.maximum(np.maximum.accumulate(rest), self._peak)
        closes = np.flatnonzero(rest < np.maximum(rules.move_rest, rules.move_peak * peaks) * (1 - SLACK))
        room = self._longest - self._count
        size = min(int(closes[0]) + 1 if len(closes) else len(rest), room)
        self._kept.append(series[begin : begin + size].copy())
        self._count += size
        self._peak = float(peaks[size - 1])
        if (len(closes) and size == closes[0] + 1) or size == room:
            if self._count >= rules.move_frames:
                ended.append(np.concatenate(self._kept))
            last = self._kept[-1][-1:]
            self.reset()
            self._speed = float(last[0, 0])
            self._wait(last)
        return begin + size

    def finish(self) -> list[Floats]:
        """The movement that is still going on, if it is long enough; the take ended in it."""
        whole = self._kept if self._count >= self._rules.move_frames else []
        return [np.concatenate(whole)] if whole else []
