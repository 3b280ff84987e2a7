"""Where a robot's spool lies, and who may have it open: one process at a time; never looks at what it holds."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
from pathlib import Path
from typing import Final
from urllib.parse import quote

from kinestream.schemas.errors import SpoolError
from kinestream.schemas.settings import Settings

#: Files of a spool: its tables, the lock, who holds the lock, and room for a full disk.
TABLES: Final = "spool.sqlite"
#: Seconds a lock is waited for: somebody may just be asking whether it is held.
_PATIENCE_S: Final = 0.3
_LOCK, _OWNER = "lock.sqlite", "owner"

_DATA: Final = {"darwin": "Library/Application Support", "win32": "AppData/Local"}


def spools_folder(setting: str = "") -> Path:
    """The folder of all spools: ``setting`` (Settings.spool), or ``kinestream/spool`` in the user's data folder."""
    if setting:
        return Path(setting).expanduser()
    return Path.home() / _DATA.get(sys.platform, ".local/share") / "kinestream" / "spool"


def spool_folder(settings: Settings, robot_id: str, *, gateway: bool = False) -> Path:
    """The usual spool of a robot; ``gateway``: of one that sends through the gateway (no tenant's name has a dot)."""
    tenant = f"{settings.tenant}.ingest" if gateway else settings.tenant
    name = quote(robot_id, safe="")
    if name in (".", ".."):  # no folder of its own, and the only names that quoting leaves as they are
        name = name.replace(".", "%2E")
    return spools_folder(settings.spool) / tenant / name


def find_spools(folder: Path) -> list[Path]:
    """``folder`` itself if it is a spool, else every spool below it."""
    if (folder / TABLES).exists():
        return [folder]
    return sorted(found.parent for found in folder.glob(f"*/*/{TABLES}")) or sorted(
        found.parent for found in folder.glob(f"*/{TABLES}")
    )


class SpoolLock:
    """Holds a spool for this process until :meth:`release`, or until the process dies in any way.

    The lock is an open exclusive transaction of SQLite's on a file of its own: held across every platform, between
    the robots of one process too, not inherited by a fork, gone with the process.
    """

    def __init__(self, folder: Path, owner: str) -> None:
        self._connection = sqlite3.connect(
            folder / _LOCK, timeout=_PATIENCE_S, isolation_level=None, check_same_thread=False, cached_statements=0
        )
        try:
            self._connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as problem:
            self._connection.close()
            raise SpoolError(
                f"the spool {folder} is in use ({owner_of(folder) or problem}): a spool belongs to one robot at a time;"
                " end the other program, or give this one a spool= of its own"
            ) from problem
        (folder / _OWNER).write_text(f"{owner}, process {os.getpid()}", encoding="utf-8")

    def release(self) -> None:
        """Let others have it; a second call does nothing."""
        self._connection.close()


def owner_of(folder: Path) -> str:
    """Who opened the spool last; empty = nobody yet."""
    with contextlib.suppress(OSError):
        return (folder / _OWNER).read_text(encoding="utf-8")
    return ""


def in_use(folder: Path) -> bool:
    """Whether a process has the spool open now."""
    try:
        connection = sqlite3.connect(f"file:{folder / _LOCK}?mode=rw", uri=True, timeout=0, isolation_level=None)
    except sqlite3.Error:
        return False
    try:
        connection.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as problem:
        return problem.sqlite_errorcode == sqlite3.SQLITE_BUSY
    finally:
        connection.close()
    return False
