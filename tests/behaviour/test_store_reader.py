"""What the reader may and may not ask. Lists of the forbidden age: this one grows with every hole that is found."""

from __future__ import annotations

import pytest
import requests

from kinestream.deploy.store.guard import closed_settings
from tests.plugins.store import Store

SECRET = "/etc/hostname"
WRITES = [
    "INSERT INTO {t} VALUES (1)",
    "INSERT INTO {t} SELECT 1",
    "INSERT INTO FUNCTION file('/tmp/x.csv', 'CSV', 'a Int8') SELECT 1",
    "INSERT INTO FUNCTION url('http://127.0.0.1:1', 'CSV') SELECT 1",
    "INSERT INTO {t} FROM INFILE '/etc/hostname' FORMAT CSV",
    "EXPLAIN INSERT INTO {t} SELECT 1",
    "CREATE TABLE {d}.x (a Int8) ENGINE = Memory",
    "CREATE TEMPORARY TABLE x (a Int8)",
    "CREATE DATABASE x",
    "CREATE FUNCTION f AS (x) -> x",
    "CREATE USER x",
    "GRANT ALL ON *.* TO default",
    "EXECUTE AS default SELECT 1",
    "DROP TABLE {t}",
    "DETACH TABLE {t}",
    "TRUNCATE TABLE {t}",
    "RENAME TABLE {t} TO {d}.u",
    "ALTER TABLE {t} ADD COLUMN b Int8",
    "ALTER TABLE {t} DELETE WHERE 1",
    "OPTIMIZE TABLE {t} FINAL",
    "SYSTEM STOP MERGES",
    "SYSTEM SHUTDOWN",
    "KILL QUERY WHERE 1",
    "KILL QUERY WHERE query_id = 'x'",
    "BACKUP TABLE {t} TO File('/tmp/x')",
    "SET readonly = 0",
    "USE system",
    "SELECT 1; DROP TABLE {t}",
    "SELECT 1;;SELECT 2",
    "SELECT 1 INTO OUTFILE '/tmp/x.csv'",
    "SELECT 1 into/**/outfile '/tmp/x.csv' TRUNCATE FORMAT CSV",
    "SHOW TABLES INTO OUTFILE '/tmp/x'",
]
REACHES = [
    "SELECT file('/etc/hostname')",
    "SELECT `file`('/etc/hostname')",
    "SELECT \"file\" ('/etc/hostname')",
    "SELECT FILE/*x*/('/etc/hostname')",
    "(SELECT file('/etc/hostname'))",
    "EXPLAIN SELECT file('/etc/hostname')",
    "WITH file('/etc/hostname') AS x SELECT x",
    "SELECT * FROM view(SELECT file('/etc/hostname'))",
    "SELECT arrayMap(x -> file(x), ['/etc/hostname'])",
    # A function can be handed on without being called.
    "SELECT arrayMap(file, ['/etc/hostname'])",
    "SELECT * APPLY(file) FROM (SELECT '/etc/hostname')",
    "SELECT * FROM file('/etc/hostname', 'LineAsString')",
    "SELECT * FROM fileCluster('c', '/etc/hostname')",
    "SELECT * FROM filesystem('/etc')",
    "SELECT * FROM `/etc/hostname`",
    "SELECT * FROM url('http://127.0.0.1:1/', 'CSV', 'a Int8')",
    "SELECT * FROM s3('http://127.0.0.1:1/x', 'CSV')",
    "SELECT * FROM remote('127.0.0.1', system.one)",
    "SELECT * FROM mysql('127.0.0.1:1', 'a', 'b', 'c', 'd')",
    "SELECT * FROM sqlite('/tmp/x', 'y')",
    "SELECT * FROM executable('id', 'TSV', 'a String')",
    "SELECT * FROM python('x')",
    "SELECT * FROM eval('SELECT 1')",
    "SELECT aiGenerate('x')",
    "SELECT reverseDNSQuery('x')",
    "DESCRIBE TABLE url('http://127.0.0.1:1')",
    # Settings whose text is SQL or a path; the engine does not check those of a subquery.
    "SELECT 1 SETTINGS filter = 'file(\\'/etc/hostname\\') != \\'\\''",
    "SELECT * FROM (SELECT 1 SETTINGS filter = 'throwIf(1, file(\\'/etc/hostname\\'))')",
    "SELECT 1 SETTINGS additional_result_filter = 'throwIf(1, file(\\'/etc/hostname\\'))'",
    "SELECT 1 SETTINGS additional_table_filters = {{'system.one': 'throwIf(1, file(\\'/etc/hostname\\'))'}}",
    "SELECT 1 FORMAT Template SETTINGS format_template_row = '/etc/hostname'",
    "SELECT 1 AS x FORMAT Protobuf SETTINGS output_format_schema = '/tmp/x'",
    "SELECT 1 SETTINGS readonly = 0",
    "SELECT 1 SETTINGS max_execution_time = 0",
    "SELECT 1 SETTINGS dialect = 'kusto'",
    "SELECT 1 SETTINGS log_comment = 'unkillable'",
]
GOOD = [
    "SELECT 1",
    "SELECT count() FROM {t}",
    "WITH 1 AS x SELECT x",
    "(SELECT 1) UNION ALL (SELECT 2)",
    "SELECT 'file(''/etc/hostname''); DROP TABLE x'",
    "SELECT 1 SETTINGS max_execution_time = 10",
    "SELECT format('{{}} INTO OUTFILE', 'x') -- file('x')",
    "SELECT * FROM numbers(3)",
    "SHOW TABLES FROM {d}",
    "SHOW CREATE TABLE {t}",
    "DESCRIBE TABLE {t}",
    "EXISTS TABLE {t}",
    "EXPLAIN SELECT * FROM {t}",
    "SELECT name, type FROM system.columns WHERE database = '{d}'",
]
# What even the writer must not: the engine would not open again (Kafka), or reaches outside.
CLOSED_TO_ALL = [
    "CREATE TABLE {d}.k (a Int8) ENGINE = Kafka('127.0.0.1:1', 't', 'g', 'CSV')",
    "CREATE TABLE {d}.k (a Int8) ENGINE = File(CSV)",
    "CREATE TABLE {d}.k (a Int8) ENGINE = URL('http://127.0.0.1:1', 'CSV')",
    "CREATE TABLE {d}.k AS url('http://127.0.0.1:1', 'CSV', 'a Int8')",
    "CREATE DATABASE k ENGINE = Filesystem('/etc')",
    "CREATE VIEW {d}.k AS SELECT file('/etc/hostname')",
    "ALTER TABLE {t} ADD COLUMN z String DEFAULT file('/etc/hostname')",
    "INSERT INTO {t} SELECT * FROM url('http://127.0.0.1:1', 'CSV', 'a Int8')",
    "SELECT * FROM remote('127.0.0.1', system.one)",
    "SELECT 1 INTO OUTFILE '/tmp/x.csv'",
    "BACKUP TABLE {t} TO Disk('default', 'x')",
    "CREATE USER x",
]
# Text that names or describes; SQL, paths and URLs belong into config.xml.
HARMLESS_TEXT = """
bool_false_representation bool_true_representation column_names_for_schema_inference
count_distinct_implementation database errors_output_format exclude_materialize_skip_indexes_on_insert
force_data_skipping_indices force_optimize_projection_name format_csv_null_representation
format_custom_field_delimiter format_custom_result_after_delimiter format_custom_result_before_delimiter
format_custom_row_after_delimiter format_custom_row_before_delimiter format_custom_row_between_delimiter
format_json_object_each_row_column_for_object_name format_regexp format_template_resultset_format
format_template_row_format format_template_rows_between_delimiter format_tsv_null_representation
function_implementation ignore_data_skipping_indices input_format_mysql_dump_table_name
input_format_orc_reader_time_zone_name insert_deduplication_token log_comment network_compression_method
output_format_avro_codec output_format_avro_string_column_pattern output_format_image_terminal_mode
output_format_orc_writer_time_zone_name output_format_pretty_grid_charset output_format_sql_insert_table_name
preferred_optimize_projection_name query_cache_tag s3_upload_checksum_algorithm schema_inference_hints
temporary_files_codec workload
"""


