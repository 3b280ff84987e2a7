"""How a simulated robot moves: minimum-jerk reaches between poses within its limits; never a clock, never a fault."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kinestream.schemas.errors import ContractError
from kinestream.schemas.frames import Float64
from kinestream.schemas.models import load_model

Mask = npt.NDArray[np.bool_]

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
#: A take begins at rest, as a trainer does who waits for the light, s: long enough to read an offset at rest.
REST = (0.3, 0.38)

_SECONDS = (0.7, 1.4)
_DWELL = (0.0, 0.15)
#: Now and then the trainer looks before the next reach: how often, and how long, s (below what counts as idle).
_LOOKS, _LOOK = 0.25, (0.25, 0.38)


@dataclass(frozen=True, slots=True, eq=False)
class Body:
    """The joints of a model whose limits are all known, in its order: what a simulated robot moves and sends.

    Limits are float64 (J,): rad, rad/s, Nm, or m, m/s, N where ``prismatic``; an unknown effort is NaN.
    """

    model_id: str
    category: str
    joint_names: tuple[str, ...]
    lower: Float64
    upper: Float64
    velocity: Float64
    effort: Float64
    prismatic: Mask

    @property
    def span(self) -> Float64:
        """Range of each joint."""
        return self.upper - self.lower


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
        position = self.poses[reach] + way * (x * x * x * (10 - 15 * x + 6 * x * x))
        velocity = way / self.seconds[reach][:, None] * (30 * x * x * (1 - x) * (1 - x))
        return position, velocity


def known_model(model_id: str) -> Body:
    """The joints of a model whose limits are all known; raises :class:`ContractError` where there is none."""
    model = load_model(model_id)
    kinds = {joint.name: joint.type for joint in model.joints}
    with np.errstate(invalid="ignore"):
        known = (model.upper > model.lower) & (model.velocity > 0) & np.isfinite(model.upper - model.lower)
    at = np.flatnonzero(known & np.isfinite(model.velocity))
    if not len(at):
        raise ContractError(
            f"{model_id} has no joint whose limits and velocity are all known; a simulated robot needs them:"
            " name another model"
        )
    names = tuple(model.joint_names[j] for j in at)
    return Body(
        model_id,
        model.category,
        names,
        model.lower[at],
        model.upper[at],
        model.velocity[at],
        model.effort[at],
        np.array([kinds[name] == "prismatic" for name in names]),
    )


def plan_reaches(rng: np.random.Generator, body: Body, seconds: float) -> Plan:
    """Rest, then chained reaches for at least ``seconds``; MARGIN from the limits, PACE of the fastest at most."""
    durations: list[float] = []
    dwells = [float(rng.uniform(*REST))]
    while sum(durations) + sum(dwells) < seconds:
        durations.append(rng.uniform(*_SECONDS))
        dwells.append(rng.uniform(*_LOOK) if rng.random() < _LOOKS else rng.uniform(*_DWELL))
    begins = np.cumsum(dwells[:-1]) + np.cumsum([0.0, *durations[:-1]])
    return Plan(begins, np.array(durations), _poses(rng, body, np.array(durations)))


def _poses(rng: np.random.Generator, body: Body, durations: Float64) -> Float64:
    span = body.span
    low, high = body.lower + MARGIN * span, body.upper - MARGIN * span
    poses = [low + (high - low) * rng.uniform(0.2, 0.8, len(span))]
    for duration in durations:
        most = np.minimum.reduce([PACE * body.velocity * duration / PEAK, 0.4 * span, np.full(len(span), REACH)])
        way = most * rng.uniform(LEAST, 1.0, len(span)) * rng.choice([-1.0, 1.0], len(span))
        outside = (poses[-1] + way < low) | (poses[-1] + way > high)
        poses.append(poses[-1] + np.where(outside, -way, way))
    return np.array(poses)
