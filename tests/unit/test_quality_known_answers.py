"""The metrics give the numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from kinestream.streams.quality import Delivery, EpisodeJudge, Flag
from tests.unit.quality_samples import START_NS, context, judge, judged, only, part, take, value, whole, without


def with_periods(periods_ms, known=None):
    frames = take(len(periods_ms) + 1)
    frames.t_ns[:] = START_NS + np.concatenate(([0], np.cumsum(np.rint(np.array(periods_ms) * 1e6)))).astype(np.int64)
    return frames


def test_alternating_9_and_11_ms_is_exactly_the_allowed_jitter():
    judgement = judged(with_periods([9, 11] * 200))
    assert value(judgement, "T2").value == pytest.approx(0.1, rel=1e-12)
    assert value(judgement, "T2").flag == Flag.GOOD
    assert judgement.verdict == "ACCEPT"


def test_a_little_more_than_the_allowed_jitter_asks_for_review():
    judgement = judged(with_periods([8.99, 11.01] * 200))
    finding = only(judgement.findings)
    assert (finding.metric, finding.flag, finding.origin, judgement.verdict) == ("T2", "SUSPECT", "standard", "REVIEW")


def test_one_interval_of_30_ms_among_999_is_a_gap_and_not_jitter():
    periods = [10.0] * 999
    periods[500] = 30.0
    frames = with_periods(periods)
    frames.seq[501:] += 2
    delivery = {"expected": 1002, "unique": 1000, "missing_first": 501}
    judgement = judged(frames, **delivery)
    assert [value(judgement, m).value for m in ("T4", "T4.longest", "T4.sum")] == [1.0, 0.03, 0.03]
    assert value(judgement, "T2").value == pytest.approx(0.063246, abs=1e-6)
    assert value(judgement, "T2.steady").value == 0.0
    assert value(judgement, "T5").value == pytest.approx(2 / 1002)
    # these stamps are exactly index/rate: they say nothing of their own, and the pause is the missing frames'
    assert {value(judgement, m).flag for m in ("T1", "T2", "T4")} == {Flag.NOT_EVALUATED}


def test_the_gap_of_the_same_take_is_counted_where_stamps_are_real():
    rng = np.random.default_rng(3)
    periods = 10.0 + rng.normal(0, 0.01, 999)
    periods[500] = 30.0
    judgement = judged(with_periods(periods))
    assert value(judgement, "T2").value == pytest.approx(0.063246, abs=1e-5)
    assert [value(judgement, m).value for m in ("T4", "T4.longest", "T4.sum")] == [1.0, 0.03, 0.03]
    assert only(judgement.findings).first_seq == 501


@pytest.mark.parametrize(
    ("expected", "unique", "duplicates", "loss"), [(10, 8, 1, 0.2), (5, 5, 0, 0.0), (1002, 1000, 0, 2 / 1002)]
)
def test_loss_and_duplicates_as_rfc_3550_counts_them(expected, unique, duplicates, loss):
    judgement = EpisodeJudge(context()).final(Delivery(expected, unique, duplicates, missing_first=3))
    assert value(judgement, "T5").value == pytest.approx(loss, abs=1e-12)
    assert value(judgement, "T6").value == duplicates


def test_one_nan_in_one_velocity_is_one_cell_and_spreads_to_nothing():
    clean, marred = take(), take()
    marred.channels["velocity"][200, 1] = np.nan
    before, after = judged(clean), judged(marred)
    assert value(after, "I1").value * 400 * 14 == pytest.approx(1)
    assert value(after, "I1", "left_elbow").flag == Flag.SUSPECT
    assert {m.id for m in after.metrics if np.isnan(m.value)} == {m.id for m in before.metrics if np.isnan(m.value)}
    # metrics that read this one velocity (its joint's tremor, its arm's smoothness) may move by its share of 1 in 400
    read = ("I1", "C1", "C2", "S")
    unread = {m.id: m for m in after.metrics if not m.id.startswith(read)}
    assert unread == {m.id: m for m in before.metrics if not m.id.startswith(read)}
    for row in before.metrics:
        if row.id.startswith(("C1", "C2", "S")) and not np.isnan(row.value):
            assert value(after, row.id).value == pytest.approx(row.value, rel=0.05, abs=1e-12), row.id


def test_one_nan_in_one_velocity_costs_c1_two_intervals_and_other_joints_nothing():
    clean, marred = take(), take()
    marred.channels["velocity"][200, 1] = np.nan
    boards = [judge(frames, range(10, 400, 10))._board for frames in (clean, marred)]
    for board in boards:
        board.settle()
    consistency, delay, smooth = (
        [next(f for f in board.families if type(f).__name__ == name) for board in boards]
        for name in ("Consistency", "VelocityDelay", "Smoothness")
    )
    assert (consistency[0].intervals - consistency[1].intervals).tolist() == [0, 2, 0, 0]
    others = [0, 2, 3]
    for figure in ("error", "gain"):
        before, after = (getattr(family, figure)() for family in consistency)
        assert after[others] == pytest.approx(before[others], rel=1e-12)
        assert after[1] == pytest.approx(before[1], rel=0.02)
    before, after = (family.correlations() for family in delay)
    assert after[:, others] == pytest.approx(before[:, others], rel=1e-12)
    assert after[:, 1] == pytest.approx(before[:, 1], abs=1e-3)
    before, after = (family._whole() for family in smooth)
    assert after.tremor[others].tolist() == before.tremor[others].tolist()
    assert np.isfinite(after.tremor).all()


def test_a_nan_position_is_no_jump_and_no_breach_of_limits():
    frames = take()
    frames.channels["position"][200, 1] = np.nan
    frames.channels["position"][300:310, 2] = -np.inf
    judgement = judged(frames)
    # one fault, one finding: how far beyond a limit -Inf lies, no number says
    assert {(f.metric, f.joint, f.flag) for f in judgement.findings} == {
        ("I1", "left_elbow", "FAIL"),
        ("I1", "left_wrist", "FAIL"),
    }
    assert value(judgement, "I8").value == value(judgement, "I3").value == 0.0


def test_stamps_whose_distances_no_number_holds_are_not_called_good():
    frames = take()
    frames.t_ns[:] = np.where(frames.seq < 200, -9, 9) * 10**18 + frames.seq
    rows = [row for row in judged(frames).metrics if np.isnan(row.value)]
    assert {row.flag for row in rows if row.id.startswith("T")} == {Flag.NOT_EVALUATED}


def test_jitter_keeps_its_digits_over_a_long_take_far_from_the_epoch():
    n = 200_000
    rng = np.random.default_rng(5)
    periods = (10_000_000 + rng.integers(-3, 4, n)).astype(np.int64)
    t = START_NS + np.concatenate(([0], np.cumsum(periods)))
    known = context(channels=())
    frames = take(2)
    frames.seq, frames.t_ns, frames.channels = np.arange(n + 1), t, {}
    frames.t_ns[77_777:] += 1_000_000
    state = judge(frames, range(128, n, 128), known)
    exact = np.diff(frames.t_ns) - 10_000_000
    expected = float(np.std(exact.astype(np.longdouble))) / 1e7
    assert value(state.final(whole(frames)), "T2").value == pytest.approx(expected, rel=1e-9)


def test_stamps_with_a_huge_pause_still_sum_exactly():
    frames = take()
    frames.t_ns[200:] += 86_400 * 10**9
    expected = float(np.std(np.diff(frames.t_ns).astype(np.longdouble))) / 1e7
    assert value(judged(frames), "T2").value == pytest.approx(expected, rel=1e-9)


def test_the_largest_deviations_that_are_summed_as_int64_do_not_overflow():
    off = (1 << 27) - 1  # ns: with one more, or in larger batches, the sum of squares would pass 2^63
    frames = with_periods([200 + off / 1e6, 200 - off / 1e6] * 1024)
    judgement = judge(frames, (), context(nominal_rate_hz=5.0)).final(whole(frames))
    assert value(judgement, "T2").value == pytest.approx(off / 200e6, rel=1e-12)


def test_synthetic_stamps_leave_timing_unjudged():
    frames = take(wobble_ns=0)
    judgement = judged(frames)
    assert value(judgement, "T11").value == 1.0
    assert {value(judgement, m).flag for m in ("T1", "T2", "T4")} == {Flag.NOT_EVALUATED}
    assert judgement.verdict == "ACCEPT"
    assert judgement.findings == ()


@pytest.mark.parametrize(("resolution", "synthetic"), [(1_000, 0.0), (4_000, 1.0)])
def test_stamps_read_from_float32_seconds_are_synthetic_within_their_own_resolution(resolution, synthetic):
    frames = take(wobble_ns=0)
    frames.t_ns[:] += np.random.default_rng(2).integers(-3_500, 3_501, 400)
    judgement = judged(frames, context(stamp_resolution_ns=resolution))
    assert value(judgement, "T11").value == synthetic


def test_synthetic_stamps_over_lost_frames_light_no_timing_lamp_at_any_moment():
    frames = without(take(wobble_ns=0), range(40, 45))
    state = EpisodeJudge(context())
    for begin in range(0, len(frames.seq), 10):
        state.advance(part(frames, begin, begin + 10))
        assert state.live(Delivery(10, 10)) == []


def test_without_a_nominal_rate_only_the_rate_itself_is_reported():
    judgement = judged(take(), context(nominal_rate_hz=0.0))
    assert value(judgement, "T1").value == pytest.approx(100, rel=1e-3)
    assert {value(judgement, m).flag for m in ("T1", "T2", "T4", "T11")} == {Flag.NOT_EVALUATED}
    assert judgement.verdict == "ACCEPT"


def test_a_take_without_any_frame_is_too_short_and_nothing_else():
    judgement = EpisodeJudge(context()).final(Delivery(0, 0, status="COMPLETE"))
    assert only(judgement.findings).metric == "E6"
    assert {m.id for m in judgement.metrics if m.flag == Flag.GOOD} == {"T6", "I2", "S1.count"}


def test_stamps_that_stray_within_the_tolerance_and_later_leave_it_are_not_synthetic():
    frames = take(wobble_ns=0)
    frames.t_ns[1::2] += 1_900
    frames.t_ns[2::2] -= 1_900
    assert value(judged(frames), "T11").value == 1.0
    frames.t_ns[300:] -= 10_000
    assert value(judged(frames), "T11").value == 0.0


def test_the_rate_is_all_intervals_where_most_of_them_miss_a_frame():
    frames = without(take(600), [k for k in range(600) if k % 5 in (2, 4)])
    assert value(judged(frames), "T1.steady").value == pytest.approx(60, rel=0.01)


def test_a_missing_value_of_a_leg_changes_nothing_of_how_smooth_the_arm_moves():
    names = ("left_shoulder", "left_elbow", "left_wrist", "left_knee")
    known = context(joints=names, channels=(("position", 4),))
    frames = take(600)
    frames.channels = {"position": frames.channels["position"]}
    clean = judged(frames, known)
    frames.channels["position"] = frames.channels["position"].copy()
    frames.channels["position"][100:103, 3] = np.nan
    holed = judged(frames, known)
    for metric in ("S1", "S1.count", "S2", "S3", "S4", "S5"):
        assert value(holed, metric).value == value(clean, metric).value, metric
