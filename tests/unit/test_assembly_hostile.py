"""Fields that hold anything their schema allows: a start, a stamp or a count that no robot has stops no partition."""

from __future__ import annotations

import numpy as np
import pytest

from tests.assembling import Log, Owner, Take

#: Frames a second: no number, periods that overflow, windows that would fill memory.
RATES = (np.nan, np.inf, -np.inf, -100.0, -0.0, 5e-324, 1e-9, 1e9, 1e18, 1e300)


@pytest.mark.parametrize("rate", RATES)
def test_a_rate_that_no_robot_has_counts_as_not_declared(rate):
    take, log, owner = Take(130), Log(), Owner()
    owner.feed(log.append(take.start(nominal_rate_hz=rate), *take.chunks(), take.end()))
    event = owner.store.event()
    assert (event["status"], event["verdict"], event["frames_unique"]) == ("COMPLETE", "ACCEPT", 130)
    metrics = {m["id"]: m["flag"] for m in event["metrics"]}
    assert metrics["T1"] == "NOT_EVALUATED"
    assert str(owner.store.episodes[take.id].closed["nominal_rate_hz"]) == str(rate)


@pytest.mark.parametrize("rate", [0.1, 1.0, 8_000.0, 100_000.0])
def test_a_slow_or_fast_robot_is_judged_by_its_rate(rate):
    take, log, owner = Take(130, rate=rate), Log(), Owner()
    owner.feed(log.append(*take.whole()))
    assert {m["id"]: m["flag"] for m in owner.store.event()["metrics"]}["T1"] != "NOT_EVALUATED"


@pytest.mark.parametrize("seed", range(8))
def test_stamps_that_are_centuries_apart_are_a_finding_and_no_refusal(seed):
    take, log, owner = Take(3, seed=seed), Log(), Owner()
    take.t_ns = np.random.default_rng(seed).integers(-(2**63), 2**63 - 1, 3)
    owner.feed(log.append(take.start(), *take.chunks(1), take.end()))
    event = owner.store.event()
    assert (event["status"], event["verdict"], event["frames_unique"]) == ("COMPLETE", "REJECT", 3)
    assert (event["hash_verified"], owner.assembler.counts["failures"]) == (True, 0)
