"""Hands that open and close in a flutter: S7. Sequential by nature, and only for the few joints that grip."""

from __future__ import annotations

from collections import deque

import numpy as np

from kinestream.streams.quality.arms import grippers_of
from kinestream.streams.quality.desk import Batch
from kinestream.streams.quality.family import Family, Found, rows
from kinestream.streams.quality.model import (
    SECOND,
    Context,
    Finding,
    Flag,
    Floats,
    Integers,
    MetricValue,
    Origin,
    Span,
)
from kinestream.streams.quality.rules import Rules

#: reversals remembered a joint: more than that in a second is a fault whatever the count
_REMEMBERED = 64


class Zigzag:
    """Counts direction reversals of at least ``least`` and the most of them within one second."""

    __slots__ = ("_extreme", "_rising", "_times", "first", "last_t", "least", "most")

    def __init__(self, least: float) -> None:
        self.least = least
        self._extreme: float | None = None
        self._rising = 0
        self._times: deque[int] = deque(maxlen=_REMEMBERED)
        self.most = 0
        self.first: tuple[int, int] = (0, 0)
        self.last_t = 0

    def add(self, values: Floats, seq: Integers, t: Integers) -> None:
        """Go on with one joint's positions (n,), all finite."""
        if self._extreme is None:
            self._extreme = float(values[0])
        if self._rising:
            # how far each value came back from the extreme before it
            ahead = np.maximum.accumulate(np.maximum(values * self._rising, self._extreme * self._rising))
            if float((ahead - values * self._rising).max()) < self.least:
                self._extreme = float(ahead[-1]) * self._rising
                return
        for k, value in enumerate(values.tolist()):
            self._follow(value, int(seq[k]), int(t[k]))

    def _follow(self, value: float, seq: int, t: int) -> None:
        extreme = self._extreme if self._extreme is not None else value
        if self._rising == 0:
            if abs(value - extreme) >= self.least:
                self._rising, self._extreme = (1 if value > extreme else -1), value
        elif (value - extreme) * self._rising >= 0:
            self._extreme = value
        elif abs(value - extreme) >= self.least:
            self._rising, self._extreme = -self._rising, value
            self._reverse(seq, t)

    def _reverse(self, seq: int, t: int) -> None:
        self._times.append(t)
        while self._times[0] < t - SECOND:
            self._times.popleft()
        if len(self._times) > self.most:
            self.most, self.first, self.last_t = len(self._times), (seq, self._times[0]), t


class Chatter(Family):
    """S7 gripper chatter: most direction reversals of a gripper in any 1 s; above 2 SUSPECT, above 5 FAIL (a risk).

    The limits are an open checker's. A reversal counts once the joint came back by 2 % of its range, of 1 (rad, m or
    the unit of its channel) where that is not known. Grippers: joints, and elements of further channels with a unit,
    named so; the fingers of a hand are none. No gripper: NOT_EVALUATED.
    """

    metrics = ("S7",)

    def __init__(self, context: Context, rules: Rules) -> None:
        super().__init__(context, rules)
        self._joints: dict[int, Zigzag] = {}
        for j in grippers_of(context.joints) if context.measures("position") else ():
            reach = float(context.upper[j] - context.lower[j]) if context.model_known else np.nan
            self._joints[j] = Zigzag(rules.chatter_travel * (reach if reach > 0 else 1.0))
        self._elements: dict[tuple[str, int], Zigzag] = {}
        for channel, names in context.element_names.items():
            # without a unit nobody knows how far a gripper goes: 2 % of it would be any noise
            if "position" in channel and context.channel_units.get(channel):
                self._elements |= {(channel, k): Zigzag(rules.chatter_travel) for k in grippers_of(names)}
        #: further channels that are read
        self.channels = {channel for channel, _ in self._elements}

    def add(self, batch: Batch) -> None:
        """Follow each gripper."""
        position = batch.channel("position")
        for j, zigzag in self._joints.items():
            if position is not None:
                zigzag.add(position[1:, j], batch.seq, batch.frames.t_ns)
        for (channel, k), zigzag in self._elements.items():
            if channel in batch.frames.channels:
                values = batch.frames.channels[channel][:, k].astype(np.float64)
                good = np.isfinite(values)
                if good.any():
                    zigzag.add(values[good], batch.seq[good], batch.frames.t_ns[good])

    def _named(self) -> dict[str, Zigzag]:
        joints = {self.context.joints[j]: zigzag for j, zigzag in self._joints.items()}
        names = self.context.element_names
        return joints | {f"{channel}.{names[channel][k]}": zigzag for (channel, k), zigzag in self._elements.items()}

    def findings(self, span: Span, live: bool) -> list[Finding]:
        """One a gripper."""
        least = self.rules.chatter_suspect
        return [self._one(span, name, z) for name, z in self._named().items() if z.most > least]

    def _one(self, span: Span, name: str, zigzag: Zigzag) -> Finding:
        rules = self.rules
        fail = zigzag.most > rules.chatter_fail
        return self.finding(
            span,
            "S7",
            "S7",
            {"count": zigzag.most},
            joint=name,
            flag=Flag.FAIL if fail else Flag.SUSPECT,
            value=float(zigzag.most),
            unit="1/s",
            threshold=float(rules.chatter_fail if fail else rules.chatter_suspect),
            origin=Origin.OURS,
            first_seq=zigzag.first[0],
            t_start_ns=zigzag.first[1],
            t_end_ns=zigzag.last_t,
        )

    def values(self, span: Span, found: Found) -> list[MetricValue]:
        """The most reversals a second of any gripper."""
        named = self._named()
        worst = float(max((zigzag.most for zigzag in named.values()), default=0))
        return rows("S7", "1/s", worst, bool(named) and span.frames > 1, found)
