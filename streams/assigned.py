"""One partition of ours: its assembler, its outlet, and whether it still is ours; does no I/O."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kinestream.schemas.errors import BrokerError
from kinestream.streams.assembly.partition import PartitionAssembler
from kinestream.streams.assembly.values import Place
from kinestream.streams.decoding import Decoder
from kinestream.streams.inbox import Inbox
from kinestream.streams.outlet import Outlet
from kinestream.streams.transport.fetch import Fetch


@dataclass(frozen=True, slots=True)
class Membership:
    """What the group last said of us: the generation, and the monotonic time at which it answered that we are in it."""

    generation: int
    confirmed_s: float


class Ownership:
    """Whether a partition may still be written for. Asked before every insert and every announcement, in any thread."""

    def __init__(self, generation: int, membership: Callable[[], Membership], session_s: float) -> None:
        self.generation = generation
        self._membership = membership
        # Half a session: the other half is for what is under way when the answer grows old.
        self._trusted_s = session_s / 2
        #: the group took it away; for ever
        self.lost = False

    def holds(self) -> bool:
        """False when it was taken away. Raises :class:`BrokerError` while nobody knows: ask again."""
        if self.lost:
            return False
        group = self._membership()
        # Higher is as good: a rebalance that leaves it with us does not take it away first.
        if group.generation < self.generation:
            raise BrokerError(f"the group is at generation {group.generation}, the partition at {self.generation}")
        age_s = time.monotonic() - group.confirmed_s
        if age_s > self._trusted_s:
            raise BrokerError(f"the group has not confirmed our membership for {age_s:.1f} s")
        return True

    def confirmed_after(self, moment_s: float) -> bool:
        """As :meth:`holds`, by an answer younger than ``moment_s`` (monotonic)."""
        if not self.holds():
            return False
        if self._membership().confirmed_s <= moment_s:
            raise BrokerError("the group has not confirmed our membership since another process announced")
        return True


class Assigned:
    """One partition under one assignment, and what the edge knows of it."""

    def __init__(
        self,
        place: Place,
        assembler: PartitionAssembler,
        decoder: Decoder,
        ownership: Ownership,
        outlet: Outlet,
        hold_back: Callable[[bool], None] | None = None,
    ) -> None:
        self.place = place
        self.assembler = assembler
        self.decoder = decoder
        self.ownership = ownership
        self.outlet = outlet
        self.ready = asyncio.Event()
        self.lock = asyncio.Lock()
        self.fetches: Inbox[Fetch] = Inbox(hold_back)
        self.task: asyncio.Task[Any] | None = None
        #: judges what was stored before the assignment
        self.catching_up: asyncio.Task[Any] | None = None
        self.next_offset = 0
        self.committed = -1
        #: monotonic time at which the newest record arrived: idle time runs from here
        self.heard_s = time.monotonic()
        #: bytes of frames in memory that the store has not, as last weighed
        self.inflight_bytes = 0
        #: orders journal rows of different owners; at least the group's generation
        self.term = ownership.generation

    def weigh(self) -> None:
        """Count :attr:`inflight_bytes`, after records were taken or rows became durable."""
        self.inflight_bytes = self.assembler.inflight_bytes()

    @property
    def key(self) -> tuple[str, int]:
        """Topic and partition."""
        return self.place.topic, self.place.partition

    @property
    def generation(self) -> int:
        """The group's generation under which it was assigned."""
        return self.ownership.generation
