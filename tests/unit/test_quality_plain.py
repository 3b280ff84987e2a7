"""The judge gives what the catalogue's formulas give, whatever is absent, missing or no number, however it is cut."""

from __future__ import annotations

import numpy as np
import pytest

from kinestream.streams.quality import Context, Frames
from tests.unit import quality_plain as plain
from tests.unit.quality_samples import START_NS, judge, whole

NAMES = ("left_shoulder", "left_elbow", "left_gripper", "right_elbow", "waist_yaw")
CHANNELS = ("position", "velocity", "effort", "command")
VELOCITY, EFFORT = 6.0, 10.0
#: over a velocity that is no number these go on from the last that was: not looked at again
BY_SPEED = {"K2", "K4"}


def troubled(seed):
    """A take of 1 to 5 joints at any rate, with pauses, and by chance with one or the other fault."""
    rng = np.random.default_rng(seed)
    joints, n, rate = (
        int(rng.integers(1, 6)),
        int(rng.choice([2, 3, 40, 300, 700])),
        float(rng.choice([30, 100, 333.3])),
    )
    seq = np.arange(n, dtype=np.int64) + int(rng.choice([0, 7, 10**9]))
    t = START_NS + np.rint(np.arange(n) * 1e9 / rate).astype(np.int64) + rng.integers(-50_000, 50_001, n)
    time = np.arange(n)[:, None] / rate
    rests = np.clip(np.abs(time % 3 - 1.5) - 0.5, 0, 1) if rng.random() < 0.6 else 1.0
    q = (rng.uniform(0.2, 1.2) * np.sin(2 * np.pi * 0.3 * time + np.arange(joints)) * rests).astype(np.float32)
    channels = {
        "position": q,
        "velocity": (np.gradient(q, axis=0) * rate).astype(np.float32),
        "effort": (rng.choice([5, 12]) * np.cos(time + np.arange(joints))).astype(np.float32),
        "command": q.copy() if rng.random() < 0.2 else (q + rng.choice([0.02, 0.3])).astype(np.float32),
    }
    for name in rng.choice(CHANNELS, rng.integers(0, 3)).tolist():
        channels.pop(name, None)
    for name in rng.choice(list(channels), rng.integers(0, 4)).tolist():
        channels[name][rng.integers(0, n), rng.integers(0, joints)] = rng.choice([np.nan, np.inf, 40.0])
    if rng.random() < 0.4:
        t[rng.integers(1, n) :] += rng.choice([300_000_000, 10**10, -40_000_000])
    if rng.random() < 0.3:  # one measurement again and again
        begin = int(rng.integers(0, n))
        for name in channels.keys() - {"command"}:
            channels[name][begin : begin + 25] = channels[name][begin]
    keep = rng.random(n) > rng.choice([0.0, 0.0, 0.02])
    keep[:2] = True
    known = Context(
        *("x", NAMES[:joints], tuple((name, joints) for name in channels)),
        *(np.full(joints, -1.0), np.full(joints, 1.0), np.full(joints, VELOCITY), True, rate),
        effort=np.full(joints, EFFORT),
    )
    return known, Frames(seq[keep], t[keep], {name: values[keep] for name, values in channels.items()})


def expected(take):
    cells = sum(values.size for values in take.given.values())
    found = {
        "E6": take.seconds,
        "T8": float(np.count_nonzero(np.diff(take.t) <= 0)),
        "I1": sum(np.count_nonzero(~np.isfinite(values)) for values in take.given.values()) / cells,
        "I4": plain.share_above(take.v, np.full(1, VELOCITY), take.n),
        "I5": plain.share_above(take.tau, np.full(1, EFFORT), take.n),
        "I5.saturated": plain.saturated(take, np.full(len(take.known.joints), EFFORT)),
        "I7": plain.repeated(take),
        "I10": plain.resolution(take),
        "K2": plain.rest_offset(take),
        "K4": plain.copied(take),
    }
    if take.q is None:
        del found["I1"]
    return found | plain.tracking(take) | plain.idle(take) | plain.path(take) | plain.smoothness(take)


@pytest.mark.parametrize("seed", range(120))
def test_the_judge_gives_what_the_formulas_give(seed):
    known, frames = troubled(seed)
    cuts = np.random.default_rng(seed).integers(1, len(frames.seq), 6).tolist()
    rows = {row.id: row for row in judge(frames, cuts, known).final(whole(frames)).metrics if not row.joint}
    for metric, value in expected(plain.Plain(known, frames)).items():
        if np.isfinite(value):
            assert rows[metric].value == pytest.approx(value, rel=3e-8, abs=1e-11), metric
        elif metric not in BY_SPEED or all_numbers(frames):
            assert rows[metric].flag == "NOT_EVALUATED", metric


def all_numbers(frames):
    return all(np.isfinite(values).all() for values in frames.channels.values())


def test_the_takes_hold_every_kind_of_trouble():
    takes = [plain.Plain(*troubled(seed)) for seed in range(120)]
    told = [expected(take) for take in takes]
    assert {name for one in takes for name in CHANNELS if name not in one.given} == set(CHANNELS)
    assert any(take.gap.any() for take in takes)
    for metric in ("T8", "I1", "I4", "I5", "I5.saturated", "I7", "K2", "K4", "E1", "E2", "S1.count"):
        values = {one[metric] for one in told if metric in one}
        assert any(value > 0 for value in values if value == value), metric
