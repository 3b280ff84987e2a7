"""Each threshold of the catalogue from either side: a little below and a little above, and the flag that says so."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kinestream.streams.quality import Delivery, EpisodeJudge, Frames
from tests.unit.quality_samples import JOINTS, START_NS, context, take, value, whole

N, WIDTH = 600, len(JOINTS)
RATE_HZ = 100.0


def flag(metric, frames, known=None):
    judge = EpisodeJudge(known or context())
    judge.advance(frames)
    return str(value(judge.final(whole(frames)), metric).flag)


def loaded(frames, effort):
    known = context(effort=np.full(WIDTH, 10.0))
    frames.channels["effort"] = np.zeros((len(frames.seq), WIDTH), np.float32)
    frames.channels["effort"][:, 1] = effort
    return frames, replace(known, channels=(*known.channels, ("effort", WIDTH)))


def resting(seconds, n=N):
    """Moves, stands still for so long from 3 s on, and goes on from there."""
    frames = take(n)
    of = np.concatenate((np.arange(300), np.full(round(seconds * RATE_HZ), 300), np.arange(300, n)))[:n]
    for name in ("position", "velocity", "command"):
        frames.channels[name] = frames.channels[name][of]
    frames.channels["velocity"][np.flatnonzero(np.diff(of, prepend=-1) == 0)] = 0
    return frames


def placed(most, where, at, straight=False):
    """Joint 1 of a robot whose limits are +-most, at ``where`` in the frames ``at`` and else at 0."""
    frames, reach = take(N), np.full(WIDTH, most)
    frames.channels["position"][:] = 0
    frames.channels["position"][at, 1] = where
    return frames, context(lower=-reach, upper=reach, prismatic=np.full(WIDTH, straight), rests_on_stop=np.zeros(WIDTH))


@pytest.mark.parametrize(
    ("most", "beyond", "straight", "told"),
    [(0.5, 0.0048, False, "GOOD"), (0.5, 0.0052, False, "FAIL"), (5.0, 0.0195, False, "GOOD"),
     (5.0, 0.0205, False, "FAIL"), (0.05, 0.00095, True, "GOOD"), (0.05, 0.00105, True, "FAIL")],
)  # fmt: skip
def test_i3_position_limit(most, beyond, straight, told):
    assert flag("I3", *placed(most, most + beyond, slice(300, 302), straight)) == told
    assert flag("I3", *placed(most, -most - beyond, slice(300, 302), straight)) == told
    assert flag("I3", *placed(most, most + beyond, [300, 302], straight)) == "GOOD", "not in consecutive frames"


@pytest.mark.parametrize(
    ("where", "at", "told"),
    [(4.79, slice(0, N), "GOOD"), (4.81, slice(0, N), "SUSPECT"), (4.9, slice(100, 158), "GOOD"),
     (4.9, slice(100, 164), "SUSPECT"), (4.9, np.arange(N) % 60 < 20, "GOOD"),
     (4.9, np.arange(N) % 60 < 22, "SUSPECT")],
)  # fmt: skip
def test_i3_near_a_limit(where, at, told):
    assert flag("I3", *placed(5.0, where, at)) == told


@pytest.mark.parametrize(
    ("speed", "told"), [(10.0, "GOOD"), (10.1, "SUSPECT"), (20.0, "SUSPECT"), (20.1, "FAIL"), (-20.1, "FAIL")]
)
def test_i4_velocity_limit(speed, told):
    frames = take(N)
    frames.channels["velocity"][300, 1] = speed
    assert flag("I4", frames) == told


@pytest.mark.parametrize(
    ("effort", "frames_at_it", "told"),
    [(10.0, 1, "GOOD"), (10.1, 1, "SUSPECT"), (-10.1, 1, "SUSPECT"), (9.81, 95, "GOOD"), (9.81, 105, "FAIL"),
     (9.79, 300, "GOOD")],
)  # fmt: skip
def test_i5_effort_limit(effort, frames_at_it, told):
    assert flag("I5", *loaded(take(N), effort * (np.arange(N) < frames_at_it))) == told


@pytest.mark.parametrize(
    ("seconds", "way", "told"),
    [(0.48, 1.0, "GOOD"), (0.52, 1.0, "SUSPECT"), (1.98, 1.0, "SUSPECT"), (2.02, 1.0, "FAIL"), (1.0, 0.039, "GOOD"),
     (1.0, 0.041, "SUSPECT")],
)  # fmt: skip
def test_i6_stuck_sensor(seconds, way, told):
    frames, frozen = take(N), round(seconds * RATE_HZ)
    frames.channels["position"][200 : 201 + frozen, 1] = 0.25
    frames.channels["command"][:, 1] = np.interp(frames.seq, (200, 200 + frozen), (0, way))
    assert flag("I6", frames) == told


@pytest.mark.parametrize(("height", "told"), [(0.0095, "GOOD"), (0.0105, "SUSPECT"), (-0.0105, "SUSPECT")])
def test_i9_spike(height, told):
    frames = take(N, wobble_ns=0)
    frames.channels["position"][300, 1] += height
    assert flag("I9", frames) == told


@pytest.mark.parametrize(("alike", "told"), [(2, "GOOD"), (3, "SUSPECT"), (49, "SUSPECT"), (53, "FAIL")])
def test_i7_stale_frames(alike, told):
    frames = take(N)
    for name in ("position", "velocity"):
        frames.channels[name][200 : 200 + alike] = frames.channels[name][200]
    assert flag("I7", frames) == told


@pytest.mark.parametrize(("change_ns", "told"), [(1, "GOOD"), (0, "SUSPECT"), (-1, "FAIL")])
def test_t8_stamp_order(change_ns, told):
    frames = take(N)
    frames.t_ns[300] = frames.t_ns[299] + change_ns
    assert flag("T8", frames) == told


@pytest.mark.parametrize(("step", "told"), [(1.5e-3, "GOOD"), (1.6e-3, "SUSPECT")])
def test_i10_resolution(step, told):
    frames = take(N)
    frames.channels["position"] = (np.rint(frames.channels["position"] / step) * step).astype(np.float32)
    assert flag("I10", frames) == told


@pytest.mark.parametrize(
    ("channel", "prismatic", "most"),
    [("position", False, 4 * np.pi), ("velocity", False, 100.0), ("effort", False, 1000.0), ("position", True, 5.0),
     ("velocity", True, 20.0)],
)  # fmt: skip
def test_i11_unit_sanity(channel, prismatic, most):
    for share, told in ((0.99, "GOOD"), (1.01, "SUSPECT"), (-1.01, "SUSPECT")):
        frames, known = loaded(take(N), 0.0)
        frames.channels[channel][300, 1] = share * most
        known = replace(known, model_known=False, prismatic=np.full(WIDTH, prismatic))
        assert flag("I11", frames, known) == told


@pytest.mark.parametrize(
    ("frames_there", "rate", "told"), [(99, 85.0, []), (101, 85.0, ["T1"]), (130, 115.0, ["T1"]), (105, 115.0, [])]
)
def test_live_shares_wait_for_a_hundred_frames_and_a_second(frames_there, rate, told):
    judge = EpisodeJudge(context())
    judge.advance(take(frames_there, rate=rate))
    found = judge.live(Delivery(frames_there, frames_there))
    assert [finding.metric for finding in found if finding.metric == "T1"] == told


@pytest.mark.parametrize(("error", "told"), [(0.095, "GOOD"), (0.105, "SUSPECT"), (0.295, "SUSPECT"), (0.305, "FAIL")])
@pytest.mark.parametrize("sign", [1, -1])
def test_t1_effective_rate(error, told, sign):
    assert flag("T1", take(N, rate=RATE_HZ * (1 + sign * error))) == told


@pytest.mark.parametrize(("gap_s", "told"), [(0.48, "SUSPECT"), (0.52, "FAIL")])
def test_t4_one_long_gap(gap_s, told):
    frames = take(N)
    frames.t_ns[300:] += round((gap_s - 1 / RATE_HZ) * 1e9)
    assert flag("T4", frames) == told


@pytest.mark.parametrize(("lost", "told"), [(0, "GOOD"), (1, "SUSPECT"), (10, "SUSPECT"), (11, "FAIL")])
def test_t5_loss(lost, told):
    judge = EpisodeJudge(context())
    judge.advance(take(1_000 - lost))
    assert str(value(judge.final(Delivery(1_000, 1_000 - lost, status="COMPLETE")), "T5").flag) == told


@pytest.mark.parametrize(
    ("n", "stray_ns", "told"),
    [(N, 1_900, "SUSPECT"), (N, 2_100, "GOOD"), (100, 0, "SUSPECT"), (99, 0, "NOT_EVALUATED")],
)
def test_t11_stamps_made_from_the_index(n, stray_ns, told):
    frames = take(n, wobble_ns=0)
    frames.t_ns[50] += stray_ns
    assert flag("T11", frames) == told


@pytest.mark.parametrize(
    ("gain", "told"),
    [(1.0, "GOOD"), (1.045, "GOOD"), (1.07, "SUSPECT"), (0.93, "SUSPECT"), (1.45, "SUSPECT"), (1.6, "FAIL"),
     (-1.0, "FAIL"), (0.0, "FAIL"), (57.3, "FAIL")],
)  # fmt: skip
def test_c1_velocity_consistency(gain, told):
    frames = take(N, wobble_ns=0)
    frames.channels["velocity"] *= np.float32(gain)
    assert flag("C1", frames) == told


@pytest.mark.parametrize(("late", "told"), [(0, "GOOD"), (1, "SUSPECT"), (2, "SUSPECT"), (-1, "SUSPECT")])
def test_c2_velocity_delay(late, told):
    frames = take(N, wobble_ns=0)
    frames.channels["velocity"] = np.roll(frames.channels["velocity"], late, axis=0)
    assert flag("C2", frames) == told


@pytest.mark.parametrize(
    ("offset", "told"), [(0.049, "GOOD"), (0.051, "SUSPECT"), (-0.169, "SUSPECT"), (-0.171, "FAIL")]
)
def test_k2_steady_offset(offset, told):
    frames = take(N)
    for name in ("position", "velocity", "command"):
        frames.channels[name][:] = 0
    frames.channels["command"][:, 2] = offset
    assert flag("K2", frames) == told


@pytest.mark.parametrize(("frames_late", "told"), [(14, "GOOD"), (17, "SUSPECT")])
def test_k3_command_lag(frames_late, told):
    frames = take(N)
    position = frames.channels["position"]
    frames.channels["command"] = np.concatenate((position[frames_late:], np.tile(position[-1:], (frames_late, 1))))
    assert flag("K3", frames) == told


@pytest.mark.parametrize(("n", "own", "told"), [(N, 6, "GOOD"), (N, 5, "FAIL"), (95, 0, "NOT_EVALUATED")])
def test_k4_action_is_state(n, own, told):
    frames = take(n)
    frames.channels["command"] = frames.channels["position"].copy()
    frames.channels["command"][100 : 100 + own, 0] += 0.01
    assert flag("K4", frames) == told


@pytest.mark.parametrize(
    ("seconds", "told"), [(0.45, "GOOD"), (0.56, "GOOD"), (0.66, "SUSPECT"), (1.75, "SUSPECT"), (1.9, "FAIL")]
)
def test_e1_idle_share(seconds, told):
    assert flag("E1", resting(seconds)) == told


@pytest.mark.parametrize(("seconds", "told"), [(1.95, "GOOD"), (2.05, "SUSPECT")])
def test_e2_longest_stall(seconds, told):
    assert flag("E2", resting(seconds, 1_500)) == told


def arriving(transit_s, n):
    """A take whose every frame is a record that is so long on its way, s."""
    frames = take(n)
    return Frames(frames.seq, frames.t_ns, frames.channels, frames.t_ns + np.rint(transit_s * 1e9).astype(np.int64))


@pytest.mark.parametrize(("swing_s", "told"), [(4.9e-3, "GOOD"), (5.2e-3, "SUSPECT")])
def test_t3_interarrival_jitter(swing_s, told):
    assert flag("T3", arriving(0.05 + swing_s * (-1.0) ** np.arange(N), N)) == told


@pytest.mark.parametrize(
    ("age_s", "told"),
    [(0.14, "GOOD"), (0.16, "SUSPECT"), (0.29, "SUSPECT"), (0.32, "FAIL"), (-0.95, "GOOD"), (-1.05, "SUSPECT")],
)
def test_t9_latency(age_s, told):
    assert flag("T9", arriving(np.full(N, age_s), N)) == told


@pytest.mark.parametrize(
    ("ppm", "step_ms", "told"),
    [(95, 0, "GOOD"), (105, 0, "SUSPECT"), (-105, 0, "SUSPECT"), (0, 0.9, "GOOD"), (0, 1.1, "SUSPECT"),
     (0, -1.1, "SUSPECT")],
)  # fmt: skip
def test_t10_clock_skew_and_step(ppm, step_ms, told):
    time = (take(3_000).t_ns - START_NS) / 1e9
    assert flag("T10", arriving(0.005 + ppm * 1e-6 * time + (time > 15) * step_ms / 1e3, 3_000)) == told
