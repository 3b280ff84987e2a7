"""Robot time as int64 ns since the epoch, UTC: from a caller's stamps or an anchored clock; never judges a clock."""

from __future__ import annotations

import time
from typing import Any, Final

import numpy as np

from kinestream.schemas.errors import LayoutError
from kinestream.schemas.frames import Float64, Int64

#: Widest span of stamps within one chunk, ns (13 days). Below 2^51 the wire's float64 seconds give back every
#: nanosecond (two roundings of at most 2^-53 each stay under half of one); a chunk with a wider jump is cut in two.
EXACT_SPAN_NS: Final = 1 << 50

_LEAST, _MOST = -(1 << 63), (1 << 63) - 1
_ALLOWED = "give int nanoseconds or finite float seconds since the epoch, UTC"


class AnchoredClock:
    """Monotonic time, anchored to UTC when it is made: a stepped wall clock leaves no trace within an episode."""

    def __init__(self) -> None:
        self._offset_ns = time.time_ns() - time.monotonic_ns()

    def now_ns(self) -> int:
        """Nanoseconds since the epoch, UTC."""
        return self._offset_ns + time.monotonic_ns()


def stamp_ns(t: Any) -> int:
    """One stamp, int ns or float s UTC, as int ns (nearest to the float's exact value); raises LayoutError."""
    if type(t) is not int:
        t = _number(t)
    if not _LEAST <= t <= _MOST:
        raise LayoutError(f"t={t} ns does not fit in 64 bits: {_ALLOWED}")
    return int(t)


def _number(t: Any) -> int:
    if isinstance(t, bool | np.bool_) or not isinstance(t, int | float | np.integer | np.floating):
        raise LayoutError(f"t={t!r} is a {type(t).__name__}: {_ALLOWED}")
    if isinstance(t, int | np.integer):
        return int(t)
    if not np.isfinite(t):
        raise LayoutError(f"t={t!r}: {_ALLOWED}")
    whole = int(t)
    return whole * 1_000_000_000 + round((float(t) - whole) * 1e9)


def stamps_ns(t: Any, n: int) -> Int64:
    """``n`` stamps, int ns or float s UTC, as int64 (n,) of its own; raises LayoutError."""
    try:
        stamps = np.asarray(t)
    except (ValueError, OverflowError) as problem:
        raise LayoutError(f"t is not an array of numbers ({problem}): {_ALLOWED}") from problem
    if stamps.dtype.kind not in "iuf":
        raise LayoutError(f"t has dtype {stamps.dtype}: {_ALLOWED}")
    if stamps.shape != (n,):
        raise LayoutError(f"t has shape {stamps.shape}, but {n} frames are given: give one stamp a frame, ({n},)")
    if stamps.dtype.kind == "f":
        return _from_seconds(stamps)
    if stamps.dtype.kind == "u" and n and int(stamps.max()) > _MOST:
        raise LayoutError(f"t={int(stamps.max())} ns does not fit in 64 bits: {_ALLOWED}")
    return stamps.astype(np.int64)


def _from_seconds(seconds: Any) -> Int64:
    if not np.isfinite(seconds).all():
        raise LayoutError(f"t={seconds[~np.isfinite(seconds)][0]!r} at one frame: {_ALLOWED}")
    if len(seconds) and np.abs(seconds).max() >= _MOST / 1e9:
        raise LayoutError(f"t={np.abs(seconds).max()} s does not fit in 64 bits of ns: {_ALLOWED}")
    fraction, whole = np.modf(seconds.astype(np.float64))
    stamps: Int64 = whole.astype(np.int64) * 1_000_000_000 + np.rint(fraction * 1e9).astype(np.int64)
    return stamps


def near(stamps: Int64, first: int) -> bool:
    """All ``stamps`` may share a chunk with each other and with the stamp ``first``."""
    low, high = int(stamps.min()), int(stamps.max())
    return max(high, first) - min(low, first) <= EXACT_SPAN_NS


def offsets_s(stamps: Int64) -> Float64:
    """Seconds since the first of ``stamps``: with it as ``t0_ns`` a receiver gets back exactly ``stamps``."""
    offsets: Float64 = (stamps - stamps[0]) / 1e9
    return offsets
