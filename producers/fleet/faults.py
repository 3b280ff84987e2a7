"""Faults with known answers: each changes values or stamps of one take, never frame numbers, and says where.

I1: NaN in one joint's position. I3: a joint driven smoothly beyond its limit. I8: one sample elsewhere. T4: a gap in
the stamps. Nothing else a judge looks at changes enough to be called a fault.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from kinestream.producers.fleet.motion import MARGIN, PACE, PEAK, Plan
from kinestream.producers.fleet.take import Take
from kinestream.schemas.frames import Float64, Int64
from kinestream.schemas.models import RobotModel

METRICS = ("I1", "I3", "I8", "T4")
#: Length of a gap, s: beyond 2.5 periods of any robot, within 10 % of a take of GAP_TAKE seconds or more.
GAP = (0.26, 0.34)
GAP_TAKE = 5.0
#: A teleport covers this many times what the joint could in one period.
TELEPORT = 3.0
#: How far beyond its limit a joint is driven, in tolerances; and how long it stays there, s.
BEYOND = 8.0
STAY = 0.35


@dataclass(frozen=True, slots=True)
class Fault:
    """Ground truth: ``seq`` is the first faulty frame, ``decisive_seq`` the one at which a judge can know."""

    metric: str
    joint: str
    seq: int
    decisive_seq: int


def tolerance(model: RobotModel, joint: int) -> float:
    """How far beyond a limit a joint may rest, rad or m: max(0.005, 0.2 % of its range) (METRICS I3)."""
    return max(0.005, 0.002 * float(model.upper[joint] - model.lower[joint]))


def open_gap(rng: np.random.Generator, t_ns: Int64) -> tuple[Int64, Fault]:
    """T4: one interval of GAP seconds somewhere in the middle of the stamps."""
    k = _middle(rng, len(t_ns))
    gap = round(rng.uniform(*GAP) * 1e9) - int(t_ns[k] - t_ns[k - 1])
    return np.concatenate([t_ns[:k], t_ns[k:] + gap]), Fault("T4", "", k, k)


def leave_limits(rng: np.random.Generator, model: RobotModel, plan: Plan) -> tuple[Plan, int] | None:
    """I3: the plan with one pose of one joint beyond its limit, and the joint; the poses about it are moved towards it
    as far as PACE asks. ``None`` where no joint of this model can get there from inside its margin.
    """
    inner = range(1, len(plan.poses) - 2)  # the last reach may be cut by the end of the take
    ways = [(j, k, side) for j in range(len(model.joint_names)) for k in inner for side in (-1.0, 1.0)]
    for joint, pose, side in (ways[i] for i in rng.permutation(len(ways))):
        limit, span = model.upper if side > 0 else model.lower, model.upper[joint] - model.lower[joint]
        beyond = BEYOND * tolerance(model, joint)
        reach = PACE * model.velocity[joint] * plan.seconds / PEAK
        if MARGIN * span + beyond <= reach[pose - 1 : pose + 1].min():
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
    begins[pose:] += STAY
    return replace(plan, poses=poses, begins=begins)


def find_beyond(model: RobotModel, take: Take, joint: int) -> Fault | None:
    """Where ``joint`` is beyond its limit by more than the tolerance in two consecutive frames, as it was measured."""
    over, q = tolerance(model, joint), take.position[:, joint].astype(np.float64)
    beyond = (q > model.upper[joint] + over) | (q < model.lower[joint] - over)
    pairs = np.flatnonzero(beyond[1:] & beyond[:-1])
    return Fault("I3", model.joint_names[joint], int(pairs[0]), int(pairs[0]) + 1) if len(pairs) else None


def lose_position(rng: np.random.Generator, model: RobotModel, take: Take) -> Fault:
    """I1: one to five frames without a position of one joint."""
    joint, k = int(rng.integers(len(model.joint_names))), _middle(rng, len(take))
    take.position[k : k + int(rng.integers(1, 6)), joint] = np.nan
    return Fault("I1", model.joint_names[joint], k, k)


def teleport(rng: np.random.Generator, model: RobotModel, take: Take) -> Fault | None:
    """I8: one sample of one joint elsewhere within its limits; ``None`` where no joint has the room."""
    span = model.upper - model.lower
    k = _middle(rng, len(take))
    period = float(max(take.t_ns[k] - take.t_ns[k - 1], take.t_ns[k + 1] - take.t_ns[k])) * 1e-9
    jump = TELEPORT * model.velocity * period
    q = take.position[k].astype(np.float64)
    up, down = q + jump <= model.upper - MARGIN * span, q - jump >= model.lower + MARGIN * span
    if not (up | down).any():
        return None
    joint = int(rng.choice(np.flatnonzero(up | down)))
    take.position[k, joint] = q[joint] + (jump[joint] if up[joint] else -jump[joint])
    return Fault("I8", model.joint_names[joint], k, k)


def _middle(rng: np.random.Generator, frames: int) -> int:
    return int(rng.integers(frames // 4, 3 * frames // 4))
