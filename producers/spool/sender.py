"""From the spool to the broker: each episode in its order, live takes at once; its thread never holds up a send()."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import Final

from confluent_kafka import KafkaError

from kinestream.producers.spool import line
from kinestream.producers.spool.keeping import Keeping
from kinestream.producers.spool.line import CONNECTING, OFFLINE, ONLINE, REFUSED, Line
from kinestream.producers.spool.parcel import Parcel
from kinestream.producers.spool.tables import Kept, Tables
from kinestream.producers.spool.writer import Writer
from kinestream.schemas.codec import Codec
from kinestream.schemas.errors import ContractError
from kinestream.schemas.registry import Registry
from kinestream.schemas.settings import Settings

log = logging.getLogger("kinestream.robot")

LIVE, BULK = "live", "bulk"
#: Bytes with the producer, at most: of the take being recorded, and of what was left behind or is an upload, which
#: must not queue for long in front of a live chunk on a slow network.
_LIVE_BYTES, _BEHIND_BYTES = 8_000_000, 500_000
#: Records read from the spool in one go.
_READ: Final = 64
#: Seconds between two turns: while acknowledgements are awaited, and while there is nothing to do.
_BUSY_S, _IDLE_S = 0.02, 0.1
#: Schema ids begin each message: a zero byte and four more.
_HEAD: Final = 5

#: Makes a RobotStatus: ids of unsent episodes, bytes that wait, and what the spool is: bytes, limit, full.
MakeStatus = Callable[[list[str], int, tuple[int, int, bool]], dict[str, object]]


class Sender:
    """Sends what ``parcels`` say is unsent; a thread of its own between :meth:`start` and :meth:`stop`."""

    def __init__(
        self,
        to: Line,
        reading: Tables,
        writer: Writer,
        parcels: dict[int, Parcel],
        keeping: Keeping,
        topics: dict[str, str],
        settings: Settings,
        make_status: MakeStatus,
        on_trouble: Callable[[str], None],
    ) -> None:
        self._line, self._reading, self._writer, self._parcels = to, reading, writer, parcels
        self._keeping, self._topics, self._settings = keeping, topics, settings
        self._make_status, self._on_trouble = make_status, on_trouble
        self._registry = Registry(settings.registry)
        self._codecs = {lane: Codec(self._registry, topic) for lane, topic in topics.items()}
        self._heads: dict[tuple[str, bytes], bytes] = {}
        self._status_due = self._registry_due = self._registry_since = 0.0
        self._registry_trouble = ""
        self._status_out: set[str] = set()
        self._said = ""
        self._stopped = threading.Event()
        self._news = threading.Event()
        self._progress = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="spool-sender", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; what is not acknowledged stays unsent."""
        self._stopped.set()
        self._news.set()
        self._thread.join()

    def tell(self) -> None:
        """There is something new in the spool."""
        self._news.set()

    @property
    def state(self) -> str:
        """CONNECTING, ONLINE, OFFLINE or REFUSED."""
        return self._line.state

    @property
    def trouble(self) -> str:
        """Why nothing is being delivered; empty while all is well."""
        return self._said

    def away_for(self) -> float:
        """Seconds for which broker or registry have been away or have refused us."""
        return time.monotonic() - self._registry_since if self._registry_trouble else self._line.away_for()

    def lane_now(self) -> str:
        """Lane of a take that begins now; empty = to be decided when the broker answers."""
        return LIVE if self._line.state == ONLINE and not self._registry_trouble else ""

    def unsent(self) -> list[Parcel]:
        """Episodes the broker does not have whole, the oldest first."""
        return [parcel for parcel in list(self._parcels.values()) if parcel.unsent]

    def wait(self, until: Callable[[], bool], deadline: float) -> bool:
        """Until the condition is met or monotonic ``deadline`` comes; looked at whenever something is acknowledged."""
        with self._progress:
            while not until():
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._progress.wait(min(left, _IDLE_S))
        return True

    def _run(self) -> None:
        said = ""
        while not self._stopped.is_set():
            self._news.wait(_BUSY_S if self._line.inflight else _IDLE_S)
            self._news.clear()
            try:
                self._turn(time.monotonic())
            except Exception as problem:
                if str(problem) != said:  # once: the next turn is a moment away
                    log.exception("the spool's sender failed in a turn; it goes on")
                said = str(problem)
        self._line.poll(0)
        self._keeping.write_acks(list(self._parcels.values()))
        self._keeping.close()
        self._line.close()

    def _turn(self, now: float) -> None:
        self._line.poll(0)
        if self._line.look(now):
            self._status_out.clear()
            for parcel in list(self._parcels.values()):
                parcel.rewind()
        if self._line.state == ONLINE:
            self._send(now)
            self._keeping.read_receipts(self._line)
        self._line.poll(0)
        self._keeping.look_after(list(self._parcels.values()), now)
        self._say()
        with self._progress:
            self._progress.notify_all()

    def _send(self, now: float) -> None:
        """Status and records, unless the registry is in the way: away, or it does not know a schema."""
        if now < self._registry_due:
            return
        try:
            if now >= self._status_due:
                self._send_status()
                self._status_due = now + self._settings.status_interval_s
            self._feed(now)
            self._registry_trouble = ""
        except ContractError as problem:
            self._registry_since = now if not self._registry_trouble else self._registry_since
            self._registry_trouble, self._registry_due = str(problem), time.monotonic() + line.REFUSED_S

    # -- records ----------------------------------------------------------
    def _feed(self, now: float) -> None:
        """Give the producer what it has room for: live takes, then uploads, the oldest first."""
        waiting = [p for p in list(self._parcels.values()) if p.waiting and not p.refused and not p.settling]
        for parcel in waiting:
            if not parcel.lane and now - parcel.began_s <= self._settings.live_within_s:
                self._settle(parcel, LIVE)
            elif parcel.lane == LIVE:
                self._feed_parcel(parcel, _BEHIND_BYTES if parcel.ended else _LIVE_BYTES)
        for parcel in waiting:
            if parcel.lane == LIVE or parcel.settling:
                continue
            if not self._line.room(BULK, _BEHIND_BYTES):
                return
            if parcel.lane == BULK:
                self._feed_parcel(parcel, _BEHIND_BYTES)
            else:
                self._settle(parcel, BULK)

    def _settle(self, parcel: Parcel, lane: str) -> None:
        """The lane is in the spool before a record is out: no crash may make an episode span two topics."""

        def settled() -> None:
            parcel.lane, parcel.settling = lane, False
            self._news.set()

        parcel.settling = True
        self._writer.do(lambda: self._writer.tables.set_lane(parcel.key, lane), settled)

    def _feed_parcel(self, parcel: Parcel, most: int) -> None:
        while parcel.cursor < parcel.records and self._line.room(parcel.lane, most):
            found = self._reading.records(parcel.key, parcel.cursor, _READ)
            if not found:
                parcel.cursor = parcel.records  # removed meanwhile
            for kept in found:
                if not self._line.room(parcel.lane, most) or not self._produce(parcel, kept):
                    return
                parcel.cursor = kept.n + 1
        while parcel.redo_cursor < len(parcel.redo) and self._line.room(parcel.lane, most):
            n = parcel.redo[parcel.redo_cursor]
            for kept in self._reading.records(parcel.key, n, 1):
                if kept.n == n and not self._produce(parcel, kept):
                    return
            parcel.redo_cursor += 1

    def _produce(self, parcel: Parcel, kept: Kept) -> bool:
        def delivered(error: KafkaError | None, size: int) -> None:
            if error is None:
                parcel.ack(kept.n, size)
            else:
                parcel.refused = f"{error.str()} ({error.name()})"

        return self._line.produce(parcel.lane, self._addressed(parcel.lane, kept.body), delivered)

    def _addressed(self, lane: str, message: bytes) -> bytes:
        """A message of the spool, under the schema id its topic's registry gives; raises :class:`ContractError`."""
        if not self._settings.registry:
            return message
        known = (lane, message[:_HEAD])
        if known not in self._heads:
            number = self._registry.id_for(self._topics[lane], int.from_bytes(message[1:_HEAD], "big"))
            self._heads[known] = b"\0" + number.to_bytes(4, "big")
        return self._heads[known] + message[_HEAD:]

    # -- the robot's word -------------------------------------------------
    def _send_status(self) -> None:
        """On the live lane always, on the bulk lane while something there is not sent whole; one at a time each."""
        unsent = self.unsent()
        spool = (self._writer.held, self._settings.spool_bytes, self._writer.full)
        pending = sum(parcel.pending_bytes for parcel in unsent)
        status = self._make_status([parcel.id for parcel in unsent], pending, spool)
        for lane in (LIVE, BULK) if any(parcel.lane != LIVE for parcel in unsent) else (LIVE,):
            if lane not in self._status_out:
                message = self._codecs[lane].encode("RobotStatus", status)
                done = lambda _error, _size, lane=lane: self._status_out.discard(lane)  # noqa: E731
                if self._line.produce(lane, message, done):
                    self._status_out.add(lane)

    def _say(self) -> None:
        """Trouble is told once, and so is its end."""
        state, text = self._line.state, ""
        refused = [parcel for parcel in list(self._parcels.values()) if parcel.refused and not parcel.done]
        if state in (OFFLINE, REFUSED) and self._line.away_for() > 1.0:
            text = f"{'the broker is away' if state == OFFLINE else 'nothing is taken'}: {self._line.trouble}"
        elif self._registry_trouble:
            text = f"nothing is sent: {self._registry_trouble}"
        elif refused and state != CONNECTING:
            text = _refusal(refused)
        elif state in (OFFLINE, REFUSED):
            return
        if text == self._said:
            return
        self._said = text
        if text:
            log.warning("%s. Frames are kept in the spool and sent when it is over.", text)
        else:
            log.warning("the broker answers: what waited is being sent")
        self._on_trouble(text)


def _refusal(parcels: Iterable[Parcel]) -> str:
    named = ", ".join(f"{parcel.id}: {parcel.refused}" for parcel in list(parcels)[:3])
    return f"the broker refuses records of episodes ({named}); they are tried again when the robot starts next"
