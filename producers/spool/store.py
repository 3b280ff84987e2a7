"""A spool as one process has it open: its lock, tables, identity and the room it keeps for a full disk; no threads."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kinestream.producers.spool.orphans import OpenTake, close_orphans, newest_open
from kinestream.producers.spool.parcel import Parcel
from kinestream.producers.spool.places import TABLES, SpoolLock
from kinestream.producers.spool.tables import EpisodeRow, Tables
from kinestream.schemas.errors import SpoolError, SpoolFullError

log = logging.getLogger("kinestream.robot")

#: Bytes set aside so that on a full disk a take can be ended and what the hub has can be removed.
BALLAST_BYTES: Final = 8_000_000
_BALLAST: Final = "ballast"


def _allocate(path: Path) -> None:
    """Make a file of BALLAST_BYTES whose room is really taken."""
    with path.open("wb") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, BALLAST_BYTES)
        else:
            file.write(bytes(BALLAST_BYTES))


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose spool it is."""

    tenant: str
    robot_id: str
    model_id: str
    boot_id: str


class Spool:
    """Opens ``folder``, closes what a dead process left open, and says what is to be sent.

    ``goes_on(take)`` says whether the newest take that was left open is gone on with: ``left_open`` then.
    Raises :class:`SpoolError` where it cannot be made, is in use, or belongs to another robot.
    """

    def __init__(
        self,
        folder: Path,
        owner: Owner,
        *,
        power: bool = False,
        goes_on: Callable[[OpenTake], bool] | None = None,
    ) -> None:
        self.folder, self.owner, self._goes_on = folder, owner, goes_on
        self.left_open: OpenTake | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = SpoolLock(folder, f"robot {owner.robot_id}")
        except (OSError, sqlite3.Error) as problem:
            raise SpoolError(
                f"no spool can be made in {folder} ({problem}): give spool= a folder that can be written,"
                " or spool=None to keep frames in memory only"
            ) from problem
        try:
            self._open(power)
        except BaseException:
            self._lock.release()
            raise
        self.make_ballast()

    def _open(self, power: bool) -> None:
        path = self.folder / TABLES
        self.tables = Tables(path, power=power)
        #: for the thread that sends: reading waits for no commit
        self.reading = Tables(path, power=power)
        try:
            self._begin()
        except sqlite3.Error as problem:
            if not self.drop_ballast():
                raise SpoolFullError(
                    f"the spool {self.folder} cannot be written ({problem}): what is in it is kept, make room"
                ) from problem
            self._begin()

    def _begin(self) -> None:
        self._claim()
        left = newest_open(self.tables) if self._goes_on else None
        self.left_open = left if left and self._goes_on and self._goes_on(left) else None
        self.orphans = close_orphans(self.tables, self.left_open.row.id if self.left_open else "")
        #: number of the next episode; a new spool begins at its milliseconds, above any it may replace
        self.next_number = int(self.tables.fact("next_number") or time.time_ns() // 1_000_000)

    def _claim(self) -> None:
        """A spool of another robot must not be sent under this one's name."""
        owner, tables = self.owner, self.tables
        for name, value in (("tenant", owner.tenant), ("robot_id", owner.robot_id)):
            found = tables.fact(name, value)
            if found != value:
                raise SpoolError(
                    f"the spool {self.folder} belongs to {name} {found!r}, not {value!r}: give each robot a spool= of"
                    " its own"
                )
        self.write(self._sign)

    def _sign(self) -> None:
        for name in ("tenant", "robot_id", "model_id"):
            self.tables.set_fact(name, getattr(self.owner, name))

    def parcels(self) -> dict[int, Parcel]:
        """Everything that is here, by key, the oldest first."""
        return {row.key: Parcel.restored(row, self.tables.redo(row.key)) for row in self.tables.episodes()}

    def write(self, work: Callable[[], None]) -> None:
        """All of ``work`` or nothing, kept when it returns; raises ``sqlite3.Error``."""
        self.tables.transaction(work)

    def row_of(self, parcel: Parcel, number: int) -> EpisodeRow:
        """The row of an episode of this boot."""
        return EpisodeRow(
            *(parcel.key, parcel.id, number, self.owner.boot_id, parcel.lane, parcel.records, parcel.frames),
            *(parcel.bytes, parcel.held, parcel.ended, 0, 0, ""),
        )

    def make_room(self) -> bool:
        """Give back what the tables do not need, and set the room for a full disk aside anew; False if there is none.

        Without the first a log as large as what was freed could keep the spool refusing for ever.
        """
        self.drop_ballast()  # bringing the log into the file needs room itself
        try:
            self.tables.shrink()
        except sqlite3.Error as problem:
            log.debug("the spool %s cannot be made smaller now: %s", self.folder, problem)
        return self.make_ballast()

    def make_ballast(self) -> bool:
        """Set the room for a full disk aside; False while there is none."""
        path = self.folder / _BALLAST
        try:
            if not path.exists() or path.stat().st_size < BALLAST_BYTES:
                _allocate(path)
        except OSError:
            path.unlink(missing_ok=True)
            return False
        return True

    def drop_ballast(self) -> bool:
        """Give the room to what must still be written; False if it was given already."""
        path = self.folder / _BALLAST
        if not path.exists():
            return False
        path.unlink()
        return True

    def close(self) -> None:
        """Let others have it."""
        self.reading.close()
        self.tables.close()
        self._lock.release()
