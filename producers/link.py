"""What a robot and its episodes share: identity of this boot, declared channels, codec and outlet; no behaviour."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from kinestream.producers.delivery import Ledger
from kinestream.schemas.codec import Codec
from kinestream.schemas.content_hash import HashedBlock
from kinestream.schemas.layout import Channel


class Outlet(Protocol):
    """Where records go: straight to a producer, or into a spool on disk."""

    @property
    def has_room(self) -> bool:
        """A record handed over now would not have to wait."""

    @property
    def pending_bytes(self) -> int:
        """Bytes the broker has not acknowledged."""

    def check(self) -> None:
        """Raises what :meth:`put` would, before a frame is taken that it would refuse."""

    def put(
        self, message: bytes, ledger: Ledger, frames: int = 0, *, wait: bool = True, blocks: Sequence[HashedBlock] = ()
    ) -> None:
        """Take one record and the blocks that became whole before it; unless ``wait``, also past a bound."""

    def poll(self, timeout_s: float) -> None:
        """Do what is due in the background, for at most so long."""

    def flush(self, timeout_s: float, unsent: Sequence[Ledger]) -> None:
        """Wait until the broker has everything; raises :class:`DeliveryError` naming what it has not."""

    def close(self, timeout_s: float, unsent: Sequence[Ledger]) -> None:
        """End, after giving the broker so long."""

    def stop_waiting(self) -> None:
        """Whoever is blocked in :meth:`put` goes on with an error."""


@dataclass(frozen=True, slots=True)
class Link:
    """One boot of one robot on one topic; ``lock`` orders everything its episodes send."""

    tenant: str
    robot_id: str
    model_id: str
    boot_id: str
    joints: tuple[str, ...]
    declared: tuple[Channel, ...]
    codec: Codec
    outlet: Outlet
    #: frames and bytes in a chunk, at most
    chunk_frames: int
    chunk_bytes: int
    lock: threading.RLock = field(default_factory=threading.RLock)
