"""Values no robot has are judged without a warning, which is an error here, and found in their own joint alone."""

from __future__ import annotations

import numpy as np
import pytest

from tests.unit.quality_samples import JOINTS, context, judge, take, whole

ABSURD = (np.inf, -np.inf, 3.4e38, -3.4e38, 1e30, 1e20, 1e-45, np.nan)
WIDTH = len(JOINTS)
KNOWN = context(
    channels=(("position", WIDTH), ("velocity", WIDTH), ("effort", WIDTH), ("command", WIDTH), ("hand", 2)),
    effort=np.full(WIDTH, 20.0),
)


def spoilt(n: int, rng: np.random.Generator, column: int | None = None):
    """A take in which some, many or all values of each channel (of one joint) are absurd, or any bits."""
    frames = take(n)
    frames.channels["effort"] = frames.channels["command"] * np.float32(3)
    for name, given in frames.channels.items():
        values = given.copy()
        bad = rng.random(values.shape) < rng.choice([0.01, 0.3, 1.0])
        if column is not None:
            bad[:, np.arange(values.shape[1]) != column] = False
        if rng.random() < 0.5:
            values[bad] = rng.choice(np.array(ABSURD, np.float32), np.count_nonzero(bad))
        else:  # also NaNs that signal
            values.view(np.uint32)[bad] = rng.integers(0, 1 << 32, np.count_nonzero(bad), dtype=np.uint32)
        frames.channels[name] = values
    return frames


@pytest.mark.parametrize("cut", [10, 64, 256])
@pytest.mark.parametrize("seed", range(12))
def test_absurd_values_are_judged_without_a_warning(seed: int, cut: int):
    frames = spoilt(300, np.random.default_rng([seed, cut]))
    judge_of = judge(frames, range(cut, 300, cut), KNOWN)
    judge_of.live(whole(frames))
    assert judge_of.final(whole(frames)).verdict == "REJECT"


@pytest.mark.parametrize("seed", range(8))
def test_the_absurd_values_of_one_joint_are_found_in_no_other(seed: int):
    frames = spoilt(300, np.random.default_rng(seed), column=1)
    found = judge(frames, range(64, 300, 64), KNOWN).final(whole(frames)).findings
    assert {f.joint for f in found if f.joint in JOINTS} == {JOINTS[1]}
