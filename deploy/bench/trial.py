"""A simulated take before the judge alone, without a broker: when its fault can be known at the earliest. No clock."""

from __future__ import annotations

from typing import Final

import numpy as np

from kinestream.producers.fleet.faults import KINDS, Fault
from kinestream.producers.fleet.motion import Body
from kinestream.producers.fleet.take import Take
from kinestream.schemas.layout import Channel, Layout
from kinestream.streams.judging import judge_for
from kinestream.streams.quality import Delivery, EpisodeJudge, Frames

#: Joint channels of a simulated robot and their units, which are m where a joint is prismatic.
UNITS: Final = {"position": "rad", "velocity": "rad/s", "effort": "Nm", "command": "rad"}
#: Any moment of the robot's time: judges compare stamps with each other only.
START_NS: Final = 1_790_000_000_000_000_000
#: Frames between two looks before the last stretch is looked at frame by frame.
_STRIDE: Final = 16
#: What depends on how frames arrive, or on other episodes: its frame is known from where it was put.
_NOT_OF_FRAMES: Final = {"loss", "repeated_numbers", "duplicate"}


def judge_of(body: Body, rate_hz: float) -> EpisodeJudge:
    """The judge a worker would make for this robot."""
    width = len(body.joint_names)
    layout = Layout(body.joint_names, tuple(Channel(name, width, unit) for name, unit in UNITS.items()))
    start = {
        "episode_id": "01890000-0000-7000-8000-000000000000",
        "model_id": body.model_id,
        "nominal_rate_hz": rate_hz,
        "stamp_resolution_ns": 1_000,
    }
    return judge_for(start, layout)


def frames_of(take: Take, begin: int, end: int) -> Frames:
    """Frames ``begin`` .. ``end - 1`` of a take."""
    part = slice(begin, end)
    return Frames(
        np.arange(begin, min(end, len(take)), dtype=np.int64),
        take.t_ns[part] + START_NS,
        {name: getattr(take, name)[part] for name in UNITS},
    )


def decidable(body: Body, take: Take, fault: Fault, rate_hz: float) -> int | None:
    """The first frame at which some accepted metric over the frames so far is beyond its threshold; None = never.

    The metric's own waits count (100 intervals for T2, 1 s for shares); what a worker adds to them does not.
    """
    if fault.name in _NOT_OF_FRAMES:
        return fault.decisive_seq
    coarse, before = judge_of(body, rate_hz), fault.seq // _STRIDE * _STRIDE
    coarse.advance(frames_of(take, 0, before))
    for end in range(before + _STRIDE, len(take) + _STRIDE, _STRIDE):
        if _known(coarse, frames_of(take, before, end), fault):
            fine = judge_of(body, rate_hz)
            fine.advance(frames_of(take, 0, before))
            steps = range(before, min(end, len(take)))
            return next((k for k in steps if _known(fine, frames_of(take, k, k + 1), fault)), steps[-1])
        before = end
    return None


def _known(judge: EpisodeJudge, frames: Frames, fault: Fault) -> bool:
    """Whether the fault is found with these frames added."""
    judge.advance(frames)
    seen = judge.span.last_seq + 1
    return any(explains(fault, f.metric, f.joint) for f in judge.at_once(Delivery(seen, seen)))


def explains(fault: Fault, metric: str, joint: str) -> bool:
    """Whether a finding catches the fault: by an accepted metric, on its joint where it has one."""
    return metric in KINDS[fault.name].metrics and (joint == fault.joint or not KINDS[fault.name].of_joint)
