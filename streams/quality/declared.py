"""What a task declares of the hands and only the task knows: D3. Never guesses where a hand is: it must be measured."""

from __future__ import annotations

import re
from typing import Final

import numpy as np

from kinestream.streams.quality.desk import Batch
from kinestream.streams.quality.family import Family, Found, rows
from kinestream.streams.quality.model import (
    NONE,
    SLACK,
    Context,
    Finding,
    Flag,
    Floats,
    MetricValue,
    Origin,
    Span,
)
from kinestream.streams.quality.rules import Rules
from kinestream.streams.quality.spells import Spell

#: The further channel that holds where ends are, m, its elements named ``left_hand_x`` ...
CHANNEL: Final = "end_effector_position"
_ELEMENT = re.compile(r"(?P<end>(?P<side>left|right)_\w+)_(?P<axis>[xyz])")


class Declared(Family):
    """D3: mean speed of a hand the task wants at rest, path / time, m/s; D3.outside: share of frames outside a box.

    Rules of a skill or subtask declare both (RoboCOIN's task rules; 0.05 m/s there): ``rest_left_speed`` and
    ``rest_right_speed``, ``box_low_x`` to ``box_high_z`` in the frame of the channel. 0, or a box without an inside,
    declares nothing. Needs the channel ``end_effector_position``; without it, or undeclared, NOT_EVALUATED.
    """

    metrics = ("D3", "D3.outside")

    def __init__(self, context: Context, rules: Rules) -> None:
        super().__init__(context, rules)
        ends: dict[str, dict[str, int]] = {}
        self._sides: dict[str, str] = {}
        for column, name in enumerate(context.element_names.get(CHANNEL, ())):
            if (said := _ELEMENT.fullmatch(name)) and "hand" in said["end"]:
                ends.setdefault(said["end"], {})[said["axis"]] = column
                self._sides[said["end"]] = said["side"]
        #: columns x, y, z of each hand
        self._ends = {end: [at[axis] for axis in "xyz"] for end, at in ends.items() if len(at) == 3}
        self._rest = {"left": rules.rest_left_speed, "right": rules.rest_right_speed}
        self._low = np.array([rules.box_low_x, rules.box_low_y, rules.box_low_z])
        self._high = np.array([rules.box_high_x, rules.box_high_y, rules.box_high_z])
        self.boxed = bool((self._low < self._high).all())
        #: hands that are to rest
        self.resting = [end for end in self._ends if self._rest[self._sides[end]] > 0]
        self.channels = {CHANNEL} if self._ends and (self.boxed or self.resting) else set[str]()
        self._last: Floats | None = None
        self._path = dict.fromkeys(self.resting, 0.0)
        self._seconds = 0.0
        self.outside: dict[str, Spell] = {}

    def add(self, batch: Batch) -> None:
        """Go on with the ways of resting hands, and look where all are."""
        given = batch.frames.channels.get(CHANNEL) if self.channels else None
        if given is None:
            return
        here = given.astype(np.float64)
        places = here if self._last is None else np.vstack((self._last, here))
        for end in self.resting:
            steps = np.linalg.norm(np.diff(places[:, self._ends[end]], axis=0), axis=1)
            self._path[end] += float(np.nansum(steps))
        self._seconds += float(batch.period.sum()) if self._last is not None else float(batch.period[1:].sum())
        self._last = here[-1:]
        for end, columns in self._ends.items() if self.boxed else ():
            beyond = np.maximum(self._low - here[:, columns], here[:, columns] - self._high).max(axis=1)
            at = np.flatnonzero(beyond > SLACK)
            if len(at):
                first = (int(batch.seq[at[0]]), int(batch.frames.t_ns[at[0]]))
                last = int(batch.frames.t_ns[at[-1]])
                self.outside.setdefault(end, Spell()).add(len(at), first, last, float(beyond[at].max()))

    def _speed(self, end: str) -> float:
        return self._path[end] / self._seconds if self._seconds > 0 else NONE

    def findings(self, span: Span, live: bool) -> list[Finding]:
        """One a hand that moves where it is to rest, and one a hand that left the box."""
        found = []
        for end in self.resting if self.enough(span, live) else ():
            speed, limit = self._speed(end), self._rest[self._sides[end]]
            if speed > limit * (1 + SLACK):
                facts = {"value": speed, "unit": "m/s", "threshold": limit, "origin": Origin.TASK}
                found.append(self.finding(span, "D3", "D3.rest", {"speed": speed, "limit": limit},
                                          joint=end, flag=Flag.SUSPECT, **facts))  # fmt: skip
        for end, spell in sorted(self.outside.items()):
            facts = {"value": spell.worst, "unit": "m", "threshold": 0.0, "origin": Origin.TASK}
            found.append(
                self.finding(span, "D3", "D3.box", {"far": spell.worst}, joint=end, flag=Flag.SUSPECT,
                             first_seq=spell.first_seq, t_start_ns=spell.first_t, t_end_ns=spell.last_t, **facts)
            )  # fmt: skip
        return found

    def values(self, span: Span, found: Found) -> list[MetricValue]:
        """The fastest of the hands that are to rest, and the share of frames in which one is outside."""
        judged = bool(self.channels) and self._last is not None
        speed = max((self._speed(end) for end in self.resting), default=NONE)
        share = max((spell.count for spell in self.outside.values()), default=0) / max(span.frames, 1)
        outside = share if judged and self.boxed else NONE
        flag = Flag.NOT_EVALUATED if outside != outside else Flag.SUSPECT if outside > 0 else Flag.GOOD
        return [*rows("D3", "m/s", speed, judged, found), MetricValue("D3.outside", "", outside, "share", flag)]
