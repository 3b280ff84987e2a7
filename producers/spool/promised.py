"""What a spool promises, for whoever checks it: every frame that is on its disk; changes nothing, sends nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kinestream.producers.spool.orphans import held_hash, spool_codec
from kinestream.producers.spool.places import TABLES
from kinestream.producers.spool.tables import EpisodeRow, Tables
from kinestream.schemas.errors import SpoolError
from kinestream.schemas.frames import Float32, FrameChunk, Int64
from kinestream.schemas.layout import Layout


@dataclass(frozen=True, slots=True, eq=False)
class PromisedEpisode:
    """One episode of a spool. Its receipt has not come: with the receipt it leaves the spool."""

    episode_id: str
    episode_no: int
    #: the fields of its EpisodeStart
    start: dict[str, Any]
    #: frames promised: numbers 0 to frames - 1
    frames: int
    #: content hash of those frames
    content_hash: str
    #: the end mark is in the spool
    ended: bool
    #: live or bulk; empty = nothing of it was sent yet
    lane: str
    #: everything in the spool is acknowledged by the broker
    acknowledged: bool
    #: numbers, int64 (n,), of the frames whose values are still in the spool: all of them, unless they were
    #: acknowledged more than Settings.spool_keep_s ago
    seq: Int64
    #: their stamps, int64 (n,), ns since the epoch, UTC
    t_ns: Int64
    #: their values by channel, float32 (n, width)
    channels: dict[str, Float32]


def promised(spool_dir: Path | str) -> dict[str, PromisedEpisode]:
    """Every episode in a spool by its id, the oldest first: exactly what its robot may not lose.

    Works while a robot has the spool open and after its process was killed. What an episode lost its place here for
    is its receipt: the hub has it whole. Raises :class:`SpoolError` where there is no spool.
    """
    path = Path(spool_dir) / TABLES
    if not path.exists():
        raise SpoolError(f"{spool_dir} is no spool: there is no {TABLES} in it")
    tables = Tables(path)
    try:
        found: list[PromisedEpisode] = []

        def read() -> None:
            found.extend(_episode(tables, row) for row in tables.episodes() if not row.done)

        tables.transaction(read, immediate=False)
        return {episode.episode_id: episode for episode in found}
    finally:
        tables.close()


def _episode(tables: Tables, row: EpisodeRow) -> PromisedEpisode:
    codec, start, content_hash = spool_codec(), dict[str, Any](), ""
    chunks: list[FrameChunk] = []
    for kept in tables.records(row.key, 0, row.records):
        decoded = codec.decode(kept.body)
        if decoded.record == "EpisodeStart":
            start = decoded.value
        elif decoded.record == "FrameChunk":
            chunks.append(decoded.value)
        elif decoded.record == "EpisodeEnd":
            content_hash = decoded.value["content_hash"] or ""
    return PromisedEpisode(
        episode_id=row.id,
        episode_no=row.number,
        start=start,
        frames=row.frames,
        content_hash=content_hash or held_hash(tables, row),
        ended=row.ended,
        lane=row.lane,
        acknowledged=row.acked == row.records,
        seq=_joined([np.arange(c.first_seq, c.first_seq + len(c), dtype=np.int64) for c in chunks], np.int64),
        t_ns=_joined([chunk.t_ns for chunk in chunks], np.int64),
        channels={
            name: _joined([c.channels[name].reshape(-1, width) for c in chunks], np.float32).reshape(-1, width)
            for name, width in Layout.from_avro(start).widths.items()
        },
    )


def _joined(parts: list[Any], dtype: Any) -> Any:
    return np.concatenate(parts) if parts else np.empty(0, dtype)


def latest_records(spool_dir: Path, episode_id: str) -> Iterator[FrameChunk | dict[str, Any]]:
    """Chunks and marks of one episode that are still in a spool, in order; marks as the fields of an EpisodeMark."""
    tables, codec = Tables(spool_dir / TABLES), spool_codec()
    try:
        for row in tables.episodes():
            if row.id != episode_id:
                continue
            for n, _, _ in tables.places(row.key):
                for kept in tables.records(row.key, n, 1):
                    decoded = codec.decode(kept.body)
                    if decoded.record in ("FrameChunk", "EpisodeMark"):
                        yield decoded.value
    finally:
        tables.close()
