"""Reading migration files."""

from __future__ import annotations

from pathlib import Path

import pytest

from kinestream.deploy.store import migrations
from kinestream.schemas.errors import StoreError


def test_a_semicolon_ends_a_statement_only_outside_strings_names_and_comments() -> None:
    text = "-- a; b\nSELECT ';', `x;y`, \"z;\" /* ; */;\n\n SELECT 'it''s; \\'; fine' -- last;\n;;"
    assert list(migrations.statements(text)) == ["SELECT ';', `x;y`, \"z;\"", "SELECT 'it''s; \\'; fine'"]


def test_the_committed_migrations_are_in_order() -> None:
    loaded = migrations.load()
    assert [migration.number for migration in loaded] == list(range(1, len(loaded) + 1))
    assert all(list(migrations.statements(migration.text)) for migration in loaded)


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["001_a.sql", "003_b.sql"], "must count 1, 2, 3"),
        (["001_a.sql", "001_b.sql"], "must count 1, 2, 3"),
        (["1_a.sql"], "name it NNN_lower_case.sql"),
    ],
)
def test_a_gap_a_repeat_or_a_stray_name_is_refused(tmp_path: Path, names: list[str], reason: str) -> None:
    for name in names:
        (tmp_path / name).write_text("SELECT 1")
    with pytest.raises(StoreError, match=reason):
        migrations.load(tmp_path)


def test_line_ends_do_not_change_a_checksum() -> None:
    assert migrations.Migration(1, "x", "a\r\nb").checksum == migrations.Migration(1, "x", "a\nb").checksum
