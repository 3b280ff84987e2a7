"""What a producer does wrong within one take: numbers, copies, stamps, values, cuts; the assembler says the rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import xxhash

from kinestream.deploy.wire.capture import Captured
from kinestream.deploy.wire.checks import Book
from kinestream.deploy.wire.reception import swapped
from kinestream.schemas.catalogue import FRAMES_BULK
from kinestream.schemas.frames import FrameChunk, Int64
from kinestream.schemas.layout import Layout

#: Stamps of a robot that knows the date: 2000 to 2100, ns.
_FIRST_NS, _LAST_NS = 946_684_800 * 10**9, 4_102_444_800 * 10**9
#: Live stamps may be so far ahead of the broker, and behind, ms.
_AHEAD_MS, _BEHIND_MS = 1_000, 10_000
#: Frames from which the pace of a take is judged, and share of the rate that may be missing from it.
_ENOUGH: Final = 100
_RATE_OFF: Final = 0.1
_QUIET_NAN: Final = 0x7FC00000


class Take:
    """One episode as its messages come, in the log's order. ``broken``: some of it was refused, so no sum is judged."""

    def __init__(self, book: Book, at: Captured, start: Mapping[str, Any], layout: Layout) -> None:
        self._book, self.began, self.start, self.layout = book, at, start, layout
        self.id: str = start["episode_id"]
        self.robot_id: str = start["robot_id"]
        self.live = f".{FRAMES_BULK.entity}." not in at.topic
        self.marked = bool(start["marks"])
        self.broken = False
        self.last = at
        self.end: Mapping[str, Any] | None = None
        self.ended: Captured | None = None
        #: frames that were passed over and did not come: first, last, and where that was seen
        self.holes: list[tuple[int, int, Captured]] = []
        self.next_seq = 0
        self.chunks = self.frames = 0
        #: every offset so far is a float32: so are whole seconds, but hardly any other stamp
        self.coarse = True
        self._digests: dict[int, int] = {}
        self._first_ns = self._last_ns = 0
        self._behind_ms: list[int] = []
        self._told: set[str] = set()

    # -- one chunk ------------------------------------------------------------

    def add(self, at: Captured, chunk: FrameChunk, conflicts: int) -> None:
        """A chunk that a worker takes; ``conflicts``: frames of it that came before with other values."""
        self.last = at
        self._check_values(at, chunk)
        self._check_size(at, chunk)
        if chunk.first_seq < self.next_seq:
            self._repeat(at, chunk, conflicts)
        else:
            self._append(at, chunk)

    def _append(self, at: Captured, chunk: FrameChunk) -> None:
        t_ns, n = chunk.t_ns, len(chunk)
        self._digests[chunk.first_seq] = xxhash.xxh3_64_intdigest(at.raw)
        if chunk.first_seq > self.next_seq:
            self.holes.append((self.next_seq, chunk.first_seq - 1, at))
        else:
            self._check_stamps(at, t_ns, chunk.first_seq)
            self._book.held("order")
        if not self.chunks:
            self._first_ns = int(t_ns[0])
        self._last_ns = int(t_ns[-1])
        self.coarse = self.coarse and bool((chunk.offset_s.astype(np.float32) == chunk.offset_s).all())
        self.chunks += 1
        self.frames += n
        self.next_seq = chunk.first_seq + n
        if self.live and at.at_ms >= 0:
            self._behind_ms.append(at.at_ms - self._last_ns // 1_000_000)

    def _repeat(self, at: Captured, chunk: FrameChunk, conflicts: int) -> None:
        first, last = chunk.first_seq, chunk.first_seq + len(chunk) - 1
        filled = [hole for hole in self.holes if hole[0] <= last and hole[1] >= first]
        if filled:
            self._book.broke("order", at, f"frame {first} after frame {self.next_seq - 1}", "frames in order")
            self.holes = [piece for hole in self.holes for piece in _without(hole, first, last)]
            self._digests[first] = xxhash.xxh3_64_intdigest(at.raw)
        elif conflicts:
            received = f"frames {first} to {last} again, {conflicts} of them with other values or stamps"
            self._book.broke("copies", at, received, "the same values and stamps as the first time")
        else:
            self._book.held("copies")
            same = self._digests.get(first) == xxhash.xxh3_64_intdigest(at.raw)
            self._book.judge("recut", same, at, f"frames {first} to {last} in other bytes", "the bytes sent before")

    def _check_stamps(self, at: Captured, t_ns: Int64, first_seq: int) -> None:
        steps = np.diff(t_ns, prepend=self._last_ns) if self.chunks else np.diff(t_ns)
        if not (steps <= 0).any():
            self._book.held("stamps")
        elif "stamps" not in self._told:  # one clock that stands still breaks every chunk
            self._told.add("stamps")
            where = int((steps <= 0).argmax())
            seq = first_seq + where + (0 if self.chunks else 1)
            received = f"frame {seq} is stamped {-int(steps[where]):,} ns before frame {seq - 1}"
            self._book.broke("stamps", at, received, "later than the frame before")

    def _check_values(self, at: Captured, chunk: FrameChunk) -> None:
        book, t_ns = self._book, chunk.t_ns
        for name in ("values", "layout", "start"):
            book.held(name)
        sane = int(t_ns.min()) >= _FIRST_NS and int(t_ns.max()) < _LAST_NS
        self._once("clock", sane, at, f"stamp {int(t_ns[0])} ns, {_date(int(t_ns[0]))}", "a stamp of 2000 to 2100")
        for name, values in chunk.channels.items():
            if swapped(values):
                received, expected = (f"{name} {_few(part)}" for part in (values[:4], values[:4].byteswap()))
                self._once("endianness", False, at, received, expected)
                continue
            self._book.held("endianness")
            bits = values.view(np.uint32)[np.isnan(values)]
            odd = bits[bits != _QUIET_NAN]
            received = f"{name} has NaN {int(odd[0]):#010x}" if len(odd) else ""
            self._once("nan", not len(odd), at, received, f"{_QUIET_NAN:#010x}")

    def _once(self, name: str, good: bool, at: Captured, received: str, expected: str) -> None:
        """What every chunk of a take does wrong in the same way is told once a take."""
        if good:
            self._book.held(name)
        elif name not in self._told:
            self._told.add(name)
            self._book.broke(name, at, received, expected)

    def _check_size(self, at: Captured, chunk: FrameChunk) -> None:
        most = 10 if self.live else 64
        span_ms = int(chunk.t_ns.max() - chunk.t_ns.min()) / 1e6
        rate = float(self.start["nominal_rate_hz"])
        period_ms = 1000 / rate if rate > 0 else 0.0
        small = len(at.raw) <= 256_000
        fits = len(chunk) <= most and (not self.live or span_ms <= 100 + period_ms)
        received = f"{len(chunk)} frames over {span_ms:.0f} ms in {len(at.raw):,} bytes"
        allowed = f"{most} frames" + (" and 100 ms" if self.live else "") + ", 256,000 bytes at most"
        self._once("chunking", small and fits, at, received, allowed)

    # -- the whole --------------------------------------------------------------

    def finish(self) -> None:
        """What only the whole take tells; called once, when no more of it comes."""
        if not self.broken:
            self._check_numbers()
        if self.frames >= _ENOUGH and not self.holes:
            self._check_pace()
        if self._behind_ms:
            self._check_skew()

    def _check_numbers(self) -> None:
        if self.chunks and not self.holes:
            self._book.held("seq")
        for first, last, at in self.holes:
            frames = f"frames {first} to {last}" if last > first else f"frame {first}"
            self._book.broke(
                "seq", at, f"frame {last + 1} where {first} is next: {frames} never came", f"frame {first}"
            )

    def _check_pace(self) -> None:
        rate = float(self.start["nominal_rate_hz"])
        seconds = (self._last_ns - self._first_ns) / 1e9
        found = (self.next_seq - 1) / seconds if seconds > 0 else 0.0
        near = rate > 0 and abs(found - rate) <= _RATE_OFF * rate
        declared = f"nominal_rate_hz {rate:g}" if rate > 0 else "no nominal_rate_hz"
        self._book.judge("rate", near, self.began, f"{declared}, stamps of {found:.4g} Hz", f"about {found:.4g}")
        if self.live and self.frames / self.chunks < 3 and found > 50:
            received = f"{self.frames / self.chunks:.1f} frames a message at {found:.4g} Hz"
            self._book.broke("chunking", self.last, received, "10 frames, or what 100 ms hold")

    def _check_skew(self) -> None:
        least, most = min(self._behind_ms), max(self._behind_ms)
        good = least >= -_AHEAD_MS and least <= _BEHIND_MS
        low, high, where = (least, most, "behind") if most >= 0 else (-most, -least, "ahead of")
        received = f"stamps {low / 1000:.1f} to {high / 1000:.1f} s {where} the broker's clock"
        self._book.judge("skew", good, self.began, received, "0 to 10 s")


def _without(hole: tuple[int, int, Captured], first: int, last: int) -> list[tuple[int, int, Captured]]:
    """What is left of a hole once frames ``first`` to ``last`` have come."""
    begin, end, at = hole
    if last < begin or first > end:
        return [hole]
    pieces = [(begin, first - 1, at), (last + 1, end, at)]
    return [piece for piece in pieces if piece[0] <= piece[1]]


def _few(values: np.ndarray[Any, Any]) -> str:
    return ", ".join(f"{value:.3g}" for value in values.tolist())


def _date(t_ns: int) -> str:
    """The day of a stamp, as far as dates go."""
    try:
        return f"{np.datetime64(t_ns, 'ns').astype('datetime64[D]')}"
    except (OverflowError, ValueError):
        return "no date"
