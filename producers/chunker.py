"""Frames of one episode into chunks and the content hash; holds at most one chunk, never a caller's array."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kinestream.producers.delivery import Ledger
from kinestream.producers.link import Outlet
from kinestream.producers.stamps import EXACT_SPAN_NS, near, offsets_s
from kinestream.schemas.codec import Codec
from kinestream.schemas.content_hash import ContentHasher
from kinestream.schemas.errors import LayoutError
from kinestream.schemas.frames import Float32, FrameChunk, Int64
from kinestream.schemas.layout import Layout

#: The one NaN that travels: other payloads would make two hashes of one take.
CANONICAL_NAN: Final = 0x7FC00000
_FLOAT32: Final = np.dtype(np.float32)
#: Bytes of a chunk beside its values and names, at most.
_HEAD: Final = 256


def float32_of(values: NDArray[Any]) -> Float32:
    """Nearest float32 (finite values beyond its range become infinite, as IEEE 754 rounds), C order, NaN canonical.

    A copy unless nothing had to change: for sending or copying at once, not for keeping.
    """
    if values.dtype == _FLOAT32 and values.flags.c_contiguous:
        single: Float32 = values  # most of what a robot sends in bulk; errstate alone costs more than the look below
    else:
        with np.errstate(all="ignore"):
            single = np.asarray(values, np.float32, order="C")
    # The least of all is NaN if any is, in half the time of isnan().any().
    if single.size and np.isnan(np.minimum.reduce(single, axis=None)):
        single = single.copy()
        make_nan_canonical(single)
    return single


def make_nan_canonical(values: Float32) -> None:
    """Every NaN of ``values``, in place."""
    nan = np.isnan(values)
    if nan.any():
        values.view(np.uint32)[nan] = CANONICAL_NAN


def chunk_capacity(layout: Layout, frames: int, max_bytes: int) -> int:
    """Frames a chunk may hold; raises :class:`LayoutError` for a frame larger than a chunk."""
    frame_bytes = 8 + 4 * sum(layout.widths.values())
    room = max_bytes - _HEAD - sum(len(name.encode()) + 24 for name in layout.widths)
    if room < frame_bytes:
        raise LayoutError(
            f"a frame of {frame_bytes} bytes does not fit in a chunk of {max_bytes}: send fewer or narrower channels"
            " (video and point clouds go by reference)"
        )
    return min(frames, room // frame_bytes)


class Chunker:
    """Collects frames, sends each chunk when it is full or cut, hashes what was sent. The caller locks."""

    def __init__(self, layout: Layout, capacity: int, codec: Codec, outlet: Outlet, ledger: Ledger) -> None:
        self._episode_id, self._layout_id = ledger.episode_id, layout.layout_id
        self._codec, self._outlet = codec, outlet
        self._ledger = ledger
        self._capacity = capacity
        self._stamps: Int64 = np.empty(capacity, np.int64)
        self._buffers = tuple(np.empty((capacity, c.width), np.float32) for c in layout.channels)
        self._names = tuple(c.name for c in layout.channels)
        self._hasher = ContentHasher(layout)
        self._blocks = 0  # whole ones that were handed over
        self._held = 0
        self._sent = 0
        self._first_t_ns = 0
        #: monotonic seconds at which the oldest held frame came
        self.held_since = 0.0

    def go_on(self, hasher: ContentHasher, frames: int, blocks: int) -> None:
        """Go on where another process stopped: ``frames`` were sent, ``blocks`` whole ones handed over."""
        self._hasher, self._sent, self._blocks = hasher, frames, blocks

    @property
    def frames(self) -> int:
        """Frames taken so far."""
        return self._sent + self._held

    @property
    def holds(self) -> bool:
        """Frames are held that no chunk has carried yet."""
        return self._held > 0

    def add(self, t_ns: int, rows: Sequence[NDArray[Any]]) -> None:
        """Take one frame: ``rows`` in layout order, each (width,). Blocks where the buffer is full."""
        if self._held == self._capacity or (self._held and abs(t_ns - self._first_t_ns) > EXACT_SPAN_NS // 2):
            self.cut()  # full: an earlier cut failed; if it fails again, nothing of this frame is taken
        i = self._held
        for buffer, row in zip(self._buffers, rows, strict=True):
            if row.dtype == _FLOAT32:
                buffer[i] = row
            else:
                with np.errstate(all="ignore"):
                    buffer[i] = row
        self._stamps[i] = t_ns
        self._took(1, t_ns)

    def add_many(self, stamps: Int64, arrays: Sequence[Float32]) -> None:
        """Take n frames: ``arrays`` in layout order, each float32 (n, width), C-contiguous, NaN canonical."""
        n, taken = len(stamps), 0
        if self._held == self._capacity:  # an earlier cut failed
            self.cut()
        if not near(stamps, self._first_t_ns if self._held else int(stamps[0])):
            for i in range(n):
                self.add(int(stamps[i]), [array[i] for array in arrays])
            return
        while taken < n:
            if self._held == 0 and n - taken >= self._capacity:
                part = slice(taken, taken + self._capacity)
                self._send(stamps[part], [array[part] for array in arrays], wait=True)
            else:
                part = slice(taken, min(n, taken + self._capacity - self._held))
                self._hold(stamps[part], [array[part] for array in arrays])
            taken = part.stop

    def cut(self, *, wait: bool = True) -> None:
        """Send what is held; unless ``wait``, also into a full buffer."""
        if self._held:
            arrays = [buffer[: self._held] for buffer in self._buffers]
            for array in arrays:
                make_nan_canonical(array)
            self._send(self._stamps[: self._held], arrays, wait=wait)
            self._held = 0

    def content_hash(self) -> str:
        """Of every frame sent, in lower-case hex."""
        return self._hasher.hexdigest()

    def _hold(self, stamps: Int64, arrays: Sequence[Float32]) -> None:
        here = slice(self._held, self._held + len(stamps))
        for buffer, array in zip(self._buffers, arrays, strict=True):
            buffer[here] = array
        self._stamps[here] = stamps
        self._took(len(stamps), int(stamps[0]))

    def _took(self, n: int, t_ns: int) -> None:
        if self._held == 0:
            self._first_t_ns = t_ns
            self.held_since = time.monotonic()
        self._held += n
        if self._held == self._capacity:
            self.cut()

    def _send(self, stamps: Int64, arrays: Sequence[Float32], *, wait: bool) -> None:
        channels = dict(zip(self._names, arrays, strict=True))
        chunk = FrameChunk(self._episode_id, self._layout_id, self._sent, int(stamps[0]), offsets_s(stamps), channels)
        blocks = self._hasher.closed(self._blocks)
        self._outlet.put(self._codec.encode_chunk(chunk), self._ledger, len(stamps), wait=wait, blocks=blocks)
        self._blocks += len(blocks)
        self._hasher.add(self._sent, stamps, channels)
        self._sent += len(stamps)
