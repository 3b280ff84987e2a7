"""The simulated floor: motion within limits, and faults that only their own metric sees (formulas of METRICS)."""

import numpy as np
import pytest

from kinestream.producers.fleet.faults import KINDS, SHOWN, FaultPlan
from kinestream.producers.fleet.faulty_delivery import GAP
from kinestream.producers.fleet.faulty_motion import tolerance
from kinestream.producers.fleet.floor import MODELS, Floor, make_take
from kinestream.producers.fleet.motion import known_model, plan_reaches
from kinestream.producers.fleet.take import stamps
from kinestream.schemas.errors import ContractError
from kinestream.schemas.models import load_model, model_ids

RATE = 100.0
PERIOD = 1 / RATE


def fired(model, take):
    """(metric, joint) of everything a judge of T1, T2, T4, T11, I1, I3, I8, E6 would call other than good."""
    t, q = take.t_ns * 1e-9, take.position.astype(np.float64)
    d = np.diff(t)
    found = set()
    if abs((len(t) - 1) / (t[-1] - t[0]) / RATE - 1) > 0.1:
        found.add(("T1", ""))
    if np.std(d[d <= 2.5 * PERIOD]) / PERIOD > 0.1:
        found.add(("T2", ""))
    if (d > 2.5 * PERIOD).any():
        found.add(("T4", ""))
    if (d <= 0).any():
        found.add(("T8", ""))
    if np.abs(t - t[0] - np.arange(len(t)) * PERIOD).max() <= 2e-6:
        found.add(("T11", ""))
    if t[-1] - t[0] < 1:
        found.add(("E6", ""))
    for j, name in enumerate(model.joint_names):
        if not np.isfinite(q[:, j]).all():
            found.add(("I1", name))
        if near_or_beyond(model, q[:, j], j):
            found.add(("I3", name))
        if (np.abs(np.diff(q[:, j])) > model.velocity[j] * d).any():  # m = 1: already suspect
            found.add(("I8", name))
    return found


def near_or_beyond(model, q, j):
    span = model.upper[j] - model.lower[j]
    return bool((np.fmin(q - model.lower[j], model.upper[j] - q) / span < 0.02).any())


def take_of(model_id, seed, name="", seconds=6.0):
    model = known_model(model_id)
    return model, *make_take(np.random.default_rng(seed), model, seconds, RATE, name)


@pytest.mark.parametrize("model_id", MODELS)
def test_clean_takes_keep_five_percent_from_limits_and_below_sixty_percent_of_speed(model_id):
    for seed in range(8):
        model, take, fault = take_of(model_id, seed)
        span = model.upper - model.lower
        q, d = take.position.astype(np.float64), np.diff(take.t_ns * 1e-9)[:, None]
        assert (q >= model.lower + 0.05 * span).all()
        assert (q <= model.upper - 0.05 * span).all()
        assert (np.abs(np.diff(q, axis=0)) < 0.6 * model.velocity * d).all()
        assert fault is None
        assert fired(model, take) == set()


@pytest.mark.parametrize("model_id", MODELS)
def test_velocity_is_that_of_the_positions_and_the_command_leads(model_id):
    _, take, _ = take_of(model_id, 1)
    d = np.diff(take.t_ns * 1e-9)[:, None]
    measured = (take.velocity[1:] + take.velocity[:-1]) / 2
    error = np.diff(take.position.astype(np.float64), axis=0) / d - measured
    rms = np.sqrt((error**2).mean(axis=0)) / np.maximum(np.sqrt((take.velocity**2).mean(axis=0)), 0.01)
    assert rms.max() < 0.1  # METRICS C1
    late = np.abs(take.command[:-3] - take.position[3:]).mean()
    assert late < np.abs(take.command - take.position).mean() / 5


def test_every_joint_moves_and_is_measured_anew_in_every_frame():
    _, take, _ = take_of("unitree-g1-29-dof", 2)
    assert (np.ptp(take.position, axis=0) > 0.01).all()
    rows = np.hstack([take.position, take.velocity, take.effort])
    assert not (np.diff(rows, axis=0) == 0).all(axis=1).any()


def test_effort_stays_below_its_limit():
    for model_id in MODELS:
        model, take, _ = take_of(model_id, 3)
        assert not (np.abs(take.effort) > 0.9 * model.effort).any()


