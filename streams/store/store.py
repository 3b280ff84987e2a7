"""The worker's view of the store: inserts that are durable when they return, and the rows that recovery reads.

Correctness rests on the tables' keys: repeating an insert changes nothing. No insert deduplication is relied on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from functools import partial
from typing import Any, Final

import numpy as np
import pyarrow as pa
from clickhouse_connect.driver.exceptions import DatabaseError

from kinestream.schemas.codec import Codec
from kinestream.schemas.content_hash import BLOCK
from kinestream.schemas.errors import RefusedError, StoreError
from kinestream.schemas.layout import JOINT_CHANNELS
from kinestream.schemas.settings import Settings
from kinestream.streams.assembly.takes import UNIT
from kinestream.streams.assembly.values import BlockRow, JournalRow, Loaded, Place, Word
from kinestream.streams.quality.duplicates import Signature
from kinestream.streams.quality.twins import SHARED, Print, sought_keys
from kinestream.streams.store.client import connect, is_passing
from kinestream.streams.store.tables import Scratch

_EPOCH = date(1970, 1, 1)
#: A journal row's version in the store: the owner's term above what the log says (68 G records of a partition).
TERM_SHIFT: Final = 44
_FACTS = "episode_id, toUInt16(stored_day) AS day, facts, start, marks, `end`"
_OUTLINE = (
    "episode_id, robot_id, toUInt16(stored_day) AS day, block, last_offset, duplicates, conflicts, reordered, seq,"
    " t_ns, broker_ms, leaf_names, leaves"
)
_BLOCK = f"{_OUTLINE}, position, velocity, effort, command, channel_names, channel_values"
#: Takes asked about in one query; takes of one bucket that are looked at, and those that each is compared with.
_ASKED: Final = 32
_FILED: Final = 1_024
_COMPARED: Final = 8
#: Bytes up to which a request is copied, and below which a piece of a larger one is. Arrow writes a hundred pieces: for
#: each that Python takes or sends, the thread waits for the interpreter, up to 5 ms while another is busy.
_COPIED: Final = 1 << 20
_SMALL: Final = 1 << 16
#: Episodes in flight above which a journal is not tidied: their ids go into a URL, and there is enough to do.
_FLYING: Final = 500
#: Where an episode's blocks are: stored_day, robot_id, episode_id.
Key = tuple[int, str, str]


class Store:
    """Synchronous; safe to share between threads."""

    def __init__(self, settings: Settings, url: str) -> None:
        # Megabytes of an upload must not stand before a live take's few rows; without CAP_SYS_NICE it does nothing.
        nice = {"os_thread_priority": settings.bulk_nice} if settings.lane == "bulk" else {}
        self._client = connect(
            url,
            settings.clickhouse_database,
            settings.clickhouse_user,
            settings.clickhouse_password,
            settings=nice,
        )
        #: for the table of ``frame_blocks`` that is being built or sent
        self.scratch = Scratch()
        #: tables that have taken rows, so have every column we write
        self._fitting: set[str] = set()

    def insert(self, table: str, rows: pa.Table) -> None:
        """Durable when it returns.

        Raises :class:`RefusedError` for rows the store will never take, :class:`StoreError` where it takes none into
        this table (its columns, the account), and what :func:`is_passing` knows while it is away, slow or full.
        """
        try:
            self._send(table, rows)
        except DatabaseError as problem:
            if is_passing(problem):
                raise
            self._try_empty(table, rows)
            raise RefusedError(f"{table} does not take a row: {problem}") from problem

    def _try_empty(self, table: str, rows: pa.Table) -> None:
        """A table that does not even take no rows at all is the trouble, not the rows."""
        try:
            self._client.insert_arrow(table, rows.schema.empty_table())
        except DatabaseError as problem:
            raise StoreError(f"table {table} takes no rows: {problem}") from problem

    def _send(self, table: str, rows: pa.Table) -> None:
        if self._client.write_compression:
            self._client.insert_arrow(table, rows)
            return
        pieces = _as_it_lies(rows) if rows.nbytes > _COPIED else [_copied(rows)]
        # A list with its length known is sent piece by piece, and can be sent again.
        length = {"Content-Length": str(sum(len(piece) for piece in pieces))}
        # Arrow names its columns: of a table known to have them all the URL need not name them again.
        names = None if table in self._fitting else rows.schema.names
        self._client.raw_insert(table, names, pieces, fmt="Arrow", transport_settings=length)
        self._fitting.add(table)

    def query(self, sql: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Rows as dicts; String columns as bytes, arrays of numbers as lists."""
        table = self._client.query_arrow(sql, parameters=dict(parameters), use_strings=False)
        rows: list[dict[str, Any]] = table.to_pylist()
        return rows

    def closed(self, episode_ids: Iterable[str], codec: Codec) -> list[Loaded]:
        """What ``episodes`` holds of these, the latest revision of each."""
        sql = (
            f"SELECT {_FACTS} FROM episodes WHERE episode_id IN {{ids:Array(String)}}"
            " ORDER BY version DESC LIMIT 1 BY episode_id"
        )
        return [_loaded(row, codec) for row in self.query(sql, {"ids": list(episode_ids)})]

    def alike(self, takes: Sequence[Print]) -> list[Print]:
        """Stored takes that any of these may repeat: filed under its values, or under several of its bands."""
        found: list[Print] = []
        for tenant in sorted({take.tenant for take in takes}):
            own = [take for take in takes if take.tenant == tenant]
            for first in range(0, len(own), _ASKED):
                found += self._alike(tenant, own[first : first + _ASKED])
        return found

    def _alike(self, tenant: str, takes: Sequence[Print]) -> list[Print]:
        # Numbers in the text: as parameters they would go into the URL, which is too short for them.
        keys = ",".join(str(key) for take in takes for key in sought_keys(take))
        filed = f"SELECT take, bucket, kind FROM takes WHERE bucket IN ({keys}) LIMIT {_FILED} BY bucket"
        # a twin shares five bands and more, of the strangers in a large task few share more than two; a row that was
        # stored twice counts twice, which costs a comparison
        nearest = (
            f"SELECT take FROM ({filed}) GROUP BY take HAVING count() >= {SHARED} OR max(kind = 'exact')"
            f" ORDER BY max(kind = 'exact') DESC, count() DESC, take LIMIT {_COMPARED * len(takes)}"
        )
        sql = (
            "SELECT episode_id, started_ms, digest, seconds, signature FROM (SELECT * FROM takes WHERE bucket IN"
            f" ({nearest}) AND kind = 'take' ORDER BY version DESC LIMIT 1 BY take) WHERE NOT gone"
        )
        table = self._client.query_arrow(sql, use_strings=False)
        shapes, rest = _Lists(table["signature"]), table.drop_columns(["signature"]).to_pylist()
        return [
            Print(tenant, (row["started_ms"], row["episode_id"].decode()), row["digest"].decode(),
                  Signature(shapes.of(i) / UNIT, row["seconds"]))
            for i, row in enumerate(rest)
        ]  # fmt: skip

    def term(self, place: Place) -> int:
        """The highest term under which anything was journalled of a partition; 0 = nothing was."""
        sql = (
            "SELECT max(version) AS version FROM journal WHERE cluster_id = {cluster:String}"
            " AND topic = {topic:String} AND `partition` = {partition:UInt16}"
        )
        return int(self.query(sql, _where(place))[0]["version"]) >> TERM_SHIFT

    def in_flight(self, place: Place, codec: Codec) -> tuple[list[Loaded], list[tuple[JournalRow, Loaded]]]:
        """The journal of a partition: episodes that are open, and those closed but perhaps not yet announced."""
        sql = (
            f"SELECT {_FACTS}, version, phase, closed, event FROM journal FINAL WHERE cluster_id = {{cluster:String}}"
            " AND topic = {topic:String} AND `partition` = {partition:UInt16} AND is_deleted = 0"
        )
        rows = self.query(sql, _where(place))
        open_ = [_loaded(row, codec) for row in rows if row["phase"] != b"CLOSED"]
        return open_, [(_journal(row), _loaded(row, codec)) for row in rows if row["phase"] == b"CLOSED"]

    def forget(self, place: Place, days: int, least: int) -> int:
        """Delete journal rows of a partition that are announced and of more than ``days`` ago; how many, about.

        Only if there are ``least`` of them: their parts are written anew. The newest row stays, for :meth:`term`. It is
        done some time after this returns; a store that has not the room does it later, or never.
        """
        here = "cluster_id = {cluster:String} AND topic = {topic:String} AND `partition` = {partition:UInt16}"
        old = f"{here} AND stored_day < today() - {days:d}"
        # First what is the newest, then what is in flight: whatever is written in between is newer than that.
        (found,) = self.query(
            f"SELECT max(version) AS newest, countIf(stored_day < today() - {days:d}) AS old FROM journal WHERE {here}",
            _where(place),
        )
        if found["old"] < least:
            return 0
        sql = f"SELECT episode_id FROM journal FINAL WHERE {here} AND is_deleted = 0"
        flying = [row["episode_id"].decode() for row in self.query(sql, _where(place))]
        if len(flying) > _FLYING:
            return 0
        doomed = f"{old} AND version < {{newest:UInt64}} AND episode_id NOT IN {{flying:Array(String)}}"
        given = {**_where(place), "newest": found["newest"], "flying": flying}
        (left,) = self.query(f"SELECT count() AS n FROM journal WHERE {doomed}", given)
        if left["n"] < least:
            return 0
        self._client.command(f"ALTER TABLE journal DELETE WHERE {doomed}", parameters=given)
        return int(left["n"])

    def blocks(self, keys: Sequence[Key], only: Iterable[int] = ()) -> list[BlockRow]:
        """Rows of ``frame_blocks`` of these episodes, whole, ascending, the newest of each block."""
        return self._blocks(_BLOCK, keys, "block IN {only:Array(UInt32)}" if only else "", {"only": list(only)})

    def outlines(self, keys: Sequence[Key]) -> list[BlockRow]:
        """The same of all their blocks, but full ones without their channels: what recovery begins with.

        Values are nearly all of a row, and full blocks need none before they are judged again.
        """
        slim = self._blocks(_OUTLINE, keys)
        partial = [(row.episode_id, row.block) for row in slim if len(row.seq) < BLOCK]
        whole = {(row.episode_id, row.block): row for row in self.chosen(keys, partial)}
        return [whole.get((row.episode_id, row.block), row) for row in slim]

    def chosen(self, keys: Sequence[Key], blocks: Sequence[tuple[str, int]]) -> list[BlockRow]:
        """Whole rows of these (episode_id, block), which are among ``keys``."""
        if not blocks:
            return []
        wanted = {episode_id for episode_id, _ in blocks}
        given = {"ids_of": [i for i, _ in blocks], "blocks_of": [number for _, number in blocks]}
        which = "(episode_id, block) IN arrayZip({ids_of:Array(String)}, {blocks_of:Array(UInt32)})"
        return self._blocks(_BLOCK, [key for key in keys if key[2] in wanted], which, given)

    def _blocks(
        self, columns: str, keys: Sequence[Key], which: str = "", given: Mapping[str, Any] | None = None
    ) -> list[BlockRow]:
        return block_rows(self._table(columns, keys, which, given)) if keys else []

    def readable_blocks(self, keys: Sequence[Key]) -> Iterator[tuple[Mapping[str, Any], BlockRow | None, str]]:
        """Like :meth:`blocks`, row by row, with its own counts; of one whose arrays contradict each other, why."""
        if not keys:
            return
        table = self._table(f"{_BLOCK}, version, frames", keys)
        for row, read in _reading(table):
            try:
                yield row, read(), ""
            except (ValueError, UnicodeDecodeError) as problem:
                yield row, None, str(problem)

    def _table(
        self, columns: str, keys: Sequence[Key], which: str = "", given: Mapping[str, Any] | None = None
    ) -> pa.Table:
        sql = (
            f"SELECT {columns} FROM frame_blocks WHERE stored_day IN {{days:Array(Date)}} AND"
            " robot_id IN {robots:Array(String)} AND episode_id IN {ids:Array(String)}"
            + (f" AND {which}" if which else "")
            + " ORDER BY episode_id, block, version DESC LIMIT 1 BY episode_id, block"
        )
        days, robots, ids = (sorted(set(column)) for column in zip(*keys, strict=True))
        where = {"days": [_EPOCH + timedelta(int(d)) for d in days], "robots": robots, "ids": ids, **(given or {})}
        return self._client.query_arrow(sql, parameters=where, use_strings=False)


