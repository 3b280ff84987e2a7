"""What is odd of recorded episodes, in the words of `inspect`; never mends or refuses anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from kinestream.producers.recordings.recording import RecordedEpisode
from kinestream.schemas.frames import Float32, Int64
from kinestream.schemas.models import RobotModel

#: A gap of this many periods and this many seconds may part two takes.
_GAP_PERIODS: Final = 20
_GAP_S: Final = 1.0
#: How far a joint may read beyond a limit, and the share of frames beyond it that no movement explains.
_SLACK_RAD, _SLACK_M = 0.05, 0.005
_MOSTLY: Final = 0.5


class Oddities:
    """Those of a recording's episodes, each told once with the number of episodes it is in."""

    def __init__(self) -> None:
        self._times: Counter[str] = Counter()
        self._episodes = 0

    def add(self, episode: RecordedEpisode) -> tuple[str, ...]:
        """Count those of one more episode; returns them."""
        odd = (*episode.oddities, *parted(episode.t_ns))
        self._times.update(odd)
        self._episodes += 1
        return odd

    def told(self) -> list[str]:
        """A sentence each, in the order they were met."""
        many = self._episodes
        return [
            text if times == many else f"{text} (in {times} of {many} episodes)" for text, times in self._times.items()
        ]


def beside_limits(model: RobotModel | None, joints: Sequence[str], position: Float32 | None) -> list[str]:
    """That joints are beyond the model's limits in half of the frames or more: it may be another robot, or convention.

    ``position`` (n, J) in rad and m. Fewer frames are a movement, and judged as one (I3).
    """
    if model is None or position is None:
        return []
    limits, slide = model.limits(joints), {joint.name for joint in model.joints if joint.unit == "m"}
    slack = np.array([_SLACK_M if name in slide else _SLACK_RAD for name in joints])
    with np.errstate(invalid="ignore"):
        out = (position < limits.lower - slack) | (position > limits.upper + slack)
    found = [name for name, share in zip(joints, out.mean(axis=0), strict=True) if share >= _MOSTLY]
    if not found:
        return []
    return [
        f"{', '.join(found)} lie beyond the limits of {model.model_id} in half of the frames or more: is it another"
        " robot, zero or sign?"
    ]


def not_numbers(signals: Mapping[str, Float32]) -> list[str]:
    """Which of the signals (n, J) each, by name, hold values that are missing or infinite; they stay as they are."""
    found = [name for name, values in signals.items() if not np.isfinite(values).all()]
    return [f"{' and '.join(found)} hold{'' if found[1:] else 's'} NaN or infinity: kept as it is"] if found else []


def parted(t_ns: Int64) -> list[str]:
    """That the stamps ``t_ns`` (n,) have gaps that may part two takes; nothing where they have none."""
    steps = np.diff(t_ns)
    if not len(steps):
        return []
    far = steps > max(_GAP_S * 1e9, _GAP_PERIODS * float(np.median(steps)))
    if not far.any():
        return []
    shortest = int(steps[far].min()) / 1e9
    split = f"of a bag, CSV or npz --split {_round(shortest / 2):g} makes an episode of each part"
    return [f"{int(far.sum())} gaps of {shortest:.1f} s or more: {split}"]


def _round(value: float) -> float:
    """To one digit that counts."""
    return float(f"{value:.1g}")
