"""The rows of one INSERT on their way into the engine; must never acknowledge before the engine has."""

from __future__ import annotations

from kinestream.deploy.store.engine import Handle, Insert, literal
from kinestream.deploy.store.results import Run


class Inserting:
    """Opened by the first piece, closed by :meth:`finish` or :meth:`abandon`. Every call may block."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._handle: Handle | None = None
        self._insert: Insert | None = None

    def append(self, piece: bytes) -> None:
        """Hand on rows; :class:`QueryError` when the engine refuses them."""
        self._open().append(piece)

    def finish(self, piece: bytes) -> None:
        """Hand on the last rows and commit; counts are in the run afterwards."""
        insert = self._open()
        if piece:
            insert.append(piece)
        rows, size = insert.finish()
        self._insert = None
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

    def _open(self) -> Insert:
        if self._insert is None:
            self._handle = self._run.engine.open_handle()
            self._run.prepare(self._handle)
            # send_insert takes no parameters.
            for name, value in self._run.params.items():
                self._handle.query(f"SET param_{name} = {literal(value)}")
            self._insert = self._handle.insert(self._run.statement.text, self._run.format)
        return self._insert
