"""The bytes of one statement's result, piece by piece; must never keep a handle after an error or the end."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from kinestream.deploy.store import arrow, formats, native
from kinestream.deploy.store.engine import Engine, Handle
from kinestream.deploy.store.errors import QueryError
from kinestream.deploy.store.statement import Statement

#: a result that cannot be sent in pieces lies in memory whole: Code 396 above this
ONE_SHOT_BYTES = 256 << 20
_SLICE = 1 << 20
_STREAMED_KINDS = ("SELECT", "WITH")
_WRAPPING = ("extremes", "output_format_json_array_of_rows")


@dataclass(slots=True)
class Run:
    """One checked statement and how to run it."""

    engine: Engine
    statement: Statement
    format: str
    database: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    #: SET after the client's settings, so that nothing of theirs can lift it
    read_only: bool = False
    #: counts for X-ClickHouse-Summary, final when the result was not streamed
    counts: dict[str, int] = field(default_factory=dict)

    @contextmanager
    def handle(self, **defaults: str) -> Iterator[Handle]:
        """A fresh handle with database and settings in place; ``defaults`` hold where the client set nothing."""
        with self.engine.handle() as handle:
            self.prepare(handle, defaults)
            yield handle

    def prepare(self, handle: Handle, defaults: Mapping[str, str] | None = None) -> None:
        """Database first, the client's settings next, ``readonly`` last."""
        if self.database:
            handle.query(f"USE {identifier(self.database)}")
        handle.set({**(defaults or {}), **self.settings})
        if self.read_only:
            handle.set({"readonly": "2"})


def identifier(name: str) -> str:
    """A quoted SQL identifier."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def pieces(run: Run) -> Iterator[bytes]:
    """Run it; every step may block and belongs in a thread. The first step raises what fails before any row."""
    if run.statement.kind in _STREAMED_KINDS and formats.streams(run.format) and _rows_only(run):
        return _streamed(run)
    return _whole(run)


def _rows_only(run: Run) -> bool:
    """Totals, extremes and arrays of rows stand around the rows: chunks would lose or repeat them."""
    bare = run.statement.bare
    return "WITH TOTALS" not in bare and not any(name in run.settings or name in bare for name in _WRAPPING)


def _whole(run: Run) -> Iterator[bytes]:
    with run.handle(max_result_bytes=str(ONE_SHOT_BYTES), result_overflow_mode="throw") as handle:
        answer = handle.query(run.statement.text, run.format, run.params)
    run.counts.update(read_rows=answer.read_rows, read_bytes=answer.read_bytes, result_rows=answer.rows)
    body = answer.body
    if not body and formats.key(run.format) == "native" and run.statement.kind in _STREAMED_KINDS:
        body = _empty(run)
    for start in range(0, len(body), _SLICE):
        yield body[start : start + _SLICE]


def _streamed(run: Run) -> Iterator[bytes]:
    if formats.is_arrow(run.format):
        yield from arrow.one_document(_chunks(run, "ArrowStream"), file=run.format.lower() == "arrow")
    elif formats.has_header(run.format):
        yield from _header_once(run)
    else:
        yield from _chunks(run, run.format)


def _chunks(run: Run, format: str) -> Iterator[bytes]:
    """Documents in ``format``, at least one if an empty result has a header."""
    sent = False
    # Rewritten or coded afterwards: packing inside Arrow would be done twice.
    with run.handle(output_format_arrow_compression_method="none") as handle:
        for chunk in handle.stream(run.statement.text, format, run.params):
            sent = True
            yield chunk
    if not sent and (formats.has_header(format) or formats.key(format) in ("native", "arrowstream")):
        yield _empty(run, format)


def _header_once(run: Run) -> Iterator[bytes]:
    header: bytes | None = None
    for number, chunk in enumerate(_chunks(run, run.format)):
        if number == 0:
            yield chunk
            continue
        header = _empty(run) if header is None else header
        if not chunk.startswith(header):
            raise QueryError(1002, f"chunk {number} of the result does not begin with its header")
        yield chunk[len(header) :]


def _empty(run: Run, format: str = "") -> bytes:
    """What the format says of a result without rows; chDB gives nothing for it when streaming."""
    format = format or run.format
    with run.handle() as handle:
        if formats.key(format) == "native":
            handle.set({"print_pretty_type_names": "0"})
            described = handle.query(f"DESCRIBE TABLE ({run.statement.text})", "JSONCompactEachRow", run.params).text()
            return native.empty_block([tuple(json.loads(line)[:2]) for line in described.splitlines()])
        return handle.query(f"SELECT * FROM ({run.statement.text}) LIMIT 0", format, run.params).body
