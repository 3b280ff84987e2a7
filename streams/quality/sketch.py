"""A histogram whose bins grow with the value: quantiles in constant memory, to 3 %; merges by adding. No metric."""

from __future__ import annotations

import numpy as np

from kinestream.streams.quality.model import NONE, Floats

_SHIFT = 48


class LogHistogram:
    """Counts of values above 0 in ``octaves`` octaves from 2^``lowest``, 16 bins each; beyond, the end bins."""

    __slots__ = ("_offset", "bins")

    def __init__(self, lowest: int, octaves: int) -> None:
        self._offset = (1023 + lowest) << 4
        self.bins = np.zeros(16 * octaves, np.int32)

    def add(self, values: Floats) -> None:
        """Count values (n,), float64, at least 0."""
        places = (values.view(np.int64) >> _SHIFT) - self._offset
        np.maximum(places, 0, out=places)
        np.minimum(places, len(self.bins) - 1, out=places)
        self.bins += np.bincount(places, minlength=len(self.bins)).astype(np.int32)

    def quantile(self, share: float) -> float:
        """The middle of the bin in which ``share`` of the values is reached; NaN without values."""
        total = int(self.bins.sum())
        if not total:
            return NONE
        place = int(np.searchsorted(np.cumsum(self.bins), share * total))
        edges = (np.array([place, place + 1], np.int64) + self._offset) << _SHIFT
        return float(edges.view(np.float64).mean())

    def merge(self, other: LogHistogram) -> None:
        """Add another's counts."""
        self.bins += other.bins
