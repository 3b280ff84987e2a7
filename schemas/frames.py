"""A chunk of consecutive frames as arrays: what the wire carries, without the wire."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Float32: TypeAlias = NDArray[np.float32]
Float64: TypeAlias = NDArray[np.float64]
Int64: TypeAlias = NDArray[np.int64]


@dataclass(slots=True, eq=False)
class FrameChunk:
    """Frames ``first_seq`` to ``first_seq + n - 1`` of one episode.

    ``offset_s``: float64 (n,), seconds from ``t0_ns`` (int ns since the epoch, UTC).
    ``channels``: measured channels only, each float32 with n x width values, row-major; flat when decoded.
    """

    episode_id: str
    layout_id: bytes
    first_seq: int
    t0_ns: int
    offset_s: Float64
    channels: dict[str, Float32] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.offset_s)

    @property
    def sizes(self) -> dict[str, int]:
        """Values of each channel."""
        return {name: values.size for name, values in self.channels.items()}

    @property
    def t_ns(self) -> Int64:
        """Canonical stamps, int64 (n,): t0_ns + rint(offset_s * 1e9)."""
        stamps: Int64 = np.rint(self.offset_s * 1e9).astype(np.int64)
        stamps += self.t0_ns
        return stamps


@dataclass(slots=True, eq=False)
class ChunkRun:
    """Chunks of ``size`` frames each, of one episode, each following the one before: frames from ``first_seq`` on.

    ``t_ns``: int64 (n,), canonical stamps; ``channels``: uint8 (chunks, bytes), in each row the values of a chunk as
    little-endian float32, (size, width) row-major.
    """

    episode_id: str
    layout_id: bytes
    first_seq: int
    size: int
    t_ns: Int64
    channels: dict[str, NDArray[np.uint8]]

    def __len__(self) -> int:
        return len(self.t_ns)

    @property
    def sizes(self) -> dict[str, int]:
        """Values of each channel."""
        return {name: values.size // 4 for name, values in self.channels.items()}

    def put(self, name: str, first: int, into: Float32) -> None:
        """Copy a channel's values of the frames from ``first`` (0 = the run's own first) on.

        ``into``: float32 (k, width), contiguous.
        """
        values, flat, size = self.channels[name], into.view(np.uint8).reshape(-1), self.size
        frame = values.shape[1] // size
        chunk, at = divmod(first, size)
        done = 0
        if at:  # the rest of a chunk that was begun
            done = min((size - at) * frame, len(flat))
            flat[:done] = values[chunk, at * frame : at * frame + done]
            chunk += 1
        whole = (len(flat) - done) // values.shape[1]
        end = done + whole * values.shape[1]
        flat[done:end].reshape(-1, values.shape[1])[...] = values[chunk : chunk + whole]
        if end < len(flat):
            flat[end:] = values[chunk + whole, : len(flat) - end]
