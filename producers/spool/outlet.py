"""The spool as an episode sees it: what takes records instead of a producer; wires the parts, decides nothing."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from kinestream.producers.delivery import Ledger
from kinestream.producers.spool.keeping import Keeping
from kinestream.producers.spool.line import CONNECTING, ONLINE, Line
from kinestream.producers.spool.parcel import Parcel
from kinestream.producers.spool.receipts import Receipt, Receipts
from kinestream.producers.spool.sender import MakeStatus, Sender
from kinestream.producers.spool.store import Spool
from kinestream.producers.spool.writer import Writer
from kinestream.schemas.catalogue import FRAMES, FRAMES_BULK, RECEIPTS, topic_name
from kinestream.schemas.codec import Codec
from kinestream.schemas.content_hash import HashedBlock
from kinestream.schemas.errors import DeliveryError, SpoolError
from kinestream.schemas.registry import Registry
from kinestream.schemas.settings import Settings

log = logging.getLogger("kinestream.robot")

#: Name of the fact that holds the text of a robot's program.
NOTE = "note"
#: Seconds a broker must have been away for close() to stop waiting for it.
_GIVE_UP_S = 1.0


class SpooledDelivery:
    """Takes records into a :class:`Spool` and sends them from there. Thread-safe."""

    def __init__(
        self,
        spool: Spool,
        kafka: str,
        settings: Settings,
        make_status: MakeStatus,
        lane: str = "",
        on_trouble: Callable[[str], None] = lambda _: None,
        on_receipt: Callable[[Receipt], None] = lambda _: None,
    ) -> None:
        owner = spool.owner
        topics = {"live": topic_name(FRAMES, owner.tenant), "bulk": topic_name(FRAMES_BULK, owner.tenant)}
        receipts_topic = topic_name(RECEIPTS, owner.tenant)
        self._kafka, self._spool = kafka, spool
        self._parcels: dict[int, Parcel] = spool.parcels()
        self._lane = lane
        self._sender: Sender
        self._writer = Writer(spool, settings, self._parcels, self._lane_now, lambda: self._sender.tell())
        receipts = Receipts(kafka, receipts_topic, owner.robot_id, Codec(Registry(settings.registry), ""), settings)
        self._keeping = Keeping(
            *(spool.reading, self._writer, self._parcels, receipts, receipts_topic, settings.spool_keep_s, on_receipt)
        )
        self._sender = Sender(
            Line(kafka, owner.robot_id, topics, settings),
            *(spool.reading, self._writer, self._parcels, self._keeping, topics, settings, make_status, on_trouble),
        )
        self._limit = settings.spool_bytes
        self._closed = threading.Event()
        self._sender.start()

    @property
    def pending_bytes(self) -> int:
        """Bytes the broker has not acknowledged."""
        return sum(parcel.pending_bytes for parcel in self.unsent())

    @property
    def held_bytes(self) -> int:
        """Bytes in the spool."""
        return self._writer.held

    @property
    def has_room(self) -> bool:
        """A record handed over now would be taken without waiting."""
        return self._writer.has_room

    @property
    def full(self) -> bool:
        """No new episode may begin."""
        return self._writer.full

    @property
    def state(self) -> str:
        """CONNECTING, ONLINE, OFFLINE or REFUSED."""
        return self._sender.state

    @property
    def trouble(self) -> str:
        """Why nothing is delivered or taken; empty while all is well."""
        return self._writer.failure or self._sender.trouble

    def unsent(self) -> list[Parcel]:
        """Episodes the broker does not have whole, the oldest first."""
        return self._sender.unsent()

    def waiting(self) -> list[Parcel]:
        """Episodes without a receipt, the oldest first."""
        return [parcel for parcel in list(self._parcels.values()) if not parcel.done]

    def admit(self) -> None:
        """Raises :class:`SpoolFullError` where no new episode may begin."""
        self._writer.admit()

    def check(self) -> None:
        """Raises :class:`SpoolFullError` while the disk takes nothing, or the reserve is used up."""
        self._writer.check()

    def put(
        self,
        message: bytes,
        ledger: Ledger,
        frames: int = 0,
        *,
        wait: bool = True,
        blocks: Sequence[HashedBlock] = (),
    ) -> None:
        """Take one record; raises :class:`SpoolFullError` before anything is taken, never unless ``wait``."""
        if self._closed.is_set():
            raise SpoolError("the robot was closed")
        self._writer.put(message, ledger, frames, blocks, wait=wait)

    def keep_note(self, text: str) -> None:
        """Keep a text of the robot's program, in the next transaction."""
        self._writer.do(lambda: self._writer.tables.set_fact(NOTE, text))

    def poll(self, timeout_s: float) -> None:
        """Commit what is there, or what comes within the timeout."""
        if timeout_s > 0:
            self._writer.turn(timeout_s)

    def flush(self, timeout_s: float, *_: object) -> None:
        """Wait until the broker has everything in the spool; raises :class:`DeliveryError` naming what it has not."""
        deadline = time.monotonic() + timeout_s
        if not self._writer.commit():
            raise DeliveryError(f"not everything could be kept: {self._writer.failure}")
        self._sender.wait(self._settled, deadline)
        if self._left():
            raise DeliveryError(f"{self._undelivered()}. It stays in the spool {self._spool.folder} and is sent later")

    def stop_waiting(self) -> None:
        """Nobody waits for the broker here."""

    def close(self, timeout_s: float, *_: object) -> None:
        """Keep everything, give the broker ``timeout_s`` to take it, and let go of the spool.

        What it has not taken goes out when a robot with this spool starts, or with ``kinestream spool drain``. Raises
        :class:`SpoolError` if the last records could not be kept.
        """
        kept = self._writer.commit()
        deadline = time.monotonic() + timeout_s
        if kept:
            self._sender.wait(lambda: self._settled() or self._sender.away_for() > _GIVE_UP_S, deadline)
        if self._left():
            log.warning(
                "%s: it is in the spool %s and goes out when its robot starts again, or by `kinestream spool drain`",
                self._undelivered(),
                self._spool.folder,
            )
        self._sender.stop()
        self._closed.set()
        self._writer.close()

    @property
    def emptied(self) -> bool:
        """The broker has everything, and nothing waits for a receipt, or the hub writes none."""
        return not self.unsent() and (not self.waiting() or self._keeping.has_receipts is False)

    def _lane_now(self) -> str:
        return self._lane or self._sender.lane_now()

    def _left(self) -> list[Parcel]:
        """Episodes of which something in the spool is not acknowledged."""
        return [parcel for parcel in self.unsent() if parcel.acked < parcel.records or parcel.redo]

    def _settled(self) -> bool:
        """Everything is acknowledged, or will not be however long one waits."""
        return all(parcel.refused for parcel in self._left())

    def _undelivered(self) -> str:
        left = self._left()
        named = "; ".join(f"episode {p.id}: {p.records - p.acked} of {p.records} records" for p in left[:5])
        why = self.trouble or {CONNECTING: "no answer yet", ONLINE: "it is on its way"}.get(self.state, self.state)
        return f"{self._kafka} has not acknowledged {len(left)} episodes ({why}): {named}"
