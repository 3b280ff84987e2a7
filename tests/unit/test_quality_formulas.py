"""The published numbers: METRICS' known answers, each by its row, computed from the formulas alone."""

from __future__ import annotations

from math import log, pi, sqrt

import numpy as np
import pytest

from kinestream.streams.quality import BUILTIN, Context, Frames
from kinestream.streams.quality.arrival import Arrivals, interarrival_jitter, reordering, rfc3550_loss
from kinestream.streams.quality.board import Board
from kinestream.streams.quality.figures import figures_of
from kinestream.streams.quality.filters import BLOCK, Filter
from kinestream.streams.quality.formulas import (
    dimensionless_jerk,
    jerk_scale,
    ldlj,
    normalised_jerk,
    peaks,
    rms_jerk,
    sparc,
    vector_ldlj,
    velocity_error,
)
from kinestream.streams.quality.lag import CLOSE_S, lags_to
from kinestream.streams.quality.segments import Segments
from kinestream.streams.quality.tasks import duration_z, spread_of, tukey_fence


def reach(seconds=1.0, rate=100, amplitude=1.0, closed=True):
    """Speed of a minimum-jerk reach."""
    n = round(rate * seconds)
    x = np.arange(n + closed) / n
    return amplitude / seconds * (30 * x**2 - 60 * x**3 + 30 * x**4)


def board(rate, cut=256, /, **channels):
    """A board that saw these float64 channels of one joint."""
    n = len(next(iter(channels.values())))
    known = Context(
        "x", ("arm_joint",), tuple((name, 1) for name in channels), np.full(1, -4.0), np.full(1, 4.0), np.full(1, 40.0),
        True, rate,
    )  # fmt: skip
    made = Board(known, BUILTIN)
    t = 10**18 + np.rint(np.arange(n) * 1e9 / rate).astype(np.int64)
    for part in (slice(first, first + cut) for first in range(0, n, cut)):
        made.add(Frames(np.arange(n)[part], t[part], {name: values[part, None] for name, values in channels.items()}))
        made.settle()
    return {type(family).__name__: family for family in made.families}


def test_row_1_the_published_example():
    speed = np.exp(-5 * np.arange(-1, 1, 0.01) ** 2)
    assert sparc(speed, 100) == pytest.approx(-1.41403, abs=1e-5)
    assert -dimensionless_jerk(speed, 100) == pytest.approx(-335.74684, abs=1e-5)
    assert ldlj(speed, 100) == pytest.approx(-5.81636, abs=1e-5)


@pytest.mark.parametrize(
    ("rate", "jerk", "arc"),
    [
        (50, -5.280429, -1.405830),
        (100, -5.301633, -1.405829),
        (200, -5.311934, -1.405829),
        (500, -5.318018, -1.402426),
        (1000, -5.320030, -1.402426),
    ],
)
def test_rows_2_to_4_one_reach_at_five_rates(rate, jerk, arc):
    assert ldlj(reach(rate=rate), rate) == pytest.approx(jerk, abs=1e-6)
    assert sparc(reach(rate=rate), rate) == pytest.approx(arc, abs=1e-6)
    assert ldlj(reach(rate=20_000), 20_000) == pytest.approx(-log(720 / 1.875**2), abs=2e-4)


def test_row_5_neither_amplitude_nor_duration_counts():
    assert sparc(reach(amplitude=0.01), 100) == pytest.approx(sparc(reach(), 100), abs=1e-12)
    assert ldlj(reach(amplitude=0.01), 100) == pytest.approx(ldlj(reach(), 100), abs=1e-9)


@pytest.mark.parametrize(
    ("count", "jerk", "arc"),
    [(2, -8.04636, -2.24455), (5, -11.74016, -3.30176), (10, -14.52211, -3.98273), (60, -21.69689, -5.84267)],
)
def test_row_6_whole_episodes_measure_length(count, jerk, arc):
    chained = np.tile(reach(closed=False), count)
    assert ldlj(chained, 100) == pytest.approx(jerk, abs=1e-5)
    assert sparc(chained, 100) == pytest.approx(arc, abs=1e-5)
    assert peaks(chained) == count


@pytest.mark.parametrize("dwell", [0, 100])
@pytest.mark.parametrize("count", [1, 10, 60])
@pytest.mark.parametrize("cut", [7, 64, 10_000])
def test_row_7_cut_into_movements_each_is_alike(dwell, count, cut):
    speed = np.tile(np.r_[reach(closed=False), np.zeros(dwell)], count)
    speed = np.r_[speed, np.zeros(2)]
    segments = Segments(BUILTIN, 100)
    found = []
    for begin in range(0, len(speed), cut):
        part = speed[begin : begin + cut]
        found += segments.add(np.stack((part, np.zeros_like(part))))
    found += segments.finish()
    assert len(found) == count
    for movement in found:
        assert ldlj(movement.speed, 100) == pytest.approx(-4.77307, abs=1e-5)
        assert sparc(movement.speed, 100) == pytest.approx(-1.40592, abs=1e-5)


