"""What a simulated robot's sensors and clock make of a motion: arrays as a real one would send; never a fault."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kinestream.producers.fleet.motion import Plan
from kinestream.schemas.frames import Float32, Float64, Int64
from kinestream.schemas.models import RobotModel

#: Standard deviation of a stamp about its due time, as a share of the period: intervals vary by sqrt(2) of it, 2 %.
JITTER = 0.014
#: How much a robot's oscillator may be off, parts per million.
DRIFT_PPM = 40.0
#: How long a joint trails its command, s.
LAG = 0.03
#: Step of the encoders (19 bits a turn) and deviation of their noise, rad or m.
STEP = 2 * np.pi / 2**19
NOISE = 1e-5
VELOCITY_NOISE = 5e-4
#: Effort where the maker declares no limit, Nm or N.
EFFORT = 20.0


@dataclass(slots=True, eq=False)
class Take:
    """One take of n frames and J joints: ``t_ns`` int64 (n,) from the take's start, the rest float32 (n, J)."""

    t_ns: Int64
    position: Float32
    velocity: Float32
    effort: Float32
    command: Float32

    def __len__(self) -> int:
        return len(self.t_ns)


def stamps(rng: np.random.Generator, frames: int, rate_hz: float) -> Int64:
    """Stamps of a loop that meets each due time within JITTER, int64 ns (n,) from 0, strictly rising."""
    period = 1e9 / rate_hz * (1 + rng.uniform(-DRIFT_PPM, DRIFT_PPM) * 1e-6)
    due = np.arange(frames) * period
    late = np.clip(rng.normal(0.0, JITTER, frames), -4 * JITTER, 4 * JITTER) * period
    t_ns: Int64 = np.rint(due + late).astype(np.int64)
    return t_ns - t_ns[0]


def sense(rng: np.random.Generator, model: RobotModel, plan: Plan, t_ns: Int64) -> Take:
    """What the robot measures of ``plan`` at ``t_ns``: joints trail the command, encoders round, sensors are noisy."""
    t = t_ns.astype(np.float64) * 1e-9
    command, _ = plan.at(t)
    position, velocity = plan.at(t - np.float64(LAG))
    shape = position.shape
    return Take(
        t_ns=t_ns,
        position=_float32(np.rint((position + rng.normal(0.0, NOISE, shape)) / STEP) * STEP),
        velocity=_float32(velocity + rng.normal(0.0, VELOCITY_NOISE, shape)),
        effort=_float32(_effort(rng, model, position, velocity)),
        command=_float32(command),
    )


def _effort(rng: np.random.Generator, model: RobotModel, position: Float64, velocity: Float64) -> Float64:
    most = np.where(np.isnan(model.effort), EFFORT, model.effort)
    share = 0.25 * np.sin(position) + 0.2 * velocity / model.velocity + rng.normal(0.0, 0.005, position.shape)
    return most * share


def _float32(values: Float64) -> Float32:
    return values.astype(np.float32)
