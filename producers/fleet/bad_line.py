"""A line between a robot and its broker that loses and repeats frames, to order; it changes nothing else it carries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from kinestream.producers.delivery import Ledger
from kinestream.producers.fleet.take import Take
from kinestream.producers.link import Outlet
from kinestream.producers.robot import Robot
from kinestream.schemas.codec import Codec
from kinestream.schemas.content_hash import HashedBlock
from kinestream.schemas.frames import FrameChunk


class SimulatedRobot(Robot):
    """A robot whose line can be made to fail; all else is the SDK's own."""

    def __init__(self, robot_id: str, **options: Any) -> None:
        super().__init__(robot_id, **options)
        self.line = BadLine(self._link.outlet, self._link.codec)
        self._link = replace(self._link, outlet=self.line)

    def prepare(self) -> None:
        """Ask the registry before the first take: within one, a hundred robots would wait for each other's answers."""
        self._link.codec.prepare("EpisodeStart", "FrameChunk", "EpisodeEnd", "RobotStatus")


class BadLine:
    """An :class:`Outlet` before another; :meth:`carry` says of which take the chunks are that come next."""

    def __init__(self, outlet: Outlet, codec: Codec) -> None:
        self._outlet, self._codec = outlet, codec
        self._take: Take | None = None

    def carry(self, take: Take) -> None:
        """What is wrong with the frames to come: ``take.lost`` and ``take.repeated``."""
        self._take = take if len(take.lost) or len(take.repeated) else None

    @property
    def has_room(self) -> bool:
        """As the outlet's."""
        return self._outlet.has_room

    @property
    def pending_bytes(self) -> int:
        """As the outlet's."""
        return self._outlet.pending_bytes

    def check(self) -> None:
        """As the outlet's."""
        self._outlet.check()

    def put(
        self, message: bytes, ledger: Ledger, frames: int = 0, *, wait: bool = True, blocks: Sequence[HashedBlock] = ()
    ) -> None:
        """Hand over what is left of a chunk, and after it what comes twice; other records as they are."""
        if self._take is None or not frames:
            self._outlet.put(message, ledger, frames, wait=wait, blocks=blocks)
            return
        chunk = self._codec.decode(message).value
        for part in cut(chunk, self._take):
            self._outlet.put(self._codec.encode_chunk(part), ledger, len(part), wait=wait)

    def poll(self, timeout_s: float) -> None:
        """As the outlet's."""
        self._outlet.poll(timeout_s)

    def flush(self, timeout_s: float, unsent: Sequence[Ledger]) -> None:
        """As the outlet's."""
        self._outlet.flush(timeout_s, unsent)

    def close(self, timeout_s: float, unsent: Sequence[Ledger]) -> None:
        """As the outlet's."""
        self._outlet.close(timeout_s, unsent)

    def stop_waiting(self) -> None:
        """As the outlet's."""
        self._outlet.stop_waiting()


def cut(chunk: FrameChunk, take: Take) -> list[FrameChunk]:
    """What is sent in place of a chunk of ``take``: its runs of frames that are not lost, then numbers once more."""
    first, last = chunk.first_seq, chunk.first_seq + len(chunk)
    kept = ~np.isin(np.arange(first, last), take.lost)
    edges = np.flatnonzero(np.diff(np.concatenate(([False], kept, [False])).astype(np.int8)))
    parts = [_part(chunk, int(begin), int(end)) for begin, end in edges.reshape(-1, 2)]
    again = take.repeated
    if len(again) and first <= (decisive := int(again[-1]) + len(again)) < last:
        parts.append(_again(chunk, take, decisive))
    return parts


def _part(chunk: FrameChunk, begin: int, end: int) -> FrameChunk:
    values = {name: array.reshape(len(chunk), -1)[begin:end] for name, array in chunk.channels.items()}
    return FrameChunk(
        chunk.episode_id,
        chunk.layout_id,
        chunk.first_seq + begin,
        chunk.t0_ns,
        chunk.offset_s[begin:end],
        values,
    )


def _again(chunk: FrameChunk, take: Take, last: int) -> FrameChunk:
    """The frames up to number ``last``, once more, under the numbers of the ones before them."""
    count = len(take.repeated)
    rows = slice(last - count + 1, last + 1)
    t0_ns = chunk.t0_ns + round(float(chunk.offset_s[last - chunk.first_seq]) * 1e9) - int(take.t_ns[last])
    return FrameChunk(
        chunk.episode_id,
        chunk.layout_id,
        int(take.repeated[0]),
        t0_ns + int(take.t_ns[rows][0]),
        (take.t_ns[rows] - take.t_ns[rows][0]) / 1e9,
        {name: getattr(take, name)[rows] for name in chunk.channels},
    )
