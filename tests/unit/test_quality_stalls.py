"""A healthy robot whose loop stalls for 30 to 60 ms: its stamps are uneven, its joints neither jump nor spike."""

from __future__ import annotations

import numpy as np
import pytest

from kinestream.producers.fleet.motion import known_model, plan_reaches
from kinestream.producers.fleet.take import Sensors, sense
from tests.unit.test_fleet_judged import findings

MODELS = ("unitree-g1-29-dof", "kuka-dual-iiwa-14")
STALL_S = (0.03, 0.06)
#: Loops that sleep for a period, sleep until the next is due, or skip what they missed; and where they stall: after the
#: stamp (it is true to the sample), between sample and stamp, or while a driver goes on sampling for them.
LOOPS = {
    "sleeps": ("sleep", "true"),
    "catches up": ("due", "true"),
    "skips": ("skip", "true"),
    "sleeps, stamps late": ("sleep", "late"),
    "catches up, stamps late": ("due", "late"),
    "stamps what waited at once": ("due", "driver"),
}


def loop(rng: np.random.Generator, frames: int, rate: float, kind: str):
    """When each frame was sampled and when it was stamped, int64 ns (n,); a stall a second."""
    schedule, stalls = LOOPS[kind]
    period, now, sampled, stamped = 1 / rate, 0.0, [], []
    for k in range(frames):
        jitter = abs(rng.normal(0, 0.02 * period))
        due = now + period if schedule == "sleep" else k * period if schedule == "due" else _next(now, period)
        stall = rng.uniform(*STALL_S) if k > 1 and rng.random() < period else 0.0
        now = max(now + 2e-4, due + jitter)
        if stalls == "true":
            now += stall
            sampled.append(now)
        else:
            sampled.append(due + jitter if stalls == "driver" else now)
            now += stall
        stamped.append(now)
    return (np.rint((np.array(times) - stamped[0]) * 1e9).astype(np.int64) for times in (sampled, stamped))


def _next(now: float, period: float) -> float:
    return (np.floor(now / period) + 1) * period


def stalled(model_id: str, rate: float, kind: str, seed: int):
    """A clean motion as such a loop records it."""
    rng, body = np.random.default_rng([seed, 5, int(rate)]), known_model(model_id)
    sampled, stamped = loop(rng, round(5 * rate), rate, kind)
    plan = plan_reaches(rng, body, sampled[-1] * 1e-9 + 0.5)
    take = sense(rng, body, plan, sampled, Sensors.drawn(rng))
    take.t_ns = stamped
    return body, take


@pytest.mark.parametrize("rate", [30.0, 100.0, 200.0])
@pytest.mark.parametrize("kind", LOOPS)
def test_a_loop_that_stalls_is_uneven_and_nothing_of_its_joints_is_wrong(kind: str, rate: float):
    for place, model_id in enumerate(MODELS):
        body, take = stalled(model_id, rate, kind, place)
        assert np.diff(take.t_ns).max() > 2.5e9 / rate, "there is a stall in it"
        found, verdict = findings(body, take, rate)
        metrics = {metric for metric, _ in found}
        assert "T4" in metrics
        assert not metrics & {"I4", "I8", "I9"}
        assert verdict == "REVIEW", "as gaps have it"
        if STALL_S[0] * rate > 2:  # else a stamp may be late without a gap before it
            assert metrics <= {"T2", "T4"}


@pytest.mark.parametrize("kind", LOOPS)
def test_a_spike_beside_stalls_is_found(kind: str):
    body, take = stalled(MODELS[0], 100.0, kind, 1)
    speeds = np.abs(np.diff(take.position, axis=0)).max(axis=1) / np.diff(take.t_ns) * 1e9
    calm = [k for k in range(20, len(take) - 20) if np.diff(take.t_ns)[k - 5 : k + 5].max() < 1.2e7]
    k = min(calm, key=lambda k: speeds[k - 1])
    joint = int(np.argmax(body.velocity))
    take.position[k, joint] += 0.6 * body.velocity[joint] / 100
    found, _ = findings(body, take, 100.0)
    assert ("I9", body.joint_names[joint]) in found
    assert found["I9", body.joint_names[joint]][0][1].first_seq == k - 1, "a neighbour stands out half as far"
