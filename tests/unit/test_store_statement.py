"""Taking a canonical statement apart."""

from __future__ import annotations

import pytest

from kinestream.deploy.store.statement import read


@pytest.mark.parametrize(
    ("canonical", "text", "format"),
    [
        ("SELECT 1 FORMAT JSON", "SELECT 1", "JSON"),
        ("SELECT 1 FORMAT `Null`", "SELECT 1", "Null"),
        ("SELECT 1 FORMAT JSON SETTINGS max_threads = 1", "SELECT 1 SETTINGS max_threads = 1", "JSON"),
        ("SELECT 1 SETTINGS max_threads = 1 FORMAT JSON", "SELECT 1 SETTINGS max_threads = 1", "JSON"),
        ("SELECT ' FORMAT JSON'", "SELECT ' FORMAT JSON'", ""),
        ("SELECT `a FORMAT b` FROM t", "SELECT `a FORMAT b` FROM t", ""),
        ("SELECT 1 AS FORMAT", "SELECT 1 AS FORMAT", ""),
        ("SELECT FORMAT FROM t ORDER BY FORMAT ASC", "SELECT FORMAT FROM t ORDER BY FORMAT ASC", ""),
        ("SELECT format('x FORMAT y', 1)", "SELECT format('x FORMAT y', 1)", ""),
    ],
)
def test_the_format_clause_is_taken_off(canonical: str, text: str, format: str) -> None:
    statement = read(canonical)
    assert (statement.text, statement.format) == (text, format)


@pytest.mark.parametrize(
    ("canonical", "kind"), [("SELECT 1", "SELECT"), ("DROP TABLE t", "DROP"), ("WITH 1 AS x SELECT x", "WITH")]
)
def test_the_kind_is_the_first_word(canonical: str, kind: str) -> None:
    assert read(canonical).kind == kind


def test_strings_are_blanked_and_quoted_names_unquoted() -> None:
    bare = read(r"SELECT 'url(\'x\')', `file`('y'), `a'b`, upper('z')").bare
    assert "url" not in bare
    assert " file (" in bare
    assert "upper(" in bare
