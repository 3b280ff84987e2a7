"""How a simulated robot moves: minimum-jerk reaches between poses within its limits; never a clock, never a fault."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kinestream.schemas.errors import ContractError
from kinestream.schemas.frames import Float64
from kinestream.schemas.models import RobotModel, load_model

#: Share of a joint's range that every pose keeps from both limits (judges call 2 % near; we stay beyond 5 %).
MARGIN = 0.07
#: Share of the velocity limit that no reach exceeds, at its fastest.
PACE = 0.5
#: Peak speed of a minimum-jerk reach of amplitude A and duration T is PEAK * A / T (Flash and Hogan 1985).
PEAK = 1.875
#: Widest reach of a joint, rad or m.
REACH = 1.0
#: Reach that every joint makes at least, as a share of what it might: a joint that rests tells no judge anything.
LEAST = 0.15

_SECONDS = (0.7, 1.4)
_DWELL = (0.0, 0.15)


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """K reaches of J joints: ``begins`` and ``seconds`` float64 (K,), ``poses`` float64 (K + 1, J), rad or m."""

    begins: Float64
    seconds: Float64
    poses: Float64

    def at(self, t: Float64) -> tuple[Float64, Float64]:
        """Position (n, J) and velocity (n, J) at ``t`` (n,), seconds from the start; before it and at the end, rest."""
        reach = np.clip(np.searchsorted(self.begins, t, side="right") - 1, 0, len(self.begins) - 1)
        x = np.clip((t - self.begins[reach]) / self.seconds[reach], 0.0, 1.0)[:, None]
        way = (self.poses[1:] - self.poses[:-1])[reach]
        position = self.poses[reach] + way * (x**3 * (10 - 15 * x + 6 * x**2))
        velocity = way / self.seconds[reach][:, None] * (30 * x**2 * (1 - x) ** 2)
        return position, velocity


def known_model(model_id: str) -> RobotModel:
    """A model fit for the floor: raises :class:`ContractError` where a limit of an actuated joint is unknown."""
    model = load_model(model_id)
    if np.isnan([model.lower, model.upper, model.velocity]).any():
        raise ContractError(f"{model_id} has joints without limits; a simulated robot needs them all: name another")
    return model


def plan_reaches(rng: np.random.Generator, model: RobotModel, seconds: float) -> Plan:
    """Chained reaches that fill at least ``seconds``, no joint nearer its limits than MARGIN or faster than PACE."""
    durations: list[float] = []
    dwells: list[float] = []
    while sum(durations) + sum(dwells) < seconds:
        durations.append(rng.uniform(*_SECONDS))
        dwells.append(rng.uniform(*_DWELL))
    spent = np.cumsum([d + w for d, w in zip(durations, dwells, strict=True)])
    poses = _poses(rng, model, np.array(durations))
    return Plan(np.concatenate([[0.0], spent[:-1]]), np.array(durations), poses)


def _poses(rng: np.random.Generator, model: RobotModel, durations: Float64) -> Float64:
    span = model.upper - model.lower
    low, high = model.lower + MARGIN * span, model.upper - MARGIN * span
    poses = [low + (high - low) * rng.uniform(0.2, 0.8, len(span))]
    for duration in durations:
        most = np.minimum.reduce([PACE * model.velocity * duration / PEAK, 0.4 * span, np.full(len(span), REACH)])
        way = most * rng.uniform(LEAST, 1.0, len(span)) * rng.choice([-1.0, 1.0], len(span))
        outside = (poses[-1] + way < low) | (poses[-1] + way > high)
        poses.append(poses[-1] + np.where(outside, -way, way))
    return np.array(poses)
