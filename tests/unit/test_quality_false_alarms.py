"""What clean motion of coarse, slow or noisy joints must not be called, and what must still be found beside it."""

from __future__ import annotations

import numpy as np
import pytest

from kinestream.streams.quality import Delivery
from kinestream.streams.quality.gripper import Zigzag
from tests.unit.quality_samples import START_NS, context, judge, judged, take, whole
from tests.unit.test_quality_formulas import board

RATE = 100.0


def stamps(n):
    return START_NS + np.arange(n) * 10_000_000


def reversals(q, cuts):
    zigzag = Zigzag(0.02)
    for part in np.split(np.arange(len(q)), cuts):
        if len(part):
            zigzag.add(q[part], part, stamps(len(q))[part])
    return zigzag.most, zigzag.first


@pytest.mark.parametrize("cut", [1, 7, 64, 256])
def test_reversals_of_a_gripper_are_the_same_however_the_frames_are_cut(cut):
    t = np.arange(1500) / RATE
    q = 0.3 * np.sin(2 * np.pi * 0.9 * t) + 0.5 * np.sin(2 * np.pi * 0.23 * t) + 0.04 * np.sin(2 * np.pi * 3.1 * t)
    assert reversals(q, range(cut, 1500, cut)) == reversals(q, ())
    assert reversals(q, ())[0] > 0


def test_a_rise_and_fall_within_one_fetch_is_a_reversal_there_and_not_later():
    q = np.concatenate([np.linspace(0, 0.5, 100), np.linspace(0.5, 1.0, 50), np.linspace(1.0, 0.6, 50), [0.6] * 200])
    zigzag = Zigzag(0.02)
    for part in np.split(np.arange(400), [100, 200]):
        zigzag.add(q[part], part, stamps(400)[part])
    assert zigzag.most == 1
    assert zigzag.first[0] == pytest.approx(153, abs=1)


def slow(seed, noise, late=0, n=600):
    """A joint at 0.2 Hz and 0.02 rad/s whose velocity sensor has that much noise."""
    t = np.arange(n) / RATE
    rng = np.random.default_rng(seed)
    v = 0.02 * np.cos(0.4 * np.pi * t)
    q = 0.02 * np.sin(0.4 * np.pi * t) / (0.4 * np.pi) + rng.normal(0, 1e-6, n)
    return q, np.roll(v, late) + rng.normal(0, noise, n)


def test_noise_in_a_slow_velocity_is_no_delay():
    lags = [
        board(RATE, position=q, velocity=v)["VelocityDelay"].lags()[0] for q, v in (slow(s, 4e-3) for s in range(40))
    ]
    assert set(lags) == {0.0}


@pytest.mark.parametrize("late", [-2, -1, 1, 2])
def test_a_delay_beyond_what_noise_explains_is_found(late):
    for seed in range(5):
        q, v = slow(seed, 1e-4, late)
        assert board(RATE, position=q, velocity=v)["VelocityDelay"].lags()[0] == late


def test_an_encoder_that_flickers_between_two_steps_at_rest_is_no_inconsistency():
    frames, step, t = take(600), 7.7e-4, np.arange(600) / RATE
    rng = np.random.default_rng(7)
    moves = np.maximum(t - 3, 0)
    q = 0.06 * np.sin(2 * moves) + step / 2 + rng.normal(0, step / 4, 600)
    frames.channels["position"][:, 1] = np.rint(q / step) * step
    frames.channels["velocity"][:, 1] = np.where(t > 3, 0.12 * np.cos(2 * moves), 0.0)
    found = judged(frames)
    assert ("C1", "left_elbow") not in {(f.metric, f.joint) for f in found.findings}


def idle_take(gap_ns=0):
    """Still from frame 150 to 189, moving before and after."""
    frames = take(400)
    for name in ("position", "velocity", "command"):
        frames.channels[name][150:190] = frames.channels[name][150] if name != "velocity" else 0.0
    frames.t_ns[170:] += gap_ns
    return frames


def test_what_happened_in_a_gap_of_the_stamps_is_not_known_to_be_rest():
    assert "E1" not in {f.metric for f in judged(idle_take(gap_ns=400_000_000)).findings}


@pytest.mark.parametrize(("still", "lit"), [(49, False), (56, True)])
def test_a_robot_that_stands_still_is_said_to_once_it_has_for_a_tenth_of_five_seconds(still, lit):
    frames = take(400)
    frames.channels["velocity"][: still + 1] = 0.0
    state = judge(frames)
    assert ("E1" in {f.metric for f in state.live(Delivery(400, 400))}) == lit
    # of the 4 s there are, half a second is more than a tenth: the close says so
    assert "E1" not in {f.metric for f in judge(take(400), known=context()).final(whole(frames)).findings}
