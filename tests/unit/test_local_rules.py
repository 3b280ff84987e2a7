"""Rules of a site reach its workers, which run in another folder; a mistake in them stops `up`, not the workers."""

from __future__ import annotations

from pathlib import Path

import pytest

from kinestream.deploy.local.ports import Remembered
from kinestream.deploy.local.services import worker_environment
from kinestream.schemas.errors import RulesError
from kinestream.schemas.settings import Settings

STACK = Remembered("kafka", {"broker": 1, "registry": 2, "store": 3, "worker": 4}, 1)


def rules_of_a_worker(rules: str, home: Path) -> str:
    return worker_environment(Settings(rules=rules), STACK, "worker", home)["KINESTREAM_RULES"]


def test_a_worker_finds_them_from_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "site.yaml").write_text("name: site\nversion: 1\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert rules_of_a_worker("site.yaml", tmp_path) == str((tmp_path / "site.yaml").resolve())
    assert rules_of_a_worker("", tmp_path) == ""


def test_a_mistake_is_told_before_a_worker_starts(tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text("name: site\n", encoding="utf-8")
    with pytest.raises(RulesError, match=r"site\.yaml lacks version"):
        rules_of_a_worker(str(tmp_path / "site.yaml"), tmp_path)
