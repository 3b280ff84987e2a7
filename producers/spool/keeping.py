"""How long a spool keeps what was sent: until its receipt, or for a while after the acknowledgement; sends nothing."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from kinestream.producers.spool.line import Line
from kinestream.producers.spool.parcel import Parcel
from kinestream.producers.spool.receipts import Receipt, Receipts
from kinestream.producers.spool.tables import Tables
from kinestream.producers.spool.writer import Writer

log = logging.getLogger("kinestream.robot")

#: Seconds between two looks, and between two questions for a topic of receipts that is not there.
_EVERY_S, _ASK_S = 0.5, 30.0
#: Records removed in one transaction: a commit of frames waits behind it.
_REMOVED: Final = 1000
#: Episodes without frames that still wait for a receipt, at most: a hub that writes none must not fill the disk.
_REMEMBERED: Final = 10_000
#: Seconds by which a receipt must come after the last acknowledgement to speak of all that was sent.
_SPEAKS_AFTER_S: Final = 2.0


class Keeping:
    """Looks after what is in the spool and with the broker. Used by the thread that sends."""

    def __init__(
        self,
        reading: Tables,
        writer: Writer,
        parcels: dict[int, Parcel],
        receipts: Receipts,
        topic: str,
        keep_s: float,
        on_receipt: Callable[[Receipt], None] = lambda _: None,
    ) -> None:
        self._on_receipt = on_receipt
        self._reading, self._writer, self._parcels = reading, writer, parcels
        self._receipts, self._topic, self._keep_s = receipts, topic, keep_s
        self._written: dict[int, tuple[int, int]] = {}
        self._looked_s = self._asked_s = float("-inf")
        self._removing = deque(parcel for parcel in parcels.values() if parcel.done)
        self._busy = False
        #: whether the hub writes receipts; None = nobody was asked yet
        self.has_receipts: bool | None = None

    def read_receipts(self, line: Line) -> None:
        """Read while something waits; what the hub has whole goes, what it lacks is sent again."""
        waits = any(parcel.acked and not parcel.done for parcel in list(self._parcels.values()))
        if waits and not self._receipts.is_open and time.monotonic() - self._asked_s > _ASK_S:
            self._asked_s = time.monotonic()
            partitions = line.partitions_of(self._topic)
            self.has_receipts = partitions > 0 if partitions >= 0 else None
            if partitions > 0:
                self._receipts.open(partitions, self._reading.fact("receipts", ""))
                self._asked_s = float("-inf")
        found = self._receipts.poll()
        for receipt in found:
            self._take(receipt)
        if found:
            position = self._receipts.position
            self._writer.do(lambda: self._writer.tables.set_fact("receipts", position))
        if not waits:
            self._receipts.close()

    def look_after(self, parcels: Sequence[Parcel], now: float) -> None:
        """Write acknowledgements down, remove what has had its time."""
        self._remove_next()
        if now - self._looked_s < _EVERY_S:
            return
        self._looked_s = now
        self.write_acks(parcels)
        for parcel in parcels:
            self._age(parcel, now)
        remembered = [p for p in parcels if p.whole_s and not p.done and p.freed >= p.records]
        for parcel in remembered[:-_REMEMBERED]:
            self._finish(parcel)

    def write_acks(self, parcels: Sequence[Parcel]) -> None:
        """What is acknowledged, into the spool: a next boot goes on there."""
        tables = self._writer.tables
        for parcel in parcels:
            state = (parcel.acked, len(parcel.redo))
            if parcel.done or self._written.get(parcel.key, (0, 0)) == state:
                continue
            self._written[parcel.key] = state
            acked, size, redo = parcel.acked, parcel.acked_bytes, list(parcel.redo)

            def work(key: int = parcel.key, acked: int = acked, size: int = size, redo: list[int] = redo) -> None:
                tables.set_acked(key, acked, size)
                tables.set_redo(key, redo)

            self._writer.do(work)

    def close(self) -> None:
        """Stop reading receipts."""
        self._receipts.close()

    # -- receipts ---------------------------------------------------------
    def _take(self, receipt: Receipt) -> None:
        parcel = next((p for p in list(self._parcels.values()) if p.id == receipt.episode_id and not p.done), None)
        if parcel is None:
            return
        self._on_receipt(receipt)
        if receipt.whole:
            if receipt.status != "COMPLETE":
                log.warning("the hub has episode %s as %s", parcel.id, receipt.status)
            parcel.received = True
        elif parcel.whole_s and time.monotonic() - parcel.whole_s > _SPEAKS_AFTER_S:
            self._send_again(parcel, receipt)
        # else it was written before all that was sent arrived: another one follows

    def _send_again(self, parcel: Parcel, receipt: Receipt) -> None:
        places = self._reading.places(parcel.key)
        lacking = [n for n, first, frames in places if frames and receipt.lacks(first, frames)]
        if receipt.n_total < 0:
            lacking.append(parcel.records - 1)
        log.warning(
            "the hub has %d of %d frames of episode %s (%s): %s",
            *(receipt.frames, parcel.frames, parcel.id, receipt.status),
            f"{len(lacking)} records are sent again" if lacking else "what it lacks is no longer in the spool",
        )
        parcel.receipt = receipt.status
        parcel.redo += [n for n in lacking if n not in parcel.redo]
        parcel.whole_s = 0.0
        self._writer.do(lambda: self._writer.tables.set_receipt(parcel.key, receipt.status))

    # -- time -------------------------------------------------------------
    def _age(self, parcel: Parcel, now: float) -> None:
        """Frames go so long after their acknowledgement, counted from this boot's start at the earliest."""
        if parcel.received and not parcel.unsent:
            self._finish(parcel)
        if parcel.done or (parcel.ended and parcel.freed >= parcel.records):
            return
        if not parcel.marks or parcel.marks[-1][1] < parcel.acked:
            parcel.marks.append((now, parcel.acked))
        if not parcel.unsent:
            parcel.whole_s = parcel.whole_s or now
        if parcel.redo:
            return
        due = 0
        while parcel.marks and now - parcel.marks[0][0] >= self._keep_s:
            due = parcel.marks.popleft()[1]
        if due > parcel.freed:
            self._free(parcel, due)

    def _free(self, parcel: Parcel, below: int) -> None:
        tables = self._writer.tables
        freed = [0]

        def work() -> None:
            freed[0] = tables.free(parcel.key, below, _REMOVED)

        def then() -> None:
            self._writer.freed(parcel, freed[0])
            if freed[0]:
                self._writer.do(work, then)

        parcel.freed = below
        self._writer.do(work, then)

    def _finish(self, parcel: Parcel) -> None:
        if parcel.done:
            return
        parcel.done = True
        self._removing.append(parcel)
        self._remove_next()

    def _remove_next(self) -> None:
        """One piece of one episode at a time, so that frames never wait for a large removal."""
        if self._busy or not self._removing:
            return
        parcel, tables = self._removing[0], self._writer.tables
        answer = [(0, False)]

        def work() -> None:
            answer[0] = tables.forget(parcel.key, _REMOVED)

        def then() -> None:
            freed, gone = answer[0]
            self._writer.freed(parcel, freed)
            self._busy = False
            if gone:
                self._removing.popleft()
                self._written.pop(parcel.key, None)
                self._parcels.pop(parcel.key, None)

        self._busy = True
        self._writer.do(work, then)
