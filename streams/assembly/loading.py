"""Stored rows back to an episode's blocks: full ones stay in the store, partial ones come into memory; judges none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kinestream.schemas.content_hash import BLOCK, TIME, leaf
from kinestream.schemas.errors import LayoutError
from kinestream.streams.assembly.block import Block, StoredBlock, empty_block
from kinestream.streams.assembly.episode import Episode
from kinestream.streams.assembly.values import BlockRow


def load_blocks(episode: Episode, rows: Iterable[BlockRow]) -> None:
    """Rebuild what is known of the frames; rows of full blocks may come without their channels.

    The full blocks are the backlog of the episode's frontier: their values are judged when the owner brings them.
    """
    ordered = sorted(rows, key=lambda r: r.block)
    for row in ordered:
        _count(episode, row)
        if len(row.seq) < BLOCK:
            episode.blocks[row.block] = block_of(row, episode.layout.widths)
        else:
            episode.stored[row.block] = stored_of(row, int(ordered[0].t_ns[0]))
    if ordered:
        episode.base_seq = int(ordered[0].seq[0])
        episode.highest_seq = int(ordered[-1].seq[-1])
    episode.heard_ms = max(episode.heard_ms, episode.last_frame_ms)
    episode.frontier.cold = bool(episode.stored)
    if not episode.stored:
        for row in ordered:
            episode.frontier.pass_holes(row.block * BLOCK)


def _count(episode: Episode, row: BlockRow) -> None:
    episode.unique += len(row.seq)
    episode.duplicates += row.duplicates
    episode.conflicting += row.conflicts
    episode.last_frame_ms = max(episode.last_frame_ms, int(row.broker_ms.max()))


def stored_of(row: BlockRow, t_base: int) -> StoredBlock:
    """What memory keeps of a full row; ``t_base`` = stamp of the episode's lowest frame."""
    leaves = {name: digest for name, digest in row.leaves.items() if name != TIME}
    ends = int(row.t_ns[0]), int(row.t_ns[-1])
    counts = row.last_offset, row.duplicates, row.conflicts
    return StoredBlock(row.block, *counts, *ends, leaf(row.t_ns - t_base), leaves, reordered=row.reordered)


def block_of(row: BlockRow, widths: Mapping[str, int]) -> Block:
    """A block in memory from its row. Raises :class:`LayoutError` if it has not the episode's channels."""
    block = empty_block(row.block, widths)
    at = row.seq - row.block * BLOCK
    block.t_ns[at] = row.t_ns
    block.broker_ms[at] = row.broker_ms
    block.present[at] = True
    for name, values in block.channels.items():
        if name not in row.channels:
            raise LayoutError(f"block {row.block} of {row.episode_id} has no channel {name!r}: the row is not ours")
        values[at] = row.channels[name]
    block.count = len(at)
    block.duplicates, block.conflicts, block.reordered = row.duplicates, row.conflicts, row.reordered
    block.next = int(at[-1]) + 1
    block.last_offset = row.last_offset
    block.stored(row.version, row.leaves)
    return block


def put_back(episode: Episode, row: BlockRow) -> None:
    """Hold a stored block in memory again, so that a further copy of its frames can be compared.

    A paused former owner may have counted copies in its row that are yet to be read here: then they are replays.
    """
    known = episode.stored.pop(row.block, None)
    if known is not None:
        episode.duplicates += row.duplicates - known.duplicates
        episode.conflicting += row.conflicts - known.conflicts
    episode.blocks[row.block] = block_of(row, episode.layout.widths)