def ranked(row: JournalRow, term: int) -> JournalRow:
    """A journal row as it is stored: above all that an earlier owner writes, however late that arrives."""
    return replace(row, version=term << TERM_SHIFT | row.version)


def _where(place: Place) -> dict[str, Any]:
    return {"cluster": place.cluster_id, "topic": place.topic, "partition": place.partition}


def block_rows(table: pa.Table) -> list[BlockRow]:
    """Rows of ``frame_blocks`` as arrays, float32 bit for bit; without channels where the columns are not there."""
    return [read() for _, read in _reading(table)]


def _reading(table: pa.Table) -> Iterator[tuple[Mapping[str, Any], Callable[[], BlockRow]]]:
    """Of each row its plain columns, and what reads it."""
    named = [name for name in ("seq", "t_ns", "broker_ms", *JOINT_CHANNELS) if name in table.column_names]
    lists = {name: _Lists(table[name]) for name in named}
    further = "channel_values" in table.column_names
    extras = _Nested(table["channel_values"]) if further else None
    rest = table.drop_columns([*named, "channel_values"] if further else named).to_pylist()
    for i, row in enumerate(rest):
        yield row, partial(_block_row, row, i, lists, extras)


def _block_row(row: Mapping[str, Any], i: int, lists: Mapping[str, _Lists], extras: _Nested | None) -> BlockRow:
    seq = lists["seq"].of(i).astype(np.int64)
    flat = {name: lists[name].of(i) for name in JOINT_CHANNELS if name in lists}
    if extras:
        flat |= {name.decode(): values for name, values in zip(row["channel_names"], extras.of(i), strict=True)}
    channels = {name: np.ascontiguousarray(v.reshape(-1, len(seq)).T) for name, v in flat.items() if len(v)}
    leaves = {name.decode(): bytes(digest) for name, digest in zip(row["leaf_names"], row["leaves"], strict=True)}
    return BlockRow(
        row["episode_id"].decode(),
        row["robot_id"].decode(),
        row["day"],
        row["block"],
        row["last_offset"],
        row["duplicates"],
        row["conflicts"],
        row["reordered"],
        seq,
        lists["t_ns"].of(i),
        lists["broker_ms"].of(i),
        channels,
        leaves,
    )


