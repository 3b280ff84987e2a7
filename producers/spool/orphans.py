"""Takes whose process died: their end mark, made from what is in the spool; never a frame that was not promised."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from kinestream.producers.spool.tables import EpisodeRow, Tables
from kinestream.schemas.codec import Codec
from kinestream.schemas.content_hash import (
    BLOCK,
    TIME,
    ContentHasher,
    HashedBlock,
    content_hash,
    leaf,
    presence_bitmap,
)
from kinestream.schemas.errors import SpoolError
from kinestream.schemas.frames import FrameChunk, Int64
from kinestream.schemas.layout import Layout
from kinestream.schemas.registry import Registry

#: The error cause of an episode whose process died.
PROCESS_DIED = "PROCESS_DIED"

_WHOLE_BLOCK = presence_bitmap(np.arange(BLOCK, dtype=np.int64))


def spool_codec() -> Codec:
    """What a spool's records are encoded with: committed ids, so that nothing has to be asked to keep a frame."""
    return Codec(Registry(), "")


@dataclass(slots=True)
class OpenTake:
    """A take without an end mark, as its process left it: what another needs to go on with it."""

    row: EpisodeRow
    #: the fields of its EpisodeStart
    start: dict[str, Any]
    layout: Layout
    #: of all its frames
    hasher: ContentHasher
    #: whole blocks whose leaves are in the spool
    blocks: int
    #: stamp of its last frame, ns
    last_t_ns: int


def newest_open(tables: Tables) -> OpenTake | None:
    """The newest take without an end mark."""
    rows = [row for row in tables.episodes() if not row.ended and not row.done]
    if not rows:
        return None
    row = rows[-1]
    start, chunks = _start(tables, row), list(_chunks_from(tables, row))
    layout, blocks = Layout.from_avro(start), _whole_blocks(tables, row, start)
    hasher = ContentHasher.restored(layout, blocks, int(chunks[0].t_ns[0]) if chunks else 0)
    for chunk in chunks:
        skip = max(BLOCK * len(blocks) - chunk.first_seq, 0)
        if skip < len(chunk):
            values = {name: chunk.channels[name].reshape(-1, width)[skip:] for name, width in layout.widths.items()}
            hasher.add(chunk.first_seq + skip, chunk.t_ns[skip:], values)
    last_t_ns = int(chunks[-1].t_ns[-1]) if chunks else start["started_at_ns"]
    return OpenTake(row, start, layout, hasher, len(blocks), last_t_ns)


def close_orphans(tables: Tables, but: str = "") -> list[str]:
    """Write the end mark of every episode that has none: ABORTED, with number and hash of what is here; their ids.

    ``but``: the id of one that is left open.
    """
    orphans = [row for row in tables.episodes() if not row.ended and not row.done and row.id != but]
    for row in orphans:
        end = spool_codec().encode("EpisodeEnd", end_of(tables, row))
        tables.transaction(lambda row=row, end=end: _add_end(tables, row, end))  # type: ignore[misc]
    return [row.id for row in orphans]


def _add_end(tables: Tables, row: EpisodeRow, end: bytes) -> None:
    tables.put_records([(row.key << 32 | row.records, row.frames, 0, end)])
    row.records, row.bytes, row.held, row.ended = row.records + 1, row.bytes + len(end), row.held + len(end), True
    tables.put_episode(row)


def end_of(tables: Tables, row: EpisodeRow) -> dict[str, Any]:
    """The end mark of what the spool has of an episode."""
    start, tail = _start(tables, row), list(_chunks_from(tables, row))
    return {
        "episode_id": row.id,
        "n_total": row.frames,
        "content_hash": _hash(tables, row, start, tail),
        "ended_at_ns": int(tail[-1].t_ns[-1]) if tail else start["started_at_ns"],
        "outcome": "ABORTED",
        "error_cause": PROCESS_DIED,
        "restorable": True,
    }


def held_hash(tables: Tables, row: EpisodeRow) -> str:
    """The content hash of the frames an open episode has promised."""
    return _hash(tables, row, _start(tables, row), list(_chunks_from(tables, row)))


def _start(tables: Tables, row: EpisodeRow) -> dict[str, Any]:
    for kept in tables.records(row.key, 0, 1):
        start: dict[str, Any] = spool_codec().decode(kept.body).value
        return start
    raise SpoolError(f"the spool has no start of episode {row.id}: its file was damaged; move it away")


def _chunks_from(tables: Tables, row: EpisodeRow) -> Iterator[FrameChunk]:
    """The first chunk (stamps are relative to it) and those with frames of blocks whose leaves are not here."""
    closed, codec, first = BLOCK * tables.blocks(row.key), spool_codec(), True
    for n, first_seq, frames in tables.places(row.key):
        if frames and (first or first_seq + frames > closed):
            first = False
            (kept,) = tables.records(row.key, n, 1)
            yield codec.decode(kept.body).value


def _hash(tables: Tables, row: EpisodeRow, start: dict[str, Any], chunks: list[FrameChunk]) -> str:
    widths, blocks = Layout.from_avro(start).widths, _whole_blocks(tables, row, start)
    blocks += _open_blocks(chunks, widths, len(blocks), row.frames)
    return content_hash(widths, blocks, row.frames)


def _whole_blocks(tables: Tables, row: EpisodeRow, start: dict[str, Any]) -> list[HashedBlock]:
    names = sorted((*Layout.from_avro(start).widths, TIME), key=str.encode)
    return [
        HashedBlock(k, _WHOLE_BLOCK, {name: leaves[16 * i : 16 * i + 16] for i, name in enumerate(names)})
        for k, leaves in enumerate(tables.leaves(row.key))
    ]


def _open_blocks(chunks: list[FrameChunk], widths: Mapping[str, int], first: int, frames: int) -> Iterator[HashedBlock]:
    if frames <= BLOCK * first:
        return
    tail = [chunk for chunk in chunks if chunk.first_seq + len(chunk) > BLOCK * first]
    skip = BLOCK * first - tail[0].first_seq
    t_ns: Int64 = np.concatenate([chunk.t_ns for chunk in tail])[skip:] - chunks[0].t_ns[0]
    values = {
        name: np.concatenate([chunk.channels[name].reshape(-1, width) for chunk in tail])[skip:]
        for name, width in widths.items()
    }
    for k in range(first, -(-frames // BLOCK)):
        part = slice(BLOCK * (k - first), min(BLOCK * (k + 1), frames) - BLOCK * first)
        seq = np.arange(BLOCK * first + part.start, BLOCK * first + part.stop, dtype=np.int64)
        leaves = {name: leaf(array[part]) for name, array in values.items()}
        yield HashedBlock(k, presence_bitmap(seq), {**leaves, TIME: leaf(t_ns[part])})
