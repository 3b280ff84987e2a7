"""A service that ends by itself is a failure, but for a broker that gave up under what the plan did to it."""

from __future__ import annotations

import math

import pytest

from kinestream.deploy.chaos.exits import RECOVERY_S, Exit, Interference, excused, read_exits

#: One of every kind of line that supervisord writes about an end.
LOG = """\
2026-11-23 10:00:00,500 INFO spawned: 'broker' with pid 7
2026-11-23 10:00:10,250 WARN exited: broker (exit status 1; not expected)
2026-11-23 10:00:11,000 INFO exited: worker-1 (exit status 0; expected)
2026-11-23 10:00:12,000 WARN exited: store (terminated by SIGKILL; not expected)
2026-11-23 10:00:13,000 INFO stopped: store (exit status 143)
2026-11-23 10:00:14,750 WARN exited: worker-1 (exit status 70; not expected)
a line that is none
"""
FROZEN = Interference("broker", 100.0, 129.0)


def test_only_ends_with_an_error_of_ones_own_are_read() -> None:
    found = read_exits(LOG)
    assert [(one.name, one.status) for one in found] == [("broker", 1), ("worker-1", 70)]
    assert found[1].at_s - found[0].at_s == pytest.approx(4.5)


@pytest.mark.parametrize("at_s", [100.0, 115.0, 129.0, 129.0 + RECOVERY_S])
def test_a_broker_that_gives_up_within_an_outage_of_the_plan_or_its_recovery_is_excused(at_s: float) -> None:
    assert excused(Exit(at_s, "broker", 1), [FROZEN])


@pytest.mark.parametrize("at_s", [99.9, 129.1 + RECOVERY_S, 500.0])
def test_a_broker_that_ends_at_another_time_is_a_failure(at_s: float) -> None:
    assert not excused(Exit(at_s, "broker", 1), [FROZEN])


def test_a_kill_is_an_interference_of_no_length() -> None:
    killed = [Interference("broker", 100.0, 100.0)]
    assert excused(Exit(101.0, "broker", 1), killed)
    assert not excused(Exit(101.0 + RECOVERY_S, "broker", 1), killed)


def test_what_still_lasts_excuses() -> None:
    assert excused(Exit(9e9, "broker", 1), [Interference("broker", 100.0, math.inf)])


def test_what_was_done_to_others_excuses_nothing() -> None:
    assert not excused(Exit(110.0, "broker", 1), [Interference("store", 100.0, 129.0)])
    assert not excused(Exit(110.0, "broker", 1), [])


@pytest.mark.parametrize("name", ["worker-1", "worker-bulk", "store", "registry"])
def test_nobody_else_may_give_up_not_even_while_frozen(name: str) -> None:
    """A worker or a store that ends where it should wait is a defect."""
    assert not excused(Exit(110.0, name, 1), [Interference(name, 100.0, 129.0), FROZEN])
