"""From flags and status to one of four verdicts. Looks at no frame and never at the outcome an operator claims."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from kinestream.streams.quality.model import Finding, Flag, MetricValue
from kinestream.streams.quality.rules import BUILTIN, Rules


class Verdict(StrEnum):
    """What we judge of an episode."""

    ACCEPT = "ACCEPT"
    UNASSESSED = "UNASSESSED"
    REVIEW = "REVIEW"
    REJECT = "REJECT"


def verdict_of(metrics: Iterable[MetricValue], status: str, rules: Rules) -> Verdict:
    """REJECT > REVIEW > UNASSESSED > ACCEPT, from the whole-episode rows (joint "") and the assembler's status."""
    flags = {m.id: m.flag for m in metrics if not m.joint and "." not in m.id}
    gates = {flag for metric, flag in flags.items() if rules.classes[metric] == "G"}
    risks = {flag for metric, flag in flags.items() if rules.classes[metric] == "R"}
    if Flag.FAIL in gates or status == "CORRUPT":
        return Verdict.REJECT
    if Flag.SUSPECT in gates or risks & {Flag.SUSPECT, Flag.FAIL} or status != "COMPLETE":
        return Verdict.REVIEW
    if any(flags.get(metric, Flag.NOT_EVALUATED) in (Flag.NOT_EVALUATED, Flag.MISSING) for metric in rules.required):
        return Verdict.UNASSESSED
    return Verdict.ACCEPT


def worst_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """FAIL before SUSPECT, gates before risks, then the earliest."""
    return tuple(sorted(findings, key=_rank))


def _rank(finding: Finding) -> tuple[bool, bool, int, str, str]:
    gate = BUILTIN.classes[finding.metric] == "G"
    return finding.flag != Flag.FAIL, not gate, finding.first_seq, finding.metric, finding.joint
