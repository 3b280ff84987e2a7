"""The tables of a spool: one SQLite file in WAL mode and every statement on it; knows no broker, clock or thread.

A record lies under ``key << 32 | n``: episodes one after the other, the records of each in order. So a take is read,
sent and removed as one range of pages, and nothing needs an index.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from kinestream.schemas.content_hash import BLOCK
from kinestream.schemas.errors import SpoolError
from kinestream.schemas.registry import committed_ids

#: Version of the tables.
_VERSION: Final = 1
#: 16 kB pages hold a chunk or several: half the work of SQLite's usual 4 kB.
_PAGE: Final = 16_384
#: Pages of the log at which it is brought into the file: 4 MB, a few milliseconds.
_CHECKPOINT: Final = 256
#: Free pages at which the file is made smaller, and by how many at a time.
_FREE, _GIVE_BACK = 4096, 512
#: The same on a full disk, where a move of pages needs room in the log first: 2 MB.
_GIVE_BACK_FULL: Final = 128
#: Milliseconds that a statement waits for other connections, and bringing the whole log in for those that read.
_BUSY_MS, _READERS_MS = 10_000, 500
_DONE: Final = "WHOLE"
_N: Final = (1 << 32) - 1

#: Schema ids of end marks: an episode's last record.
ENDS: Final = frozenset(number for number, name in committed_ids().items() if name.startswith("EpisodeEnd.v"))

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS episodes (
  key INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, number INTEGER NOT NULL, boot_id TEXT NOT NULL,
  lane TEXT NOT NULL DEFAULT '', records INTEGER NOT NULL DEFAULT 0, frames INTEGER NOT NULL DEFAULT 0,
  bytes INTEGER NOT NULL DEFAULT 0, held INTEGER NOT NULL DEFAULT 0, ended INTEGER NOT NULL DEFAULT 0,
  acked INTEGER NOT NULL DEFAULT 0, acked_bytes INTEGER NOT NULL DEFAULT 0, receipt TEXT NOT NULL DEFAULT '');
CREATE TABLE IF NOT EXISTS records (id INTEGER PRIMARY KEY, first_seq INTEGER, frames INTEGER, body BLOB);
CREATE TABLE IF NOT EXISTS leaves (id INTEGER PRIMARY KEY, leaves BLOB);
CREATE TABLE IF NOT EXISTS redo (id INTEGER PRIMARY KEY);
"""


@dataclass(slots=True)
class EpisodeRow:
    """What a spool knows of one episode; ``lane`` is empty until its first record goes out."""

    key: int
    id: str
    number: int
    boot_id: str
    lane: str
    records: int
    frames: int
    bytes: int
    #: bytes of records that are still here
    held: int
    ended: bool
    #: records the broker acknowledged, from the first on without a hole
    acked: int
    acked_bytes: int
    #: status of the latest receipt that was not whole; WHOLE = it is being removed
    receipt: str

    @property
    def whole(self) -> bool:
        """Ended, and acknowledged to the end."""
        return self.ended and self.acked == self.records

    @property
    def done(self) -> bool:
        """The hub has it whole: what is still here of it is on its way out."""
        return self.receipt == _DONE


@dataclass(frozen=True, slots=True)
class Kept:
    """One record in the spool: its place in the episode, the frames before and in it, the message."""

    n: int
    first_seq: int
    frames: int
    body: bytes


