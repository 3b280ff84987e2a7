"""Faults of a sensor or a driver: values of one joint, or all commands, are not what happened; never of a stamp."""

from __future__ import annotations

import numpy as np

from kinestream.producers.fleet.faults import Fault
from kinestream.producers.fleet.motion import MARGIN, Body
from kinestream.producers.fleet.take import Take

#: A teleport covers this many times what the joint could in one period, where there is room for it.
TELEPORT = 3.0
#: Standard deviation of a noisy encoder, rad; error of a calibration, rad; seconds a robot is late.
NOISY = 0.02
OFFSET = 0.3
LATE_S = 0.5
#: Shortest time a frozen joint is commanded in vain, s, and the travel its command has by then, share of the range.
FROZEN_S, FROZEN_PATH = 1.5, 0.02
#: A spike is at least so many times what a motor's acceleration explains in one period: vmax / 0.05 s (METRICS I9).
_CLEAR, _REACH_S = 4.0, 0.05


def middle(rng: np.random.Generator, frames: int) -> int:
    """A frame of the middle half of a take."""
    return int(rng.integers(frames // 4, 3 * frames // 4))


def lose_position(rng: np.random.Generator, body: Body, take: Take) -> Fault:
    """One to five frames without a position of one joint."""
    joint, k = int(rng.integers(len(body.joint_names))), middle(rng, len(take))
    take.position[k : k + int(rng.integers(1, 6)), joint] = np.nan
    return Fault("nan", body.joint_names[joint], k, k)


def teleport(rng: np.random.Generator, body: Body, take: Take) -> Fault | None:
    """One sample of one joint elsewhere within its limits; ``None`` where no joint has the room."""
    k = middle(rng, len(take))
    period = float(max(take.t_ns[k] - take.t_ns[k - 1], take.t_ns[k + 1] - take.t_ns[k])) * 1e-9
    q = take.position[k].astype(np.float64)
    up, down = body.upper - MARGIN * body.span - q, q - body.lower - MARGIN * body.span
    room = np.maximum(up, down)
    jump = np.minimum(TELEPORT * body.velocity * period, room)
    enough = jump >= TELEPORT * body.velocity * period
    if not enough.any():
        enough = jump > _CLEAR * body.velocity / _REACH_S / 2 * period**2
    if not enough.any():
        return None
    joint = int(rng.choice(np.flatnonzero(enough)))
    take.position[k, joint] = q[joint] + (jump[joint] if up[joint] >= down[joint] else -jump[joint])
    return Fault("spike", body.joint_names[joint], k, k)


def freeze(rng: np.random.Generator, body: Body, take: Take) -> Fault | None:
    """One encoder repeats its value from some frame to the end, while its joint is commanded on."""
    t = take.t_ns * 1e-9
    last = int(np.searchsorted(t, t[-1] - FROZEN_S))
    if last < len(take) // 4:
        return None
    k = int(rng.integers(len(take) // 8, last))
    way = np.abs(np.diff(take.command[k:].astype(np.float64), axis=0))
    told = way.sum(axis=0) > FROZEN_PATH * body.span
    if not told.any():
        return None
    joint = int(rng.choice(np.flatnonzero(told)))
    take.position[k:, joint] = take.position[k, joint]
    take.velocity[k:, joint] = 0.0
    return Fault("frozen", body.joint_names[joint], k, int(np.searchsorted(t, t[k] + 0.5)))


def shake(rng: np.random.Generator, body: Body, take: Take) -> Fault | None:
    """The position of one joint is noisy throughout."""
    if (joint := _turning(rng, body, 20 * NOISY)) is None:
        return None
    q = take.position[:, joint] + rng.normal(0.0, NOISY, len(take))
    take.position[:, joint] = q
    return Fault("noise", body.joint_names[joint], 0, int(np.searchsorted(take.t_ns, 1_000_000_000)))


def degrees(rng: np.random.Generator, body: Body, take: Take) -> Fault | None:
    """One joint's driver counts in degrees: position, velocity and command."""
    q = np.degrees(take.position.astype(np.float64))
    beyond = ((q > body.upper * 1.01) | (q < body.lower * 1.01)) & ~body.prismatic
    pairs = beyond[1:] & beyond[:-1]
    if not pairs.any():
        return None
    joint = int(rng.choice(np.flatnonzero(pairs.any(axis=0))))
    for values in (take.position, take.velocity, take.command):
        values[:, joint] = np.degrees(values[:, joint])
    return Fault("degrees", body.joint_names[joint], 0, int(pairs[:, joint].argmax()) + 1)


def miscalibrate(rng: np.random.Generator, body: Body, take: Take) -> Fault | None:
    """One joint's zero is off: its position, or, where that has no room, what the leader commands."""
    if (joint := _turning(rng, body, 0.0)) is None:
        return None
    q, near = take.position[:, joint].astype(np.float64), MARGIN * float(body.span[joint]) / 2
    sides = [
        side
        for side in (-OFFSET, OFFSET)
        if body.lower[joint] + near < q.min() + side and q.max() + side < body.upper[joint] - near
    ]
    if sides:
        take.position[:, joint] += np.float32(rng.choice(sides))
    else:
        take.command[:, joint] += np.float32(rng.choice((-OFFSET, OFFSET)))
    return Fault("offset", body.joint_names[joint], 0, int(np.searchsorted(take.t_ns, 210_000_000)))


def copy_state(take: Take) -> Fault:
    """The recorder writes the positions where the commands belong."""
    take.command[:] = take.position
    return Fault("action_is_state", "", 0, int(np.searchsorted(take.t_ns, 1_300_000_000)))


def _turning(rng: np.random.Generator, body: Body, least: float) -> int | None:
    """A joint that turns over more than ``least`` rad; ``None`` where there is none."""
    joints = np.flatnonzero(~body.prismatic & (body.span > least))
    return int(rng.choice(joints)) if len(joints) else None
