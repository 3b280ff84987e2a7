"""I6 and I7 as METRICS has them: a range of at most one step of the sensor; measurements repeated byte for byte."""

from __future__ import annotations

import numpy as np
import pytest

from kinestream.streams.quality import Flag
from tests.unit.quality_samples import context, judge, judged, take, value, whole

#: Codes of a 14-bit encoder, rad.
STEP = 2 * np.pi / 2**14


def commanded(codes: np.ndarray):
    """A take whose second joint reads these codes while all are commanded to sweep."""
    frames = take(len(codes), wobble_ns=0)
    frames.channels["position"] = np.rint(frames.channels["position"] / STEP).astype(np.float32) * np.float32(STEP)
    frames.channels["position"][:, 1] = (codes * STEP).astype(np.float32)
    return frames


def known():
    return context(channels=(("position", 4), ("command", 4)))


def longest(codes: np.ndarray, least: int = 50) -> float:
    """Seconds of the longest run of codes that differ by one at most, of all runs; 0 below half a second."""
    best = 0
    for first in range(len(codes)):
        low = high = codes[first]
        for last in range(first, len(codes)):
            low, high = min(low, codes[last]), max(high, codes[last])
            if high - low > 1:
                break
            best = max(best, last - first)
    return best / 100 if best >= least else 0.0


def stuck(codes: np.ndarray, cuts=()):
    frames = commanded(codes)
    del frames.channels["velocity"], frames.channels["hand"]
    return value(judge(frames, cuts, known()).final(whole(frames)), "I6")


@pytest.mark.parametrize("width", [0, 1, 2])
def test_a_dead_encoder_may_flicker_between_two_codes_and_not_among_three(width: int) -> None:
    rng = np.random.default_rng(width)
    still = 100 + rng.integers(0, width + 1, 300)
    codes = np.concatenate((np.arange(100), still, np.arange(100, 200)))
    row = stuck(codes)
    assert row.flag == (Flag.GOOD if width == 2 else Flag.FAIL)
    assert row.value == pytest.approx(longest(codes), abs=1e-6)
    assert row.value >= (0 if width == 2 else 2.99)


def test_a_joint_that_creeps_a_code_at_a_time_moves() -> None:
    assert stuck(np.arange(400) // 20).flag == Flag.GOOD


@pytest.mark.parametrize("seed", range(12))
def test_the_longest_run_is_exact_whatever_the_codes_and_the_cuts(seed: int) -> None:
    rng = np.random.default_rng(seed)
    steps = rng.choice([-2, -1, 0, 1, 2], 700, p=[0.01, 0.04, 0.9, 0.04, 0.01])
    codes = np.concatenate(([0, 1], 1 + np.cumsum(steps)))
    row = stuck(codes, sorted(rng.integers(1, 700, 5).tolist()))
    assert row.value == pytest.approx(longest(codes), abs=1e-6)


def test_a_repeated_measurement_is_stale_also_when_the_robot_hardly_moves() -> None:
    frames = take(400)
    frames.channels["velocity"] *= np.float32(1e-3)  # below any speed that counts as motion
    for name in ("position", "velocity"):
        frames.channels[name][200:260] = frames.channels[name][200]
    row = value(judged(frames), "I7")
    assert (row.value, row.unit, row.flag) == (60, "frames", Flag.FAIL)


def test_a_simulated_robot_that_rests_repeats_itself_and_says_so() -> None:
    frames = take(400)
    frames.channels["position"][200:] = frames.channels["position"][200]
    frames.channels["velocity"][200:] = 0
    assert value(judged(frames), "I7").flag == Flag.GOOD
