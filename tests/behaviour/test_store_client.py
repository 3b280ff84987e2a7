"""The store through clickhouse-connect: tables, migrations, values to the bit."""

from __future__ import annotations

import datetime
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError, StreamFailureError

from kinestream.deploy.store import migrations
from kinestream.schemas.errors import StoreError
from kinestream.schemas.settings import Settings
from kinestream.streams.store.client import connect, is_passing
from kinestream.streams.store.store import Store as WorkerStore
from tests.plugins.store import Store

DAY = datetime.date(2026, 11, 23)
# Quiet NaN as the SDK writes it, NaNs with payload and sign, -0.0, the least and the largest, infinities.
BITS = [0x7FC00000, 0x7FC12345, 0xFFC00001, 0x80000000, 0x00000001, 0x7F7FFFFF, 0x7F800000, 0xFF800000]


def floats() -> np.ndarray:
    noise = np.random.default_rng(5).integers(0, 2**32, 4096 - len(BITS), dtype=np.uint32)
    return np.concatenate([np.array(BITS, np.uint32), noise]).view(np.float32)


def block_rows(position: np.ndarray) -> pa.Table:
    """One row of frame_blocks; columns left out take their defaults."""
    leaves = [bytes(range(16)), b"\x00" * 16, b"\xff" * 16]
    return pa.table(
        {
            "stored_day": [DAY],
            "robot_id": ["g1-01"],
            "episode_id": ["0198"],
            "block": pa.array([0], pa.uint32()),
            "version": pa.array([128 << 48 | 7], pa.uint64()),
            "position": pa.array([position], pa.list_(pa.float32())),
            "t_ns": pa.array([[2**62, -1, 0]], pa.list_(pa.int64())),
            "channel_names": [["hand", "手"]],
            "channel_values": pa.array([[position[:3], []]], pa.list_(pa.list_(pa.float32()))),
            "leaf_names": [["a", "b", "c"]],
            "leaves": pa.array([leaves], pa.list_(pa.binary(16))),
        }
    )


def test_float32_arrays_come_back_to_the_bit(database: Store) -> None:
    client, position = database.client(), floats()
    client.insert_arrow("frame_blocks", block_rows(position))
    client.command("OPTIMIZE TABLE frame_blocks FINAL")
    sql = "SELECT position, leaves, t_ns, channel_names, channel_values FROM frame_blocks"
    with client.query_arrow_stream(sql) as stream:
        streamed = pa.Table.from_batches(list(stream))
    for row in (client.query_arrow(sql), streamed):
        back = row.column("position").combine_chunks().values.to_numpy()
        assert back.dtype == np.float32
        assert back.tobytes() == position.tobytes()
        assert row.column("leaves")[0].as_py() == [bytes(range(16)), b"\x00" * 16, b"\xff" * 16]
        assert row.column("t_ns")[0].as_py() == [2**62, -1, 0]
        assert row.column("channel_names")[0].as_py() == ["hand", "手"]
        assert np.array(row.column("channel_values")[0].as_py()[0], np.float32).tobytes() == position[:3].tobytes()


def test_strings_hold_any_bytes(database: Store) -> None:
    every_byte = bytes(range(256))
    row = {
        "cluster_id": ["c"],
        "episode_id": ["e"],
        "version": pa.array([1], pa.uint64()),
        "start": pa.array([every_byte], pa.binary()),
        "marks": pa.array([[every_byte, b""]], pa.list_(pa.binary())),
    }
    client = database.client()
    client.insert_arrow("journal", pa.table(row))
    back = client.query_arrow("SELECT start, marks FROM journal", use_strings=False)
    assert back.column("start")[0].as_py() == every_byte
    assert back.column("marks")[0].as_py() == [every_byte, b""]


def test_every_way_to_ask_gives_the_same_rows(database: Store) -> None:
    client = database.client()
    sql = "SELECT number, toString(number) AS s FROM numbers({n:UInt32})"
    n = {"n": 150_000}
    assert client.query(sql, parameters=n).row_count == 150_000
    assert client.query_arrow(sql, parameters=n).num_rows == 150_000
    with client.query_row_block_stream(sql, parameters=n) as stream:
        assert sum(len(rows) for rows in stream) == 150_000
    with client.query_arrow_stream(sql, parameters=n) as stream:
        assert sum(part.num_rows for part in stream) == 150_000
    assert client.raw_query(sql, parameters=n, fmt="TSV").count(b"\n") == 150_000
    assert client.command("SELECT getSetting('max_threads')", settings={"max_threads": 3}) == 3


def test_an_empty_result_has_column_names(database: Store) -> None:
    assert "missing_ranges" in database.client().query("SELECT * FROM episodes").column_names
    assert database.client().query_arrow("SELECT episode_id FROM episodes").column_names == ["episode_id"]


def test_many_values_go_as_a_form(database: Store) -> None:
    ids = {"ids": [f"0198-{number:032d}" for number in range(2000)]}
    assert database.client().query("SELECT length({ids:Array(String)})", parameters=ids).first_row == (2000,)


def test_rows_go_in_as_values_and_as_columns(database: Store) -> None:
    client = database.client()
    client.command("CREATE TABLE t (a UInt64, s LowCardinality(String)) ENGINE = MergeTree ORDER BY a")
    assert client.insert("t", [[1, "x"], [2, "y"]], ["a", "s"]).written_rows == 2
    assert client.insert("t", [[3, 4], ["z", "z"]], ["a", "s"], column_oriented=True).written_rows == 2
    assert client.query("SELECT groupArray(a) FROM (SELECT a FROM t ORDER BY a)").first_row == ([1, 2, 3, 4],)