@pytest.mark.parametrize(
    ("tremor", "arc", "jerk"),
    [
        (0.02, -1.40554, -9.09714),
        (0.05, -1.40495, -10.82040),
        (0.1, -1.94394, -12.31336),
        (0.2, -2.07441, -13.68967),
    ],
)
def test_row_8_small_tremor_is_seen_by_jerk_and_not_by_arc_length(tremor, arc, jerk):
    speed = np.abs(reach(2.0) + tremor * np.sin(2 * pi * 6 * np.arange(201) / 100))
    assert sparc(speed, 100) == pytest.approx(arc, abs=1e-5)
    assert ldlj(speed, 100) == pytest.approx(jerk, abs=1e-5)


def test_row_9_an_encoder_needs_the_causal_filter():
    x = np.arange(1001) / 1000
    step = 2 * pi / 2**14
    q = np.rint((10 * x**3 - 15 * x**4 + 6 * x**5) / step) * step
    speed = np.abs(np.gradient(q, 1 / 500))
    low = Filter((("low", 10.0),), 500.0)
    smooth = np.concatenate([low(speed[k : k + BLOCK, None]) for k in range(0, len(speed), BLOCK)])[:, 0]
    assert ldlj(speed, 500) == pytest.approx(-22.7931, abs=1e-3)
    assert ldlj(smooth, 500) == pytest.approx(-11.8617, abs=1e-3)
    assert sparc(speed, 500) == pytest.approx(-1.4024, abs=1e-3)


def test_row_10_a_circle_at_constant_speed():
    angle = 2 * pi * np.arange(1001) / 1000
    circle = np.column_stack((np.cos(angle), np.sin(angle)))
    assert vector_ldlj(circle, 1000) == pytest.approx(-7.34950, abs=1e-5)
    assert np.isnan(ldlj(np.zeros(100), 100))
    # the digits that rounding leaves of a constant speed are no jerk, and no rise that a movement could begin with
    angle = 2 * pi * np.arange(1000) / 1000
    speed = 0.45 * np.hypot(np.cos(angle), np.sin(angle))
    assert 0 < np.ptp(speed) < 1e-15
    assert np.isnan(ldlj(speed, 1000))
    segments = Segments(BUILTIN, 100.0)
    assert segments.add(np.stack((speed[:128], np.zeros(128)))) + segments.finish() == []


@pytest.mark.parametrize(("rate", "jerk"), [(50, 10.934985), (100, 10.950039), (500, 10.960127)])
def test_row_11_jerk_of_a_sine(rate, jerk):
    t = np.arange(10 * rate + 1) / rate
    assert rms_jerk(0.5 * np.sin(pi * t), rate) == pytest.approx(jerk, abs=1e-6)


@pytest.mark.parametrize(("amplitude", "seconds"), [(1.0, 1.0), (0.5, 2.0), (2.0, 0.8)])
def test_row_12_a_reach_by_its_formulas(amplitude, seconds):
    rate = 20_000
    x = np.arange(round(rate * seconds) + 1) / (rate * seconds)
    q = amplitude * (10 * x**3 - 15 * x**4 + 6 * x**5)
    v = reach(seconds, rate, amplitude)
    bend = np.gradient(v, 1 / rate)
    assert v.max() == pytest.approx(1.875 * amplitude / seconds, rel=1e-6)
    assert np.abs(bend[1:-1]).max() == pytest.approx(10 / sqrt(3) * amplitude / seconds**2, rel=1e-6)
    jerk = np.diff(v, 2) * rate**2
    assert np.abs(jerk).max() == pytest.approx(60 * amplitude / seconds**3, rel=1e-3)
    assert sqrt(np.mean(jerk**2)) == pytest.approx(sqrt(720) * amplitude / seconds**3, rel=1e-3)
    assert rms_jerk(q, rate) == pytest.approx(sqrt(720) * amplitude / seconds**3, rel=1e-3)
    assert normalised_jerk(v, rate) == pytest.approx(720, rel=1e-3)


