"""What a family of metrics is to the board that runs it, and how its rows are made. Never holds a formula."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from kinestream.streams.quality.desk import Batch
from kinestream.streams.quality.model import (
    NONE,
    Context,
    Finding,
    Flag,
    Floats,
    Frames,
    Mask,
    MetricValue,
    Span,
    make_finding,
    say,
)
from kinestream.streams.quality.rules import Rules
from kinestream.streams.quality.spells import Spell

Found = Mapping[str, list[Finding]]


class Family:
    """Some metrics over one running state: fed batches in frame order, asked for findings and rows at any time."""

    #: metrics whose states of two contiguous parts merge exactly; others are recomputed (contract: "Live metrics")
    merges = False
    #: ids of its whole-episode rows, in order
    metrics: tuple[str, ...] = ()

    def __init__(self, context: Context, rules: Rules) -> None:
        self.context = context
        self.rules = rules

    def add(self, batch: Batch) -> None:
        """Go on with the frames that follow."""

    def findings(self, span: Span, live: bool) -> list[Finding]:
        """What holds of the frames so far; live, shares wait until there are enough frames."""
        return []

    def values(self, span: Span, found: Found) -> list[MetricValue]:
        """The rows; ``found`` are the family's findings by metric."""
        return []

    def merge(self, later: Any, cut: Batch) -> None:
        """Add a contiguous later part; ``cut`` holds its first frame, with the last one of this part before it."""

    def enough(self, span: Span, live: bool) -> bool:
        """Whether shares may be judged: at the close always, live after a second and 100 frames."""
        return not live or (span.frames >= self.rules.live_frames and span.seconds >= self.rules.live_s)

    def finding(self, span: Span, metric: str, key: str, facts: Mapping[str, Any], **known: Any) -> Finding:
        """A finding that says the sentence ``key`` with ``facts``."""
        words = say(key, **{"joint": known.get("joint", ""), **facts})
        return make_finding(self.context, span, metric, **known, **words)


def where(spell: Spell) -> dict[str, int]:
    """A finding's place: first frame and stamps of a spell."""
    return {"first_seq": spell.first_seq, "t_start_ns": spell.first_t, "t_end_ns": spell.last_t}


def worst_flag(findings: Iterable[Finding]) -> Flag:
    """FAIL, SUSPECT, or GOOD where there is none."""
    flags = {finding.flag for finding in findings}
    return Flag.FAIL if Flag.FAIL in flags else Flag.SUSPECT if Flag.SUSPECT in flags else Flag.GOOD


def rows(
    metric: str, unit: str, worst: float, evaluated: bool, found: Found, unknown: Iterable[str] = ()
) -> list[MetricValue]:
    """The whole episode's row and one for each joint with a finding, holding that finding's value.

    ``unknown``: joints whose limit nobody declared. Each has a row that says so: the others' GOOD is none of theirs.
    """
    findings = found.get(metric, [])
    flag = worst_flag(findings) if findings or evaluated else Flag.NOT_EVALUATED
    whole = MetricValue(metric, "", worst if evaluated or findings else NONE, unit, flag)
    joints = [MetricValue(metric, f.joint, f.value, f.unit, Flag(f.flag)) for f in findings if f.joint]
    missing = [MetricValue(metric, joint, NONE, unit, Flag.NOT_EVALUATED) for joint in unknown if evaluated]
    return [whole, *joints, *missing]


def plain(metric: str, value: float, unit: str) -> MetricValue:
    """A row that nothing is concluded from beyond whether there is a value."""
    return MetricValue(metric, "", value, unit, Flag.GOOD if value == value else Flag.NOT_EVALUATED)


def constant(values: Floats) -> Floats:
    """What never changes: copies of a family share it."""
    values.flags.writeable = False
    return values


def known_limit(limit: Floats | None, context: Context) -> Floats:
    """Limits above 0 of a known model, else NaN; float64 (J,)."""
    if limit is None or not context.model_known:
        return np.full(len(context.joints), NONE)
    given = np.asarray(limit, np.float64)
    return np.where(np.isfinite(given) & (given > 0), given, NONE)


def without(known: Mask, context: Context) -> list[str]:
    """The joints that are not in ``known`` (J,)."""
    return [context.joints[j] for j in np.flatnonzero(~known).tolist()]


def mark(spells: dict[int, Spell], j: int, mask: Mask, frames: Frames, worst: float) -> None:
    """Record the frames of ``mask`` (n,) for joint ``j``."""
    at = np.flatnonzero(mask)
    if len(at):
        spell = spells.setdefault(j, Spell())
        spell.add(len(at), (int(frames.seq[at[0]]), int(frames.t_ns[at[0]])), int(frames.t_ns[at[-1]]), worst)


def join(mine: dict[int, Spell], later: dict[int, Spell]) -> None:
    """Add the spells of a later part."""
    for j, spell in later.items():
        mine.setdefault(j, Spell()).merge(spell)
