"""The tables' numbered, forward-only migrations; must never change or run again one that was applied.

Statements are told apart by a scanner that knows strings, quoted names and comments. ``{database}``, ``{engine}`` and
``{on_cluster}`` are replaced as plain text, since SQL may hold braces.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from kinestream.deploy.store.results import identifier
from kinestream.schemas import errors

FOLDER = Path(errors.__file__).parent / "clickhouse"
_NAME = re.compile(r"(\d{3})_[a-z0-9_]+\.sql")
_SKIP = re.compile(r"--[^\n]*|/\*.*?\*/|'(?:[^'\\]|\\.|'')*'|`(?:[^`\\]|\\.)*`|\"(?:[^\"\\]|\\.)*\"|;|.", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: its number, name, text, and the SHA-256 of the text as committed."""

    number: int
    name: str
    text: str

    @property
    def checksum(self) -> str:
        """Hex SHA-256, line ends as LF."""
        return hashlib.sha256(self.text.replace("\r\n", "\n").encode()).hexdigest()


def load(folder: Path = FOLDER) -> list[Migration]:
    """The migrations of ``folder`` in order. Raises :class:`StoreError` for a stray name, a gap or a repeat."""
    found = []
    for file in sorted(folder.glob("*.sql")):
        match = _NAME.fullmatch(file.name)
        if match is None:
            raise errors.StoreError(f"{file.name} is no migration: name it NNN_lower_case.sql")
        found.append(Migration(int(match.group(1)), file.name, file.read_text(encoding="utf-8")))
    numbers = [migration.number for migration in found]
    if numbers != list(range(1, len(found) + 1)):
        raise errors.StoreError(f"migrations in {folder} are numbered {numbers}: they must count 1, 2, 3 ... once each")
    return found


def apply(
    client: Client, database: str, engine_prefix: str = "", on_cluster: str = "", *, folder: Path = FOLDER
) -> list[str]:
    """Bring ``database`` up to date, making it if need be; the names of the files run now.

    ``engine_prefix`` ("Replicated") goes before each engine, ``on_cluster`` ("ON CLUSTER c") after each table name.
    Repeating it does nothing. Raises :class:`StoreError` when an applied file has changed, when the database was
    migrated by a newer version, or when a statement fails.
    """
    migrations = load(folder)
    words = {"{database}": identifier(database), "{engine}": engine_prefix, "{on_cluster}": on_cluster}
    _run(client, f"CREATE DATABASE IF NOT EXISTS {identifier(database)} {on_cluster} ENGINE = Atomic", "the database")
    _run(client, _fill(_LEDGER, words), "schema_migrations")
    applied = _applied(client, database)
    _compare(applied, migrations, database)
    fresh = [migration for migration in migrations if migration.number not in applied]
    for migration in fresh:
        for statement in statements(migration.text):
            _run(client, _fill(statement, words), migration.name)
        row = [migration.number, migration.name, migration.checksum]
        client.insert(f"{identifier(database)}.schema_migrations", [row], ["number", "name", "checksum"])
    return [migration.name for migration in fresh]


def pending(client: Client, database: str, *, folder: Path = FOLDER) -> list[str]:
    """Names of the files that :func:`apply` would run; raises :class:`StoreError` as it does."""
    applied: dict[int, tuple[str, str]] = {}
    there = client.query(
        "SELECT 1 FROM system.tables WHERE database = {database:String} AND name = 'schema_migrations'",
        parameters={"database": database},
    )
    if there.result_rows:
        applied = _applied(client, database)
    migrations = load(folder)
    _compare(applied, migrations, database)
    return [migration.name for migration in migrations if migration.number not in applied]


def statements(text: str) -> Iterator[str]:
    """The statements of a file, comments dropped; a ``;`` inside a string, a quoted name or a comment ends nothing."""
    held: list[str] = []
    for token in (match.group() for match in _SKIP.finditer(text)):
        if token.startswith(("--", "/*")):
            held.append(" ")
        elif token != ";":
            held.append(token)
            continue
        else:
            yield from filter(None, ["".join(held).strip()])
            held = []
    yield from filter(None, ["".join(held).strip()])


_LEDGER = """
CREATE TABLE IF NOT EXISTS {database}.schema_migrations {on_cluster}
(number UInt32, name String, checksum String, applied_at DateTime DEFAULT now())
ENGINE = {engine}ReplacingMergeTree ORDER BY number
"""


def _fill(statement: str, words: dict[str, str]) -> str:
    for word, value in words.items():
        statement = statement.replace(word, value)
    return statement


def _run(client: Client, statement: str, of: str) -> None:
    try:
        client.command(statement)
    except ClickHouseError as problem:
        raise errors.StoreError(f"migration {of} failed, nothing after it was run: {problem}") from problem


def _applied(client: Client, database: str) -> dict[int, tuple[str, str]]:
    query = f"SELECT number, name, checksum FROM {identifier(database)}.schema_migrations FINAL"
    return {number: (name, checksum) for number, name, checksum in client.query(query).result_rows}


def _compare(applied: dict[int, tuple[str, str]], migrations: list[Migration], database: str) -> None:
    known = {migration.number: migration for migration in migrations}
    for number, (name, checksum) in applied.items():
        if number not in known:
            raise errors.StoreError(f"database {database} was migrated by a newer version ({name}): use that version")
        if known[number].checksum != checksum:
            raise errors.StoreError(
                f"migration {name} was applied to {database} with checksum {checksum[:12]}, the file now has "
                f"{known[number].checksum[:12]}: restore the file and put the change into a new migration"
            )