@pytest.mark.parametrize(
    ("count", "arc", "jerk"), [(2, -3.99354, -9.25007), (5, -6.37262, -13.48373), (10, -8.02191, -16.42560)]
)
def test_row_7_whole_episodes_with_a_second_between_reaches(count, arc, jerk):
    speed = np.tile(np.r_[reach(closed=False), np.zeros(100)], count)[:-100]
    assert sparc(speed, 100) == pytest.approx(arc, abs=1e-5)
    assert ldlj(speed, 100) == pytest.approx(jerk, abs=1e-5)


T_S = np.arange(1001) / 100
Q, V = np.sin(2 * pi * T_S), 2 * pi * np.cos(2 * pi * T_S)
#: velocities of Q: as they should be, and with a fault each
VELOCITIES = {
    "exact": V,
    "late": 2 * pi * np.cos(2 * pi * (T_S - 0.01)),
    "degrees": np.degrees(V),
    "sign": -V,
    "zeros": np.zeros_like(V),
}
BACKWARD = np.diff(Q) * 100
CENTRAL = (Q[2:] - Q[:-2]) * 50


def test_row_13_the_trapezoid_misreads_no_acceleration():
    assert velocity_error(BACKWARD, (V[1:] + V[:-1]) / 2) == pytest.approx(3.2895e-4, abs=1e-7)
    assert velocity_error(BACKWARD, V[1:]) == pytest.approx(3.1412e-2, abs=1e-5)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [("exact", 6.5784e-4), ("late", 6.2930e-2), ("degrees", 56.33), ("sign", 2.0007), ("zeros", 1.0)],
)
def test_row_14_velocities_with_a_fault_by_central_differences(fault, expected):
    assert velocity_error(CENTRAL, VELOCITIES[fault][1:-1]) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("fault", VELOCITIES)
def test_the_stream_judges_each_of_them_by_the_trapezoid(fault):
    v = VELOCITIES[fault]
    families = board(100.0, position=Q, velocity=v)
    expected = velocity_error(BACKWARD, (v[1:] + v[:-1]) / 2)
    assert families["Consistency"].error()[0] == pytest.approx(expected, rel=1e-9)
    lag = families["VelocityDelay"].lags()[0]
    assert (
        lag == {"exact": 0, "late": 1, "degrees": 0}[fault] if fault in ("exact", "late", "degrees") else np.isnan(lag)
    )


@pytest.mark.parametrize("late", [-2, -1, 0, 1, 2])
@pytest.mark.parametrize("cut", [1, 3, 64, 1001])
def test_velocity_delay_is_the_lag_of_the_greatest_correlation(late, cut):
    rng = np.random.default_rng(4)
    q = np.cumsum(np.convolve(rng.normal(size=1011), np.hanning(11), "valid")) / 100
    slope = np.gradient(q, 0.01)
    v = np.roll(slope, late) + rng.normal(0, 0.02, 1001)
    lags = range(-2, 3)
    r = slope[2:-2]
    by_hand = [r @ w / sqrt((r @ r) * (w @ w)) for w in (v[2 + k : 999 + k] for k in lags)]
    family = board(100.0, cut, position=q, velocity=v)["VelocityDelay"]
    assert family.correlations()[:, 0] == pytest.approx(by_hand, rel=1e-9)
    assert family.lags()[0] == lags[int(np.argmax(by_hand))] == late


def test_a_velocity_derived_backwards_is_not_late():
    q = np.convolve(np.random.default_rng(5).normal(size=1200), np.hanning(31), "valid") / 10
    backward = np.diff(q, prepend=q[0]) * 100
    assert board(100.0, position=q, velocity=backward)["VelocityDelay"].lags()[0] == 0.0


@pytest.mark.parametrize(("tau", "rmse"), [(0.01, 0.022219), (0.05, 0.110985), (0.1, 0.221284)])
def test_row_15_tracking_error_and_lag(tau, rmse):
    t = np.arange(2001) / 100
    families = board(100.0, position=np.sin(pi * (t - tau)), command=np.sin(pi * t))
    assert families["Tracking"].rmse()[0] == pytest.approx(rmse, abs=1e-6)
    assert families["CommandLag"].best()[0] == pytest.approx(tau, abs=1e-6)


@pytest.mark.parametrize("rate", [25, 50, 60, 100, 125, 200, 250, 500, 1000])
def test_lags_to_0_8_s_are_at_most_fifty_and_close_where_the_limit_is(rate):
    near, far = lags_to(0.8 * rate, CLOSE_S * rate)
    lags = np.array([*near, *far])
    assert len(lags) <= 50
    assert lags[0] == 0
    assert 0.77 * rate <= lags[-1] <= 0.8 * rate
    assert np.diff(lags)[lags[1:] <= 0.17 * rate].max() / rate <= max(0.01, 1 / rate)


