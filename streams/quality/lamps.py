"""Which findings are lit, and what changed: one lamp a fault, not one a fetch. Never judges."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from kinestream.streams.quality.model import Finding, Flag


class Change(StrEnum):
    """What happened to a finding."""

    RAISED = "RAISED"
    UPDATED = "UPDATED"
    CLEARED = "CLEARED"


class LampBook:
    """The lit findings of one episode, by finding id; ``lit`` are those known from before (after a restart)."""

    __slots__ = ("_lit",)

    def __init__(self, lit: Iterable[Finding] = ()) -> None:
        self._lit = {finding.finding_id: finding for finding in lit}

    @property
    def lit(self) -> tuple[Finding, ...]:
        """The findings now lit, as last told."""
        return tuple(self._lit.values())

    def diff(self, findings: Iterable[Finding]) -> list[tuple[Change, Finding]]:
        """Take what holds now, give what changed: RAISED once, UPDATED when SUSPECT became FAIL, CLEARED when gone.

        A CLEARED finding is the one last told. A flag that eases is not told: the lamp keeps its worst colour.
        """
        holding = {finding.finding_id: finding for finding in findings}
        if not holding and not self._lit:
            return []
        changes = [(change, finding) for finding in holding.values() if (change := self._change(finding))]
        gone = [self._lit.pop(key) for key in self._lit.keys() - holding.keys()]
        self._lit.update((finding.finding_id, finding) for _, finding in changes)
        return changes + [(Change.CLEARED, finding) for finding in sorted(gone, key=lambda f: f.finding_id)]

    def _change(self, finding: Finding) -> Change | None:
        before = self._lit.get(finding.finding_id)
        if before is None:
            return Change.RAISED
        return Change.UPDATED if before.flag != Flag.FAIL and finding.flag == Flag.FAIL else None
