"""``kinestream boards push`` against a small HTTP double that answers as Grafana does, uid by uid."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from kinestream.deploy.boards.catalogue import BOARDS
from kinestream.deploy.cli import application
from kinestream.schemas.settings import Settings

TOKEN = "glsa_right"
UID = "kinestream-hub-pulse"


class Grafana(ThreadingHTTPServer):
    """Folders, data sources and boards in memory; ``requests`` holds every body by (method, path)."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folders: dict[str, Any] = {}
        self.sources: dict[str, Any] = {}
        self.boards: dict[str, Any] = {}
        self.requests: list[tuple[str, str, Any]] = []
        self.refuse: dict[str, tuple[int, Any]] = {}
        self.prefix = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}{self.prefix}"

    def saved(self) -> Any:
        """The body of the one board that was posted last."""
        return [body for method, path, body in self.requests if (method, path) == ("POST", "/dashboards/db")][-1]

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        if f"{method} {path}" in self.refuse:
            return self.refuse[f"{method} {path}"]
        if method == "POST" and path == "/dashboards/db":
            return self._save(body)
        stores = {"/folders": self.folders, "/datasources": self.sources}
        if method == "POST":
            stores[path][body["uid"]] = body
            return 200, body
        stores = {"folders": self.folders, "datasources/uid": self.sources, "dashboards/uid": self.boards}
        kind, _, uid = path.lstrip("/").rpartition("/")
        found = stores[kind].get(uid)
        return (200, found) if found else (404, {"message": "not found"})

    def _save(self, body: Any) -> tuple[int, Any]:
        board, uid = body["dashboard"], body["dashboard"]["uid"]
        before = self.boards.get(uid)
        if any(b["dashboard"]["title"] == board["title"] for u, b in self.boards.items() if u != uid):
            return 412, {
                "status": "name-exists",
                "message": "A dashboard with the same name in the folder already exists",
            }
        if before and board.get("version") != before["dashboard"]["version"] and not body["overwrite"]:
            return 412, {"status": "version-mismatch", "message": "The dashboard has been changed by someone else"}
        version = before["dashboard"]["version"] + 1 if before else 1
        self.boards[uid] = {"dashboard": {**board, "version": version}, "meta": {"folderUid": body["folderUid"]}}
        return 200, {"status": "success", "uid": uid, "url": f"{self.prefix}/d/{uid}/hub-pulse", "version": version}


class Handler(BaseHTTPRequestHandler):
    server: Grafana

    def _serve(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or "null")
        path = self.path.removeprefix(f"{self.server.prefix}/api")
        known = (f"Bearer {TOKEN}", "Basic " + base64.b64encode(b"admin:pass:word").decode())
        if self.headers.get("Authorization") not in known:
            status, answer = 401, {"message": "Invalid API key"}
        else:
            self.server.requests.append((self.command, path, body))
            status, answer = self.server.answer(self.command, path, body)
        raw = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    do_GET = do_POST = _serve

    def log_message(self, *_: Any) -> None:
        return


@pytest.fixture
def grafana(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Grafana]:
    server = Grafana()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    monkeypatch.setenv("KINESTREAM_HOME", str(tmp_path))
    monkeypatch.setenv("KINESTREAM_CLICKHOUSE", "http://127.0.0.1:18123")
    monkeypatch.setenv("KINESTREAM_GRAFANA_URL", server.url)
    monkeypatch.setenv("KINESTREAM_GRAFANA_TOKEN", TOKEN)
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(application(), ["boards", *arguments])
    return result.exit_code, result.stdout, result.stderr


def refused(*arguments: str) -> str:
    """The one line a failing push ends with."""
    code, out, err = run("push", *arguments)
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    return line


