"""Files of a site reach its workers, which run in another folder; a mistake in rules stops `up`, not the workers."""

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


def test_a_worker_finds_the_files_of_the_clusters_access(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    site = Settings(kafka_ca="ca.pem", kafka_certificate="sub/me.pem", kafka_key="/keys/me.key")
    told = worker_environment(site, STACK, "worker", tmp_path / "elsewhere")
    ours = Settings.from_env(told).kafka_access()
    assert (ours["ssl.ca.location"], ours["ssl.certificate.location"], ours["ssl.key.location"]) == (
        str(tmp_path / "ca.pem"),
        str(tmp_path / "sub" / "me.pem"),
        "/keys/me.key",
    )
    assert (
        "ssl.ca.location"
        not in Settings.from_env(worker_environment(Settings(), STACK, "worker", tmp_path)).kafka_access()
    )


def test_a_mistake_is_told_before_a_worker_starts(tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text("name: site\n", encoding="utf-8")
    with pytest.raises(RulesError, match=r"site\.yaml lacks version"):
        rules_of_a_worker(str(tmp_path / "site.yaml"), tmp_path)
