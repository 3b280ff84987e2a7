"""The rows of one INSERT on their way into the engine; must never acknowledge what the engine has not stored.

chDB's streaming insert answers "done" whatever happens at its end: a full disk, too many partitions, memory (measured
on 4.4.0: error 243 and 252, nothing stored, no error returned). So rows stream into a table in memory, and an
``INSERT SELECT``, which does report, takes them on: 3 to 5 ms of CPU and one copy an insert (measured).

An insert of one piece is small and frequent, so what can be left out is: its rows are counted as they are stored, not
before, and one thread takes them on (two cost 1.5 ms of CPU more for one row, and nothing is faster by them).
"""

from __future__ import annotations

import re
from typing import Final

from kinestream.deploy.store.engine import Handle, Insert, literal
from kinestream.deploy.store.errors import NOT_IMPLEMENTED, UNKNOWN_EXCEPTION, QueryError
from kinestream.deploy.store.results import Run

_STAGE: Final = "_kinestream_rows"
_PART: Final = r"(?:`(?:[^`\\]|\\.)*`|\w+)"
#: A canonical INSERT: its table, its columns in parentheses if it names any, its settings.
_HEAD: Final = re.compile(rf"INSERT INTO (?:TABLE )?({_PART}(?:\.{_PART})?)(?: (\(.*?\)))?( SETTINGS .*)?", re.DOTALL)


class Inserting:
    """Opened by the first piece, closed by :meth:`finish` or :meth:`abandon`. Every call may block."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._handle: Handle | None = None
        self._insert: Insert | None = None
        self._target = ""

    def append(self, piece: bytes) -> None:
        """Hand on rows; :class:`QueryError` when the engine refuses them."""
        self._open()[1].append(piece)

    def finish(self, piece: bytes) -> None:
        """Hand on the last rows and commit; counts are in the run afterwards."""
        in_pieces = self._handle is not None
        handle, insert = self._open()
        if piece:
            insert.append(piece)
        rows, size = insert.finish()
        self._insert = None
        if in_pieces:
            _complete(_staged(handle), rows)
        stored = handle.query(f"INSERT INTO {self._target} SELECT * FROM {_STAGE} SETTINGS max_threads = 1")
        # Rows that a materialized view takes as well count again, and could stand for others that are lost.
        _complete(_staged(handle) if stored.written_rows > rows else stored.written_rows, rows)
        self._run.counts.update(written_rows=rows, written_bytes=size, result_rows=rows)
        self.abandon()

    def abandon(self) -> None:
        """Close; without :meth:`finish` the rows stay out. Idempotent."""
        insert, self._insert = self._insert, None
        handle, self._handle = self._handle, None
        try:
            if insert is not None:
                insert.cancel()
        finally:
            if handle is not None:
                handle.close()

    def _open(self) -> tuple[Handle, Insert]:
        if self._handle is not None and self._insert is not None:
            return self._handle, self._insert
        handle = self._handle = self._run.engine.open_handle()
        self._run.prepare(handle)
        # send_insert takes no parameters.
        for name, value in self._run.params.items():
            handle.query(f"SET param_{name} = {literal(value)}")
        head = _HEAD.fullmatch(self._run.statement.text.rstrip())
        if head is None:
            raise QueryError(NOT_IMPLEMENTED, "rows can be inserted into a table only: INSERT INTO table [(columns)]")
        self._target, columns, settings = head.group(1), head.group(2) or "", head.group(3) or ""
        # With the table's own defaults, so that what a row leaves out is filled as it would be there.
        handle.query(f"CREATE TEMPORARY TABLE {_STAGE} AS {self._target} ENGINE = Memory")
        self._insert = handle.insert(f"INSERT INTO {_STAGE} {columns}{settings}", self._run.format)
        return handle, self._insert


def _staged(handle: Handle) -> int:
    return int(handle.query(f"SELECT count() FROM {_STAGE}").text())


def _complete(found: int, rows: int) -> None:
    if found != rows:
        told = f"{found} of {rows} rows were taken: the others break a constraint of the table, or are too many at once"
        raise QueryError(UNKNOWN_EXCEPTION, told)
