"""Flags and status to verdict, as the contract's section on verdicts has it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kinestream.streams.quality import BUILTIN, Flag, MetricValue
from kinestream.streams.quality.verdict import verdict_of

GOOD = {m: Flag.GOOD for m in ("T1", "T2", "T4", "T5", "T6", "T11", "I1", "I3", "I8", "E6")}


def verdict(status="COMPLETE", rules=BUILTIN, **flags):
    rows = [MetricValue(metric, "", 0.0, "", flag) for metric, flag in {**GOOD, **flags}.items()]
    return verdict_of(rows, status, rules)


def test_all_good_and_complete_is_accepted():
    assert verdict() == "ACCEPT"


@pytest.mark.parametrize("metric", ["T1", "T4", "T5", "T6", "I1", "I3", "I8", "E6"])
def test_a_gate_rejects_on_fail_and_asks_for_review_on_suspect(metric):
    assert verdict(**{metric: Flag.FAIL}) == "REJECT"
    assert verdict(**{metric: Flag.SUSPECT}) == "REVIEW"


def test_a_risk_asks_for_review_and_never_rejects():
    assert verdict(T2=Flag.SUSPECT) == verdict(T2=Flag.FAIL) == "REVIEW"


def test_information_changes_nothing():
    assert verdict(T11=Flag.SUSPECT) == "ACCEPT"


@pytest.mark.parametrize("metric", ["T5", "I1", "I3", "E6"])
def test_a_required_metric_not_evaluated_leaves_the_take_unassessed(metric):
    assert verdict(**{metric: Flag.NOT_EVALUATED}) == "UNASSESSED"


@pytest.mark.parametrize("metric", ["T1", "T2", "T4", "I8"])
def test_other_metrics_not_evaluated_change_nothing(metric):
    assert verdict(**{metric: Flag.NOT_EVALUATED}) == "ACCEPT"


def test_rules_may_require_more():
    assert verdict(rules=replace(BUILTIN, required=("I8",)), I8=Flag.NOT_EVALUATED) == "UNASSESSED"
    assert verdict(rules=replace(BUILTIN, required=("S1",))) == "UNASSESSED"


@pytest.mark.parametrize("status", ["INCOMPLETE", "TIMED_OUT", "SUPERSEDED", "TRUNCATED", "UNMARKED"])
def test_any_status_but_complete_is_at_best_review(status):
    assert verdict(status) == "REVIEW"
    assert verdict(status, I3=Flag.NOT_EVALUATED) == "REVIEW"
    assert verdict(status, I3=Flag.FAIL) == "REJECT"


def test_a_corrupt_take_is_rejected_whatever_its_frames_look_like():
    assert verdict("CORRUPT") == "REJECT"


def test_a_joint_row_does_not_hide_the_row_of_the_whole():
    rows = [MetricValue(metric, "", 0.0, "", flag) for metric, flag in {**GOOD, "I3": Flag.FAIL}.items()]
    rows.append(MetricValue("I3", "left_elbow", 0.0, "", Flag.GOOD))
    assert verdict_of(rows, "COMPLETE", BUILTIN) == "REJECT"
