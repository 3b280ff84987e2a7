"""Values that are not numbers: I1. Counts cells per channel element; never alters or fills one."""

from __future__ import annotations

from math import isfinite
from typing import Any

import numpy as np

from kinestream.schemas.messages import Wording, load_messages, spoken
from kinestream.streams.quality.model import (
    NONE,
    SLACK,
    Context,
    Finding,
    Flag,
    Frames,
    MetricValue,
    Origin,
    Span,
    make_finding,
    say,
)
from kinestream.streams.quality.rules import Rules
from kinestream.streams.quality.spells import Spell

#: channels with one value a joint; a finding of theirs names the joint
JOINT_CHANNELS = ("position", "velocity", "effort", "command")


class Missing:
    """I1 missing or non-finite: (NaN + Inf cells) / frames, per joint and per element of a further channel.

    Any in position fails (open recording checkers exclude such a take); elsewhere one is SUSPECT, 5 % of velocity or
    command and 20 % of others fail (GB/Z 6.2.2.1). Merges exactly.
    """

    __slots__ = ("cells", "elements")

    def __init__(self) -> None:
        #: (channel, column) -> where values are missing; only columns that miss some
        self.elements: dict[tuple[str, int], Spell] = {}
        self.cells = 0

    def look(self, frames: Frames, channels: tuple[tuple[str, int], ...]) -> None:
        """Count the non-finite values of these channels; one dot product a channel when there are none."""
        with np.errstate(over="ignore", invalid="ignore"):  # a signalling NaN is a value that is none, no more
            for name, _ in channels:
                flat = frames.channels[name].reshape(-1)
                # NaN and Inf survive a sum of squares; an overflow of large finite values only costs the exact look
                if not isfinite(np.dot(flat, flat)):
                    self.count(name, frames)

    def count(self, channel: str, frames: Frames) -> None:
        """Count the non-finite values of one channel, exactly."""
        bad = ~np.isfinite(frames.channels[channel])
        for column in np.flatnonzero(bad.any(axis=0)).tolist():
            at = np.flatnonzero(bad[:, column])
            spell = self.elements.setdefault((channel, column), Spell())
            spell.add(len(at), (int(frames.seq[at[0]]), int(frames.t_ns[at[0]])), int(frames.t_ns[at[-1]]))
            self.cells += len(at)

    def merge(self, later: Missing) -> None:
        """Add the cells of a later part."""
        self.cells += later.cells
        for element, spell in later.elements.items():
            self.elements.setdefault(element, Spell()).merge(spell)

    def findings(self, context: Context, rules: Rules, span: Span, live: bool) -> list[Finding]:
        """One finding a joint (over its channels) or element."""
        if not self.elements:
            return []
        places: dict[str, list[tuple[str, Spell]]] = {}
        for (channel, column), spell in self.elements.items():
            places.setdefault(_place(context, channel, column), []).append((channel, spell))
        enough = not live or span.frames >= rules.live_frames
        return [_finding(context, rules, span, place, spells, enough) for place, spells in places.items()]

    def values(self, context: Context, span: Span, findings: list[Finding]) -> list[MetricValue]:
        """The share of all cells that are missing, and the worst channel's share of each joint that misses some."""
        width = sum(width for _, width in context.channels)
        if not span.frames or not (findings or context.measures("position")):
            return [MetricValue("I1", "", NONE, "share", Flag.NOT_EVALUATED)]
        flag = Flag.FAIL if any(f.flag == Flag.FAIL for f in findings) else Flag.SUSPECT if findings else Flag.GOOD
        rows = [MetricValue("I1", "", self.cells / (span.frames * width), "share", flag)]
        return rows + [MetricValue("I1", f.joint, f.value, f.unit, Flag(f.flag)) for f in findings]


def _place(context: Context, channel: str, column: int) -> str:
    if channel in JOINT_CHANNELS:
        return context.joints[column]
    names = context.element_names.get(channel, ())
    return f"{channel}.{names[column] if column < len(names) else column}"


def _limit(rules: Rules, channel: str) -> float:
    if channel == "position":
        return 0.0
    return rules.missing_core if channel in ("velocity", "command") else rules.missing_other


def _fails(rules: Rules, channel: str, share: float, enough: bool) -> bool:
    if channel == "position":
        return True
    return enough and share >= _limit(rules, channel) * (1 - SLACK)


def _finding(
    context: Context, rules: Rules, span: Span, place: str, spells: list[tuple[str, Spell]], enough: bool
) -> Finding:
    failing = [item for item in spells if _fails(rules, item[0], item[1].count / span.frames, enough)]
    channel, worst = max(failing or spells, key=lambda item: (item[0] == "position", item[1].count))
    first = min((spell for _, spell in spells), key=lambda spell: spell.first_seq)
    noun = load_messages().channels[channel if channel in JOINT_CHANNELS else "extra"]
    name = spoken(place) if channel in JOINT_CHANNELS else Wording(place, place)
    facts: dict[str, Any] = {
        "place": name.en,
        "place_zh": name.zh,
        "channel": noun.en,
        "channel_zh": noun.zh,
        "count": worst.count,
    }
    return make_finding(
        context,
        span,
        "I1",
        joint=place,
        flag=Flag.FAIL if failing else Flag.SUSPECT,
        value=worst.count / span.frames,
        unit="share",
        threshold=_limit(rules, channel) if failing else 0.0,
        origin=Origin.STANDARD if failing and channel != "position" else Origin.OURS,
        first_seq=first.first_seq,
        t_start_ns=first.first_t,
        t_end_ns=max(spell.last_t for _, spell in spells),
        **say("I1.one" if worst.count == 1 else "I1.many", **facts),
    )
