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
from kinestream.schemas.models import Models, RobotModel
from kinestream.streams.judging import JUDGES
from kinestream.streams.quality import Delivery, EpisodeJudge, Finding, Flag, Frames, Judgement

#: Metrics that no file can answer, and why: their rows read NOT_EVALUATED.
LIVE_ONLY: Final[Mapping[str, str]] = {
    "T3": "arrival jitter: nobody saw the frames of a file arrive",
    "T7": "reordering: frames of a file lie in one order",
    "T9": "latency: nobody saw the frames of a file arrive",
    "T10": "clock skew and steps: a file has no broker's clock beside the robot's",
    "O1": "outcome: nobody claims one for a file",
    "D1": "exact duplicates: a file is not compared with the stored episodes",
    "D2": "near duplicates: a file is not compared with the stored episodes",
    "E5": "duration against the task: its statistics are in the store",
    "E7": "start and end pose against the task: its statistics are in the store",
}


@dataclass(frozen=True, slots=True)
class Bench:
    """What all episodes of a run are judged by: the skill and rules that override the committed ones, and which
    metrics ("all" or "core").
    """

    skill: str = ""
    #: as ``read_overlays`` gives them
    overlays: str = ""
    metrics: str = "all"


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """A recorded episode, the canonical frames that were judged, by whom, and what was said of them."""

    recorded: RecordedEpisode
    frames: Frames
    judge: EpisodeJudge
    judgement: Judgement
    #: what its limits are of; None = nobody described its robot
    model: RobotModel | None

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The worst first."""
        return self.judgement.findings

    @property
    def lacking(self) -> tuple[str, ...]:
        """Of the metrics that could not be answered, those without which the rules assess nothing."""
        unknown = self.not_evaluated
        return tuple(metric for metric in self.judge.rules.required if metric in unknown)

    @property
    def not_evaluated(self) -> tuple[str, ...]:
        """Ids of metrics that could not be answered."""
        rows = (row for row in self.judgement.metrics if not row.joint and "." not in row.id)
        return tuple(row.id for row in rows if row.flag == Flag.NOT_EVALUATED)


def judge_recorded(recorded: RecordedEpisode, bench: Bench | None = None, model: RobotModel | None = None) -> Judged:
    """Judge a whole episode as a worker does that has received all of it.

    Its frames are numbered as `publish` numbers them, so that none is lost and none comes twice (T5 and T6 are GOOD);
    its id is its source. ``model``: the robot's description where it is not, or not only, a committed one. Raises
    :class:`LayoutError` where its channels contradict each other.
    """
    bench = bench or Bench()
    layout, channels = _laid_out(recorded)
    frames = Frames(np.arange(len(recorded), dtype=np.int64), recorded.t_ns, channels)
    models = Models()
    if model is not None:
        models.register(model)
    judge = JUDGES[bench.metrics](_start(recorded, bench.skill), layout, models, overlays=bench.overlays)
    judge.take_whole()
    judge.advance(frames)
    delivery = Delivery(len(recorded), len(recorded), status="COMPLETE")
    return Judged(recorded, frames, judge, judge.final(delivery), models.find(recorded.model_id))


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
