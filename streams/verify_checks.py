"""What may differ between an episode's rows and the numbers kept of them; values in, mismatches out, no connection."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from kinestream.schemas.content_hash import BLOCK, TIME, content_hash, leaf
from kinestream.schemas.errors import ContractError
from kinestream.schemas.frames import Int64
from kinestream.streams.archive_rows import widths
from kinestream.streams.assembly.seal import hashed_rows
from kinestream.streams.assembly.values import BlockRow, JsonDict

#: Above this a row's frame numbers are not written out one by one (an episode has a million at most).
_MOST_FRAMES: Final = 5_000_000
_OF_EVENT: Final = {
    "content_hash": "content_hash",
    "status": "status",
    "revision": "revision",
    "frames_unique": "frames",
    "frames_expected": "frames_expected",
}


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One thing that does not agree; ``block`` and ``channel`` say where, as far as that is known."""

    text: str
    block: int | None = None
    channel: str | None = None


@dataclass(frozen=True, slots=True)
class StoredRow:
    """A row of ``frame_blocks`` as it was read: its arrays, or in ``problem`` why they are none; and its own counts."""

    block: int
    version: int
    frames: int
    row: BlockRow | None
    problem: str = ""


def mismatches(episode: JsonDict, rows: Sequence[StoredRow]) -> Iterator[Mismatch]:
    """All that disagrees between an episode's row and its block rows. ``episode``: columns of ``episodes``."""
    expected = widths(episode)
    good: list[BlockRow] = []
    for stored in rows:
        if stored.row is None:
            yield Mismatch(f"cannot be read: {stored.problem}", stored.block)
            continue
        found = list(_of_block(stored, stored.row, expected))
        yield from found
        good.append(stored.row)
    yield from _counts(episode, good)
    yield from _presence(episode, good)
    if len(good) == len(rows):
        yield from _hash(episode, good, expected)


def event_mismatches(episode: JsonDict, event: Mapping[str, Any], claimed: str | None) -> Iterator[Mismatch]:
    """Between the row and the event that was announced of it; ``claimed``: the content hash of the robot's end mark."""
    for name, column in _OF_EVENT.items():
        if event[name] != episode[column]:
            yield Mismatch(f"the event says {name} {event[name]!r}, the row {episode[column]!r}")
    if episode["hash_verified"] and claimed != episode["content_hash"]:
        yield Mismatch(f"the robot's end mark says content hash {claimed}, the row {episode['content_hash']}")


def _of_block(stored: StoredRow, row: BlockRow, expected: Mapping[str, int]) -> Iterator[Mismatch]:
    k, n = row.block, len(row.seq)
    if stored.frames != n:
        yield Mismatch(f"holds {n} frames and says {stored.frames}", k)
    if stored.version != row.version:
        yield Mismatch(f"version {stored.version} is not that of {n} frames up to offset {row.last_offset}", k)
    if not _is_of_block(row.seq, k):
        yield Mismatch("frame numbers are not ascending, or not of this block", k)
    if len(row.t_ns) != n or len(row.broker_ms) != n:
        yield Mismatch(f"{len(row.t_ns)} stamps and {len(row.broker_ms)} broker times for {n} frames", k, TIME)
    shapes = {name: values.shape for name, values in row.channels.items()}
    for name, width in expected.items():
        if name not in shapes:
            yield Mismatch("is not there", k, name)
        elif shapes[name] != (n, width):
            yield Mismatch(f"has {shapes[name]} values instead of {(n, width)}", k, name)
    for name in sorted(shapes.keys() - expected.keys()):
        yield Mismatch("is a channel the episode does not have", k, name)
    yield from _leaves(row)


def _leaves(row: BlockRow) -> Iterator[Mismatch]:
    found = {name: leaf(values) for name, values in row.channels.items()}
    found[TIME] = leaf(row.t_ns - row.t_ns[0]) if len(row.t_ns) else leaf(row.t_ns)
    for name in sorted(found.keys() | row.leaves.keys()):
        if name not in row.leaves:
            yield Mismatch("has no leaf", row.block, name)
        elif name not in found:
            yield Mismatch("has a leaf and no values", row.block, name)
        elif found[name] != row.leaves[name]:
            yield Mismatch(f"leaf {row.leaves[name].hex()}, of the values {found[name].hex()}", row.block, name)


def _is_of_block(seq: Int64, block: int) -> bool:
    inside = len(seq) == 0 or (seq[0] >= block * BLOCK and seq[-1] < (block + 1) * BLOCK)
    return bool(inside and (np.diff(seq) > 0).all())


def _counts(episode: JsonDict, rows: Sequence[BlockRow]) -> Iterator[Mismatch]:
    frames = sum(len(row.seq) for row in rows)
    if frames != episode["frames"]:
        yield Mismatch(f"{frames} frames are stored, the row says {episode['frames']}")
    if len(rows) != episode["blocks"]:
        yield Mismatch(f"{len(rows)} blocks can be read, the row says {episode['blocks']}")
    if episode["frames"] + episode["missing"] != episode["frames_expected"]:
        said = f"{episode['frames']} frames and {episode['missing']} missing"
        yield Mismatch(f"the row says {said} of {episode['frames_expected']}")


def _presence(episode: JsonDict, rows: Sequence[BlockRow]) -> Iterator[Mismatch]:
    """Which blocks lack frames, or have some too many; known where the row lists every missing range."""
    ranges = sorted((one["first"], one["last"]) for one in episode["missing_ranges"])
    listed = sum(last - first + 1 for first, last in ranges)
    if listed != episode["missing"] or episode["frames"] > _MOST_FRAMES:
        return
    expected = _numbers(ranges, episode["frames_expected"])
    if expected is None:
        return
    have = np.concatenate([row.seq for row in rows]) if rows else np.empty(0, np.int64)
    stored = {row.block for row in rows}
    for block, count in _by_block(np.setdiff1d(expected, have)):
        what = f"lacks {count} frames" if block in stored else f"is not there ({count} frames)"
        yield Mismatch(what, block)
    for block, count in _by_block(np.setdiff1d(have, expected)):
        yield Mismatch(f"has {count} frames that the row calls missing", block)


def _numbers(missing: Iterable[tuple[int, int]], n_total: int) -> Int64 | None:
    """Frame numbers below ``n_total`` outside of ``missing``; None where there are too many to write out."""
    parts: list[Int64] = []
    begin = total = 0
    for first, last in [*missing, (n_total, n_total)]:
        total += max(first - begin, 0)
        if total > _MOST_FRAMES:
            return None
        parts.append(np.arange(begin, first, dtype=np.int64))
        begin = last + 1
    return np.concatenate(parts)


def _by_block(seq: Int64) -> list[tuple[int, int]]:
    blocks, counts = np.unique(seq // BLOCK, return_counts=True)
    return list(zip(blocks.tolist(), counts.tolist(), strict=True))


def _hash(episode: JsonDict, rows: Sequence[BlockRow], expected: Mapping[str, int]) -> Iterator[Mismatch]:
    try:
        usable = [row for row in rows if len(row.seq)]
        computed = content_hash(expected, hashed_rows(usable) if usable else [], episode["frames_expected"])
    except (KeyError, ContractError) as problem:  # a channel is not there: said above
        yield Mismatch(f"the content hash cannot be computed without {problem}")
        return
    if computed != episode["content_hash"]:
        yield Mismatch(f"content hash {episode['content_hash']}, of the stored frames {computed}")
