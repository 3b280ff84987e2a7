"""What the store will never take, told from a store that takes nothing at all, and from one that is away."""

from __future__ import annotations

import pyarrow as pa
import pytest

from kinestream.schemas.errors import RefusedError, StoreError
from kinestream.schemas.settings import Settings
from kinestream.streams.store.store import Store as Writer
from tests.plugins.store import Store


@pytest.fixture
def writer(database: Store) -> Writer:
    client = database.client()
    client.command("CREATE TABLE t (n UInt8, CONSTRAINT small CHECK n < 10) ENGINE = MergeTree ORDER BY n")
    return Writer(Settings(clickhouse_database=database.database), database.url)


def table(*numbers: int, name: str = "n") -> pa.Table:
    return pa.table({name: pa.array(numbers, pa.uint8())})


def test_a_row_that_breaks_a_rule_is_refused_and_the_table_takes_others(writer: Writer) -> None:
    with pytest.raises(RefusedError, match="does not take a row"):
        writer.insert("t", table(1, 200))
    writer.insert("t", table(1, 2))
    assert [row["n"] for row in writer.query("SELECT n FROM t ORDER BY n", {})] == [1, 2]


@pytest.mark.parametrize(("name", "column"), [("nowhere", "n"), ("t", "other")])
def test_a_table_or_column_that_is_not_there_is_no_fault_of_the_rows(writer: Writer, name: str, column: str) -> None:
    with pytest.raises(StoreError, match="takes no rows"):
        writer.insert(name, table(1, name=column))
