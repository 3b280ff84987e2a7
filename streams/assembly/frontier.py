"""How far an episode's live metrics have come along its frames; counts nothing of delivery, closes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

import numpy as np

from kinestream.schemas.content_hash import BLOCK
from kinestream.streams.assembly.block import Block, StoredBlock
from kinestream.streams.assembly.values import BlockRow
from kinestream.streams.quality import EpisodeJudge, Frames

NOBODY: Final = -1
#: nanoseconds
MS: Final = 1_000_000
#: Blocks that the judge is given together.
_AT_ONCE: Final = 8
#: Frames ``first`` .. ``last - 1`` of a block.
Piece: TypeAlias = tuple[Block, int, int]


class Frontier:
    """Runs the judge over an episode's frames in the order of their numbers.

    A frame that comes behind it makes the episode dirty: its final metrics are computed again from its stored blocks.
    After a restart, blocks that only the store holds are yet to be judged (``backlog``): until the owner has brought
    them (``catch_up``) the frontier stands still, and an episode that closes meanwhile is dirty too.
    """

    __slots__ = ("_blocks", "_stored", "at", "behind", "broken", "cold", "dirty", "first_missing",
                 "hole_since_ms", "judge", "judged", "problem")  # fmt: skip

    def __init__(self, judge: EpisodeJudge, blocks: Mapping[int, Block], stored: Mapping[int, StoredBlock]) -> None:
        self.judge = judge
        self._blocks, self._stored = blocks, stored
        #: the frame number that is judged next
        self.at = 0
        self.hole_since_ms = -1
        #: frames the judge has seen, and frames that came behind the frontier
        self.judged = 0
        self.behind = 0
        self.first_missing = NOBODY
        self.dirty = False
        #: blocks that only the store holds are yet to be judged
        self.cold = False
        #: the judge failed on these frames: it gets no more of them
        self.broken = False
        self.problem = ""

    def came(self, first_seq: int, added: int) -> None:
        """``added`` new frames from number ``first_seq`` on."""
        if first_seq < self.at:
            self.dirty = True
            self.behind += added

    def advance(self, now_ms: int, hole_ms: int, highest_seq: int) -> None:
        """Judge every frame that can be reached; a hole is waited for ``hole_ms``, then skipped."""
        if self.cold:
            return
        self._run()
        while self.at <= highest_seq and not self.broken:
            if self.hole_since_ms < 0:
                self.hole_since_ms = now_ms
            if now_ms - self.hole_since_ms < hole_ms:
                return
            self._skip_hole(highest_seq + 1)
            self._run()
        self.hole_since_ms = -1

    def finish(self, highest_seq: int) -> None:
        """The episode closes: no hole is waited for any longer."""
        if self.cold:
            self.dirty = True
        else:
            self.pass_holes(highest_seq + 1)

    def backlog(self) -> list[int]:
        """Blocks that the owner must bring, ascending."""
        if not self.cold or self.broken:
            return []
        return sorted(index for index in self._stored if (index + 1) * BLOCK > self.at)

    def catch_up(self, rows: Sequence[BlockRow]) -> None:
        """Judge blocks of the backlog, as the store gives them: from the first on, as many as there are."""
        if self.broken:
            return
        given = {row.block: row for row in rows}
        backlog = self.backlog()
        while backlog:
            # those that follow each other together: numpy's price is by the call
            first, together = backlog[0], list[BlockRow]()
            while backlog and backlog[0] == first + len(together) and len(together) < _AT_ONCE:
                row = given.get(backlog[0])
                if row is None or len(row.seq) < BLOCK:
                    break
                together.append(row)
                del backlog[0]
            if not together:
                return
            self.pass_holes(first * BLOCK)
            if not self._judge(frames_of_rows(together, self.judge)):
                return
            self.at = (first + len(together)) * BLOCK
            self.judged += len(together) * BLOCK
        self.cold = False

    def _judge(self, frames: Frames) -> bool:
        """Whether the judge took them. One that fails gets no more live; the close computes all again."""
        try:
            self.judge.advance(frames)
        except Exception as problem:  # whatever a metric raises is this episode's alone
            self.dirty = self.cold = self.broken = True
            self.hole_since_ms, self.problem = -1, repr(problem)
        return not self.broken

    def pass_holes(self, up_to: int) -> None:
        """Judge all there is below frame ``up_to``; holes below it are no longer waited for."""
        self._run()
        while self.at < up_to and not self.broken:
            self._skip_hole(up_to)
            self._run()

    def _skip_hole(self, up_to: int) -> None:
        """Go on at the next frame there is, at most to ``up_to``."""
        if self.first_missing < 0:
            self.first_missing = self.at
        ahead = [index for index, block in self._blocks.items() if (index + 1) * BLOCK > self.at and block.count]
        for index in sorted(ahead):
            first = max(self.at - index * BLOCK, 0)
            here = np.flatnonzero(self._blocks[index].present[first:])
            if len(here):
                self.at = min(index * BLOCK + first + int(here[0]), up_to)
                self.hole_since_ms = -1
                return
        self.at = up_to

    def _run(self) -> None:
        while pieces := self._reachable():
            frames = frames_of(pieces, self.judge)
            if not self._judge(frames):
                return
            self.at += len(frames.seq)
            self.judged += len(frames.seq)

    def _reachable(self) -> list[Piece]:
        """What follows without a hole, of a few blocks: numpy's price is by the call."""
        found: list[Piece] = []
        index, first = divmod(self.at, BLOCK)
        while len(found) < _AT_ONCE and (block := self._blocks.get(index)) is not None:
            last = _run_end(block, first)
            if last > first:
                found.append((block, first, last))
            if last < BLOCK:
                break
            index, first = index + 1, 0
        return found


