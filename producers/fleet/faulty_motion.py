"""Faults of the motion itself: a limit left, a stop for half the take, a speed no motor has; never of a sensor."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kinestream.producers.fleet.faults import Fault
from kinestream.producers.fleet.motion import MARGIN, PACE, PEAK, Body, Plan
from kinestream.producers.fleet.take import Sensors, Take
from kinestream.schemas.frames import Float64

#: How far beyond its limit a joint is driven, in tolerances; and how long all stay there at least, s.
BEYOND = 8.0
STAY = 0.25
#: Peak of a motion that is too fast, in velocity limits; the speeds tried, the gentlest first.
TOO_FAST = (1.3, 1.5, 1.75, 1.95)
#: Share of a take's length at which a robot stops for as long as it works otherwise.
STOPS = (0.25, 0.6)


def tolerance(body: Body, joint: int) -> float:
    """How far beyond a limit a joint may rest: max(0.005 rad or 0.001 m, 0.2 % of its range) (METRICS I3)."""
    return max(0.001 if body.prismatic[joint] else 0.005, 0.002 * float(body.span[joint]))


def leave_limits(rng: np.random.Generator, body: Body, plan: Plan) -> tuple[Plan, int] | None:
    """The plan with one pose of one joint beyond its limit, and the joint; the poses about it are moved towards it
    as far as PACE asks. ``None`` where no joint of this model can get there from inside its margin.
    """
    inner = range(1, len(plan.poses) - 2)  # the last reach may be cut by the end of the take
    ways = [(j, k, side) for j in range(len(body.joint_names)) for k in inner for side in (-1.0, 1.0)]
    for joint, pose, side in (ways[i] for i in rng.permutation(len(ways))):
        limit = body.upper if side > 0 else body.lower
        beyond = BEYOND * tolerance(body, joint)
        reach = PACE * body.velocity[joint] * plan.seconds / PEAK
        if MARGIN * body.span[joint] + beyond <= reach[pose - 1 : pose + 1].min():
            return _driven(plan, joint, pose, float(limit[joint]) + side * beyond, reach), joint
    return None


def _driven(plan: Plan, joint: int, pose: int, there: float, reach: Float64) -> Plan:
    poses, begins = plan.poses.copy(), plan.begins.copy()
    own = poses[:, joint]
    own[pose] = there
    for k in range(pose - 1, -1, -1):
        own[k] = np.clip(own[k], own[k + 1] - reach[k], own[k + 1] + reach[k])
    for k in range(pose + 1, len(own)):
        own[k] = np.clip(own[k], own[k - 1] - reach[k - 1], own[k - 1] + reach[k - 1])
    begins[pose:] += max(0.0, STAY - float(begins[pose] - begins[pose - 1] - plan.seconds[pose - 1]))
    return replace(plan, poses=poses, begins=begins)


def find_beyond(body: Body, take: Take, joint: int) -> Fault | None:
    """Where ``joint`` is beyond its limit by more than the tolerance in two consecutive frames, as it was measured."""
    over, q = tolerance(body, joint), take.position[:, joint].astype(np.float64)
    beyond = (q > body.upper[joint] + over) | (q < body.lower[joint] - over)
    pairs = np.flatnonzero(beyond[1:] & beyond[:-1])
    name = body.joint_names[joint]
    return Fault("position_limit", name, int(pairs[0]), int(pairs[0]) + 1) if len(pairs) else None


def stop_for_half(rng: np.random.Generator, plan: Plan, seconds: float) -> tuple[Plan, float]:
    """A plan for twice ``seconds`` in which all stop between two reaches for half of it; and when they stop, s."""
    at = int(np.searchsorted(plan.begins, rng.uniform(*STOPS) * seconds))
    begins = plan.begins.copy()
    begins[at:] += seconds
    return replace(plan, begins=begins), float(plan.begins[at - 1] + plan.seconds[at - 1])


def race(rng: np.random.Generator, body: Body, take: Take, sensors: Sensors) -> Fault | None:
    """One joint out and back faster than its motor can: position, velocity and command agree. ``None``: no room."""
    t = take.t_ns * 1e-9
    starts = t[rng.integers(len(t) // 4, 3 * len(t) // 4, 8)]
    period = float(np.median(np.diff(t)))
    for joint in rng.permutation(len(body.joint_names)).tolist():
        for start in starts.tolist():
            for factor in TOO_FAST:
                if fault := _race(body, take, sensors, joint, start, factor, period):
                    return fault
    return None


def _race(
    body: Body, take: Take, sensors: Sensors, joint: int, start: float, factor: float, period: float
) -> Fault | None:
    fastest, span = float(body.velocity[joint]), float(body.span[joint])
    t: Float64 = take.t_ns.astype(np.float64) * 1e-9
    q = take.position[:, joint].astype(np.float64)
    here = float(q[np.searchsorted(t, start)])
    room = {1.0: body.upper[joint] - MARGIN * span - here, -1.0: here - body.lower[joint] - MARGIN * span}
    side = max(room, key=lambda one: room[one])
    # as slow as the room allows, so that its peak is measured more than once
    seconds = min(PEAK * float(room[side]) / (factor * fastest), 0.25)
    if seconds < 2 * period:
        return None
    way = side * factor * fastest * seconds / PEAK
    moved, speed = _bump(t - start - sensors.lag, seconds, way)
    v = take.velocity[:, joint] + speed
    over = np.flatnonzero(np.abs(v) > 1.05 * fastest)
    outside = (q + moved > body.upper[joint]) | (q + moved < body.lower[joint])
    if not len(over) or outside.any() or np.abs(v).max() > 2.4 * fastest:
        return None
    take.position[:, joint] = q + moved
    take.velocity[:, joint] = v
    take.command[:, joint] += _bump(t - start, seconds, way)[0]
    return Fault("velocity_limit", body.joint_names[joint], int(over[0]), int(over[0]))


def _bump(t: Float64, seconds: float, way: float) -> tuple[Float64, Float64]:
    """Out by ``way`` in ``seconds`` and back in as many, minimum jerk, from t = 0: displacement and velocity (n,)."""
    back = t > seconds
    x = np.clip(np.where(back, t - seconds, t) / seconds, 0.0, 1.0)
    moved = x**3 * (10 - 15 * x + 6 * x**2)
    speed = 30 * x**2 * (1 - x) ** 2 / seconds
    return way * np.where(back, 1 - moved, moved), way * np.where(back, -speed, speed)
