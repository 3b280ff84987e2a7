"""Every metric over laid-out batches: holds frames until a batch is worth its while, feeds the families, asks them.

Never judges by itself, and never lets the size of a fetch decide a figure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from copy import copy, deepcopy
from itertools import pairwise

import numpy as np

from kinestream.streams.quality.consistency import Consistency
from kinestream.streams.quality.declared import Declared
from kinestream.streams.quality.delay import VelocityDelay
from kinestream.streams.quality.desk import JOINT_CHANNELS, LARGEST, Batch, Before
from kinestream.streams.quality.duplicates import Signature, Sketch
from kinestream.streams.quality.family import Family
from kinestream.streams.quality.frozen import Frozen
from kinestream.streams.quality.gripper import Chatter
from kinestream.streams.quality.held import Held, joined, part_of
from kinestream.streams.quality.idle import Idle
from kinestream.streams.quality.lag import CommandLag
from kinestream.streams.quality.layout_check import LayoutCheck
from kinestream.streams.quality.model import NONE, SECOND, Context, Finding, Flag, Floats, Frames, MetricValue, Span
from kinestream.streams.quality.motors import Effort, Speed, Units
from kinestream.streams.quality.order import StampOrder
from kinestream.streams.quality.path import Path
from kinestream.streams.quality.rules import Rules
from kinestream.streams.quality.smoothness import Smoothness
from kinestream.streams.quality.spikes import Spikes
from kinestream.streams.quality.stale import Stale
from kinestream.streams.quality.tracking import CopiedCommand, RestOffset, Tracking

#: Live, frames are held back at most so long (robot time, ns), so that a batch is worth its while.
PATIENCE_NS = SECOND // 5


class Board:
    """The families of one episode; state is theirs, and the frames of a batch that is not yet complete."""

    def __init__(self, context: Context, rules: Rules) -> None:
        self.context, self.rules = context, rules
        #: frames of a batch; sums of floats depend on it in their last digits
        self.largest = LARGEST
        spikes = Spikes(context, rules)
        chatter = Chatter(context, rules)
        declared = Declared(context, rules)
        consistency = Consistency(context, rules, spikes)
        self.sketch = Sketch(context, rules)
        self.path = Path(context, rules)
        self._smoothness = Smoothness(context, rules)
        self.families: list[Family] = [
            StampOrder(context, rules),
            LayoutCheck(context, rules),
            Speed(context, rules),
            Effort(context, rules),
            spikes,  # before those that ask for the resolution
            Frozen(context, rules, spikes),
            Stale(context, rules),
            consistency,
            Units(context, rules),
            VelocityDelay(context, rules),
            Tracking(context, rules),
            RestOffset(context, rules),
            CommandLag(context, rules),
            CopiedCommand(context, rules),
            self._smoothness,
            chatter,
            Idle(context, rules),
            declared,
            self.path,
            self.sketch,
        ]
        # what a family reads: of further channels only those that hold a gripper, or where hands are
        self._needed = {*JOINT_CHANNELS, *chatter.channels, *declared.channels}
        self._before = Before()
        self._first: Frames | None = None
        self._held = Held(self._needed)
        #: for live findings: this board with the first ``_shown`` frames held
        self._ahead: Board | None = None
        self._shown = 0
        #: what held live since the last batch: nothing else changes it
        self._said: list[Finding] | None = None
        #: True once parts were merged: what does not merge exactly is to be recomputed
        self.merged = False

    def add(self, frames: Frames) -> None:
        """Take frames beyond the last; their values must not change until their batch is whole.

        A batch is the frames of one range of numbers, whatever pieces they come in: sums of floats depend on the cuts.
        """
        numbers = frames.seq // self.largest
        cuts = [] if numbers[0] == numbers[-1] else (np.flatnonzero(np.diff(numbers)) + 1).tolist()
        for begin, end in pairwise([0, *cuts, len(numbers)]):
            self._take(part_of(frames, begin, end))

    def rest(self) -> None:
        """The frames at hand are all in: what was put off until there is more to do at once is due."""
        self._smoothness.rest()

    def _take(self, frames: Frames) -> None:
        if self._held.frames and self._held.first_seq // self.largest != int(frames.seq[0]) // self.largest:
            self.settle()
        whole = (int(frames.seq[-1]) + 1) % self.largest == 0
        if whole and not self._held.frames:
            self._feed(frames)
            return
        self._held.add(frames)
        if whole:
            self.settle()

    def settle(self) -> None:
        """Feed what is held back: nothing more comes of its range of numbers."""
        if self._held.frames:
            self._feed(joined(self._held.take()))

    def _feed(self, frames: Frames) -> None:
        self._ahead, self._shown, self._said = None, 0, None
        batch = Batch(self.context, self.rules, self._before, frames)
        if self._first is None:
            self._first = _copied(part_of(frames, 0, 1), self._needed)
        # values of 1e38 overflow some square: what comes of it is no number and is told as such
        with np.errstate(over="ignore", invalid="ignore"):
            for family in self.families:
                family.add(batch)
        self._before = batch.ends(self._before)

    def findings(self, span: Span, live: bool) -> list[Finding]:
        """What holds; live, of the frames so far, which lack at most the last fifth of a second."""
        if not live:
            self.settle()
            return self._say(span, live)
        unseen = self._held.since(self._shown)
        if unseen and span.last_t - int(unseen[0].t_ns[0]) >= PATIENCE_NS:
            self._look_ahead(unseen)
        told = self._ahead or self
        if told._said is None:
            told._said = told._say(span, live)
        return [*told._said]

    def _look_ahead(self, unseen: list[Frames]) -> None:
        """Feed the frames of an unfinished batch to a copy of the families: theirs must not depend on who looked."""
        ahead, shown = self._ahead or self._copy(), self._held.frames
        ahead._feed(joined(unseen))
        self._ahead, self._shown = ahead, shown

    def _copy(self) -> Board:
        kept = [value for family in self.families for value in vars(family).values() if _never_changes(value)]
        shared = {id(one): one for one in (self.context, self.rules, *kept)}
        other = copy(self)
        other._held, other._ahead = Held(()), None
        # those that only speak at the close keep the largest windows, and are not asked before
        other.families = deepcopy([f for f in self.families if type(f).findings is not Family.findings], shared)
        return other

    def _say(self, span: Span, live: bool) -> list[Finding]:
        fed = Span(self._before.frames, span.first_seq, self._before.seq, span.first_t, self._before.t)
        return [finding for family in self._asked() for finding in family.findings(fed if live else span, live)]

    def _asked(self) -> Iterable[Family]:
        return (family for family in self.families if family.merges or not self.merged)

    def values(self, span: Span, found: dict[str, list[Finding]]) -> list[MetricValue]:
        """The rows of every metric; after a merge, NOT_EVALUATED for those that must be recomputed."""
        self.settle()
        values: list[MetricValue] = []
        for family in self.families:
            if family.merges or not self.merged:
                values += family.values(span, found)
            else:
                values += [MetricValue(metric, "", NONE, "", Flag.NOT_EVALUATED) for metric in family.metrics]
        return values

    @property
    def poses(self) -> dict[str, Floats]:
        """The first and the last position, float64 (J,), by the names of POSES; none without positions."""
        start, end = self.path.start, self.path.end
        return {} if start is None or end is None else {"start": start, "end": end}

    def signature(self, span: Span) -> Signature | None:
        """For D2, of the whole take; None after a merge."""
        self.settle()
        return None if self.merged else self.sketch.signature(span)

    def merge(self, later: Board) -> None:
        """Add the board of the frames that follow."""
        self.settle()
        later.settle()
        self._said = None
        if later._first is None:
            return
        if self._first is None:
            self.families, self._first, self.merged = later.families, later._first, later.merged
            self.path, self.sketch, self._smoothness = later.path, later.sketch, later._smoothness
        else:
            cut = Batch(self.context, self.rules, self._before, later._first)
            for family, other in zip(self.families, later.families, strict=True):
                family.merge(other, cut)
            self.merged = True
            if later._before.frames == 1:
                later._before.gap = cut.ends_in_gap
        frames = self._before.frames + later._before.frames
        self._before = later._before
        self._before.frames = frames


def _never_changes(value: object) -> bool:
    return isinstance(value, np.ndarray) and not value.flags.writeable


def _copied(frames: Frames, needed: Collection[str]) -> Frames:
    channels = {name: values.copy() for name, values in frames.channels.items() if name in needed}
    return Frames(frames.seq.copy(), frames.t_ns.copy(), channels)
