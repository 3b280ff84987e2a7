"""Frames of a line as arrays, and what is remembered of each to know it again; never sends or alters one."""

from __future__ import annotations

import json
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import xxhash
from numpy.typing import NDArray

from kinestream.producers.chunker import float32_of
from kinestream.producers.ingest.complaints import Names, not_numbers, short, too_large
from kinestream.producers.stamps import stamp_ns, stamps_ns
from kinestream.schemas.errors import IngestError, LayoutError
from kinestream.schemas.frames import Float32, Int64
from kinestream.schemas.layout import JOINT_CHANNELS

#: Frames of a take that are known again value by value, the latest: 16 bytes each.
REMEMBERED: Final = 32_768
_SECONDS: Final = "seconds since 1970, UTC, as a number (or t_ns: whole nanoseconds)"


@dataclass(frozen=True, slots=True, eq=False)
class Frames:
    """n frames: ``values`` by channel, each float32 (n, width); ``t_ns`` int64 (n,), None = not stamped."""

    #: number of the first; None = the one after the last of this connection
    seq: int | None
    t_ns: Int64 | None
    values: Mapping[str, Float32]

    def __len__(self) -> int:
        return len(next(iter(self.values.values())))

    def prints(self) -> list[int]:
        """A 64-bit hash of each frame's values."""
        rows = np.concatenate([self.values[name] for name in sorted(self.values)], axis=1)
        size, raw = rows.shape[1] * 4, rows.tobytes()
        return [xxhash.xxh3_64_intdigest(raw[k * size : (k + 1) * size]) for k in range(len(rows))]


def read_frames(seq: int | None, said: dict[str, Any], names: Names, *, many: bool, truths: bool = False) -> Frames:
    """Of the fields of ``frame`` (one, each a list) or ``frames`` (n, each a list of lists); raises IngestError.

    ``truths``: there may be a true or false in them.
    """
    further = said.get("channels") or {}
    if not isinstance(further, dict):
        raise IngestError("BAD_VALUE", f"channels={short(further)}: give an object of lists by channel name")
    given = {name: said[name] for name in JOINT_CHANNELS if said.get(name) is not None}
    both = [name for name in further if name in JOINT_CHANNELS]
    if both:
        raise IngestError("BAD_VALUE", f"channels: {', '.join(both)}: give it beside channels, not in it")
    given |= {name: value for name, value in further.items() if value is not None}
    if not given:
        raise IngestError("BAD_VALUE", f"a frame without values: give one of {', '.join(JOINT_CHANNELS)} or channels")
    if truths:
        for name, value in given.items():
            if "true" in (text := json.dumps(value)) or "false" in text:
                raise not_numbers(name, value, many, names)
    values = {name: _values(name, value, many, names) for name, value in given.items()}
    n = len(next(iter(values.values())))
    for name, rows in values.items():
        if len(rows) != n or not n:
            told = ", ".join(f"{name}: {len(rows)}" for name, rows in values.items())
            raise IngestError("LAYOUT", f"frames of different number ({told}): give every channel once a frame")
    return Frames(seq, _stamps(said, n, many), values)


def _values(name: str, value: Any, many: bool, names: Names) -> Float32:
    try:
        found: NDArray[Any] = np.asarray(value)
        if found.dtype == object and all(v is None or type(v) in (int, float) for v in found.flat):
            found = found.astype(np.float64)  # null, which JSON has in place of NaN, becomes NaN
    except ValueError:
        raise not_numbers(name, value, many, names) from None
    except OverflowError:
        raise too_large(name, value, many, names) from None
    if found.ndim != (2 if many else 1) or found.dtype.kind not in "fiu" or not found.size:
        raise not_numbers(name, value, many, names)
    rows = float32_of(found if many else found.reshape(1, -1))
    if np.isinf(rows).any():  # JSON has no infinity: it was a number beyond float32
        raise too_large(name, value, many, names)
    return rows


def seconds(t: Any) -> float:
    """A stamp in seconds, which may be written without a point; raises IngestError."""
    try:
        return float(t)
    except (OverflowError, TypeError, ValueError) as problem:
        raise IngestError("BAD_VALUE", f"t={short(t)}: give {_SECONDS}") from problem


def _stamps(said: dict[str, Any], n: int, many: bool) -> Int64 | None:
    t, t_ns = said.get("t"), said.get("t_ns")
    if t is not None and t_ns is not None:
        raise IngestError("BAD_VALUE", "t and t_ns are both given: give one of them")
    name, given = ("t", t) if t_ns is None else ("t_ns", _whole(t_ns))
    if given is None:
        if many:
            raise IngestError("BAD_VALUE", "frames without t or t_ns: give one stamp a frame")
        return None
    if many and (not isinstance(given, list) or len(given) != n):
        told = f"{len(given)} stamps" if isinstance(given, list) else short(given)
        raise IngestError("BAD_VALUE", f"{name}: {told} for {n} frames: give a list with one stamp a frame")
    if t_ns is None and any(type(one) not in (int, float) for one in (given if many else [given])):
        raise IngestError("BAD_VALUE", f"t={short(t)}: give {_SECONDS}")
    try:
        if many:
            return stamps_ns(np.asarray(given, np.float64) if t_ns is None else given, n)
        return np.array([stamp_ns(seconds(given) if t_ns is None else given)], np.int64)
    except (LayoutError, OverflowError, TypeError, ValueError):
        raise IngestError("BAD_VALUE", f"{name}={short(given)}: no moment of this world: give {_SECONDS}") from None


def _whole(t_ns: Any) -> Any:
    """Nanoseconds; as texts too, for languages whose numbers end at 2^53."""
    if isinstance(t_ns, list):
        return [_whole(one) for one in t_ns]
    if isinstance(t_ns, str) and t_ns.lstrip("-").isdigit():
        return int(t_ns)
    if type(t_ns) is not int:
        raise IngestError("BAD_VALUE", f"t_ns={short(t_ns)}: give whole nanoseconds since 1970, UTC (or t, seconds)")
    return t_ns


class Memory:
    """What the latest frames of a take were, so that a repeated one is told from another of the same number."""

    def __init__(self) -> None:
        self._first = 0
        self._prints, self._stamps = array("Q"), array("q")

    def begin(self, first: int) -> None:
        """Forget all: the next frame that is added is number ``first``."""
        self._first = first
        del self._prints[:], self._stamps[:]

    @property
    def next(self) -> int:
        """Number of the frame that is added next."""
        return self._first + len(self._prints)

    def add(self, prints: list[int], t_ns: Int64) -> None:
        """The next frames."""
        self._prints.extend(prints)
        self._stamps.extend(t_ns.tolist())
        over = len(self._prints) - REMEMBERED
        if over > REMEMBERED // 4:
            del self._prints[:over], self._stamps[:over]
            self._first += over

    def differs(self, seq: int, prints: list[int], t_ns: Int64 | None) -> int | None:
        """The first frame from ``seq`` on that is not the one that was added; None = none, as far as is remembered."""
        for k, one in enumerate(prints):
            at = seq + k - self._first
            if at < 0:
                continue
            if self._prints[at] != one or (t_ns is not None and self._stamps[at] != int(t_ns[k])):
                return seq + k
        return None
