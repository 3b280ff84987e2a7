"""The gateway's robots: one seat each, opened when its robot says hello, and what time does to them; never a socket."""

from __future__ import annotations

import contextlib
import hmac
import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from kinestream.producers.ingest.messages import Hello
from kinestream.producers.ingest.seat import Seat
from kinestream.producers.ingest.session import Session
from kinestream.producers.robot import Robot
from kinestream.producers.spool.inspection import inspect
from kinestream.producers.spool.orphans import OpenTake, newest_open
from kinestream.producers.spool.places import TABLES, find_spools, in_use, spool_folder
from kinestream.producers.spool.receipts import Receipt
from kinestream.producers.spool.tables import Tables
from kinestream.schemas.errors import IngestError, KinestreamError, SettingError
from kinestream.schemas.settings import Settings

log = logging.getLogger("kinestream.ingest")

#: Seconds a robot without a connection keeps its seat when nothing of it waits.
_SEAT_S: Final = 10.0
_LONGEST_ID: Final = 128


class Gateway:
    """Seats of robots on spools of their own. Thread-safe.

    Raises :class:`SettingError` without a broker; needs none to be up.
    """

    def __init__(self, settings: Settings, kafka: str = "") -> None:
        self.settings = settings
        self._kafka = kafka or settings.kafka
        if not self._kafka:
            raise SettingError("no broker: set KINESTREAM_KAFKA (`kinestream status` shows the local stack's)")
        self._lock = threading.Lock()
        self._seats: dict[str, Seat] = {}
        self._closed = False

    def session(self, *, trusted: bool = False) -> Session:
        """The state of one connection; ``trusted``: it has shown its token, or needs none."""
        return Session(self, self.settings, trusted=trusted or not self.settings.ingest_token)

    def admits(self, token: str) -> bool:
        """Whether ``token`` is the one."""
        return hmac.compare_digest(token.encode(), self.settings.ingest_token.encode())

    @contextlib.contextmanager
    def seat(self, robot_id: str) -> Iterator[Seat]:
        """The seat of a robot, locked; raises :class:`IngestError` where there is no room for another."""
        while True:
            seat = self._find(robot_id)
            with seat.lock:
                if not seat.gone:
                    yield seat
                    return

    @property
    def seats(self) -> list[Seat]:
        """Every seat now."""
        with self._lock:
            return list(self._seats.values())

    def open_left(self) -> int:
        """Open what a gateway before this one left in its spools, so that it is sent; the number of robots."""
        opened = 0
        for folder in find_spools(gateway_folder(self.settings)):
            state = inspect(folder, self.settings)
            if in_use(folder) or not (state.unsent_episodes or state.without_receipt):
                continue
            try:
                with self.seat(unquote(folder.name)) as seat:
                    seat.open(_left_by(folder, state.robot_id, state.model_id))
                opened += 1
            except KinestreamError as problem:  # the others are sent all the same
                log.error("what robot %s left is not sent: %s", state.robot_id, problem)
        return opened

    def tick(self) -> None:
        """What is due: ends takes whose robot did not come back, and lets go of robots that have nothing here."""
        now = time.monotonic()
        for seat in self.seats:
            if not seat.lock.acquire(blocking=False):
                continue
            try:
                self._tick(seat, now)
            except KinestreamError as problem:
                log.error("robot %s: %s", seat.robot_id, problem)
            finally:
                seat.lock.release()

    def _tick(self, seat: Seat, now: float) -> None:
        seat.look()
        if seat.speaker is not None or seat.gone:
            return
        away_s = now - seat.left_s
        if seat.episode is not None and away_s > self.settings.ingest_return_s:
            seat.abort(f"CLIENT_LOST: its robot did not come back within {self.settings.ingest_return_s:g} s")
            return
        waits = seat.episode is not None or bool(seat.ending) or away_s < _SEAT_S
        if not waits and (seat.robot is None or seat.robot.settled):
            seat.gone = True
            seat.rest()
            with self._lock:
                self._seats.pop(seat.robot_id, None)

    def close(self) -> None:
        """Let go of every spool; open takes stay open in them, for the next gateway."""
        self._closed = True
        for seat in self.seats:
            with seat.lock:
                seat.gone = True
                seat.rest()

    def _find(self, robot_id: str) -> Seat:
        _check_id(robot_id)
        with self._lock:
            if self._closed:
                raise IngestError("CLOSING", "the gateway is being stopped: connect again in a moment")
            if robot_id not in self._seats:
                if len(self._seats) >= self.settings.ingest_connections:
                    raise IngestError(
                        "TOO_MANY",
                        f"the gateway serves {len(self._seats)} robots, as many as it may: wait, start another gateway,"
                        " or raise KINESTREAM_INGEST_CONNECTIONS",
                    )
                folder = spool_folder(self.settings, robot_id, gateway=True)
                self._seats[robot_id] = Seat(robot_id, folder, self._robot, self.settings)
            return self._seats[robot_id]

    def _robot(self, hello: Hello, folder: Path, on_receipt: Callable[[Receipt], None]) -> Robot:
        return Robot(
            hello.robot_id,
            model_id=hello.model_id,
            joints=hello.joints,
            channels=hello.channels,
            kafka=self._kafka,
            spool=folder,
            go_on=True,
            on_receipt=on_receipt,
            settings=self.settings,
        )


def gateway_folder(settings: Settings) -> Path:
    """The folder of all its robots' spools: beside those of robots that use the SDK themselves."""
    return spool_folder(settings, "", gateway=True)


def _left_by(folder: Path, robot_id: str, model_id: str) -> Hello:
    """What a robot declared of the take it left open; of one without, nothing."""
    tables = Tables(folder / TABLES)
    try:
        left: OpenTake | None = newest_open(tables)
    finally:
        tables.close()
    if left is None:
        return Hello(robot_id, model_id, ())
    further = {c.name: c for c in left.layout.channels if c.name not in ("position", "velocity", "effort", "command")}
    return Hello(robot_id, left.start["model_id"], left.layout.joints, further)


def _check_id(robot_id: str) -> None:
    """It names a folder."""
    if robot_id.strip(".") == "" or len(robot_id) > _LONGEST_ID or not robot_id.isprintable():
        raise IngestError(
            "BAD_VALUE", f"robot_id={robot_id[:40]!r}: give 1 to {_LONGEST_ID} printable characters, not only dots"
        )
