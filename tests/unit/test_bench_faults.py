"""The figures of the fault matrix over known runs: what is missed, late, on a wrong joint or a false alarm is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kinestream.deploy.bench.matrix import Seen, Sent, matrix_of
from kinestream.producers.fleet.faults import KINDS, Fault

S = 1_000_000_000


def sent(mode, name, number=0, clean=False):
    joint = "elbow" if KINDS[name].of_joint else ""
    fault = None if clean else Fault(name, joint, 10, 20)
    return Sent(f"{mode}-{name}-{number}", "some-robot", mode, name, fault, 10 * S, 14 * S)


def seen(take, **changed):
    fault = take.fault or Fault("nan", "elbow", 0, 0)
    metric = KINDS[fault.name].metrics[-1]
    return replace(Seen(take.episode_id, metric, fault.joint, "FAIL", "RAISED", "bad", 10 * S + S // 4), **changed)


@pytest.fixture
def run():
    """Every fault once and twice, all caught, and two clean takes."""
    takes = [
        sent(mode, name, n) for name in KINDS for mode, count in (("single", 1), ("systemic", 2)) for n in range(count)
    ]
    clean = [sent("single", "nan", 8, clean=True), sent("single", "gap", 9, clean=True)]
    return takes, clean, [seen(take) for take in takes]


def test_a_whole_run_is_told_as_one(run):
    takes, clean, findings = run
    found = matrix_of(takes + clean, findings)
    assert found.whole
    assert (found.clean_episodes, found.false_alarms, found.latency_ms.samples) == (2, 0, 51)
    document = found.document()
    assert set(document["single"]) == set(document["systemic"]) == set(KINDS)
    assert document["single"]["frozen"] == {
        "caught": True, "metric": "I6", "joint": "elbow", "right_joint": True, "delay_ms": 250.0,
        "found": 1, "live": 1, "of": 1,
    }  # fmt: skip
    assert document["systemic"]["gap"]["right_joint"] is None
    assert (document["latency_ms"]["p50"], document["latency_ms"]["p99"]) == (250.0, 250.0)


@pytest.mark.parametrize(
    "changed", [{"metric": "T1"}, {"joint": "wrist"}, {"state": "CLEARED"}, {"episode_id": "another"}]
)
def test_another_metric_or_joint_or_a_finding_that_went_again_catches_nothing(run, changed):
    takes, clean, findings = run
    at = next(i for i, take in enumerate(takes) if (take.mode, take.cell) == ("systemic", "nan"))
    findings[at] = replace(findings[at], **changed)
    found = matrix_of(takes + clean, findings)
    assert not found.systemic["nan"].caught
    assert (found.systemic["nan"].found, found.systemic["nan"].of) == (1, 2)
    assert found.single["nan"].caught
    assert not found.whole


def test_a_fault_nobody_found_has_no_joint_and_no_delay(run):
    takes, clean, findings = run
    missed = matrix_of(takes + clean, [f for f in findings if f.metric != "I6"]).single["frozen"]
    assert (missed.caught, missed.metric, missed.joint, missed.right_joint, missed.delay_ms) == (
        False,
        "",
        "",
        False,
        None,
    )


def test_a_finding_after_the_close_is_caught_but_not_live(run):
    takes, clean, findings = run
    late = [replace(f, seen_ns=20 * S) if f.metric == "I6" else f for f in findings]
    found = matrix_of(takes + clean, late).single["frozen"]
    assert (found.caught, found.live, found.delay_ms) == (True, 0, 10_000.0)


def test_anything_found_in_a_clean_take_is_a_false_alarm_also_if_it_went_again(run):
    takes, clean, findings = run
    lit = seen(clean[0], state="CLEARED", metric="E1", joint="")
    found = matrix_of(takes + clean, [*findings, lit, seen(clean[0])])
    assert (found.false_alarms, len(found.false_alarm_list)) == (1, 2)
    assert found.false_alarm_list[0] == {
        "model": "some-robot", "cell": "single nan", "episode_id": clean[0].episode_id, "metric": "E1", "joint": "",
        "flag": "FAIL", "state": "CLEARED", "message": "bad",
    }  # fmt: skip
    assert not found.whole
