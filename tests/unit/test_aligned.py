"""GB/Z 218.1-2026 is a block of its own that claims no conformity and passes nothing that was not measured."""

from __future__ import annotations

import json
import re

import pytest

from kinestream.deploy.judging.aligned import aligned_with
from tests.unit.quality_samples import START_NS, judged, take


def rows(judgement):
    return [{"id": m.id, "joint": m.joint, "value": m.value, "unit": m.unit, "flag": m.flag} for m in judgement.metrics]


def within(block):
    return {clause["subject"]: clause["within"] for clause in block["clauses"]}


def test_the_four_clauses_are_told_and_none_claims_conformity():
    block = aligned_with(rows(judged(take())))
    assert within(block) == {"jitter": True, "loss": True, "alignment": None, "missing fields": True}
    assert (block["standard"], block["claim"]) == ("GB/Z 218.1-2026", "aligned with")
    assert not re.search("conform", json.dumps(block, default=str), re.IGNORECASE)


def test_each_clause_is_told_beyond_the_limit_of_the_standard():
    frames = take(1000)
    frames.t_ns[1::2] += 2_000_000
    frames.channels["hand"][: len(frames.seq) * 9 // 10] = float("nan")
    clauses = aligned_with(rows(judged(frames, expected=1020, missing_first=1000)))
    assert within(clauses) == {"jitter": False, "loss": False, "alignment": None, "missing fields": False}


@pytest.mark.parametrize("flag", ["GOOD", "NOT_EVALUATED"])
def test_what_was_not_evaluated_is_not_within(flag):
    row = {"id": "T10.step", "joint": None, "value": 0.0005, "unit": "s", "flag": flag}
    assert within(aligned_with([row]))["alignment"] is (True if flag == "GOOD" else None)


def test_made_up_stamps_say_nothing_of_jitter():
    frames = take()
    frames.t_ns[:] = START_NS + frames.seq * 10_000_000
    assert within(aligned_with(rows(judged(frames))))["jitter"] is None
