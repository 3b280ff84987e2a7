"""Owns reading what the stack's services wrote: their last lines and the next ones. It writes and rotates nothing.

supervisord rotates: 10 MB a file, three older ones beside it (``broker.log.1`` ...), so logs never fill a disk.
"""

from __future__ import annotations

import os
import re
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from kinestream.schemas.errors import StackError

_TERMINAL_CODES: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
#: Older files that are kept, and bytes read from a file's end at most: nobody reads more in a terminal.
_OLDER: Final = 3
_TAIL_BYTES: Final = 8_000_000
_EVERY_S: Final = 0.2


def service_logs(home: Path, known: Sequence[str], wanted: Sequence[str]) -> dict[str, Path]:
    """Log file by service, all ``known`` ones if none is wanted.

    Raises :class:`StackError` for a name that is no service, and where no stack was ever started.
    """
    if strange := [name for name in wanted if name not in known]:
        raise StackError(f"no service {', '.join(map(repr, strange))}: the services are {', '.join(known)}")
    if not (home / "logs").is_dir():
        raise StackError(f"no stack was started in {home}: run `kinestream up`, or set KINESTREAM_HOME")
    return {name: home / "logs" / f"{name}.log" for name in wanted or known}


def last_lines(path: Path, count: int) -> list[str]:
    """The last ``count`` lines, those of rotated files included; none of a file that is not there."""
    lines: deque[str] = deque(maxlen=count)
    for one in [*(path.with_name(f"{path.name}.{n}") for n in range(_OLDER, 0, -1)), path]:
        lines.extend(_tail(one))
    return list(lines)


def _tail(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            file.seek(max(file.seek(0, os.SEEK_END) - _TAIL_BYTES, 0))
            return _clean(file.read())
    except FileNotFoundError:
        return []


def _clean(raw: bytes) -> list[str]:
    text = _TERMINAL_CODES.sub("", raw.decode(errors="replace"))
    return [line.rstrip() for line in text.replace("\r", "\n").split("\n") if line.strip()]


@dataclass(slots=True)
class Follower:
    """The lines that are written from now on, also after a rotation."""

    path: Path
    _inode: int = 0
    _at: int = 0
    _half: bytes = field(default=b"")

    def __post_init__(self) -> None:
        found = self._stat()
        if found is not None:
            self._inode, self._at = found.st_ino, found.st_size

    def new_lines(self) -> list[str]:
        """Whole lines since the last call; a line that is half written waits."""
        found = self._stat()
        if found is None:
            return []
        rest: list[str] = []
        if found.st_ino != self._inode or found.st_size < self._at:
            rest = self._rest()
            self._inode, self._at, self._half = found.st_ino, 0, b""
        return rest + self._read(self.path)

    def _rest(self) -> list[str]:
        """What was still written before the rotation."""
        older = self.path.with_name(f"{self.path.name}.1")
        return self._read(older) if older.exists() and older.stat().st_ino == self._inode else []

    def _read(self, path: Path) -> list[str]:
        with path.open("rb") as file:
            file.seek(self._at)
            raw = self._half + file.read()
            self._at = file.tell()
        whole, mark, self._half = raw.rpartition(b"\n")
        return _clean(whole + mark)

    def _stat(self) -> os.stat_result | None:
        try:
            return self.path.stat()
        except FileNotFoundError:
            return None


def follow(logs: dict[str, Path]) -> Iterator[tuple[str, str]]:
    """(service, line) as they are written, for ever."""
    followers = {name: Follower(path) for name, path in logs.items()}
    while True:
        for name, one in followers.items():
            for line in one.new_lines():
                yield name, line
        time.sleep(_EVERY_S)
