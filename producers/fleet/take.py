"""What a simulated robot's sensors and clock make of a motion: arrays as a real one would send; never a fault."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from kinestream.producers.fleet.motion import Body, Plan
from kinestream.schemas.frames import Float32, Float64, Int64

#: Standard deviation of a stamp about its due time, as a share of the period: intervals vary by sqrt(2) of it, 2 %.
JITTER = 0.014
#: How much a robot's oscillator may be off, parts per million.
DRIFT_PPM = 40.0
#: Deviation of an encoder's noise, rad or m, and of a measured velocity, rad/s or m/s.
NOISE = 1e-5
VELOCITY_NOISE = 5e-4
#: Effort where the maker declares no limit, Nm or N.
EFFORT = 20.0
#: Bits a turn of the encoders on the floor, and how long robots trail their commands, s.
BITS = (14, 16, 17, 19)
LAGS = (0.02, 0.06)


@dataclass(frozen=True, slots=True)
class Sensors:
    """What a robot's electronics do to a motion: ``lag`` behind the command, s; encoder ``step``, rad or m."""

    lag: float = 0.03
    step: float = 2 * np.pi / 2**19

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Sensors:
        """Of some robot: a maker's encoder and a controller's lag."""
        return cls(float(rng.uniform(*LAGS)), 2 * np.pi / 2 ** int(rng.choice(BITS)))

    def later(self, seconds: float) -> Sensors:
        """The same with so much more lag."""
        return replace(self, lag=self.lag + seconds)


def _nobody() -> Int64:
    return np.empty(0, np.int64)


@dataclass(slots=True, eq=False)
class Take:
    """One take of n frames and J joints: ``t_ns`` int64 (n,) from the take's start, the rest float32 (n, J).

    ``lost`` are the numbers of frames that are never sent, ``repeated`` those that are sent again, with the values of
    as many later frames, once those are sent; both ascending.
    """

    t_ns: Int64
    position: Float32
    velocity: Float32
    effort: Float32
    command: Float32
    lost: Int64 = field(default_factory=_nobody)
    repeated: Int64 = field(default_factory=_nobody)

    def __len__(self) -> int:
        return len(self.t_ns)


def stamps(rng: np.random.Generator, frames: int, rate_hz: float) -> Int64:
    """Stamps of a loop that meets each due time within JITTER, int64 ns (n,) from 0, strictly rising."""
    period = 1e9 / rate_hz * (1 + rng.uniform(-DRIFT_PPM, DRIFT_PPM) * 1e-6)
    due = np.arange(frames) * period
    late = np.clip(rng.normal(0.0, JITTER, frames), -4 * JITTER, 4 * JITTER) * period
    t_ns: Int64 = np.rint(due + late).astype(np.int64)
    return t_ns - t_ns[0]


def sense(rng: np.random.Generator, body: Body, plan: Plan, t_ns: Int64, sensors: Sensors | None = None) -> Take:
    """What the robot measures of ``plan`` at ``t_ns``: joints trail the command, encoders round, sensors are noisy."""
    sensors = sensors or Sensors()
    t = t_ns.astype(np.float64) * 1e-9
    command, _ = plan.at(t)
    position, velocity = plan.at(t - np.float64(sensors.lag))
    shape, step = position.shape, np.where(body.prismatic, np.minimum(sensors.step, body.span / 2**14), sensors.step)
    return Take(
        t_ns=t_ns,
        position=_float32(np.rint((position + rng.normal(0.0, NOISE, shape)) / step) * step),
        velocity=_float32(velocity + rng.normal(0.0, VELOCITY_NOISE, shape)),
        effort=_float32(_effort(rng, body, position, velocity)),
        command=_float32(command),
    )


def _effort(rng: np.random.Generator, body: Body, position: Float64, velocity: Float64) -> Float64:
    most = np.where(np.isnan(body.effort), EFFORT, body.effort)
    share = 0.25 * np.sin(position) + 0.2 * velocity / body.velocity + rng.normal(0.0, 0.005, position.shape)
    return most * share


def _float32(values: Float64) -> Float32:
    return values.astype(np.float32)
