"""Where an INSERT's rows begin."""

from __future__ import annotations

import pytest

from kinestream.deploy.store import insert_head

HEADS = [
    (b"INSERT INTO t FORMAT Native\n\x01\x02", "Native", b"\x01\x02"),
    (b"insert into t (a, b) format CSV 1,2\n", "CSV", b"1,2\n"),
    (b"INSERT INTO t VALUES (1, 'x')", "Values", b"(1, 'x')"),
    (b"INSERT INTO t FORMAT RowBinary\r\n\n\n", "RowBinary", b"\n\n"),
    (b"INSERT INTO t SETTINGS async_insert=0 FORMAT TSV\n1\n", "TSV", b"1\n"),
    (b"/* FORMAT CSV */ INSERT INTO t -- VALUES\n FORMAT TSV\n1\n", "TSV", b"1\n"),
    (b'INSERT INTO `a FORMAT CSV b` (`values`, "FORMAT x") FORMAT TSV\n1\n', "TSV", b"1\n"),
    (b"INSERT INTO t (values, format) FORMAT TSV\n1\n", "TSV", b"1\n"),
]


@pytest.mark.parametrize(("text", "format", "rows"), HEADS)
def test_the_head_ends_where_the_rows_begin(text: bytes, format: str, rows: bytes) -> None:
    head = insert_head.find(text, final=True)
    assert head is not None
    assert (head.format, text[head.rows :]) == (format, rows)


@pytest.mark.parametrize(("text", "format", "rows"), HEADS)
def test_a_head_cut_anywhere_is_never_misread(text: bytes, format: str, rows: bytes) -> None:
    whole = insert_head.find(text, final=True)
    assert whole is not None
    for cut in range(len(text)):
        try:
            found = insert_head.find(text[:cut], final=False)
        except insert_head.NeedMore:
            continue
        assert found is not None
        assert found.format == whole.format
        assert found.statement == whole.statement


@pytest.mark.parametrize(
    "text", [b"INSERT INTO t SELECT 1", b"INSERT INTO t WITH 1 AS x SELECT x", b"INSERT INTO t (a) SELECT 'VALUES'"]
)
def test_rows_from_a_query_have_no_head(text: bytes) -> None:
    assert insert_head.find(text, final=True) is None


def test_binary_rows_are_never_looked_at() -> None:
    rows = bytes(range(256)) * 10
    head = insert_head.find(b"INSERT INTO t FORMAT RowBinary\n" + rows, final=False)
    assert head is not None
    assert head.rows == len(b"INSERT INTO t FORMAT RowBinary\n")


@pytest.mark.parametrize(
    ("text", "insert"),
    [(b" -- x\n/* y */ insert into t", True), (b"SELECT 'INSERT'", False), (b"", False), (b"INS", False)],
)
def test_an_insert_is_known_by_its_first_word(text: bytes, insert: bool) -> None:
    assert insert_head.is_insert(text) is insert
