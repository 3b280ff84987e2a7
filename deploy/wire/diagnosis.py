"""Which slip gives the content hash that a producer claims: it is computed again with one step done wrong at a time."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import xxhash

from kinestream.schemas.content_hash import BLOCK, TIME
from kinestream.schemas.frames import Float32, Int64
from kinestream.streams.assembly.values import BlockRow

Digest = Callable[[bytes], bytes]


def _canonical(raw: bytes) -> bytes:
    return xxhash.xxh3_128_digest(raw)


def _low_half_first(raw: bytes) -> bytes:
    """Both halves as they lie in the memory of a little-endian machine."""
    return _canonical(raw)[::-1]


def _halves_swapped(raw: bytes) -> bytes:
    digest = _canonical(raw)
    return digest[8:] + digest[:8]


def _relative(t_ns: Int64) -> bytes:
    return (t_ns - t_ns[0]).astype("<i8").tobytes()


def _frame_by_frame(values: Float32) -> bytes:
    return values.astype("<f4").tobytes()


def _by_bytes(names: Sequence[str]) -> list[str]:
    return sorted((*names, TIME), key=str.encode)


@dataclass(frozen=True, slots=True)
class _Recipe:
    """How a hash is computed; the defaults are the contract's."""

    digest: Digest = _canonical
    leaf: Digest = _canonical
    stamps: Callable[[Int64], bytes] = _relative
    values: Callable[[Float32], bytes] = _frame_by_frame
    order: Callable[[Sequence[str]], list[str]] = _by_bytes
    number: str = "<I"
    total: str = "<Q"
    bits: str = "little"
    block: int = BLOCK

    def hash(self, widths: Mapping[str, int], t_ns: Int64, channels: Mapping[str, Float32]) -> str:
        n, out = len(t_ns), b""
        for name in self.order(list(widths)):
            raw = self.stamps(t_ns) if name == TIME else b""
            for k, first in enumerate(range(0, n, self.block)):
                last = min(first + self.block, n)
                part = raw[8 * first : 8 * last] if name == TIME else self.values(channels[name][first:last])
                out += name.encode() + b"\0" + struct.pack(self.number, widths.get(name, 1))
                out += struct.pack(self.number, k) + self._presence(last - first) + self.leaf(part)
        return self.digest(out + (struct.pack(self.total, n) if self.total else b"")).hex()

    def _presence(self, frames: int) -> bytes:
        given = np.zeros(max(BLOCK, -(-frames // 8) * 8), np.uint8)
        given[:frames] = 1
        return np.packbits(given, bitorder=self.bits).tobytes()  # type: ignore[call-overload]


_RIGHT: Final = _Recipe()
#: One slip each, in the words of a message to its author.
_SLIPS: Final[Mapping[str, _Recipe]] = {
    "the digests' low half comes first: take the canonical byte order": replace(
        _RIGHT, digest=_low_half_first, leaf=_low_half_first
    ),
    "the final digest's low half comes first: take the canonical byte order": replace(_RIGHT, digest=_low_half_first),
    "the leaves' low half comes first: take the canonical byte order": replace(_RIGHT, leaf=_low_half_first),
    "the digests' halves are swapped: the high half comes first": replace(
        _RIGHT, digest=_halves_swapped, leaf=_halves_swapped
    ),
    "the final digest's halves are swapped: the high half comes first": replace(_RIGHT, digest=_halves_swapped),
    "channel t has absolute stamps: subtract that of frame 0": replace(
        _RIGHT, stamps=lambda t: t.astype("<i8").tobytes()
    ),
    "channel t has seconds as double: take int64 nanoseconds": replace(
        _RIGHT, stamps=lambda t: ((t - t[0]) / 1e9).astype("<f8").tobytes()
    ),
    "channel t is missing": replace(_RIGHT, order=lambda names: sorted(names, key=str.encode)),
    "channels stand in the layout's order, t behind them: sort all by name": replace(
        _RIGHT, order=lambda names: [*names, TIME]
    ),
    "channels stand in the layout's order, t before them: sort all by name": replace(
        _RIGHT, order=lambda names: [TIME, *names]
    ),
    "values are hashed joint by joint: frame by frame is right": replace(
        _RIGHT, values=lambda v: v.T.astype("<f4").tobytes()
    ),
    "values are hashed big-endian": replace(_RIGHT, values=lambda v: v.astype(">f4").tobytes()),
    "values are hashed as doubles: hash the float32 that are sent": replace(
        _RIGHT, values=lambda v: v.astype("<f8").tobytes()
    ),
    "width and block number are big-endian": replace(_RIGHT, number=">I"),
    "the number of frames at the end is missing": replace(_RIGHT, total=""),
    "the number of frames at the end has 4 bytes: it has 8": replace(_RIGHT, total="<I"),
    "the number of frames at the end is big-endian": replace(_RIGHT, total=">Q"),
    "presence counts bits from the top: bit i mod 8 has the value 2^(i mod 8)": replace(_RIGHT, bits="big"),
    "the take is hashed as one block: cut it every 128 frames": replace(_RIGHT, block=1 << 40),
}


def slip_of(claimed: str, found: str, widths: Mapping[str, int], rows: Sequence[BlockRow]) -> str:
    """What was done wrong, in a sentence; empty where no single slip explains it.

    ``rows``: all blocks of a whole take, ascending; ``widths`` in the layout's order; ``found``: the right hash.
    """
    if claimed.lower().strip().removeprefix("0x") == found:
        return "these are the right digits: write them in lower case and nothing else"
    if not rows:
        return ""
    t_ns: Any = np.concatenate([row.t_ns for row in rows])
    channels = {name: np.concatenate([row.channels[name] for row in rows]) for name in widths}
    return next(_matching(claimed.lower(), widths, t_ns, channels), "")


def _matching(claimed: str, widths: Mapping[str, int], t_ns: Int64, channels: Mapping[str, Float32]) -> Iterator[str]:
    for said, recipe in _SLIPS.items():
        if recipe.hash(widths, t_ns, channels) == claimed:
            yield said
