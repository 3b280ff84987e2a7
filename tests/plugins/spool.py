"""Spools of tests lie in the tests' own folder, one a test: none of theirs may reach a person's."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from kinestream.producers.spool import places

_NUMBERS = itertools.count(1)


@pytest.fixture(autouse=True)
def spools(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which robots of this test keep their spools unless they name another."""
    folder = tmp_path_factory.getbasetemp() / "spools" / str(next(_NUMBERS))
    usual = places.spools_folder
    monkeypatch.setattr(places, "spools_folder", lambda setting="": usual(setting or str(folder)))
    return folder
