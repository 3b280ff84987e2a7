"""Whether a chunk can be part of an episode at all; takes nothing, refuses by words alone."""

from __future__ import annotations

from math import isfinite

import numpy as np

from kinestream.schemas.frames import ChunkRun, FrameChunk
from kinestream.streams.assembly.episode import MOST_FRAMES, Episode


def refuse(episode: Episode, chunk: FrameChunk) -> str:
    """Why a chunk does not fit this episode, or an empty text."""
    # One product tells: what is no number stays none, and stamps the codec lets through cannot overflow.
    if not isfinite(np.dot(chunk.offset_s, chunk.offset_s)):
        return "a stamp that is not a number"
    return misfit(episode, chunk)


def misfit(episode: Episode, chunk: FrameChunk | ChunkRun) -> str:
    """The same by numbers, layout and widths alone."""
    n = len(chunk)
    if chunk.layout_id != episode.layout.layout_id:
        return f"layout {chunk.layout_id.hex()} where the start declared {episode.layout.layout_id.hex()}"
    if n == 0 or chunk.first_seq < 0:
        return f"{n} frames from number {chunk.first_seq}"
    if chunk.first_seq + n > MOST_FRAMES:
        return f"frame {chunk.first_seq + n - 1} where frame numbers end at {MOST_FRAMES - 1}"
    if episode.end and chunk.first_seq + n > episode.n_total:
        return f"frame {chunk.first_seq + n - 1} where the end mark announces {episode.n_total} frames"
    widths, sizes = episode.layout.widths, chunk.sizes
    if sizes != {name: n * width for name, width in widths.items()}:
        return f"{n} frames with {sizes} values where the layout says {widths} a frame"
    return ""