def _copied(rows: pa.Table) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    with pa.RecordBatchFileWriter(sink, rows.schema) as writer:
        writer.write(rows)
    return sink.getvalue()


def _as_it_lies(rows: pa.Table) -> list[Any]:
    body = _Body()
    with pa.RecordBatchFileWriter(pa.PythonFile(body, "w"), rows.schema) as writer:
        writer.write(rows)
    return body.all()


class _Body:
    """A file that keeps what is written as it is, so that megabytes of values are not copied to be sent."""

    #: what pyarrow asks of a file
    closed = False

    def __init__(self) -> None:
        self._pieces: list[Any] = []
        self._small = bytearray()
        self._size = 0

    def write(self, piece: Any) -> None:
        """``piece``: bytes or a pyarrow buffer, which stays alive and unchanged until the request is over."""
        self._size += len(piece)
        if len(piece) < _SMALL:
            self._small += memoryview(piece)
        else:
            self._end_small()
            self._pieces.append(piece)

    def all(self) -> list[Any]:
        """The whole, in order."""
        self._end_small()
        return self._pieces

    def _end_small(self) -> None:
        if self._small:
            self._pieces.append(bytes(self._small))
            self._small.clear()

    def tell(self) -> int:
        """Bytes so far."""
        return self._size

    def flush(self) -> None:
        """Nothing waits."""


