"""How often a clean take is called unusual, however its task's quantities are distributed and however few there are.

3.5 robust spreads alone are rare for normal quantities of a well-known task only: an exponential one is beyond them in
4 % of all takes for ever, and a normal one in 0.5 % when 20 takes are all one knows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import inf

import numpy as np
import pytest

from kinestream.streams.quality.rules import BUILTIN
from kinestream.streams.quality.tasks import (
    Features,
    Task,
    chance,
    duration_limit,
    pose_distance,
    pose_limit,
    risk_limit,
    spread_of,
    statistics_of,
    tail_of,
)

Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
#: No tail heavier than an exponential's.
LOG_CONCAVE: dict[str, Draw] = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "uniform": lambda rng, shape: rng.uniform(size=shape),
    "exponential": lambda rng, shape: rng.exponential(size=shape),
    "gamma": lambda rng, shape: rng.gamma(2.0, size=shape),
    "logistic": lambda rng, shape: rng.logistic(size=shape),
    "laplace": lambda rng, shape: rng.laplace(size=shape),
    "gumbel": lambda rng, shape: rng.gumbel(size=shape),
    "counts": lambda rng, shape: rng.poisson(5.0, size=shape).astype(float),
}
#: Heavier tails, mildly, and two ways of doing the task.
OTHERS: dict[str, Draw] = {
    "lognormal": lambda rng, shape: rng.lognormal(0.0, 0.5, size=shape),
    "student": lambda rng, shape: rng.standard_t(5, size=shape),
    "two kinds": lambda rng, shape: rng.normal(size=shape) + 6.0 * (rng.uniform(size=shape) < 0.3),
}
TASKS, NEXT = 400, 400_000


def rate_above(draw: Draw, takes: int, limit: Callable[[np.ndarray], float]) -> float:
    """Share of next takes beyond the limits that tasks of so many takes set, over many tasks."""
    rng = np.random.default_rng(takes)
    after = np.sort(draw(rng, (NEXT,)))
    limits = [limit(task) for task in draw(rng, (TASKS, takes))]
    return float(np.mean(1 - np.searchsorted(after, limits, side="right") / NEXT))


def risk(values: np.ndarray) -> float:
    """The value beyond which a risk is SUSPECT."""
    usual = spread_of(list(values), 1)
    limit = risk_limit(usual, BUILTIN)
    return usual.median + 1.4826 * usual.mad * limit if limit == limit else inf


def by_z_alone(values: np.ndarray) -> float:
    usual = spread_of(list(values))
    return usual.median + 1.4826 * usual.mad * 3.5


@pytest.mark.parametrize("takes", [20, 50, 300])
@pytest.mark.parametrize("name", LOG_CONCAVE)
def test_a_clean_risk_is_flagged_no_more_often_than_a_normal_one_beyond_3_5_spreads(name: str, takes: int) -> None:
    """Twice as often is allowed for: the tail begins at a median of 20 values, and 400 tasks are counted."""
    assert rate_above(LOG_CONCAVE[name], takes, risk) <= 2 * chance(BUILTIN)


@pytest.mark.parametrize("takes", [20, 300])
@pytest.mark.parametrize("name", OTHERS)
def test_tails_that_are_somewhat_heavier_cost_one_take_in_a_thousand(name: str, takes: int) -> None:
    assert rate_above(OTHERS[name], takes, risk) <= 1.2e-3


def test_3_5_robust_spreads_alone_would_flag_many() -> None:
    assert rate_above(LOG_CONCAVE["exponential"], 300, by_z_alone) > 0.03
    assert rate_above(LOG_CONCAVE["normal"], 20, by_z_alone) > 0.004


@pytest.mark.parametrize(("takes", "spreads"), [(20, 14.0), (100, 8.5), (1000, 7.0)])
def test_what_is_far_off_is_still_told(takes: int, spreads: float) -> None:
    """In standard deviations of a normal quantity; the median task."""
    rng = np.random.default_rng(3)
    assert np.median([risk(rng.normal(size=takes)) for _ in range(200)]) < spreads


def test_two_faults_that_nobody_noticed_among_twenty_do_not_hide_the_third() -> None:
    values = np.random.default_rng(8).normal(size=20)
    clean = risk(values)
    values[:2] = (40.0, 60.0)
    assert risk(values) < 1.7 * clean


def test_the_tail_is_the_mean_excess_of_an_exponential_seen_in_part() -> None:
    assert tail_of(np.array([-1.0, 0.0, 1.0, 2.0, 3.0, 4.0, 500.0])) == ((1 + 2 + 3 + 4 + 4) / 4, 4)
    excess, seen = tail_of(np.random.default_rng(1).exponential(2.0, 100_000))
    assert (excess, seen) == (pytest.approx(2.0, rel=0.01), 80_000)


@pytest.mark.parametrize("takes", [20, 50, 300])
def test_a_clean_length_is_flagged_as_rarely_as_a_normal_quantity_beyond_3_5(takes: int) -> None:
    """Lengths of 10 s, each up or down by a third: their logarithm is about normal."""

    def longest(values: np.ndarray) -> float:
        usual = spread_of(list(values))
        return usual.median + duration_limit(takes, BUILTIN) * max(1.4826 * usual.mad, BUILTIN.task_spread)

    lengths: Draw = lambda rng, shape: np.log(10.0) + rng.normal(0.0, 0.3, size=shape)  # noqa: E731
    assert rate_above(lengths, takes, longest) <= 2 * chance(BUILTIN)
    assert duration_limit(1_000_000, BUILTIN) == pytest.approx(3.5, abs=1e-3)


@pytest.mark.parametrize("joints", [1, 6, 29])
def test_a_clean_pose_is_flagged_as_rarely(joints: int) -> None:
    """Start poses scattered by a tenth of the range, so that the floor of 5 % helps nobody."""
    rng, reach, far, looked = np.random.default_rng(joints), np.full(joints, 4.0), 0, 0
    task = Task("hub", "grasp", "m1", tuple(f"j{i}" for i in range(joints)))
    for _ in range(150):
        poses = rng.normal(0.0, 0.4, size=(220, joints))
        made = statistics_of(task, [Features(4.0, {}, {"start": p, "end": p}) for p in poses[:20]], reach)
        limit = pose_limit(made.poses["start"], BUILTIN)
        far += sum(pose_distance(pose, made.poses["start"].mean, reach) > limit for pose in poses[20:])
        looked += 200
    assert far / looked <= 5 * chance(BUILTIN), "30,000 poses of tasks of 20: a few more than the mean is chance"


def test_statistics_without_a_tail_judge_no_risk() -> None:
    usual = spread_of([1.0, 2.0, 3.0], 1)
    assert risk_limit(replace(usual, count=0), BUILTIN) != risk_limit(replace(usual, count=0), BUILTIN)
