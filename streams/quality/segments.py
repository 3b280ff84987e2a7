"""Where movements begin and end in an arm's filtered speed: causal, bounded. Never measures a movement."""

from __future__ import annotations

from copy import copy
from math import ceil
from typing import Final

import numpy as np

from kinestream.streams.quality.model import SLACK, Floats
from kinestream.streams.quality.rules import Rules

#: Samples at the beginning of a movement that its sums leave out.
_RAW: Final = 2


class Segments:
    """Cuts a series (n, m), column 0 the speed (rad/s), into movements.

    A movement opens where the speed rises above 0.05 rad/s, with the samples back to the last below 0.02; it closes
    at the first sample below max(0.02, 5 % of its peak so far), included, or after 10 s; under 6 samples it is
    dropped (ours; so chained reaches are measured alike, however many and however far apart).
    """

    __slots__ = ("_count", "_head", "_kept", "_lead", "_longest", "_peak", "_rules", "_speed", "_speeds", "_sums")

    def __init__(self, rules: Rules, rate_hz: float) -> None:
        self._rules = rules
        self._longest = max(rules.move_frames, ceil(rules.move_longest_s * rate_hz))
        self.reset()

    @property
    def room(self) -> int:
        """Samples that the movement going on may still have."""
        return self._longest - self._count

    def copied(self) -> Segments:
        """One that goes on by itself."""
        other = copy(self)
        other._kept, other._lead, other._speeds = [*self._kept], [*self._lead], [*self._speeds]
        return other

    def reset(self) -> None:
        """Drop the movement that is going on: what follows is not its continuation."""
        self._kept: list[Floats] = []
        self._lead: list[Floats] = []
        # what came before ``_kept``: its first samples, the speeds of all, and the other columns' sums behind the first
        self._head: Floats | None = None
        self._speeds: list[Floats] = []
        self._sums: Floats | None = None
        self._count = 0
        self._peak = 0.0
        self._speed = float("inf")

    def add(self, series: Floats) -> list[Floats]:
        """Go on; the movements that end in these samples, each (k, m). Keeps views of ``series`` until the next.

        Of the columns but the first only sums from the third sample on are kept, wherever they stand: nobody asks for
        more, and ten seconds of a movement are most of what an episode holds.
        """
        self._compact()
        speed, begin = series[:, 0], 0
        ended: list[Floats] = []
        if not len(speed) or self._nothing_happens(series, speed):
            return ended
        # one by one: a movement or a rest is too short for whole-array steps to be worth their price
        values: list[float] = speed.tolist()
        while begin < len(values):
            begin = self._move(values, series, begin, ended) if self._count else self._wait(values, series, begin)
        return ended

    def _nothing_happens(self, series: Floats, speed: Floats) -> bool:
        """Take the series whole where a movement goes on throughout, as most do."""
        if not self._count or self._count + len(speed) >= self._longest:
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

    def _wait(self, values: list[float], series: Floats, begin: int) -> int:
        """Up to the sample that opens a movement; keeps those back to the last at rest, and that one."""
        rest, opens, before, lead = self._rules.move_rest, self._rules.move_open, self._speed, 0
        series = series[begin:]
        for k, value in enumerate(values[begin:]):
            if value > opens and value > before:
                self._put_aside(series[lead:k])
                self._kept, self._lead = [*self._lead, series[k : k + 1]], []
                self._count, self._peak = sum(map(len, self._kept)), value
                return begin + k + 1
            if value < rest:
                lead, self._lead = k, []
            before = value
        self._put_aside(series[lead:])
        self._speed = before
        return begin + len(series)

    def _put_aside(self, series: Floats) -> None:
        if len(series):
            self._lead.append(series)
        while sum(map(len, self._lead)) > self._longest // 2:
            self._lead = self._lead[1:]

    def _move(self, values: list[float], series: Floats, begin: int, ended: list[Floats]) -> int:
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
        self._kept.append(series[begin:end])
        self._count += end - begin
        self._peak = peak
        return end

    def _close(self, series: Floats, begin: int, end: int, ended: list[Floats]) -> int:
        """The movement ends with the sample before ``end``, which may be the rest before the next."""
        if end > begin:
            self._kept.append(series[begin:end])
        if self._count + end - begin >= self._rules.move_frames:
            ended.append(self._whole())
        last = series[end - 1 : end].copy()
        self.reset()
        self._speed = float(last[0, 0])
        self._lead = [last]
        return end

    def finish(self) -> list[Floats]:
        """The movement that is still going on, if it is long enough; the take ended in it."""
        return [self._whole()] if self._count >= self._rules.move_frames else []

    def _whole(self) -> Floats:
        kept = np.concatenate(self._kept) if self._kept else None
        if self._head is None or self._sums is None:
            return kept if kept is not None else np.zeros((0, 1))
        before = sum(map(len, self._speeds))
        whole = np.zeros((before + (0 if kept is None else len(kept)), self._head.shape[1]))
        whole[:before, 0] = np.concatenate(self._speeds)
        if kept is not None:
            whole[before:] = kept
        whole[:_RAW, 1:] = self._head[:, 1:]
        whole[_RAW, 1:] += self._sums
        return whole

    def _compact(self) -> None:
        """Keep of the last series what is needed of it, and not the series."""
        if self._lead:
            self._lead = [np.concatenate(self._lead)]
        if not self._kept:
            return
        piece = self._kept[0] if len(self._kept) == 1 else np.concatenate(self._kept)
        if self._head is None and len(piece) <= _RAW:
            self._kept = [piece.copy()]
            return
        self._kept = []
        self._speeds.append(piece[:, 0].copy())
        if self._head is None:
            self._head, piece = piece[:_RAW].copy(), piece[_RAW:]
        sums = np.add.reduce(piece[:, 1:], axis=0)
        self._sums = sums if self._sums is None else self._sums + sums