@pytest.mark.parametrize("rate", [30.0, 100.0, 500.0])
def test_stamps_jitter_like_a_real_loop(rate):
    t_ns = stamps(np.random.default_rng(4), 2000, rate)
    intervals = np.diff(t_ns * 1e-9)
    assert t_ns[0] == 0
    assert 0.015 < np.std(intervals) * rate < 0.025
    assert (intervals > 0).all()
    assert abs((len(t_ns) - 1) / (t_ns[-1] * 1e-9) / rate - 1) < 1e-3
    assert np.abs(t_ns - np.arange(2000) / rate * 1e9).max() > 20_000  # ten times what would look synthetic


@pytest.mark.parametrize("model_id", MODELS)
def test_no_rest_within_a_take_is_as_long_as_what_counts_as_idle(model_id):
    for seed in range(8):
        _, take, _ = take_of(model_id, seed)
        still = np.abs(take.velocity).max(axis=1) < 0.01
        edges = np.flatnonzero(np.diff(np.concatenate(([0], still.astype(np.int8), [0])))).reshape(-1, 2)
        rests = [take.t_ns[end - 1] - take.t_ns[begin] for begin, end in edges]
        assert 0.25e9 < rests[0] < 0.48e9  # a take begins at rest, long enough to read an offset
        assert max(rests) < 0.48e9


def test_a_reach_is_minimum_jerk():
    plan = plan_reaches(np.random.default_rng(5), known_model("franka-fr3"), 3.0)
    t = np.linspace(plan.begins[0], plan.begins[0] + plan.seconds[0], 1001)
    position, velocity = plan.at(t)
    way = plan.poses[1] - plan.poses[0]
    assert np.allclose(position[[0, -1]], plan.poses[:2])
    assert np.allclose(np.abs(velocity).max(axis=0), 1.875 * np.abs(way) / plan.seconds[0], rtol=1e-5)
    assert np.allclose(np.gradient(position[:, 0], t)[1:-1], velocity[1:-1, 0], atol=1e-4)


@pytest.mark.parametrize("model_id", MODELS)
@pytest.mark.parametrize("name", SHOWN)
def test_a_fault_fires_its_own_metric_on_its_own_joint_and_nothing_else(model_id, name):
    for seed in range(5):
        model, take, fault = take_of(model_id, seed, name, seconds=5.5)
        assert fault.name == name
        fires = fired(model, take) - {("I8", fault.joint) if name == "nan" else None}
        assert fires == {(KINDS[name].metrics[0], fault.joint)}
        assert 20 < fault.seq <= fault.decisive_seq < len(take) - 20


def test_nan_starts_where_it_is_said_to():
    model, take, fault = take_of("fourier-gr-1-t1", 6, "nan")
    bad = np.argwhere(np.isnan(take.position))
    assert {model.joint_names[j] for j in bad[:, 1]} == {fault.joint}
    assert bad[0, 0] == fault.seq == fault.decisive_seq
    assert 1 <= len(bad) <= 5


@pytest.mark.parametrize("model_id", MODELS)
def test_a_joint_beyond_its_limit_stays_there_and_went_there_smoothly(model_id):
    for seed in range(5):
        model, take, fault = take_of(model_id, seed, "position_limit", 4.0)
        j = model.joint_names.index(fault.joint)
        q, over = take.position[:, j].astype(np.float64), tolerance(model, j)
        beyond = (q > model.upper[j] + over) | (q < model.lower[j] - over)
        assert beyond.sum() >= 10
        first = np.flatnonzero(beyond[1:] & beyond[:-1])[0]
        assert (fault.seq, fault.decisive_seq) == (first, first + 1)
        assert (np.abs(np.diff(q)) < 0.6 * model.velocity[j] * np.diff(take.t_ns * 1e-9)).all()


@pytest.mark.parametrize("model_id", MODELS)
def test_a_teleport_is_one_sample_within_the_limits(model_id):
    for seed in range(5):
        model, take, fault = take_of(model_id, seed, "spike", 4.0)
        j = model.joint_names.index(fault.joint)
        q, d = take.position[:, j].astype(np.float64), np.diff(take.t_ns * 1e-9)
        too_far = np.flatnonzero(np.abs(np.diff(q)) > 2 * model.velocity[j] * d)
        assert too_far.tolist() == [fault.seq - 1, fault.seq]  # there, and back
        span = model.upper[j] - model.lower[j]
        assert model.lower[j] + 0.05 * span < q[fault.seq] < model.upper[j] - 0.05 * span


