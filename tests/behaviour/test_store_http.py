"""The store's HTTP dialect, byte for byte as curl sees it."""

from __future__ import annotations

import gzip
import http.client
import json
import re
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import lz4.frame
import pytest
import requests
import zstandard

from kinestream.deploy.store import blocks, native
from tests.plugins.store import Store

WRITER = ("writer", "writer")
READER = ("reader", "reader")
# Three chunks of the engine, so that a repeated header or a lost chunk shows.
MANY = 150_000
ROWS = f"SELECT number, toString(number) AS s FROM numbers({MANY})"


def ask(store: Store, sql: str, auth: tuple[str, str] = READER, **params: str) -> requests.Response:
    return requests.post(f"{store.url}/", data=sql.encode(), auth=auth, params=params, timeout=60)


def test_ping_needs_no_account(store: Store) -> None:
    assert requests.get(f"{store.url}/ping", timeout=10).text == "Ok.\n"


def test_a_bare_get_says_ok(store: Store) -> None:
    assert requests.get(f"{store.url}/", auth=READER, timeout=10).text == "Ok.\n"


def test_a_wrong_password_is_code_516_and_403(store: Store) -> None:
    answer = ask(store, "SELECT 1", ("writer", "wrong"))
    assert (answer.status_code, answer.headers["X-ClickHouse-Exception-Code"]) == (403, "516")
    assert answer.text.startswith("Code: 516. DB::Exception: writer: Authentication failed")


@pytest.mark.parametrize(
    ("sql", "status", "code"),
    [
        ("SELEC 1", 400, 62),
        ("", 400, 62),
        ("SELECT 1; SELECT 2", 400, 62),
        ("SELECT nope", 404, 47),
        ("SELECT * FROM system.nope", 404, 60),
        ("SELECT throwIf(1)", 500, 395),
        ("SELECT 1 FORMAT Nope", 400, 73),
    ],
)
def test_errors_are_typed(store: Store, sql: str, status: int, code: int) -> None:
    answer = ask(store, sql)
    assert (answer.status_code, answer.headers["X-ClickHouse-Exception-Code"]) == (status, str(code))
    assert re.match(rf"Code: {code}\. DB::Exception: .*\([A-Z_]+\)", answer.text, re.DOTALL)


def test_only_the_first_of_two_statements_never_runs_either(database: Store) -> None:
    table = f"{database.database}.kept"
    assert ask(database, f"CREATE TABLE {table} (a UInt8) ENGINE = Memory", WRITER).status_code == 200
    assert ask(database, f"INSERT INTO {table} SELECT 1; DROP TABLE {table}", WRITER).status_code == 400
    assert ask(database, f"SELECT count() FROM {table}").text == "0\n"


def test_get_only_reads_even_for_the_writer(store: Store) -> None:
    for sql in ("CREATE DATABASE x", "INSERT INTO x VALUES (1)", "DROP DATABASE x"):
        answer = requests.get(f"{store.url}/", auth=WRITER, params={"query": sql}, timeout=10)
        assert (answer.status_code, answer.headers["X-ClickHouse-Exception-Code"]) == (403, "164")


def test_the_statement_may_be_split_between_url_and_body(store: Store) -> None:
    assert ask(store, "FORMAT JSONEachRow", query="SELECT 1 AS a").json() == {"a": 1}


def test_parameters_settings_database_and_default_format_are_honoured(store: Store) -> None:
    answer = ask(
        store,
        "SELECT {a:Array(String)} AS a, getSetting('max_threads') AS t, currentDatabase() AS d",
        param_a="['x\\ty']",
        max_threads="2",
        database="system",
        default_format="JSONEachRow",
    )
    assert answer.json() == {"a": ["x\ty"], "t": 2, "d": "system"}


def test_parameters_too_long_for_a_url_come_as_a_form(store: Store) -> None:
    form = {"query": (None, "SELECT length({a:String})"), "param_a": (None, "x" * 100_000)}
    assert requests.post(f"{store.url}/", files=form, auth=READER, timeout=10).text == "100000\n"


