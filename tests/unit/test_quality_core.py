"""The core metrics alone: what they say of a take is what they say beside all the others."""

from __future__ import annotations

import pytest

from kinestream.streams.quality import Delivery, EpisodeJudge, Judgement
from kinestream.streams.quality.rules import BUILTIN
from tests.unit.quality_samples import context, take, without

CORE = {"T1", "T2", "T4", "T5", "T6", "T11", "I1", "I3", "I8", "E6"}


def judged(frames: object, *, core: bool) -> Judgement:
    judge = EpisodeJudge(context(), BUILTIN, core=core)
    judge.advance(frames)  # type: ignore[arg-type]
    return judge.final(Delivery(400, len(frames.seq), status="COMPLETE"))  # type: ignore[attr-defined]


@pytest.mark.parametrize("lost", [[], [100, 101, 102, 103, 104]])
def test_core_metrics_are_the_same_rows_and_findings_without_the_others(lost: list[int]) -> None:
    frames = without(take(), lost)
    core, whole = judged(frames, core=True), judged(frames, core=False)
    assert {metric.id.partition(".")[0] for metric in core.metrics} == CORE
    assert [repr(m) for m in core.metrics] == [repr(m) for m in whole.metrics if m.id.partition(".")[0] in CORE]
    assert core.findings == tuple(f for f in whole.findings if f.metric in CORE)


def test_a_verdict_by_the_core_alone_says_so() -> None:
    core, whole = judged(take(), core=True), judged(take(), core=False)
    assert core.rule_version == f"{whole.rule_version}+core"
    assert core.verdict == "ACCEPT"