def test_a_gap_is_one_interval_and_leaves_the_rate_within_ten_percent():
    for seed in range(20):
        _, take, fault = take_of("unitree-g1-29-dof", seed, "gap", 5.5)
        intervals = np.diff(take.t_ns)
        wide = np.flatnonzero(intervals > 2.5e7)
        assert wide.tolist() == [fault.seq - 1]
        assert GAP[0] * 1e9 - 1 <= intervals[wide[0]] <= GAP[1] * 1e9 + 1


def test_the_same_seed_gives_the_same_takes_in_any_order_and_another_seed_others():
    def takes(seed, numbers):
        floor = Floor(6, rate_hz=RATE, seed=seed, plan=FaultPlan(SHOWN, 0.3))
        return {(p.index, n): floor.order(p, n) for n in numbers for p in floor.posts}

    first, again, other = takes(7, [0, 1]), takes(7, [1, 0]), takes(8, [0, 1])
    for place, order in first.items():
        for name in ("t_ns", "position", "velocity", "effort", "command"):
            assert getattr(order.take, name).tobytes() == getattr(again[place].take, name).tobytes()
        assert order.fault == again[place].fault
        assert (order.skill, order.area, order.pause_s) == (again[place].skill, again[place].area, again[place].pause_s)
        assert order.take.position.tobytes() != other[place].take.position.tobytes()


def test_twenty_robots_are_at_least_six_models_and_faults_are_the_share_asked_for():
    floor = Floor(20, rate_hz=RATE, seed=9, plan=FaultPlan.parse("shown"))
    assert len({post.robot_id for post in floor.posts}) == 20
    assert len({post.model.model_id for post in floor.posts}) >= 6
    assert sum(post.model.category == "humanoid" for post in floor.posts) > 10
    orders = [floor.order(post, number) for number in range(4) for post in floor.posts]
    found = [order.fault.name for order in orders if order.fault]
    assert len(found) == 12
    assert set(found) == set(SHOWN)
    assert all(4.0 <= len(order.take) / RATE <= 8.0 for order in orders)
    assert all(len(o.take) / RATE >= 5.0 for o in orders if o.fault and o.fault.name == "gap")


def test_a_floor_of_nobody_and_a_model_without_limits_are_refused():
    with pytest.raises(ContractError, match="0 robots"):
        Floor(0, rate_hz=RATE, seed=0)
    with pytest.raises(ContractError, match="fourier-n1 has no joint whose limits"):
        Floor(1, rate_hz=RATE, seed=0, models=["fourier-n1"])
    assert np.isnan(load_model("fourier-n1").velocity).any()


@pytest.mark.parametrize("name", [name for name in KINDS if name != "duplicate"])
def test_any_model_with_known_limits_has_room_for_every_fault(name):
    """Every described model of which some joint is wholly known; the loose ones in few tries."""
    made = 0
    for place, model_id in enumerate(model_ids()):
        try:
            body = known_model(model_id)
        except ContractError:
            continue
        tries = (make_take(np.random.default_rng([place, n]), body, 5.5, RATE, name) for n in range(5))
        fault = next((fault for _, fault in tries if fault), None)
        assert fault is not None, model_id
        assert bool(fault.joint) == KINDS[name].of_joint
        made += 1
    assert made >= 33


def test_joints_without_limits_are_left_out_of_a_simulated_robot():
    body, model = known_model("galaxea-r1-pro-with-grippers"), load_model("galaxea-r1-pro-with-grippers")
    assert set(body.joint_names) < set(model.joint_names)
    assert np.isfinite([body.lower, body.upper, body.velocity]).all()


@pytest.mark.parametrize(
    ("text", "names", "share"),
    [
        ("none", (), 0.0),
        ("all", tuple(KINDS), 0.15),
        ("shown:0.5", SHOWN, 0.5),
        ("nan, spike:0.1", ("nan", "spike"), 0.1),
    ],
)
def test_a_plan_of_faults_is_names_and_a_share(text, names, share):
    assert FaultPlan.parse(text) == FaultPlan(names, share)


@pytest.mark.parametrize(
    ("text", "told"), [("nan,bang", "'bang'.*there are nan,"), ("nan:2", "0 to 1"), ("nan:x", "0 to 1")]
)
def test_a_plan_that_cannot_be_read_says_what_can(text, told):
    with pytest.raises(ContractError, match=told):
        FaultPlan.parse(text)