def test_row_19_interarrival_jitter():
    transit = np.where(np.arange(101) % 2, 0.002, 0.0)
    jitter = interarrival_jitter(transit) * 1e3
    assert [jitter[k] for k in (0, 15, 99)] == pytest.approx([0.125, 1.287852, 1.996851], abs=1e-6)


def test_rows_20_and_21_numbers_as_they_arrive():
    assert rfc3550_loss(np.array([1, 2, 3, 5, 6, 6, 4, 7, 10])) == (10, 9, 8, 2)
    assert reordering(np.array([1, 2, 3, 5, 6, 6, 4, 7, 10])) == (1, 2)
    assert rfc3550_loss(np.array([5, 4, 3, 2, 1]))[3] == 0
    assert reordering(np.array([5, 4, 3, 2, 1]))[0] == 4


def test_row_22_a_clock_that_drifts():
    known = Context("x", (), (), np.zeros(0), np.zeros(0), np.zeros(0), False, 100.0)
    arrivals = Arrivals(known, BUILTIN)
    t = 10**18 + np.arange(10_000) * 10_000_000
    r = t + 5_000_000 + np.rint((t - t[0]) * 80e-6).astype(np.int64)
    arrivals.add(np.arange(10_000), t, r)
    assert arrivals.skew_ppm() == pytest.approx(80.0, abs=1e-4)


def test_row_23_durations_of_a_task():
    seconds = [19, 20, 20, 21, 22, 20, 19, 21, 60]
    usual = spread_of([log(s) for s in seconds])
    assert duration_z(60, usual, BUILTIN) == pytest.approx(10.986, abs=1e-3)
    assert tukey_fence(seconds) == (18.5, 22.5)


@pytest.mark.parametrize("sweeps", [True, False])
def test_row_24_a_frozen_joint_fails_only_while_commanded(sweeps):
    t = np.arange(600) / 100
    q = np.where(t < 2, np.sin(t), np.sin(2.0))
    family = board(100.0, position=q, command=np.sin(t) if sweeps else q)["Frozen"]
    longest = max((spell.worst for spell in family.spells.values()), default=0.0)
    assert longest == (pytest.approx(4.0, abs=0.03) if sweeps else 0.0)


def test_row_16_paths():
    angle = np.linspace(0, pi, 2001)
    known = Context("x", ("a", "b"), (("position", 2),), *(np.full(2, np.nan),) * 3, False, 100.0)
    for pose, direct, split in (
        (np.column_stack((np.cos(angle), np.sin(angle))), 2 / pi, None),
        (np.column_stack((angle, 2 * angle)), 1.0, 1.0),
        (np.column_stack((np.sin(angle), np.sin(angle))), 0.0, 1.0),
    ):
        made = Board(known, BUILTIN)
        t = 10**18 + np.arange(len(pose)) * 10_000_000
        made.add(Frames(np.arange(len(pose)), t, {"position": pose}))
        made.settle()
        path = made.path
        assert np.linalg.norm(path.end - path.start) / path.length == pytest.approx(direct, abs=1e-6)
        if split is not None:
            way = sqrt(path.far_squared) + np.linalg.norm(path.end - path.far)
            assert way / path.length == pytest.approx(split, abs=1e-6)


@pytest.mark.parametrize("rate", [30.0, 100.0, 500.0])
def test_movements_measured_together_have_the_figures_of_each_alone(rate):
    rng = np.random.default_rng(4)
    speeds = [np.abs(rng.normal(0.2, 0.1, n)) for n in (6, 7, 40, 64, 65, 130, 300, 700)]
    speeds += [reach(), reach(2.0, closed=False), np.tile(reach(), 3), np.r_[np.zeros(9), reach()], np.zeros(20)]
    speeds += [np.linspace(0, 1, 30), np.linspace(1, 0, 30), np.r_[reach(), np.full(30, 0.5)]]
    bends = rng.uniform(0, 1e-3, len(speeds)).tolist()
    for one, speed, bend in zip(figures_of(speeds, bends, rate), speeds, bends, strict=True):
        assert one.ldlj == pytest.approx(ldlj(speed, rate), rel=1e-12, nan_ok=True)
        assert one.vector_ldlj == pytest.approx(
            -log(jerk_scale(speed, rate) * bend * rate**3) if speed.any() else np.nan, rel=1e-12, nan_ok=True
        )
        assert one.sparc == pytest.approx(sparc(speed, rate), rel=1e-10, nan_ok=True)
        assert one.peaks == (peaks(speed) if speed.any() else one.peaks)
        assert one.path == pytest.approx(speed.sum() / rate, rel=1e-12)
        assert figures_of([speed], [bend], rate)[0] == pytest.approx(one, rel=1e-12, nan_ok=True)