class Tables:
    """One connection. Raises :class:`SpoolError` for a file that is no spool or of a later version."""

    def __init__(self, path: Path, *, power: bool = False) -> None:
        self._connection = sqlite3.connect(path, timeout=_BUSY_MS / 1000, isolation_level=None, check_same_thread=False)
        try:
            self._prepare(power)
        except sqlite3.Error as problem:
            self._connection.close()
            raise SpoolError(f"{path} cannot be used as a spool ({problem}): see to its disk, or move it away") from (
                problem
            )

    def _prepare(self, power: bool) -> None:
        run = self._connection.execute
        (version,) = run("PRAGMA user_version").fetchone()
        if version == 0:  # these write, also where they change nothing, and so fail whoever reads on a full disk
            run(f"PRAGMA page_size={_PAGE}")
            run("PRAGMA auto_vacuum=INCREMENTAL")
            run("PRAGMA journal_mode=WAL")
        run(f"PRAGMA synchronous={'FULL' if power else 'NORMAL'}")
        run(f"PRAGMA wal_autocheckpoint={_CHECKPOINT}")
        run(f"PRAGMA journal_size_limit={4 * _CHECKPOINT * _PAGE}")
        if version == 0:
            self._connection.executescript(_SCHEMA)
            run(f"PRAGMA user_version={_VERSION}")
        elif version != _VERSION:
            raise sqlite3.DatabaseError(f"version {version}, this program knows {_VERSION}")

    @property
    def synchronous(self) -> str:
        """When commits reach the disk itself: NORMAL (with a checkpoint) or FULL (each)."""
        (level,) = self._connection.execute("PRAGMA synchronous").fetchone()
        return {1: "NORMAL", 2: "FULL"}[level]

    def close(self) -> None:
        """Bring the log into the file and let go of it."""
        self._connection.close()

    def transaction(self, work: Callable[[], None], *, immediate: bool = True) -> None:
        """All of ``work`` or nothing, or, not ``immediate``, one moment for reading; raises ``sqlite3.Error``."""
        run = self._connection.execute
        run("BEGIN IMMEDIATE" if immediate else "BEGIN")
        try:
            work()
            run("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                run("ROLLBACK")
            raise

    # -- facts about the spool --------------------------------------------
    def fact(self, name: str, default: Any = None) -> Any:
        """One named value."""
        found = self._connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return default if found is None else found[0]

    def set_fact(self, name: str, value: Any) -> None:
        """Keep one named value."""
        self._connection.execute("REPLACE INTO meta VALUES (?, ?)", (name, value))

    # -- writing ----------------------------------------------------------
    def put_records(self, rows: Iterable[tuple[int, int, int, bytes]]) -> None:
        """Rows of (id, first_seq, frames, body)."""
        self._connection.executemany("INSERT INTO records VALUES (?, ?, ?, ?)", rows)

    def put_leaves(self, rows: Iterable[tuple[int, bytes]]) -> None:
        """Rows of (key << 32 | block, leaves)."""
        self._connection.executemany("REPLACE INTO leaves VALUES (?, ?)", rows)

    def put_episode(self, row: EpisodeRow) -> None:
        """What was handed over of an episode; leaves its lane and acknowledgements as they are once it is here."""
        self._connection.execute(
            "INSERT INTO episodes (key, id, number, boot_id, lane, records, frames, bytes, held, ended)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET records = excluded.records,"
            " frames = excluded.frames, bytes = excluded.bytes, held = excluded.held, ended = excluded.ended",
            (
                row.key,
                row.id,
                row.number,
                row.boot_id,
                row.lane,
                row.records,
                row.frames,
                row.bytes,
                row.held,
                row.ended,
            ),
        )

    def set_lane(self, key: int, lane: str) -> None:
        """Fix the lane of an episode, before its first record goes out."""
        self._connection.execute("UPDATE episodes SET lane = ? WHERE key = ?", (lane, key))

    def set_acked(self, key: int, acked: int, acked_bytes: int) -> None:
        """Records the broker has, from the first on without a hole."""
        self._connection.execute(
            "UPDATE episodes SET acked = ?, acked_bytes = ? WHERE key = ?", (acked, acked_bytes, key)
        )

    def set_receipt(self, key: int, status: str) -> None:
        """What the hub said of an episode it does not have whole."""
        self._connection.execute("UPDATE episodes SET receipt = ? WHERE key = ?", (status, key))

    def set_redo(self, key: int, numbers: Iterable[int]) -> None:
        """Records that are to be sent again, and no others."""
        self._connection.execute("DELETE FROM redo WHERE id >= ? AND id < ?", (key << 32, (key + 1) << 32))
        self._connection.executemany("INSERT INTO redo VALUES (?)", ((key << 32 | n,) for n in numbers))

    def free(self, key: int, below: int, most: int) -> int:
        """Remove up to ``most`` chunks of the records below ``below``; returns their bytes.

        The start, marks and the end stay, and while an episode is not ended so do its first chunk (all stamps are
        relative to it) and those of a block whose leaves are not here yet: from these an orphan is closed.
        """
        (ended,) = self._connection.execute("SELECT ended FROM episodes WHERE key = ?", (key,)).fetchone()
        limits = (0, _N) if ended else (1, BLOCK * self.blocks(key))
        chosen = (
            "FROM records WHERE id >= ? AND id < ? AND frames > 0 AND first_seq >= ? AND first_seq + frames <= ?"
            " ORDER BY id LIMIT ?"
        )
        return self._remove(key, chosen, (key << 32, key << 32 | below, *limits, most))

    def forget(self, key: int, most: int) -> tuple[int, bool]:
        """Remove up to ``most`` records of an episode, with the last all that is known of it: bytes, and if gone."""
        self.set_receipt(key, _DONE)  # a crash between two pieces must not leave half a take
        bounds = (key << 32, (key + 1) << 32)
        freed = self._remove(key, "FROM records WHERE id >= ? AND id < ? ORDER BY id LIMIT ?", (*bounds, most))
        run = self._connection.execute
        if run("SELECT 1 FROM records WHERE id >= ? AND id < ? LIMIT 1", bounds).fetchone():
            return freed, False
        run("DELETE FROM leaves WHERE id >= ? AND id < ?", bounds)
        run("DELETE FROM redo WHERE id >= ? AND id < ?", bounds)
        run("DELETE FROM episodes WHERE key = ?", (key,))
        return freed, True

    def _remove(self, key: int, chosen: str, arguments: Sequence[int]) -> int:
        run = self._connection.execute
        rows = run(f"SELECT id, length(body) {chosen}", arguments).fetchall()
        if not rows:
            return 0
        if len(rows) == rows[-1][0] - rows[0][0] + 1:
            run("DELETE FROM records WHERE id BETWEEN ? AND ?", (rows[0][0], rows[-1][0]))
        else:
            self._connection.executemany("DELETE FROM records WHERE id = ?", ((row[0],) for row in rows))
        freed = sum(row[1] for row in rows)
        run("UPDATE episodes SET held = held - ? WHERE key = ?", (freed, key))
        return freed

    def give_back(self) -> None:
        """Make the file a little smaller if much of it is free."""
        (free,) = self._connection.execute("PRAGMA freelist_count").fetchone()
        if free > _FREE:
            self._vacuum(_GIVE_BACK)

    def _vacuum(self, pages: int) -> None:
        # Each step frees one page; execute() takes a statement without columns for done after its first.
        self._connection.executescript(f"PRAGMA incremental_vacuum({pages})")

    def shrink(self) -> None:
        """Take less room on the disk: fewer free pages, no log; as far as whoever reads lets it."""
        run = self._connection.execute
        self._vacuum(_GIVE_BACK_FULL)
        run(f"PRAGMA busy_timeout={_READERS_MS}")
        try:
            run("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        finally:
            run(f"PRAGMA busy_timeout={_BUSY_MS}")

    # -- reading ----------------------------------------------------------
    def episodes(self) -> list[EpisodeRow]:
        """Every episode, the oldest first."""
        rows = self._connection.execute(
            "SELECT key, id, number, boot_id, lane, records, frames, bytes, held, ended, acked, acked_bytes, receipt"
            " FROM episodes ORDER BY key"
        )
        found = [EpisodeRow(*row) for row in rows.fetchall()]
        for one in found:
            one.ended = bool(one.ended)
        return found

    def records(self, key: int, first: int, most: int) -> list[Kept]:
        """Up to ``most`` records of an episode from its ``first``-th on."""
        rows = self._connection.execute(
            "SELECT id, first_seq, frames, body FROM records WHERE id >= ? AND id < ? ORDER BY id LIMIT ?",
            (key << 32 | first, (key + 1) << 32, most),
        )
        return [Kept(number & _N, first_seq, frames, body) for number, first_seq, frames, body in rows.fetchall()]

    def places(self, key: int) -> list[tuple[int, int, int]]:
        """(n, first_seq, frames) of every record that is still here."""
        rows = self._connection.execute(
            "SELECT id, first_seq, frames FROM records WHERE id >= ? AND id < ? ORDER BY id",
            (key << 32, (key + 1) << 32),
        )
        return [(number & _N, first_seq, frames) for number, first_seq, frames in rows]

    def leaves(self, key: int) -> list[bytes]:
        """The leaves of each closed block, from the first on."""
        bounds = (key << 32, (key + 1) << 32)
        rows = self._connection.execute("SELECT leaves FROM leaves WHERE id >= ? AND id < ? ORDER BY id", bounds)
        return [row[0] for row in rows]

    def blocks(self, key: int) -> int:
        """Number of closed blocks."""
        bounds = (key << 32, (key + 1) << 32)
        (count,) = self._connection.execute("SELECT count(*) FROM leaves WHERE id >= ? AND id < ?", bounds).fetchone()
        return int(count)

    def redo(self, key: int) -> list[int]:
        """Records that are to be sent again."""
        bounds = (key << 32, (key + 1) << 32)
        rows = self._connection.execute("SELECT id FROM redo WHERE id >= ? AND id < ? ORDER BY id", bounds)
        return [row[0] & _N for row in rows]
