"""How far joints travel and how directly: E3, E4. Holds four poses; never a threshold, the task's statistics judge."""

from __future__ import annotations

import numpy as np

from kinestream.streams.quality.desk import Batch
from kinestream.streams.quality.family import Family, Found, plain
from kinestream.streams.quality.model import NONE, Context, Floats, MetricValue, Span
from kinestream.streams.quality.rules import Rules


class Path(Family):
    """E3 path length: sum |dq|, rad. E4 path efficiency: |q_n - q_0| / path; E4.split: out to the farthest and back.

    E4.split = (|q_far - q_0| + |q_n - q_far|) / path with q_far the pose farthest from q_0, so that a reach that
    returns is not called a detour (open report cards). Norms over all joints; steps over NaN are left out. E3 merges
    exactly.
    """

    merges = True
    metrics = ("E3", "E4", "E4.split")

    def __init__(self, context: Context, rules: Rules) -> None:
        super().__init__(context, rules)
        self.length = 0.0
        self.start: Floats | None = None
        self.end: Floats | None = None
        self.far: Floats | None = None
        self.far_squared = 0.0
        self._merged = False

    def add(self, batch: Batch) -> None:
        """Add the steps."""
        position = batch.channel("position")
        if position is None:
            return
        if self.start is None:
            self.start = self.far = position[1].copy()
        self.length += self._way(batch)
        # |q|^2 - 2 q q_0 tells which pose is farthest; how far it is, the difference itself
        q = position[1:]
        away = np.multiply(q, q, out=batch.shop.spare[: batch.n]) @ batch.shop.ones
        away -= q @ (2 * self.start)
        pose = q[int(away.argmax())]
        squared = float(np.dot(pose - self.start, pose - self.start))
        if squared > self.far_squared:
            self.far_squared, self.far = squared, pose.copy()
        self.end = position[-1].copy()

    @staticmethod
    def _way(batch: Batch) -> float:
        squared = batch.step_norms_squared
        if (bad := batch.bad("position")) is not None:
            squared = (batch.step_squares * ~(bad[1:] | bad[:-1])) @ batch.shop.ones
        return float(np.sqrt(squared).sum())

    def values(self, span: Span, found: Found) -> list[MetricValue]:
        """Length and both efficiencies."""
        if self.start is None or self.end is None or self.far is None or span.frames < 2:
            return [plain("E3", NONE, "rad"), plain("E4", NONE, "ratio"), plain("E4.split", NONE, "ratio")]
        direct, split = NONE, NONE
        if self.length > 0 and not self._merged:
            direct = float(np.linalg.norm(self.end - self.start)) / self.length
            split = float(np.linalg.norm(self.far - self.start) + np.linalg.norm(self.end - self.far)) / self.length
        return [plain("E3", self.length, "rad"), plain("E4", direct, "ratio"), plain("E4.split", split, "ratio")]

    def merge(self, later: Path, cut: Batch) -> None:
        """Add a later part's length; its farthest pose was measured from another start, so E4 is recomputed."""
        if later.start is not None:
            self.length += self._way(cut) + later.length
            self.start = self.start if self.start is not None else later.start
            self.end = later.end
            self._merged = True