@pytest.mark.parametrize("compress", ["lz4", "zstd", "gzip"])
def test_compressed_clients_are_understood(database: Store, compress: str) -> None:
    import clickhouse_connect

    where = database.url.removeprefix("http://").split(":")
    client = clickhouse_connect.get_client(
        host=where[0], port=int(where[1]), username="writer", password="writer", database=database.database,
        compress=compress,
    )  # fmt: skip
    client.command("CREATE TABLE t (a UInt64) ENGINE = Memory")
    client.insert("t", [[number] for number in range(100_000)], ["a"])
    client.insert_arrow("t", pa.table({"a": pa.array(range(100_000), pa.uint64())}))
    assert client.query("SELECT count(), max(a) FROM t").first_row == (200_000, 99_999)
    assert client.query("SELECT a FROM t").row_count == 200_000


def test_one_client_may_be_shared_by_threads(database: Store) -> None:
    client = database.client()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: client.query(f"SELECT {n}, sleepEachRow(0.01)").first_row[0], range(64)))
    assert answers == list(range(64))


def test_errors_carry_their_code_before_and_in_mid_stream(database: Store) -> None:
    client = database.client()
    with pytest.raises(DatabaseError) as early:
        client.query("SELECT * FROM nope")
    assert early.value.code == 60
    with pytest.raises(StreamFailureError, match="throwIf"):
        assert client.query("SELECT number, throwIf(number = 500000) FROM numbers(1000000)").row_count
    assert client.query("SELECT 7").first_row == (7,)


def test_the_reader_reads_and_cannot_write(database: Store) -> None:
    reader = database.reader_client()
    assert reader.query("SELECT count() FROM episodes").first_row == (0,)
    with pytest.raises(DatabaseError) as refused:
        reader.insert_arrow("frame_blocks", block_rows(floats()))
    assert refused.value.code == 164


def test_why_there_is_no_connection_is_said_in_one_line(store: Store) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(StoreError, match=r"no store answers at .* `kinestream up`"):
        connect(f"http://127.0.0.1:{port}", "", "writer", "writer")
    with pytest.raises(StoreError, match="refuses account 'writer'"):
        connect(store.url, "", "writer", "wrong")
    with pytest.raises(StoreError, match="has no database 'nope'"):
        connect(store.url, "nope", "writer", "writer")
    with pytest.raises(StoreError, match="no ClickHouse URL"):
        connect("localhost:8123", "", "writer", "writer")


def test_a_lost_store_is_passing_and_a_refused_row_is_not(database: Store) -> None:
    client = database.client()
    with pytest.raises(DatabaseError) as refused:
        client.insert_arrow("frame_blocks", pa.table({"nope": [1]}))
    assert not is_passing(refused.value)
    with pytest.raises(DatabaseError) as slow:
        client.query("SELECT count() FROM numbers(1000000000000)", settings={"max_execution_time": 1})
    assert slow.value.code == 159
    assert is_passing(slow.value)
    assert is_passing(ConnectionRefusedError())


def test_migrations_run_once_and_a_second_time_do_nothing(database: Store) -> None:
    client = replace(database, database="").client()
    assert migrations.apply(client, database.database) == []
    engine = client.query(f"SELECT engine FROM system.databases WHERE name = '{database.database}'").first_row
    assert engine == ("Atomic",)
    tables = {row[0] for row in client.query(f"SHOW TABLES FROM {database.database}").result_rows}
    assert {"frame_blocks", "episodes", "journal", "findings", "robot_live", "schema_migrations"} <= tables


def test_a_changed_or_unknown_migration_is_refused(database: Store, tmp_path: Path) -> None:
    client = replace(database, database="").client()
    copies = [tmp_path / file.name for file in migrations.FOLDER.glob("*.sql")]
    for copy in copies:
        copy.write_bytes((migrations.FOLDER / copy.name).read_bytes())
    (tmp_path / "001_frames_and_episodes.sql").write_text("SELECT 1")
    with pytest.raises(StoreError, match="put the change into a new migration"):
        migrations.apply(client, database.database, folder=tmp_path)
    for copy in copies:
        copy.unlink()
    with pytest.raises(StoreError, match="by a newer version"):
        migrations.apply(client, database.database, folder=tmp_path)


def test_a_failing_migration_stops_there_and_is_not_marked(database: Store, tmp_path: Path) -> None:
    client = replace(database, database="").client()
    name = f"{database.database}_other"
    (tmp_path / "001_good.sql").write_text("CREATE TABLE {database}.a (x Int8) ENGINE = {engine}MergeTree ORDER BY x")
    (tmp_path / "002_bad.sql").write_text("CREATE TABLE {database}.b (x Nope) ENGINE = {engine}MergeTree ORDER BY x")
    try:
        with pytest.raises(StoreError, match=r"002_bad\.sql failed"):
            migrations.apply(client, name, folder=tmp_path)
        (tmp_path / "002_bad.sql").write_text(
            "CREATE TABLE {database}.b (x Int8) ENGINE = {engine}MergeTree ORDER BY x"
        )
        assert migrations.apply(client, name, folder=tmp_path) == ["002_bad.sql"]
    finally:
        client.command(f"DROP DATABASE {name} SYNC")


def test_uploads_and_merges_leave_the_processors_to_live_takes(database: Store) -> None:
    given = Settings(clickhouse_database=database.database, bulk_nice=7)
    sql = "SELECT toString(getSetting('os_thread_priority')) AS nice"
    nice = {lane: WorkerStore(replace(given, lane=lane), database.url).query(sql, {}) for lane in ("live", "bulk")}
    assert nice == {"live": [{"nice": b"0"}], "bulk": [{"nice": b"7"}]}
    merges = "SELECT value FROM system.server_settings WHERE name = 'os_threads_nice_value_merge_mutate'"
    assert database.client().query(merges).result_rows == [("10",)]