@pytest.fixture
def names(database: Store) -> dict[str, str]:
    return {"d": database.database, "t": f"{database.database}.episodes"}


def ask(store: Store, sql: str, account: str = "reader", **params: str) -> requests.Response:
    return requests.post(f"{store.url}/", data=sql.encode(), auth=(account, account), params=params, timeout=30)


def check_refused(answer: requests.Response, sql: str) -> None:
    assert answer.status_code >= 400, sql
    assert "X-ClickHouse-Exception-Code" in answer.headers, sql
    with open(SECRET) as secret:
        assert secret.read().strip() not in answer.text.replace("/etc/hostname", ""), sql


def test_the_reader_can_change_nothing(database: Store, names: dict[str, str]) -> None:
    before = ask(database, f"SELECT name FROM system.tables WHERE database = '{database.database}' ORDER BY name").text
    for sql in WRITES:
        check_refused(ask(database, sql.format(**names)), sql)
    after = ask(database, f"SELECT name FROM system.tables WHERE database = '{database.database}' ORDER BY name").text
    assert before == after


def test_the_reader_reaches_no_file_and_no_network(database: Store, names: dict[str, str]) -> None:
    for sql in REACHES:
        check_refused(ask(database, sql.format(**names)), sql)


def test_no_parameter_or_setting_in_the_url_opens_a_way_round(store: Store) -> None:
    identifier = "SELECT arrayMap({f:Identifier}, ['/etc/hostname'])"
    check_refused(ask(store, identifier, param_f="file"), identifier)
    for setting in ("filter", "select", "format", "additional_result_filter", "output_format_schema", "url_base"):
        check_refused(ask(store, "SELECT 1", **{setting: "file('/etc/hostname')"}), setting)
    check_refused(ask(store, "SELECT 1", max_execution_time="0"), "max_execution_time")
    check_refused(ask(store, "SELECT 1", **{"max_threads = 1, readonly": "0"}), "two in one")
    assert ask(store, "SELECT getSetting('readonly')", readonly="0").text == "2\n"


def test_ordinary_questions_pass(database: Store, names: dict[str, str]) -> None:
    for sql in GOOD:
        answer = ask(database, sql.format(**names))
        assert answer.status_code == 200, (sql, answer.text)


def test_what_would_break_or_leave_the_store_is_closed_to_the_writer_too(
    database: Store, names: dict[str, str]
) -> None:
    for sql in CLOSED_TO_ALL:
        check_refused(ask(database, sql.format(**names), "writer"), sql)


def test_every_text_setting_of_the_engine_is_either_closed_or_known_to_be_harmless(store: Store) -> None:
    sql = "SELECT name FROM system.settings WHERE type IN ('String', 'Map', 'URI', 'Dialect')"
    known = set(ask(store, sql).text.split())
    assert known - closed_settings() == set(HARMLESS_TEXT.split()) & known
