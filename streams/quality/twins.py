"""Which other take an episode repeats: D1, D2, and the keys under which others find it. Pure: whoever knows them asks.

A take is filed under the hash of its values, and under 16 bands of 32 bits of its signature: each bit says on which
side of a plane it lies, so that takes that move alike share bands. Both kinds of keys hold the tenant: no maker is told
of another's takes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import shake_256
from math import floor, log
from typing import Final

import numpy as np
import xxhash

from kinestream.streams.quality.duplicates import Signature, exact_duplicates, near_duplicates, similarity
from kinestream.streams.quality.model import (
    NONE,
    Context,
    Finding,
    Flag,
    MetricValue,
    Origin,
    Singles,
    Span,
    make_finding,
    say,
)
from kinestream.streams.quality.rules import Rules

#: Bands of a signature, bits of one, and bands two takes must share to be compared. Of pairs at a cosine of 0.995
#: 99 % share them (5.6 bands on average), above 0.998 all; of takes of one real task (60 of the G1) 3 in 1,000 pairs.
BANDS: Final = 16
BITS: Final = 32
SHARED: Final = 2
#: Takes are filed by the logarithm of their length too: neighbours are no wider apart than the ratio of lengths 0.95.
_REACH: Final = log(1 / 0.95) * (1 + 1e-9)
_CELL: Final = 2 * _REACH
#: Takes nearer to one that is filed are not filed themselves: it stands for them, and no band grows with repeats.
COVERED: Final = 0.9999


@dataclass(frozen=True, slots=True, eq=False)
class Print:
    """What other takes must know of one. ``digest``: hash of its positions and commands; ``order``: which came first.

    ``order`` is (broker time of the first record in ms, episode_id): a take repeats only those with a smaller one.
    """

    tenant: str
    order: tuple[int, str]
    digest: str
    signature: Signature

    @property
    def episode_id(self) -> str:
        """Whose it is."""
        return self.order[1]


@dataclass(frozen=True, slots=True)
class Twins:
    """The takes an episode repeats; "" = none. ``cosine`` with the nearest, NaN without."""

    exact: str = ""
    near: str = ""
    cosine: float = NONE

    @property
    def covered(self) -> bool:
        """Another take stands for this one: nothing that comes later needs to find it as well."""
        return bool(self.exact) or self.cosine >= COVERED


def exact_key(take: Print) -> int:
    """Where takes of the same values are filed, 64 bits."""
    return _key(take.tenant, "exact", take.digest)


def near_keys(take: Print) -> list[int]:
    """Where takes that move alike are filed, one key a band."""
    return _near_keys(take, floor(log(take.signature.seconds) / _CELL)) if take.signature.seconds > 0 else []


def sought_keys(take: Print) -> list[int]:
    """Where all are filed that it may repeat."""
    if not take.signature.seconds > 0:
        return [exact_key(take)]
    place = log(take.signature.seconds)
    cells = {floor((place - _REACH) / _CELL), floor((place + _REACH) / _CELL)}
    return [exact_key(take), *(key for cell in cells for key in _near_keys(take, cell))]


def _near_keys(take: Print, cell: int) -> list[int]:
    shape = take.signature.shape.astype(np.float32)
    sides = np.packbits((_planes(len(shape)) @ shape > 0).reshape(BANDS, BITS), axis=1)
    where = f"{len(shape)} {cell}"
    return [_key(take.tenant, f"near {band} {where}", bits.tobytes().hex()) for band, bits in enumerate(sides)]


@lru_cache(maxsize=16)  # some 2 MB each
def _planes(size: int) -> Singles:
    """Normals of the planes, +1 or -1 (BANDS * BITS, size): the same on every machine, for ever."""
    cells = BANDS * BITS * size
    bits = np.unpackbits(np.frombuffer(shake_256(f"kinestream near {size}".encode()).digest(cells // 8), np.uint8))
    return (bits.astype(np.float32) * 2 - 1).reshape(-1, size)


def _key(tenant: str, kind: str, value: str) -> int:
    return xxhash.xxh3_64_intdigest("\0".join((tenant, kind, value)).encode())


def twins_of(take: Print, others: Iterable[Print], rules: Rules) -> Twins:
    """The earliest of ``others`` that holds the same, and the one that moves most alike, as far as any does."""
    earlier = [other for other in others if other.order < take.order and other.tenant == take.tenant]
    exact = min((other.order for other in earlier if exact_duplicates(take.digest, other.digest)), default=(0, ""))
    near = [other for other in earlier if near_duplicates(take.signature, other.signature, rules)]
    if not near:
        return Twins(exact[1])
    nearest = min(near, key=lambda other: (-similarity(take.signature, other.signature)[0], other.order))
    return Twins(exact[1], nearest.episode_id, similarity(take.signature, nearest.signature)[0])


class Shelf:
    """Takes in memory, filed as the store files them: those of one batch, or of a folder of files."""

    def __init__(self) -> None:
        self._filed: dict[int, list[Print]] = {}

    def add(self, take: Print) -> None:
        """File it."""
        for key in (exact_key(take), *near_keys(take)):
            self._filed.setdefault(key, []).append(take)

    def like(self, take: Print) -> list[Print]:
        """Those worth comparing with."""
        found = Counter(other for key in sought_keys(take) for other in self._filed.get(key, ()))
        return [o for o, shared in found.items() if shared >= SHARED or exact_duplicates(take.digest, o.digest)]


def twin_findings(context: Context, rules: Rules, span: Span, twins: Twins | None) -> list[Finding]:
    """D1 FAIL: the same values as an earlier take. Else D2 SUSPECT: almost the same motion."""
    if twins is None or not (twins.exact or twins.near):
        return []
    metric, other = ("D1", twins.exact) if twins.exact else ("D2", twins.near)
    return [
        make_finding(
            context,
            span,
            metric,
            flag=Flag.FAIL if twins.exact else Flag.SUSPECT,
            value=1.0 if twins.exact else twins.cosine,
            unit="" if twins.exact else "cosine",
            threshold=0.0 if twins.exact else rules.near_cosine,
            origin=Origin.OURS,
            **say(metric, other=other),
        )
    ]


def twin_values(twins: Twins | None) -> Sequence[MetricValue]:
    """Rows D1 (1 = yes) and D2 (cosine with the nearest, none where nothing is near); None = nobody looked."""
    if twins is None:
        return [MetricValue(m, "", NONE, u, Flag.NOT_EVALUATED) for m, u in (("D1", ""), ("D2", "cosine"))]
    return [
        MetricValue("D1", "", float(bool(twins.exact)), "", Flag.FAIL if twins.exact else Flag.GOOD),
        MetricValue("D2", "", twins.cosine, "cosine", Flag.SUSPECT if twins.near else Flag.GOOD),
    ]