STREAMED = [
    *("Native", "RowBinary", "RowBinaryWithNames", "RowBinaryWithNamesAndTypes"),
    *("TSV", "TSVWithNames", "TSVWithNamesAndTypes", "CSV", "CSVWithNames", "JSONEachRow"),
    *("JSONCompactEachRow", "JSONCompactEachRowWithNames", "ArrowStream", "Arrow"),
]


@pytest.mark.parametrize("format", STREAMED)
def test_every_streamed_format_goes_out_whole_and_comes_in_whole(database: Store, format: str) -> None:
    table = f"{database.database}.copy"
    ask(database, f"CREATE TABLE {table} (number UInt64, s String) ENGINE = Memory", WRITER).raise_for_status()
    result = ask(database, f"{ROWS} FORMAT {format}")
    assert result.headers["X-ClickHouse-Format"] == format
    answer = requests.post(
        f"{database.url}/",
        params={"query": f"INSERT INTO {table} FORMAT {format}"},
        data=result.content,
        auth=WRITER,
        timeout=60,
    )
    assert answer.status_code == 200, answer.text
    assert json.loads(answer.headers["X-ClickHouse-Summary"])["written_rows"] == str(MANY)
    digest = "count(), sum(cityHash64(number, s))"
    assert ask(database, f"SELECT {digest} FROM {table}").text == ask(database, f"SELECT {digest} FROM ({ROWS})").text


@pytest.mark.parametrize(
    ("format", "body"),
    [
        ("TSV", b""),
        ("CSVWithNames", b'"a","t.x","t.y"\n'),
        ("JSONEachRow", b""),
        ("Native", native.empty_block([("a", "UInt8"), ("t", "Tuple(x UInt8, y String)")])),
    ],
)
def test_an_empty_result_keeps_its_header(store: Store, format: str, body: bytes) -> None:
    assert ask(store, f"SELECT 1 AS a, (1, 'x')::Tuple(x UInt8, y String) AS t WHERE 0 FORMAT {format}").content == body


def test_a_whole_result_counts_what_was_read(store: Store) -> None:
    answer = ask(store, "SELECT sum(number) FROM numbers(1000) FORMAT JSON")
    assert answer.json()["data"] == [{"sum(number)": 499500}]
    assert json.loads(answer.headers["X-ClickHouse-Summary"])["read_rows"] == "1000"


def test_a_result_too_large_for_one_piece_is_refused_not_swallowed(store: Store) -> None:
    answer = ask(store, f"{ROWS} FORMAT JSON", max_result_bytes="100000")
    assert (answer.status_code, answer.headers["X-ClickHouse-Exception-Code"]) == (500, "396")


def raw(store: Store, sql: str, **params: str) -> tuple[bytes, bool, str]:
    """Body as sent, whether it was ended, and the exception tag."""
    where = urlsplit(store.url)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=30)
    query = urlencode({"user": "reader", "password": "reader", **params})
    connection.request("POST", f"/?{query}", body=sql, headers={"Accept-Encoding": "gzip, lz4, zstd"})
    answer = connection.getresponse()
    try:
        return answer.read(), True, answer.headers["X-ClickHouse-Exception-Tag"]
    except http.client.IncompleteRead as broken:
        return broken.partial, False, answer.headers["X-ClickHouse-Exception-Tag"]
    finally:
        connection.close()


FAILING = "SELECT number, throwIf(number = 500000) FROM numbers(1000000) FORMAT TSV"
TAIL = rb"\r\n__exception__\r\n{tag}\r\n(Code: 395\. .*\n)(\d+) {tag}\r\n__exception__\r\n$"


def check_tail(plain: bytes, tag: str) -> None:
    found = re.search(TAIL.replace(b"{tag}", tag.encode()), plain, re.DOTALL)
    assert found is not None
    assert int(found.group(2)) == len(found.group(1))


