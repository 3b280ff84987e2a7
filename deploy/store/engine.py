"""The one open chDB of this process: handles, streams and inserts. Nothing else may touch chDB."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from kinestream.deploy.store.errors import QueryError, from_engine
from kinestream.schemas.errors import StoreError

CONFIG = Path(__file__).with_name("config.xml")


class Engine:
    """chDB on ``path``. Raises :class:`StoreError` when it cannot be opened or was inherited through a fork."""

    def __init__(self, path: Path, keep_free: int = 0) -> None:
        path = path.resolve()
        if set("?&#%") & set(str(path)):
            raise StoreError(f"the store's path {path} holds one of ? & # %; choose a path without them")
        self._pid = os.getpid()
        self._address = f"{path / 'engine'}?config-file={_write_config(path, keep_free)}"
        # Kept open for the life of the process: with the last handle the engine would shut down.
        self._root: Any = _connect(self._address)

    def close(self) -> None:
        """Shut the engine down; every handle must be closed before."""
        if self._root is not None:
            self._root.close()
            self._root = None

    @contextmanager
    def handle(self) -> Iterator[Handle]:
        """A fresh handle, closed at the end whatever happened.

        Never reuse one: after a statement fails mid-run, the next statement on that handle returns the failed one's
        rows. Never close one from another thread to stop it: that blocks until the statement ends.
        """
        handle = self.open_handle()
        try:
            yield handle
        finally:
            handle.close()

    def open_handle(self) -> Handle:
        """As :meth:`handle`, for those who close it themselves."""
        if os.getpid() != self._pid:
            raise StoreError("the store was opened before a fork; the engine's threads are gone: spawn, never fork")
        if self._root is None:
            raise StoreError("the store is shutting down")
        return Handle(_connect(self._address))

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


class Handle:
    """One statement's session in the engine. Failures are :class:`QueryError`."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def close(self) -> None:
        """End the session; idempotent."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def query(self, sql: str, format: str = "TSVRaw", params: Mapping[str, str] | None = None) -> Answer:
        """Run one statement to its end; parameter values are TSV-escaped, as over HTTP."""
        try:
            result = self._connection.query(sql, format, params=dict(params or {}))
        except RuntimeError as problem:
            raise from_engine(problem) from problem
        if result.has_error():
            raise from_engine(RuntimeError(result.error_message()))
        return Answer(result)

    def set(self, settings: Mapping[str, str]) -> None:
        """``SET`` each; names must be identifiers (:class:`QueryError` otherwise)."""
        for name in settings:
            if not name.replace(".", "_").isidentifier():
                raise QueryError(115, f"Setting name {name!r} is no identifier")
        if settings:
            self.query("SET " + ", ".join(f"{name} = {literal(value)}" for name, value in settings.items()))

    def stream(self, sql: str, format: str, params: Mapping[str, str]) -> Iterator[bytes]:
        """The result of a SELECT in chunks, each a whole document in ``format``; none for an empty result."""
        try:
            result = self._connection.send_query(sql, format, params=dict(params))
            while True:
                chunk = self._connection.streaming_fetch_result(result)
                if chunk is None or chunk.rows_read() == 0:
                    return
                yield chunk.bytes()
        except RuntimeError as problem:
            raise from_engine(problem) from problem

    def insert(self, head: str, format: str) -> Insert:
        """Begin an INSERT of ``format`` bytes. The only way rows get in: inline binary rows are lost silently."""
        try:
            return Insert(self._connection, self._connection.send_insert(head, format))
        except RuntimeError as problem:
            raise from_engine(problem) from problem


class Answer:
    """A whole result: its bytes and counts."""

    def __init__(self, result: Any) -> None:
        self.body: bytes = result.bytes()
        self.read_rows: int = result.storage_rows_read()
        self.read_bytes: int = result.storage_bytes_read()
        self.rows: int = result.rows_read()
        self.written_rows: int = result.rows_written()

    def text(self) -> str:
        """The body without its last line end."""
        return self.body.decode(errors="replace").removesuffix("\n")


class Insert:
    """An INSERT that takes bytes; nothing is promised before :meth:`finish` returned."""

    def __init__(self, connection: Any, result: Any) -> None:
        self._connection = connection
        self._result = result

    def append(self, piece: bytes) -> None:
        """Hand on bytes of the format; they may end anywhere."""
        try:
            self._connection.insert_append(self._result, piece)
        except RuntimeError as problem:
            raise from_engine(problem) from problem

    def finish(self) -> tuple[int, int]:
        """Commit; rows and bytes written."""
        try:
            result = self._connection.insert_done(self._result)
        except RuntimeError as problem:
            raise from_engine(problem) from problem
        if result.has_error():
            raise from_engine(RuntimeError(result.error_message()))
        return result.rows_written(), result.bytes_written()

    def cancel(self) -> None:
        """Give the INSERT up: what was not yet written stays out."""
        try:
            self._connection.insert_cancel(self._result)
        except RuntimeError as problem:
            raise from_engine(problem) from problem


def literal(value: str) -> str:
    """A SQL string literal."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def parameter(value: str) -> str:
    """A value escaped as query parameters are (TSV)."""
    return value.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\0", "\\0")


def _connect(address: str) -> Any:
    try:
        # 400 MB of library: only a process that opens a store loads it.
        chdb: Any = importlib.import_module("chdb._chdb")
        return chdb.connect(address)
    except RuntimeError as problem:
        raise StoreError(f"the store cannot be opened: {problem}") from problem


def _write_config(path: Path, keep_free: int) -> Path:
    places = {name: path / name for name in ("files", "tmp")}
    for place in places.values():
        place.mkdir(parents=True, exist_ok=True)
    config = path / "config.xml"
    text = CONFIG.read_text(encoding="utf-8").replace("{config}", str(config))
    text = text.replace("{keep_free}", str(keep_free))
    for name, place in places.items():
        text = text.replace("{" + name + "}", f"{place}/")
    config.write_text(text, encoding="utf-8")
    return config
