"""What is known of an arm's movements: figures of each, windows of 0.4 s. Bounded; knows no filter and no joint."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from copy import copy
from math import ceil
from statistics import median

import numpy as np

from kinestream.streams.quality.figures import Figures, figures_of
from kinestream.streams.quality.filters import BLOCK
from kinestream.streams.quality.model import NONE, Floats
from kinestream.streams.quality.rules import Rules
from kinestream.streams.quality.segments import Movement

#: movements whose figures are kept; beyond, every second one is
_KEPT = 128
#: ids of what a movement has by itself
PER_MOVEMENT = ("S1", "S1v", "S2")
#: movements that wait to be measured together, at most, and samples of them
_TOGETHER, _ROOM = 48, 768


class Movements:
    """Figures of an arm's movements: bounded, for a median and the worst; sums for S3 and S5."""

    __slots__ = ("_every", "count", "figures", "jerk_squares", "path", "peaks", "samples", "worst")

    def __init__(self) -> None:
        self.count = 0
        self.figures = {name: array("d") for name in PER_MOVEMENT}
        self.worst = dict.fromkeys(PER_MOVEMENT, NONE)
        self._every = 1
        self.peaks, self.path = 0, 0.0
        self.jerk_squares, self.samples = 0.0, 0

    def add(self, one: Figures, samples: int, jerk_squares: float) -> None:
        """A movement of so many samples, with the sum of its squared jerk, rad^2/s^6."""
        self._keep((one.ldlj, one.vector_ldlj, one.sparc))
        self.peaks += one.peaks
        self.path += one.path
        self.jerk_squares += jerk_squares
        self.samples += samples - 2

    def copied(self) -> Movements:
        """One that goes on by itself."""
        other = copy(self)
        other.figures, other.worst = {name: one[:] for name, one in self.figures.items()}, {**self.worst}
        return other

    def _keep(self, figures: Iterable[float]) -> None:
        kept = self.count % self._every == 0
        self.count += 1
        for name, figure in zip(PER_MOVEMENT, figures, strict=True):
            if kept:
                self.figures[name].append(figure)
            if figure == figure and not figure >= self.worst[name]:
                self.worst[name] = figure
        if len(self.figures["S1"]) > _KEPT:
            self.figures = {name: one[::2] for name, one in self.figures.items()}
            self._every *= 2

    def median(self, name: str) -> float:
        """Over the movements, NaN for none."""
        known = [figure for figure in self.figures[name] if figure == figure]
        return median(known) if known else NONE


class Waiting:
    """Movements of all arms that wait to be measured: a dozen cost hardly more than one."""

    __slots__ = ("_arms", "_movements", "_rate", "_samples")

    def __init__(self, rate_hz: float) -> None:
        self._rate = rate_hz
        self._arms: list[int] = []
        self._movements: list[Movement] = []
        self._samples = 0

    def add(self, arm: int, movement: Movement, to: list[Movements]) -> None:
        """``movement``: speed, and the sum of the squared norms of the joints' second velocity differences.

        Measured once there are enough, or more samples than there is room for: which are measured together depends on
        nothing but the movements.
        """
        self._arms.append(arm)
        self._movements.append(movement)
        self._samples += len(movement.speed)
        if len(self._arms) >= _TOGETHER or self._samples > _ROOM:
            self.settle(to)

    def copied(self) -> Waiting:
        """One that goes on by itself."""
        other = copy(self)
        other._arms, other._movements = [*self._arms], [*self._movements]
        return other

    def settle(self, to: list[Movements]) -> None:
        """Measure those that wait."""
        if not self._arms:
            return
        found = figures_of([m.speed for m in self._movements], [m.bends for m in self._movements], self._rate)
        scale = self._rate**4
        for arm, one, movement in zip(self._arms, found, self._movements, strict=True):
            to[arm].add(one, len(movement.speed), movement.bends * scale)
        self._arms, self._movements, self._samples = [], [], 0


class Windows:
    """S4 over windows of 0.4 s: normalised jerk T^5 * integral(|jerk|^2) / L^2, jerky above 6500 (ProtoMotions)."""

    __slots__ = ("_filled", "_rate", "_rules", "_size", "_sums", "jerky", "windows")

    def __init__(self, rules: Rules, rate_hz: float, arms: int) -> None:
        self._rules, self._rate = rules, rate_hz
        self._size = max(4, ceil(rules.jerk_window_s * rate_hz))
        #: of the window begun: of each arm the sums of speed and of squared jerk differences
        self._sums, self._filled = [[0.0, 0.0] for _ in range(arms)], 0
        self.windows, self.jerky = [0] * arms, [0] * arms

    def add(self, pairs: Floats) -> None:
        """Go on with (arms, 2, n): speeds, and squared second differences of velocity; n as for segments."""
        n = pairs.shape[2]
        begins = range(self._size - self._filled, n, self._size)
        # a block's end parts a sum as well: as many blocks as may come together, the digits are the same
        starts = sorted({*range(0, n, BLOCK), *begins})
        sums = np.add.reduceat(pairs, starts, axis=2).tolist()
        for place, start in enumerate(starts):
            if start in begins:
                self._close()
            for mine, (speed, jerk) in zip(self._sums, sums, strict=True):
                mine[0] += speed[place]
                mine[1] += jerk[place]
        self._filled = n - begins[-1] if begins else self._filled + n
        if self._filled == self._size:
            self._close()

    def copied(self) -> Windows:
        """One that goes on by itself."""
        other = copy(self)
        other._sums = [[*sums] for sums in self._sums]
        other.windows, other.jerky = [*self.windows], [*self.jerky]
        return other

    def _close(self) -> None:
        scale, rules = self._size**5, self._rules
        least = rules.move_open * rules.jerk_window_s * self._rate
        for arm, (path, jerk) in enumerate(self._sums):
            if path > least:
                self.windows[arm] += 1
                self.jerky[arm] += scale * jerk > rules.jerk_high * path**2
        self.reset()

    def reset(self) -> None:
        """Drop the window begun."""
        self._sums, self._filled = [[0.0, 0.0] for _ in self._sums], 0