def test_a_push_makes_data_source_folder_and_board(grafana: Grafana) -> None:
    code, out, err = run("push", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == {
        "grafana": grafana.url,
        "datasource": "created",
        "boards": [
            {
                "uid": UID,
                "title": "Hub pulse",
                "action": "created",
                "url": f"{grafana.url}/d/{UID}/hub-pulse",
                "version": 1,
            }
        ],
    }
    assert grafana.folders["kinestream"]["title"] == "Kinestream"
    assert grafana.sources["kinestream-clickhouse"]["jsonData"]["protocol"] == "http"


def test_what_is_posted_is_the_board_by_uid_in_its_folder(grafana: Grafana) -> None:
    run("push")
    body = grafana.saved()
    assert body.pop("dashboard") == {**BOARDS["hub-pulse"].document(Settings()), "id": None}
    assert body == {"folderUid": "kinestream", "overwrite": False, "message": "kinestream boards push"}


def test_a_second_push_updates_and_makes_nothing_twice(grafana: Grafana) -> None:
    run("push")
    code, out, _ = run("push")
    assert code == 0
    assert "updated Hub pulse, version 2" in out
    made = [path for method, path, _ in grafana.requests if method == "POST"]
    assert sorted(made) == ["/dashboards/db", "/dashboards/db", "/datasources", "/folders"]


def test_no_request_names_a_numeric_id(grafana: Grafana) -> None:
    run("push")
    assert not [path for _, path, _ in grafana.requests if "/id/" in path or path.rpartition("/")[2].isdigit()]


def test_zone_and_goal_are_those_of_the_site(grafana: Grafana, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KINESTREAM_TIMEZONE", "Asia/Shanghai")
    monkeypatch.setenv("KINESTREAM_DAILY_GOAL", "800")
    run("push")
    assert grafana.saved()["dashboard"]["timezone"] == "Asia/Shanghai"
    assert grafana.saved()["dashboard"]["panels"][0]["title"] == "Today against 800"


def test_a_name_and_a_password_serve_too_and_beat_the_settings(grafana: Grafana) -> None:
    assert run("push", "--user", "admin:pass:word")[0] == 0
    assert "does not accept" in refused("--user", "admin:wrong")


def test_a_grafana_behind_a_path(grafana: Grafana) -> None:
    grafana.prefix = "/grafana"
    code, out, _ = run("push", "--url", f"{grafana.url}/")
    assert code == 0
    assert f"{grafana.url}/d/{UID}/hub-pulse" in out


def test_without_a_store_the_board_goes_and_the_missing_data_source_is_told(
    grafana: Grafana, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KINESTREAM_CLICKHOUSE")
    code, _, err = run("push")
    assert code == 0
    assert "no data source kinestream-clickhouse" in err
    assert UID in grafana.boards


def test_a_wrong_token_is_one_line(grafana: Grafana) -> None:
    line = refused("--token", "glsa_wrong")
    assert "does not accept the token" in line
    assert "KINESTREAM_GRAFANA_TOKEN" in line
    assert "glsa_wrong" not in line


def test_no_token_at_all_is_one_line(grafana: Grafana, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KINESTREAM_GRAFANA_TOKEN")
    assert "service account token" in refused()
    assert grafana.requests == []


def test_a_grafana_that_is_away_is_one_line(grafana: Grafana) -> None:
    spare = Grafana()
    spare.server_close()
    assert f"no Grafana answers at {spare.url}" in refused("--url", spare.url)


def test_an_address_that_is_none_is_one_line(grafana: Grafana) -> None:
    assert "is no Grafana URL" in refused("--url", "localhost:3000")


def test_another_board_of_the_same_name_is_left_alone(grafana: Grafana) -> None:
    other = {"dashboard": {"uid": "theirs", "title": "Hub pulse", "version": 3}, "meta": {}}
    grafana.boards["theirs"] = other
    assert "has another one of that name" in refused()
    assert grafana.boards == {"theirs": other}


def test_a_board_saved_by_somebody_in_between_is_one_line(grafana: Grafana) -> None:
    grafana.refuse["POST /dashboards/db"] = (412, {"status": "version-mismatch", "message": "changed"})
    assert "push again" in refused()


@pytest.mark.parametrize(
    ("request_", "answer", "said"),
    [
        ("POST /dashboards/db", (400, {"message": "Cannot save provisioned dashboard"}), "boards build --out"),
        ("POST /dashboards/db", (403, {"message": "needs dashboards:write"}), "does not let this account save"),
        ("POST /dashboards/db", (500, {"message": "database is locked"}), "database is locked"),
        ("POST /dashboards/db", (200, b""), "no JSON"),
        ("POST /dashboards/db", (200, {}), "is this a Grafana?"),
        ("POST /dashboards/db", (400, None), "no Grafana's"),
        ("GET /folders/kinestream", (200, b"<html>hello</html>"), "is this a Grafana?"),
        ("POST /folders", (409, {"message": "a folder with that name exists"}), "rename or remove it"),
        (
            "POST /datasources",
            (403, {"message": "needs datasources:create"}),
            "does not let this account make the data",
        ),
    ],
)
def test_whatever_grafana_refuses_is_one_line(
    grafana: Grafana, request_: str, answer: tuple[int, Any], said: str
) -> None:
    grafana.refuse[request_] = answer
    assert said in refused()


def test_list_says_which_boards_there_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KINESTREAM_HOME", str(tmp_path))
    code, out, _ = run("list", "--json")
    (board,) = json.loads(out)
    assert (code, board["name"], board["uid"], len(board["panels"])) == (0, "hub-pulse", UID, 6)
    assert "Hub pulse" in run("list")[1]


def test_build_writes_a_folder_to_provision_from(grafana: Grafana, tmp_path: Path) -> None:
    code, out, _ = run("build", "--out", str(tmp_path / "grafana"), "--json")
    assert code == 0
    files = json.loads(out)["files"]
    assert len(files) == 3
    assert all(Path(file).exists() for file in files)


def test_build_without_a_store_says_what_to_do(
    grafana: Grafana, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KINESTREAM_CLICKHOUSE")
    code, _, err = run("build", "--out", str(tmp_path / "grafana"))
    assert code == 2
    assert "run `kinestream up`" in err