def _run_end(block: Block, first: int) -> int:
    if block.count == BLOCK:
        return BLOCK
    ahead = block.present[first:]
    absent = int(ahead.argmin())
    return BLOCK if ahead[absent] else first + absent


def frames_of(pieces: Sequence[Piece], judge: EpisodeJudge) -> Frames:
    """Frames that follow each other, with the broker's stamps if the judge reads them; views where it is one block."""
    (block, first, last), *more = pieces
    at = block.index * BLOCK + first
    t_ns, channels = block.t_ns[first:last], {name: values[first:last] for name, values in block.channels.items()}
    broker_ms = block.broker_ms[first:last]
    if more:
        t_ns = np.concatenate([one.t_ns[a:b] for one, a, b in pieces])
        channels = {name: np.concatenate([one.channels[name][a:b] for one, a, b in pieces]) for name in channels}
        broker_ms = np.concatenate([one.broker_ms[a:b] for one, a, b in pieces])
    seq = np.arange(at, at + len(t_ns), dtype=np.int64)
    return Frames(seq, t_ns, channels, broker_ms * MS if judge.wants_arrivals else None)


def frames_of_rows(rows: Sequence[BlockRow], judge: EpisodeJudge) -> Frames:
    """Stored blocks' frames, with the broker's stamps if the judge reads them."""
    row, *more = rows
    seq, t_ns, channels, broker_ms = row.seq, row.t_ns, dict(row.channels), row.broker_ms
    if more:
        seq, t_ns = (np.concatenate([getattr(one, name) for one in rows]) for name in ("seq", "t_ns"))
        channels = {name: np.concatenate([one.channels[name] for one in rows]) for name in channels}
        broker_ms = np.concatenate([one.broker_ms for one in rows])
    return Frames(seq, t_ns, channels, broker_ms * MS if judge.wants_arrivals else None)


def judge_rows(judge: EpisodeJudge, rows: Sequence[BlockRow]) -> None:
    """Give a judge stored blocks, ascending, several at once."""
    for first in range(0, len(rows), _AT_ONCE):
        judge.advance(frames_of_rows(rows[first : first + _AT_ONCE], judge))
