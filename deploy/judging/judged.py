"""One recorded episode through the live judge; never a metric or a rule of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from kinestream.producers.intake import declared_channels
from kinestream.producers.recordings import RecordedEpisode
from kinestream.schemas.frames import Float32
from kinestream.schemas.layout import JOINT_CHANNELS, Layout
from kinestream.streams.judging import judge_for
from kinestream.streams.quality import Delivery, Finding, Flag, Frames, Judgement

#: Metrics that no file can answer, and why: the rows of a file's judgement read NOT_EVALUATED.
LIVE_ONLY: Final[Mapping[str, str]] = {
    "T3": "jitter of arrival: a file was not seen arriving",
    "T7": "reordering: the frames of a file lie in order",
    "T9": "latency: a file was not seen arriving",
    "T10": "clock skew and steps: a file has no broker's clock beside the robot's",
    "O1": "outcome: nobody claims one for a file",
    "D1": "exact duplicates: a file is not compared with the store",
    "D2": "near duplicates: a file is not compared with the store",
    "E5": "duration against the task: its statistics are in the store",
    "E7": "start and end pose against the task: its statistics are in the store",
}


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """An episode of a recording and what the judge says of it; ``frames`` are the canonical batch it judged."""

    recorded: RecordedEpisode
    layout: Layout
    frames: Frames
    judgement: Judgement

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The worst first."""
        return self.judgement.findings

    @property
    def not_evaluated(self) -> tuple[str, ...]:
        """Ids of metrics that could not be answered."""
        rows = (row for row in self.judgement.metrics if not row.joint and "." not in row.id)
        return tuple(row.id for row in rows if row.flag == Flag.NOT_EVALUATED)


def judge_recorded(recorded: RecordedEpisode, skill: str = "") -> Judged:
    """Judge a whole episode as a worker would that had received all of it; ``skill`` chooses the rules.

    Its frames are numbered as `publish` numbers them, so that nothing is lost and nothing comes twice (T5, T6 are
    GOOD); its id is its source. Raises :class:`LayoutError` where its channels contradict each other.
    """
    layout, channels = _laid_out(recorded)
    frames = Frames(np.arange(len(recorded), dtype=np.int64), recorded.t_ns, channels)
    judge = judge_for(_start(recorded, skill), layout)
    judge.advance(frames)
    delivery = Delivery(len(recorded), len(recorded), status="COMPLETE")
    return Judged(recorded, layout, frames, judge.final(delivery))


def _laid_out(recorded: RecordedEpisode) -> tuple[Layout, dict[str, Float32]]:
    """The layout a robot would declare, and the measured channels in its order."""
    given = {name: getattr(recorded, name) for name in JOINT_CHANNELS} | dict(recorded.further)
    declared = declared_channels(recorded.joints, {channel.name: channel for channel in recorded.channels})
    measured = tuple(channel for channel in declared if given[channel.name] is not None)
    return Layout(recorded.joints, measured), {channel.name: given[channel.name] for channel in measured}


def _start(recorded: RecordedEpisode, skill: str) -> dict[str, Any]:
    """What of an EpisodeStart a judge reads."""
    return {
        "episode_id": recorded.source,
        "model_id": recorded.model_id,
        "skill": skill,
        "nominal_rate_hz": recorded.nominal_rate_hz,
        "stamp_resolution_ns": recorded.stamp_resolution_ns,
    }
