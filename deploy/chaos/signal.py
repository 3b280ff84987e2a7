"""What a robot of the chaos floor measures: a function of seed, episode and frame number; never kept anywhere.

So nobody can lose the truth: the audit makes it again, bit for bit.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from kinestream.schemas.frames import Float32, Int64
from kinestream.schemas.layout import Channel, Layout

MODEL: Final = "chaos-arm"
JOINTS: Final = tuple(f"joint_{number}" for number in range(1, 13))
#: Further channel beside position and velocity; it holds what plain arithmetic hides: NaN, -0.0 and denormals.
ODD: Final = Channel("wrench", 6, "N")
LAYOUT: Final = Layout(JOINTS, (Channel("position", 12, "rad"), Channel("velocity", 12, "rad/s"), ODD))
#: Frames of the longest take.
LONGEST: Final = 1024
_ODD_VALUES: Final = np.array([np.nan, -0.0, 1e-42, np.inf], np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """n frames: ``t_ns`` int64 (n,), UTC; each channel float32 (n, width)."""

    t_ns: Int64
    channels: dict[str, Float32]

    def part(self, first: int, last: int) -> Measured:
        """Frames ``first`` to ``last - 1``."""
        return Measured(self.t_ns[first:last], {name: values[first:last] for name, values in self.channels.items()})


@lru_cache(maxsize=64)
def measured(seed: int, episode_id: str, t0_ns: int, rate_hz: float) -> Measured:
    """All LONGEST frames the robot would measure, were the take so long."""
    rng = np.random.default_rng([seed, uuid.UUID(episode_id).int >> 64, uuid.UUID(episode_id).int & (1 << 64) - 1])
    period = 1e9 / rate_hz
    t = np.arange(LONGEST) / rate_hz
    jitter = np.clip(rng.normal(0.0, 0.01, LONGEST), -0.04, 0.04)
    phase, slow = rng.uniform(0, 2 * np.pi, len(JOINTS)), rng.uniform(0.2, 0.7, len(JOINTS))
    turn = 2 * np.pi * slow * t[:, None] + phase
    wrench = rng.normal(0.0, 5.0, (LONGEST, ODD.width)).astype(np.float32)
    odd = rng.random(wrench.shape) < 0.01
    wrench[odd] = rng.choice(_ODD_VALUES, int(odd.sum()))
    channels = {
        "position": (np.sin(turn) + rng.normal(0.0, 1e-5, turn.shape)).astype(np.float32),
        "velocity": (2 * np.pi * slow * np.cos(turn) + rng.normal(0.0, 5e-4, turn.shape)).astype(np.float32),
        ODD.name: wrench,
    }
    return Measured(t0_ns + np.rint((np.arange(LONGEST) + jitter) * period).astype(np.int64), channels)