class _Lists:
    """A column of arrays of numbers, each a view."""

    def __init__(self, column: pa.ChunkedArray) -> None:
        array = column.combine_chunks()
        self._offsets = array.offsets.to_numpy()
        self._values = array.values.to_numpy(zero_copy_only=False)

    def of(self, row: int) -> Any:
        return self._values[self._offsets[row] : self._offsets[row + 1]]


class _Nested:
    """A column of arrays of arrays of float32."""

    def __init__(self, column: pa.ChunkedArray) -> None:
        array = column.combine_chunks()
        self._offsets = array.offsets.to_numpy()
        self._inner = _Lists(pa.chunked_array([array.values]))

    def of(self, row: int) -> list[Any]:
        return [self._inner.of(i) for i in range(self._offsets[row], self._offsets[row + 1])]


def _loaded(row: Mapping[str, Any], codec: Codec) -> Loaded:
    facts = json.loads(row["facts"])
    raws = [row["start"], *row["marks"], *([row["end"]] if row["end"] else [])]
    words = [
        Word(offset, broker_ms, bytes(raw), codec.decode(bytes(raw)).value)
        for (offset, broker_ms), raw in zip(facts["words"], raws, strict=True)
    ]
    marks = tuple(words[1 : 1 + len(row["marks"])])
    end = words[-1] if row["end"] else None
    return Loaded(row["episode_id"].decode(), row["day"], facts, words[0], marks, end)


def _journal(row: Mapping[str, Any]) -> JournalRow:
    return JournalRow(
        episode_id=row["episode_id"].decode(),
        version=row["version"] & ((1 << TERM_SHIFT) - 1),
        stored_day=row["day"],
        phase="CLOSED",
        facts=json.loads(row["facts"]),
        start=bytes(row["start"]),
        marks=tuple(map(bytes, row["marks"])),
        end=bytes(row["end"]),
        closed=json.loads(row["closed"]),
        event=bytes(row["event"]),
    )
