"""The committed boards: equal to the code, and shaped as Grafana 13 and the rules of the boards want them."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from kinestream.deploy.boards import provisioning
from kinestream.deploy.boards.catalogue import BOARDS, renew
from kinestream.schemas.errors import SettingError
from kinestream.schemas.settings import Settings

BOARD = json.loads(BOARDS["hub-pulse"].path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", BOARDS)
def test_the_committed_board_is_what_the_code_builds(name: str) -> None:
    assert BOARDS[name].path.read_text(encoding="utf-8") == BOARDS[name].text(Settings()), "kinestream boards build"


def test_renewing_writes_only_what_changed(tmp_path: Path) -> None:
    assert [path.name for path in renew(Settings(), tmp_path)] == ["hub-pulse.json"]
    assert renew(Settings(), tmp_path) == []
    assert renew(Settings(daily_goal=9), tmp_path) != []


def test_it_is_a_classic_board_of_six_panels_that_do_not_overlap() -> None:
    assert (BOARD["schemaVersion"], BOARD["uid"], len(BOARD["panels"])) == (42, "kinestream-hub-pulse", 6)
    cells = [
        {(x, y) for x in range(g["x"], g["x"] + g["w"]) for y in range(g["y"], g["y"] + g["h"])}
        for g in (panel["gridPos"] for panel in BOARD["panels"])
    ]
    assert all(not one & other for one, other in combinations(cells, 2))
    assert sum(map(len, cells)) == 24 * max(y + 1 for cell in cells for _, y in cell), "the wall has a hole"
    assert len({panel["id"] for panel in BOARD["panels"]}) == 6


def test_it_refreshes_no_faster_than_grafana_allows() -> None:
    assert BOARD["refresh"] == "5s"


def asks(board: dict[str, Any]) -> list[dict[str, Any]]:
    panels = [*board["panels"], *(target for panel in board["panels"] for target in panel["targets"])]
    return [*panels, *board["templating"]["list"]]


def test_everything_asks_the_one_data_source() -> None:
    expected = {"type": "grafana-clickhouse-datasource", "uid": "kinestream-clickhouse"}
    assert all(one["datasource"] == expected for one in asks(BOARD))


def test_variables_take_several_values_and_begin_with_all() -> None:
    for variable in BOARD["templating"]["list"]:
        assert variable["multi"]
        assert variable["includeAll"]
        assert variable["current"]["value"] == ["$__all"]
    assert [v["name"] for v in BOARD["templating"]["list"]] == ["area", "skill", "model"]


def test_no_column_is_named_like_one_that_is_filtered() -> None:
    """Error 184 comes only while a variable is not All, and only on some engines: the names stay apart."""
    filtered = {"area", "skill", "model_id", "stored_day", "ended_at", "status", "state", "broker_ms", "seen_at"}
    for target in (target for panel in BOARD["panels"] for target in panel["targets"]):
        assert not filtered & set(re.findall(r'AS "?([\w ]+)"?', target["rawSql"]))


def test_every_override_names_a_column_of_the_panel() -> None:
    for panel in BOARD["panels"]:
        columns = re.findall(r'AS "([^"]+)"', "\n".join(t["rawSql"] for t in panel["targets"]))
        assert {o["matcher"]["options"] for o in panel["fieldConfig"]["overrides"]} <= set(columns)


def test_zone_and_goal_of_the_site_reach_the_board() -> None:
    board = BOARDS["hub-pulse"].document(Settings(timezone="Asia/Shanghai", daily_goal=1200))
    assert board["timezone"] == "Asia/Shanghai"
    today, pace = board["panels"][0], board["panels"][3]
    assert today["title"] == "Today against 1,200"
    assert "toStartOfDay($__toTime, 'Asia/Shanghai')" in today["targets"][0]["rawSql"]
    assert '1200 / 24 AS "Needed for 1,200 a day"' in pace["targets"][0]["rawSql"]


@pytest.mark.parametrize("wrong", [Settings(timezone="Mars/Olympus"), Settings(timezone="x'"), Settings(daily_goal=0)])
def test_a_zone_or_goal_that_is_none_is_refused(wrong: Settings) -> None:
    with pytest.raises(SettingError, match="KINESTREAM_"):
        BOARDS["hub-pulse"].document(wrong)


def test_the_data_source_speaks_http_as_the_reader() -> None:
    source = provisioning.datasource(Settings(), "https://store.example", "secret")
    assert source["jsonData"] == {
        "host": "store.example",
        "port": 8443,
        "protocol": "http",
        "secure": True,
        "username": "reader",
        "defaultDatabase": "kinestream",
    }
    assert source["secureJsonData"] == {"password": "secret"}
    assert source["uid"] == "kinestream-clickhouse"


def test_a_provisioning_folder_holds_data_source_provider_and_boards(tmp_path: Path) -> None:
    files = provisioning.write(Settings(), "http://127.0.0.1:18123", tmp_path, "/etc/kinestream")
    assert {str(path.relative_to(tmp_path)) for path in files} == {
        "provisioning/datasources/kinestream.yaml",
        "provisioning/dashboards/kinestream.yaml",
        "dashboards/hub-pulse.json",
    }
    (source,) = yaml.safe_load(files[0].read_text())["datasources"]
    assert (source["jsonData"]["host"], source["jsonData"]["port"]) == ("127.0.0.1", 18123)
    (provider,) = yaml.safe_load(files[1].read_text())["providers"]
    assert provider["options"]["path"] == "/etc/kinestream/dashboards"
    assert provider["folderUid"] == "kinestream"


def test_a_password_of_ones_own_is_left_to_grafanas_environment(tmp_path: Path) -> None:
    settings = Settings(clickhouse_reader_password="s3cret")
    files = provisioning.write(settings, "http://127.0.0.1:18123", tmp_path)
    assert all("s3cret" not in path.read_text() for path in files)
    (source,) = yaml.safe_load(files[0].read_text())["datasources"]
    assert source["secureJsonData"]["password"] == "${KINESTREAM_CLICKHOUSE_READER_PASSWORD}"
