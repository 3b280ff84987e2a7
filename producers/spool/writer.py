"""Frames into the spool, in groups, one transaction each: what is committed is promised; never the network.

Callers' threads hand over, one thread commits. When the disk refuses, what was handed over waits in memory and is
tried again; new frames are refused until there is room, end marks are not.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from kinestream.producers.delivery import Ledger
from kinestream.producers.spool.parcel import Parcel
from kinestream.producers.spool.store import Spool
from kinestream.producers.spool.tables import ENDS, Tables
from kinestream.schemas.content_hash import HashedBlock
from kinestream.schemas.errors import SpoolError, SpoolFullError
from kinestream.schemas.settings import Settings

log = logging.getLogger("kinestream.robot")

#: Least seconds between two commits: many chunks share one.
GROUP_S: Final = 0.02
#: Seconds between two tries on a disk that refused.
RETRY_S: Final = 1.0
#: Bytes that may wait for a slow disk; then send() waits for it. Well below the room kept for a full one.
_PENDING_BYTES: Final = 1_500_000


@dataclass(frozen=True, slots=True)
class Task:
    """A change of the spool beside frames; ``then`` is called once it is durable. May be tried more than once."""

    work: Callable[[], object]
    then: Callable[[], None] = lambda: None


@dataclass(slots=True)
class _Batch:
    """What one transaction writes."""

    records: list[tuple[int, int, int, bytes]] = field(default_factory=list)
    leaves: list[tuple[int, bytes]] = field(default_factory=list)
    episodes: dict[int, _Taking] = field(default_factory=dict)
    bytes: int = 0


@dataclass(slots=True)
class _Taking:
    """An episode that is being handed over."""

    parcel: Parcel
    ledger: Ledger


class Writer:
    """The one writer of a spool. :meth:`put` and :meth:`do` from any thread, :meth:`turn` from one."""

    def __init__(
        self,
        spool: Spool,
        settings: Settings,
        parcels: dict[int, Parcel],
        lane_now: Callable[[], str],
        on_commit: Callable[[], None],
    ) -> None:
        self._spool, self._parcels = spool, parcels
        self._lane_now, self._on_commit = lane_now, on_commit
        self._limit, self._reserve = settings.spool_bytes, settings.spool_reserve_bytes
        self._room = threading.Condition()
        self._commit_lock = threading.Lock()
        self._batch, self._tasks = _Batch(), deque[Task]()
        self._taking: dict[str, _Taking] = {}
        self._held = sum(parcel.held for parcel in parcels.values())
        #: bytes of the batch that is on its way to the disk
        self._committing = 0
        self._next_key = max(parcels, default=0) + 1
        self._committed_s = self._refused_s = 0.0
        self._urgent = False
        #: why the disk takes nothing; empty = it does
        self.failure = ""

    @property
    def tables(self) -> Tables:
        """What a task of :meth:`do` works on."""
        return self._spool.tables

    @property
    def held(self) -> int:
        """Bytes of records in the spool and on the way into it."""
        return self._held + self._committing + self._batch.bytes

    @property
    def full(self) -> bool:
        """No new episode may begin."""
        return bool(self.failure) or self.held >= self._limit

    @property
    def has_room(self) -> bool:
        """A record handed over now would be taken without waiting."""
        return not self.failure and self._batch.bytes < _PENDING_BYTES

    def check(self) -> None:
        """Raises :class:`SpoolFullError` while the disk takes nothing, or a take under way has used up the reserve.

        Before each frame: a chunk that is cut for its age is no longer asked, so slow robots would pass any bound.
        """
        self._check_disk()
        self._check_reserve(0)

    def _check_disk(self) -> None:
        if self.failure:
            raise SpoolFullError(
                f"the spool {self._spool.folder} cannot be written ({self.failure}): what was accepted before is kept;"
                " make room on its disk, and send() goes on by itself"
            )

    def admit(self) -> None:
        """Raises :class:`SpoolFullError` where no new episode may begin."""
        self._check_disk()
        if self.held >= self._limit:
            raise SpoolFullError(
                f"the spool {self._spool.folder} holds {self.held:,} of {self._limit:,} bytes, so no new episode may"
                " begin: what is in it is kept. Connect the robot (`kinestream spool status` says what waits), or"
                " raise KINESTREAM_SPOOL_BYTES"
            )

    def put(
        self, message: bytes, ledger: Ledger, frames: int, blocks: Sequence[HashedBlock] = (), *, wait: bool = True
    ) -> None:
        """Take one record; with ``wait`` it may be refused, or wait for a slow disk.

        Raises :class:`SpoolFullError` before anything is taken.
        """
        with self._room:
            if wait:
                self._check_disk()
                self._check_reserve(len(message))
                self._room.wait_for(lambda: self._batch.bytes < _PENDING_BYTES or bool(self.failure))
                self._check_disk()
            taking = self._taking.get(ledger.episode_id) or self._begin(ledger)
            self._batch.records.append((taking.parcel.key << 32 | ledger.records, ledger.frames, frames, message))
            for block in blocks:
                names = sorted(block.leaves, key=str.encode)
                row = (taking.parcel.key << 32 | block.index, b"".join(block.leaves[name] for name in names))
                self._batch.leaves.append(row)
            self._batch.bytes += len(message)
            self._batch.episodes[taking.parcel.key] = taking
            ledger.records += 1
            ledger.bytes += len(message)
            ledger.frames += frames
            self._urgent = self._urgent or not wait  # a chunk cut for its age, or an end
            if self._urgent or len(self._batch.records) == 1:  # the committing thread sleeps
                self._room.notify_all()

    def do(self, work: Callable[[], object], then: Callable[[], None] = lambda: None) -> None:
        """Change the spool in the next transaction."""
        self._tasks.append(Task(work, then))

    def freed(self, parcel: Parcel, size: int) -> None:
        """So many bytes of an episode were removed; for the end of a task."""
        parcel.held -= size
        self._held -= size

    def turn(self, wait_s: float) -> None:
        """Commit what is there, or what comes within ``wait_s``; at most one commit each GROUP_S."""
        with self._room:
            self._room.wait_for(lambda: self._batch.bytes or self._tasks, wait_s)
            due = 0.0 if self._urgent else self._committed_s + GROUP_S
            if self.failure:
                due = self._refused_s + RETRY_S
            self._room.wait_for(
                lambda: self._urgent and not self.failure, min(max(due - time.monotonic(), 0.0), max(wait_s, GROUP_S))
            )
            if time.monotonic() < due and not (self._urgent and not self.failure):
                return
        self.commit()

    def commit(self) -> bool:
        """Commit what is there, now; False if the disk refused it."""
        with self._commit_lock:
            with self._room:
                batch, self._batch, self._urgent = self._batch, _Batch(), False
                self._committing = batch.bytes
                tasks = [self._tasks.popleft() for _ in range(len(self._tasks))]
            try:
                if batch.records or tasks:
                    self._write(batch, tasks)
            except sqlite3.Error as problem:
                self._take_back(batch, tasks)
                self._refuse(problem)
                return False
            self._committed_s = time.monotonic()
            self._settle(batch, tasks)
            self._recover()
            return True

    def _begin(self, ledger: Ledger) -> _Taking:
        left = (parcel for parcel in list(self._parcels.values()) if parcel.id == ledger.episode_id)
        parcel = next(left, None)  # of a process before this one
        if parcel is None:
            parcel = Parcel(self._next_key, ledger.episode_id, began_s=time.monotonic())
            self._next_key += 1
        taking = self._taking[ledger.episode_id] = _Taking(parcel, ledger)
        return taking

    def _write(self, batch: _Batch, tasks: Sequence[Task]) -> None:
        def work() -> None:
            tables = self._spool.tables
            for taking in batch.episodes.values():
                parcel, ledger = taking.parcel, taking.ledger
                if parcel.key not in self._parcels:
                    parcel.lane = self._lane_now()
                    tables.set_fact("next_number", ledger.number + 1)
            tables.put_records(batch.records)
            tables.put_leaves(batch.leaves)
            for key, counts in _counted(batch).items():
                taking = batch.episodes[key]
                row = self._spool.row_of(taking.parcel, taking.ledger.number)
                row.records += counts[0]
                row.frames += counts[1]
                row.bytes += counts[2]
                row.held += counts[2]
                row.ended = counts[3]
                tables.put_episode(row)
            for task in tasks:
                task.work()

        if self._wrote(work) or (self._spool.make_room() and self._wrote(work)):
            return
        if self._spool.drop_ballast():
            self._refused_s = time.monotonic()
        self.failure = self.failure or "its disk is full"
        self._spool.write(work)

    def _wrote(self, work: Callable[[], None]) -> bool:
        try:
            self._spool.write(work)
        except sqlite3.Error:
            return False
        return True

    def _settle(self, batch: _Batch, tasks: Sequence[Task]) -> None:
        """What was written is promised: tell everybody."""
        for key, (records, frames, size, ended) in _counted(batch).items():
            taking = batch.episodes[key]
            parcel = taking.parcel
            parcel.held += size
            parcel.bytes += size
            parcel.frames += frames
            parcel.records += records
            parcel.ended = ended
            taking.ledger.promised = parcel.frames
            self._parcels.setdefault(key, parcel)
            if ended:
                taking.ledger.ended = True
                self._taking.pop(parcel.id, None)
        with self._room:
            self._held, self._committing = self._held + batch.bytes, 0
        for task in tasks:
            task.then()
        if batch.records:
            with self._room:
                self._room.notify_all()
            self._on_commit()
        elif tasks and not self.failure:  # a full disk has no room for it: make_room() does it there
            self._spool.tables.give_back()

    def _take_back(self, batch: _Batch, tasks: Sequence[Task]) -> None:
        with self._room:
            since, self._batch, self._committing = self._batch, batch, 0
            batch.records += since.records
            batch.leaves += since.leaves
            batch.episodes |= since.episodes
            batch.bytes += since.bytes
            self._tasks.extendleft(reversed(tasks))

    def _refuse(self, problem: sqlite3.Error) -> None:
        self._refused_s = time.monotonic()
        self.failure = str(problem)
        with self._room:
            self._room.notify_all()
        log.error("the spool %s takes nothing: %s. It is tried again each second.", self._spool.folder, problem)

    def _recover(self) -> None:
        """After a full disk: frames are taken again once the room for an emergency is there again."""
        if self.failure and time.monotonic() >= self._refused_s + RETRY_S:
            self._refused_s = time.monotonic()
            if self._spool.make_room():
                self.failure = ""
                log.warning("the spool %s takes frames again", self._spool.folder)

    def _check_reserve(self, size: int) -> None:
        held = self.held + (size or 1)
        if held > self._limit + self._reserve:
            raise SpoolFullError(
                f"the spool {self._spool.folder} holds {self.held:,} bytes, its {self._limit:,} and the reserve of"
                f" {self._reserve:,} for a take under way: what was accepted before is kept. Connect the robot, or"
                " raise KINESTREAM_SPOOL_BYTES"
            )

    def close(self) -> None:
        """Commit the last of it and let go; raises :class:`SpoolError` if it cannot be written."""
        done = self.commit()
        self._spool.close()
        if not done:
            raise SpoolError(f"the last records could not be kept in {self._spool.folder}: {self.failure}")


def _counted(batch: _Batch) -> dict[int, tuple[int, int, int, bool]]:
    """By episode: records, frames, bytes, and whether the end mark is among them."""
    counts: dict[int, tuple[int, int, int, bool]] = {}
    for number, _, frames, message in batch.records:
        records, all_frames, size, _ = counts.get(number >> 32, (0, 0, 0, False))
        ended = int.from_bytes(message[1:5], "big") in ENDS
        counts[number >> 32] = (records + 1, all_frames + frames, size + len(message), ended)
    return counts
