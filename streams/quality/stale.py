"""One measurement sent again and again: I7. Looks closely only where no joint moved at all."""

from __future__ import annotations

import numpy as np

from kinestream.streams.quality.desk import Batch
from kinestream.streams.quality.family import Family, Found, rows, where
from kinestream.streams.quality.model import SECOND, SLACK, Context, Finding, Flag, Mask, MetricValue, Origin, Span
from kinestream.streams.quality.rules import Rules
from kinestream.streams.quality.spells import Run, Spell, edges_of


class Stale(Family):
    """I7 stale frame: runs of identical (q, v, tau) while frame numbers rise.

    3 frames SUSPECT, 0.5 s FAIL (ours; a driver that republished its cached state). A simulated robot at rest repeats
    itself for ever and says that it rests: measurements whose every v is exactly 0 do not count. Needs q and v.
    """

    metrics = ("I7",)

    def __init__(self, context: Context, rules: Rules) -> None:
        super().__init__(context, rules)
        self._open: Run | None = None
        self.spell = Spell()
        self.longest_ns = 0

    def add(self, batch: Batch) -> None:
        """Follow the runs of repeated measurements."""
        velocity = batch.channel("velocity")
        if velocity is None or batch.channel("position") is None:
            return
        still = batch.step_norms_squared == 0.0
        if not still.any():
            self._close()
            return
        at = np.flatnonzero(still)
        same = (velocity[at + 1] == velocity[at]).all(axis=1)
        same &= (velocity[at + 1] != 0.0).any(axis=1)
        for name in ("effort", "position", "velocity"):
            if name == "effort" and (tau := batch.channel("effort")) is not None:
                same &= (tau[at + 1] == tau[at]).all(axis=1)
            if (bad := batch.bad(name)) is not None:
                same &= ~(bad[at + 1] | bad[at]).any(axis=1)
        if batch.starts:
            same &= at > 0
        still[at] = same
        self._follow(batch, still)

    def _follow(self, batch: Batch, repeated: Mask) -> None:
        edges = edges_of(repeated)
        if not edges or edges[0] > 0:
            self._close()
        for begin, end in zip(edges[::2], edges[1::2], strict=True):
            run = Run(int(batch.seq[begin]), int(batch.t[begin]), int(batch.t[end]), end - begin, False)
            if self._open is None:
                self._open = run
            else:
                self._open.join(run)
            if end < batch.n:
                self._close()

    def _close(self) -> None:
        if self._open is not None:
            self._count(self._open, self.spell)
            self.longest_ns = max(self.longest_ns, self._length(self._open))
            self._open = None

    def _count(self, run: Run, spell: Spell) -> None:
        # the frame that is repeated belongs to the run
        if run.frames + 1 >= self.rules.stale_frames:
            spell.add(1, (run.first_seq, run.first_t), run.last_t, float(run.frames + 1))

    def _length(self, run: Run) -> int:
        return run.last_t - run.first_t if run.frames + 1 >= self.rules.stale_frames else 0

    def _so_far(self) -> tuple[Spell, int]:
        spell, longest = Spell(), self.longest_ns
        spell.merge(self.spell)
        if self._open is not None:
            self._count(self._open, spell)
            longest = max(longest, self._length(self._open))
        return spell, longest

    def findings(self, span: Span, live: bool) -> list[Finding]:
        """One for the episode."""
        spell, longest = self._so_far()
        if not spell.count:
            return []
        fail = longest >= self.rules.stale_fail_s * SECOND * (1 - SLACK)
        return [
            self.finding(
                span,
                "I7",
                "I7",
                {"frames": int(spell.worst), "seconds": longest / SECOND},
                flag=Flag.FAIL if fail else Flag.SUSPECT,
                value=longest / SECOND if fail else spell.worst,
                unit="s" if fail else "frames",
                threshold=self.rules.stale_fail_s if fail else float(self.rules.stale_frames),
                origin=Origin.OURS,
                **where(spell),
            )
        ]

    def values(self, span: Span, found: Found) -> list[MetricValue]:
        """The longest run, frames; 0 where none reaches three."""
        measured = self.context.measures("velocity") and self.context.measures("position")
        return rows("I7", "frames", self._so_far()[0].worst, span.frames >= 2 and measured, found)
