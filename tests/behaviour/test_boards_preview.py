"""The still preview: the board's own JSON and queries, drawn from the store as the reader."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from kinestream.deploy.boards.catalogue import BOARDS
from kinestream.deploy.boards.preview import NOTE, preview
from kinestream.deploy.cli import application
from kinestream.schemas.settings import Settings
from tests.floor import Floor
from tests.plugins.store import Store

NOW = datetime(2026, 11, 20, 18, 0, tzinfo=UTC)
BOARD = BOARDS["hub-pulse"].document(Settings())
SPACE = "{http://www.w3.org/2000/svg}"


def words(drawn: str) -> list[str]:
    """Every text of a picture, in order; it must be well-formed XML."""
    return [element.text or "" for element in ElementTree.fromstring(drawn).iter(f"{SPACE}text")]


def draw(store: Store, minutes: int = 0) -> str:
    client = store.reader_client()
    try:
        return preview(BOARD, client, now=NOW, minutes=minutes)
    finally:
        client.close()


def test_it_shows_every_panel_with_the_numbers_of_the_store(database: Store) -> None:
    floor = Floor()
    for minute in range(1, 1201, 2):
        floor.episode(NOW - timedelta(minutes=minute))
    floor.finding(NOW - timedelta(minutes=1), "g1-07", joint="elbow", flag="FAIL", message="a < b & c")
    floor.robot(datetime.now(UTC) + timedelta(seconds=300), "g1-07", recording=True)
    floor.in_flight("OPEN", 7)
    floor.write(database.client())
    drawn = words(draw(database))
    assert {panel["title"] for panel in BOARD["panels"]} <= set(drawn)
    value = {name: drawn[drawn.index(name) + 1] for name in ("Whole episodes", "By midnight", "Recording", "Open")}
    assert value == {"Whole episodes": "540", "By midnight": "720", "Recording": "1", "Open": "7"}
    assert "a < b & c" in drawn
    assert "20 Nov 2026, 00:00 to 18:00 UTC" in drawn
    assert NOTE in drawn


def test_an_empty_store_is_drawn_without_a_word_that_is_no_number(database: Store) -> None:
    drawn = words(draw(database))
    assert drawn[drawn.index("Whole episodes") + 1] == "0"
    assert drawn[drawn.index("Delay") + 1] == "–"
    assert "nothing is wrong" in drawn
    assert not {"nan", "None", "inf"} & set(drawn)


def test_a_short_window_shows_its_minutes(database: Store) -> None:
    drawn = words(draw(database, minutes=30))
    assert "20 Nov 2026, 17:30 to 18:00 UTC" in drawn
    assert "17:35" in drawn


def test_panels_stand_where_the_grid_of_the_board_puts_them(database: Store) -> None:
    corners = [
        (float(r.attrib["x"]), float(r.attrib["y"]))
        for g in ElementTree.fromstring(draw(database)).iter(f"{SPACE}g")
        for r in [g.find(f"{SPACE}rect")]
        if r is not None
    ]
    assert len(corners) == 6
    by_grid = sorted(range(6), key=lambda i: (BOARD["panels"][i]["gridPos"]["y"], BOARD["panels"][i]["gridPos"]["x"]))
    assert sorted(range(6), key=lambda i: corners[i][::-1]) == by_grid


def test_the_command_draws_the_running_store(database: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KINESTREAM_HOME", str(tmp_path))
    monkeypatch.setenv("KINESTREAM_CLICKHOUSE", database.url)
    monkeypatch.setenv("KINESTREAM_CLICKHOUSE_DATABASE", database.database)
    out = tmp_path / "board.svg"
    result = CliRunner().invoke(application(), ["boards", "preview", "--out", str(out)])
    assert result.exit_code == 0, result.stderr
    assert "Hub pulse" in words(out.read_text(encoding="utf-8"))
    wrong = CliRunner().invoke(application(), ["boards", "preview", "--board", "nope", "--out", str(out)])
    assert (wrong.exit_code, wrong.stdout) == (2, "")
    assert "hub-pulse" in wrong.stderr