def test_an_error_in_mid_stream_is_tagged_and_the_body_breaks_off(store: Store) -> None:
    body, whole, tag = raw(store, FAILING)
    assert not whole
    assert body.startswith(b"0\t0\n1\t0\n")
    check_tail(body, tag)


def test_a_coded_body_that_broke_off_can_be_read_but_never_looks_whole(store: Store) -> None:
    body, whole, tag = raw(store, FAILING, enable_http_compression="1")
    decoder = lz4.frame.LZ4FrameDecompressor()
    plain = decoder.decompress(body)
    check_tail(plain, tag)
    assert not whole
    assert not decoder.eof


def test_an_error_among_compressed_blocks_is_in_the_raw_bytes(store: Store) -> None:
    body, whole, tag = raw(store, FAILING, compress="1")
    assert not whole
    check_tail(body, tag)


@pytest.mark.parametrize(
    ("coding", "decode"),
    [
        ("gzip", gzip.decompress),
        ("lz4", lz4.frame.decompress),
        ("zstd", lambda body: zstandard.ZstdDecompressor().decompressobj().decompress(body)),
    ],
)
def test_even_ten_bytes_are_coded_when_asked_for(store: Store, coding: str, decode: object) -> None:
    with requests.post(
        f"{store.url}/",
        data="SELECT 1",
        auth=READER,
        params={"enable_http_compression": "1"},
        headers={"Accept-Encoding": coding},
        stream=True,
        timeout=10,
    ) as answer:
        assert answer.headers["Content-Encoding"] == coding
        assert callable(decode)
        assert decode(answer.raw.read(decode_content=False)) == b"1\n"


def test_the_empty_answer_to_rows_is_coded_too(database: Store) -> None:
    # the Java client takes every answer of status 200 for a coded one, once it has asked for that
    given = {"params": {"enable_http_compression": "1"}, "headers": {"Accept-Encoding": "lz4"}}
    sql = f"INSERT INTO {database.database}.robot_live (robot_id) VALUES ('r')"
    with requests.post(f"{database.url}/", data=sql, auth=WRITER, stream=True, timeout=10, **given) as answer:
        assert (answer.status_code, answer.headers["Content-Encoding"]) == (200, "lz4")
        assert lz4.frame.decompress(answer.raw.read(decode_content=False)) == b""


def test_rows_of_a_body_of_two_members_all_arrive(database: Store) -> None:
    body = gzip.compress(b"a\n") + gzip.compress(b"b\n")
    url = f"{database.url}/?query=INSERT INTO {database.database}.robot_live (robot_id) FORMAT TSV"
    with requests.post(url, data=body, auth=WRITER, headers={"Content-Encoding": "gzip"}, timeout=10) as answer:
        assert answer.status_code == 200
    assert ask(database, f"SELECT groupArray(robot_id) FROM {database.database}.robot_live").text == "['a','b']\n"


def test_rows_that_a_materialized_view_takes_as_well_are_acknowledged(database: Store) -> None:
    names = f"{database.database}.seen", f"{database.database}.robot_live"
    view = "CREATE MATERIALIZED VIEW {} ENGINE = MergeTree ORDER BY robot_id AS SELECT robot_id FROM {}".format(*names)
    assert ask(database, view, auth=WRITER).status_code == 200
    assert ask(database, f"INSERT INTO {names[1]} (robot_id) VALUES ('r')", auth=WRITER).status_code == 200
    for name in names:
        assert ask(database, f"SELECT groupArray(robot_id) FROM {name}").text == "['r']\n"


def test_nothing_is_coded_unless_asked_for(store: Store) -> None:
    assert "Content-Encoding" not in ask(store, "SELECT 1").headers


def test_compressed_blocks_go_both_ways(database: Store) -> None:
    table = f"{database.database}.copy"
    ask(database, f"CREATE TABLE {table} (number UInt64, s String) ENGINE = Memory", WRITER).raise_for_status()
    sent = ask(database, f"{ROWS} FORMAT Native", compress="1").content
    sql = {"query": f"INSERT INTO {table} FORMAT Native", "decompress": "1"}
    requests.post(f"{database.url}/", params=sql, data=sent, auth=WRITER, timeout=30).raise_for_status()
    assert ask(database, f"SELECT count() FROM {table}").text == f"{MANY}\n"


