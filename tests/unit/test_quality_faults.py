"""Each fault gives its finding, on its joint, at its frame, and no other; clean takes give none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kinestream.streams.quality import BUILTIN, Delivery, EpisodeJudge, finding_id
from tests.unit.quality_samples import START_NS, context, only, part, take, value, without
from tests.unit.quality_samples import judged as judged_by_all


def facts(finding):
    return finding.metric, finding.joint, finding.flag, finding.first_seq


#: What these takes are about. They change positions alone, which C1 rightly finds to contradict their velocities.
FIRST = {"T1", "T2", "T4", "T5", "T6", "I1", "I3", "I8", "E6"}


def judged(frames, known=None, **delivery):
    judgement = judged_by_all(frames, known, **delivery)
    return replace(judgement, findings=tuple(f for f in judgement.findings if f.metric in FIRST))


def first_lit(frames, known=None):
    """The fetch (of ten frames) after which a finding first shows, and the findings then."""
    state = EpisodeJudge(known or context())
    for begin in range(0, len(frames.seq), 10):
        state.advance(part(frames, begin, begin + 10))
        if found := [f for f in state.live(Delivery(state.span.frames, state.span.frames)) if f.metric in FIRST]:
            return begin // 10, found
    return None, []


@pytest.mark.parametrize("seed", range(10))
def test_a_clean_take_lights_nothing_live_or_final(seed):
    frames = take(seed=seed)
    assert first_lit(frames) == (None, [])
    judgement = judged(frames)
    assert (judgement.findings, judgement.verdict, judgement.rule_version) == ((), "ACCEPT", BUILTIN.version)


def test_a_missing_position_fails_at_once_and_names_the_joint():
    frames = take()
    frames.channels["position"][123:126, 1] = np.nan
    fetch, found = first_lit(frames)
    assert fetch == 12
    assert facts(only(found)) == ("I1", "left_elbow", "FAIL", 123)
    finding = only(judged(frames).findings)
    assert finding.message == "left elbow: 3 position values are not numbers"
    assert (finding.t_start_ns, finding.t_end_ns) == (frames.t_ns[123], frames.t_ns[125])
    assert finding.last_seq == 399
    assert finding.finding_id == finding_id(context().episode_id, "I1", "left_elbow", 123)


@pytest.mark.parametrize(
    ("channel", "missing", "flag"),
    [
        ("velocity", 19, "SUSPECT"),
        ("velocity", 20, "FAIL"),
        ("command", 20, "FAIL"),
        ("hand", 79, "SUSPECT"),
        ("hand", 80, "FAIL"),
    ],
)
def test_other_channels_fail_by_share(channel, missing, flag):
    frames = take()
    frames.channels[channel][200 : 200 + missing, 1] = np.inf
    finding = only(judged(frames).findings)
    assert facts(finding) == ("I1", "hand.index" if channel == "hand" else "left_elbow", flag, 200)
    assert finding.origin == ("standard" if flag == "FAIL" else "ours")


def test_one_joint_missing_in_two_channels_is_one_finding_from_its_first_frame():
    frames = take()
    frames.channels["velocity"][50, 1] = np.nan
    frames.channels["position"][90, 1] = np.nan
    assert facts(only(judged(frames).findings)) == ("I1", "left_elbow", "FAIL", 50)


@pytest.mark.parametrize(("wrong", "metric", "flag"), [(1.2, "T1", "SUSPECT"), (1.5, "T1", "FAIL"), (1.08, "", "")])
def test_a_loop_off_its_nominal_rate_is_lit_after_100_frames_and_a_second(wrong, metric, flag):
    frames = take(rate=100 * wrong)
    fetch, found = first_lit(frames)
    if not metric:
        assert found == []
        return
    assert fetch >= 9
    assert {(f.metric, f.flag) for f in found if f.metric == "T1"} == {(metric, flag)}


def test_jitter_is_lit_after_100_intervals():
    frames = take()
    frames.t_ns[:] = START_NS + np.cumsum(np.random.default_rng(0).normal(1e7, 4e6, 400).clip(1e6)).astype(np.int64)
    fetch, found = first_lit(frames)
    assert fetch == 10
    assert "T2" in {f.metric for f in found}


def test_uneven_stamps_do_not_make_a_steady_joint_jump():
    frames = take()
    frames.t_ns[1::2] += 9_500_000
    assert "I8" not in {f.metric for f in judged(frames).findings}
    frames.channels["position"][201:, 1] += 0.2
    assert ("I8", "left_elbow", "FAIL", 201) not in {facts(f) for f in judged(frames).findings}
    assert ("I8", "left_elbow", "SUSPECT", 201) in {facts(f) for f in judged(frames).findings}


@pytest.mark.parametrize(("gap_s", "flag"), [(0.4, "SUSPECT"), (0.6, "FAIL")])
def test_a_pause_in_the_stamps_is_a_gap_at_the_next_frame(gap_s, flag):
    frames = take()
    frames.t_ns[200:] += int(gap_s * 1e9)
    fetch, found = first_lit(frames)
    assert fetch == 20
    assert facts(only(found)) == ("T4", "", flag, 200)


@pytest.mark.parametrize(("gaps", "flag"), [(5, "SUSPECT"), (6, "FAIL")])
def test_more_than_five_long_gaps_a_minute_fail(gaps, flag):
    frames = take(2000)
    for k in range(gaps):
        frames.t_ns[100 * (k + 1) :] += 150_000_000
    finding = only(judged(frames).findings)
    assert facts(finding) == ("T4", "", flag, 100)
    # the threshold is the one that its flag rests on
    assert (finding.value, finding.threshold) == (pytest.approx(0.16, abs=1e-3), 0.1 if flag == "FAIL" else 0.025)


@pytest.mark.parametrize(("lost", "flag"), [(1, "SUSPECT"), (4, "SUSPECT"), (5, "FAIL")])
def test_lost_frames_are_suspect_and_fail_above_one_per_cent(lost, flag):
    places = range(100, 100 + 7 * lost, 7)
    judgement = judged(without(take(), places), expected=400, unique=400 - lost, missing_first=100)
    assert facts(only(judgement.findings)) == ("T5", "", flag, 100)


def test_three_per_cent_lost_is_loss_and_neither_jitter_nor_a_slow_loop():
    lost = np.arange(7, 400, 33)
    judgement = judged(without(take(), lost), expected=400, missing_first=7)
    assert {f.metric for f in judgement.findings} == {"T5"}
    assert judgement.verdict == "REJECT"


def test_a_robot_that_sends_every_third_frame_time_is_slow_although_each_interval_is_a_gap():
    frames = take(rate=100 / 3)
    assert {f.metric: f.flag for f in judged(frames).findings}["T1"] == "FAIL"


def test_repeats_are_counted_and_only_conflicting_ones_fail():
    assert judged(take(), duplicates=40).verdict == "ACCEPT"
    judgement = judged(take(), duplicates=40, conflicting=1, conflicting_first=7)
    assert facts(only(judgement.findings)) == ("T6", "", "FAIL", 7)
    assert judgement.verdict == "REJECT"


@pytest.mark.parametrize(
    ("value_rad", "frames_out", "caught"), [(2.03, 2, True), (2.03, 1, False), (2.007, 9, False), (-2.3, 3, True)]
)
def test_two_frames_beyond_a_limit_fail(value_rad, frames_out, caught):
    frames = take()
    frames.channels["position"][:, 3] = np.linspace(0, value_rad, 400) ** 1
    frames.channels["position"][:, 3] *= 0.9
    frames.channels["position"][250 : 250 + frames_out, 3] = value_rad
    found = [f for f in judged(frames).findings if f.metric == "I3"]
    assert [facts(f) for f in found] == ([("I3", "right_elbow", "FAIL", 250)] if caught else [])


def test_degrees_for_radians_in_one_joint_are_caught_within_two_frames():
    frames = take()
    frames.channels["position"][:, 2] *= np.float32(57.29578)
    fetch, found = first_lit(frames)
    assert fetch == 0
    assert ("I3", "left_wrist", "FAIL", 0) in {facts(f) for f in found}


def test_a_breach_over_the_cut_of_two_fetches_is_found():
    frames = take()
    frames.channels["position"][199:201, 0] = 2.2
    assert ("I3", "left_shoulder", "FAIL", 199) in {facts(f) for f in judged(frames).findings}


def test_a_nan_between_two_frames_beyond_parts_them():
    frames = take()
    frames.channels["position"][100:103, 0] = (2.2, np.nan, 2.2)
    assert "I3" not in {f.metric for f in judged(frames).findings}


@pytest.mark.parametrize(("rested", "caught"), [(39, False), (42, True)])
def test_resting_near_a_limit_for_a_tenth_of_the_time_is_suspect(rested, caught):
    frames = take()
    shape = np.interp(
        np.arange(400), [0, 60, 100, 101, 100 + rested - 1, 100 + rested, 399], [0, 1.8, 1.9, 1.97, 1.97, 1.9, 0]
    )
    frames.channels["position"][:, 0] = shape
    judgement = judged(frames)
    assert [facts(f) for f in judgement.findings] == ([("I3", "left_shoulder", "SUSPECT", 101)] if caught else [])
    assert value(judgement, "I3").value == 0.0


def test_short_touches_of_the_limit_zone_do_not_count():
    frames = take(2000)
    frames.channels["position"][:, 0] = 1.9 + 0.07 * (np.arange(2000) % 20 < 10)
    assert judged(frames).findings == ()


def test_joints_meant_to_rest_on_a_stop_are_not_judged_for_nearness_but_for_breaches():
    known = context(rests_on_stop=np.array([True, False, False, False]))
    frames = take()
    frames.channels["position"][:, 0] = 2.0005
    assert judged(frames, known).findings == ()
    frames.channels["position"][:, 0] = 2.1
    assert facts(only(judged(frames, known).findings)) == ("I3", "left_shoulder", "FAIL", 0)


@pytest.mark.parametrize(("step", "flag"), [(0.11, "SUSPECT"), (0.21, "FAIL"), (0.09, "")])
def test_a_step_no_motor_can_make_is_a_jump(step, flag):
    frames = take(wobble_ns=0)
    frames.t_ns[1:] += 5_000
    frames.channels["position"][:, 1] = 0.0
    frames.channels["position"][150:, 1] = step
    found = judged(frames).findings
    assert [facts(f) for f in found] == ([("I8", "left_elbow", flag, 150)] if flag else [])
    if flag:
        assert found[0].value == pytest.approx(step / 0.01, rel=1e-3)
        assert found[0].unit == "rad/s"


def test_a_step_exactly_at_the_limit_is_none_and_stamps_standing_still_judge_none():
    frames = take(wobble_ns=0)
    frames.channels["position"][:, 1] = 0.0
    frames.channels["position"][150:, 1] = 0.125
    known = context(velocity=np.full(4, 12.5))
    assert judged(frames, known).findings == ()
    frames.t_ns[150] = frames.t_ns[149]
    assert "I8" not in {f.metric for f in judged(frames, context()).findings}


def test_a_take_under_a_second_fails_at_the_close_and_never_live():
    frames = take(90)
    assert first_lit(frames) == (None, [])
    judgement = judged(frames)
    assert (only(judgement.findings).metric, judgement.verdict) == ("E6", "REJECT")


def test_a_take_of_a_second_is_long_enough():
    assert judged(take(102)).verdict == "ACCEPT"


def test_an_unknown_model_is_judged_on_what_needs_none():
    frames = take()
    frames.channels["position"][:, 0] *= 90
    known = context(lower=np.full(4, np.nan), upper=np.full(4, np.nan), velocity=np.full(4, np.nan), model_known=False)
    judgement = judged(frames, known)
    assert {value(judgement, m).flag for m in ("I3", "I8")} == {"NOT_EVALUATED"}
    assert judgement.findings == ()


def test_one_joint_without_limits_leaves_limits_unassessed_unless_it_turns_without_end():
    lower = np.array([-2.0, -2.0, -2.0, np.nan])
    judgement = judged(take(), context(lower=lower))
    assert value(judgement, "I3", "right_elbow").flag == "NOT_EVALUATED"
    assert judgement.verdict == "UNASSESSED"
    endless = np.array([False, False, False, True])
    assert judged(take(), context(lower=lower, continuous=endless)).verdict == "ACCEPT"


def test_prismatic_joints_are_judged_in_metres():
    known = context(
        prismatic=np.array([True, False, False, False]),
        lower=np.full(4, 0.0) - [0, 2, 2, 2],
        upper=np.array([0.04, 2, 2, 2]),
    )
    frames = take()
    frames.channels["position"][:, 0] = 0.0
    frames.channels["position"][200:204, 0] = 0.042
    finding = only(judged(frames, known).findings)
    assert (finding.metric, finding.unit, finding.threshold) == ("I3", "m", pytest.approx(0.001))


def test_huge_finite_values_are_no_missing_values():
    frames = take()
    frames.channels["velocity"][10, 0] = 3e38
    frames.channels["position"][20:22, 0] = [3e38, -3e38]
    assert "I1" not in {f.metric for f in judged(frames).findings}


def test_findings_come_worst_first():
    frames = take()
    frames.t_ns[100:] += 400_000_000
    frames.channels["position"][300, 2] = np.nan
    assert [f.metric for f in judged(frames).findings] == ["I1", "T4"]


def test_rules_are_data_and_their_version_is_on_the_judgement():
    strict = replace(BUILTIN, version="strict-7", shortest_s=10.0)
    state = EpisodeJudge(context(), strict)
    state.advance(take())
    judgement = state.final(Delivery(400, 400, status="COMPLETE"))
    assert (judgement.rule_version, only(judgement.findings).metric) == ("strict-7", "E6")


def test_a_share_is_not_called_a_failure_before_there_are_frames_to_judge_it_by():
    frames = take()
    frames.channels["velocity"][3, 0] = np.nan
    _, found = first_lit(frames)
    assert only(found).flag == "SUSPECT"
    state = EpisodeJudge(context())
    state.advance(part(frames, 20, 40))
    assert only(state.live(Delivery(20, 19, missing_first=2))).flag == "SUSPECT"


def test_jumps_between_stamps_that_stand_still_or_go_back_are_left_out_without_a_nominal_rate_too():
    known = context(nominal_rate_hz=0.0, velocity=np.array([np.nan, 10.0, 10.0, 10.0]))
    frames = take()
    frames.channels["position"][150:, 1] += 0.3
    frames.channels["position"][250:, 2] += 0.5
    frames.t_ns[150] = frames.t_ns[149]
    frames.t_ns[250] = frames.t_ns[249] - 5_000_000
    assert judged(frames, known).findings == ()
    frames.channels["position"][255:, 3] += 0.5
    assert facts(only(judged(frames, known).findings)) == ("I8", "right_elbow", "FAIL", 255)
