"""Reading the services' logs: last lines, rotated files, what is written next."""

from __future__ import annotations

from pathlib import Path

import pytest

from kinestream.deploy.local.logs import Follower, last_lines, service_logs
from kinestream.schemas.errors import StackError


def test_an_unknown_service_is_refused_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r"no service 'brokr': the services are broker, worker"):
        service_logs(tmp_path, ["broker", "worker"], ["brokr"])


def test_without_a_stack_one_sentence_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r"no stack was started in .*: run `kinestream up`"):
        service_logs(tmp_path, ["broker"], [])


def test_no_name_means_all(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    assert list(service_logs(tmp_path, ["broker", "worker"], [])) == ["broker", "worker"]


def test_the_last_lines_reach_back_into_rotated_files(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    log.write_text("five\n\x1b[32msix\x1b[0m\n")
    (tmp_path / "worker.log.1").write_text("three\nfour\n")
    (tmp_path / "worker.log.2").write_text("one\ntwo\n")
    assert last_lines(log, 5) == ["two", "three", "four", "five", "six"]
    assert last_lines(log, 0) == []
    assert last_lines(tmp_path / "none.log", 5) == []


def test_following_shows_whole_lines_and_survives_a_rotation(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    log.write_text("before\n")
    follower = Follower(log)
    with log.open("a") as out:
        out.write("one\ntw")
    assert follower.new_lines() == ["one"]
    with log.open("a") as out:
        out.write("o\n")
    assert follower.new_lines() == ["two"]
    with log.open("a") as out:
        out.write("last\n")
    log.rename(tmp_path / "worker.log.1")
    assert follower.new_lines() == []
    log.write_text("three\n")
    assert follower.new_lines() == ["last", "three"]