def test_our_block_framing_is_the_engines(store: Store, database: Store) -> None:
    """Known answer: column files of a table are made of the same blocks."""
    table = f"{database.database}.wide"
    sql = f"CREATE TABLE {table} (a UInt64) ENGINE = MergeTree ORDER BY a SETTINGS min_bytes_for_wide_part = 0"
    ask(database, sql, WRITER).raise_for_status()
    ask(database, f"INSERT INTO {table} SELECT number FROM numbers(1000)", WRITER).raise_for_status()
    parts = f"SELECT path FROM system.parts WHERE database = '{database.database}' AND table = 'wide' AND active"
    column = Path(ask(database, parts).text.strip()) / "a.bin"
    decoder = blocks.BlockDecoder()
    plain = decoder.decode(column.read_bytes()) + decoder.end()
    assert plain == b"".join(number.to_bytes(8, "little") for number in range(1000))


def test_a_damaged_upload_leaves_no_row(database: Store) -> None:
    table = f"{database.database}.none"
    ask(database, f"CREATE TABLE {table} (a UInt8) ENGINE = Memory", WRITER).raise_for_status()
    whole = gzip.compress(b"1\n" * 1000)
    answer = requests.post(
        f"{database.url}/",
        params={"query": f"INSERT INTO {table} FORMAT TSV"},
        data=whole[:-20],
        headers={"Content-Encoding": "gzip"},
        auth=WRITER,
        timeout=10,
    )
    assert (answer.status_code, answer.headers["X-ClickHouse-Exception-Code"]) == (400, "271")
    assert ask(database, f"SELECT count() FROM {table}").text == "0\n"


def test_binary_rows_behind_the_statement_all_arrive(database: Store) -> None:
    """Inline in the SQL, 10 of 1000 such rows arrived, without an error."""
    table = f"{database.database}.bytes"
    ask(database, f"CREATE TABLE {table} (a FixedString(3)) ENGINE = Memory", WRITER).raise_for_status()
    rows = b"".join(bytes((n % 256, n // 256, 10 if n % 2 else 0)) for n in range(1000))
    body = f"INSERT INTO {table} FORMAT RowBinary\n".encode() + rows
    requests.post(f"{database.url}/", data=body, auth=WRITER, timeout=10).raise_for_status()
    assert ask(database, f"SELECT count(), uniqExact(a) FROM {table}").text == "1000\t1000\n"


def test_text_behind_values_is_not_run(database: Store) -> None:
    table = f"{database.database}.kept"
    ask(database, f"CREATE TABLE {table} (a UInt8) ENGINE = Memory", WRITER).raise_for_status()
    ask(database, f"INSERT INTO {table} VALUES (1),(2); DROP TABLE {table}", WRITER)
    assert ask(database, f"EXISTS {table}").text == "1\n"


def test_after_a_failed_query_the_next_one_has_its_own_rows(store: Store) -> None:
    """On the same handle the next statement would return the failed one's rows (formats sent in one piece)."""
    for turn in range(10):
        failed = ask(store, "SELECT number, throwIf(number = 500000) FROM numbers(1000000) FORMAT Values")
        assert failed.headers["X-ClickHouse-Exception-Code"] == "395"
        assert ask(store, f"SELECT {turn} FORMAT Values").text == f"({turn})"


def test_the_go_clients_first_question_is_answered_by_hand(store: Store) -> None:
    answer = ask(store, f"{native.HELLO} FORMAT Native", client_protocol_version="54485")
    version = ask(store, "SELECT version()").text.strip()
    assert answer.content == native.hello("kinestream", version, "UTC")


def test_times_are_utc_whatever_the_machine_says(store: Store) -> None:
    assert ask(store, "SELECT timezone(), toDateTime(0)").text == "UTC\t1970-01-01 00:00:00\n"
