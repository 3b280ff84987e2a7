"""Owns the talk with a Grafana, through grafana-api, by uid only; every failure is one line that says what to do.

grafana-api reads each answer as JSON and looks into it, so an empty or foreign answer breaks it: that is caught here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import requests
from grafana_api.grafana_api import GrafanaClientError, GrafanaException
from grafana_api.grafana_face import GrafanaFace

from kinestream.deploy.boards.clickhouse import DATASOURCE_UID
from kinestream.deploy.boards.provisioning import FOLDER_TITLE, FOLDER_UID
from kinestream.schemas.errors import KinestreamError, SettingError

TIMEOUT_S: Final = 10.0
_TOKENS: Final = "make a service account token with role Editor, and set KINESTREAM_GRAFANA_TOKEN or --token"


class GrafanaError(KinestreamError):
    """A Grafana cannot be reached, does not let us in, or refuses a board."""


@dataclass(frozen=True, slots=True)
class Pushed:
    """A board that Grafana has; ``action`` is "created" or "updated", ``url`` its page."""

    uid: str
    title: str
    action: str
    url: str
    version: int


class Grafana:
    """One Grafana, with a token or with (name, password)."""

    def __init__(self, url: str, auth: str | tuple[str, str]) -> None:
        where = urlsplit(url)
        if where.scheme not in ("http", "https") or not where.hostname:
            raise SettingError(f"{url!r} is no Grafana URL: give http://host:port, with its path if it has one")
        if not auth or not all(auth):
            raise SettingError(f"no access to {url}: {_TOKENS}; or --user name:password")
        self.url = url.rstrip("/")
        prefix = where.path.strip("/")
        host = f"[{where.hostname}]" if ":" in where.hostname else where.hostname
        self._face = GrafanaFace(
            auth=auth,
            host=host,
            port=where.port,
            url_path_prefix=f"{prefix}/" if prefix else "",
            protocol=where.scheme,
            timeout=TIMEOUT_S,
        )

    def close(self) -> None:
        """Close its connections."""
        self._face.api.s.close()

    def ensure_folder(self) -> None:
        """Make the folder Kinestream unless it is there."""
        if self._found(lambda: self._face.folder.get_folder(FOLDER_UID), "read folders") is None:
            self._ask(lambda: self._face.folder.create_folder(FOLDER_TITLE, uid=FOLDER_UID), "make a folder")

    def ensure_datasource(self, source: Mapping[str, Any] | None) -> str:
        """Make the data source unless it is there; "there", "created" or "missing" (``source`` is None)."""
        # grafana-api knows data sources by number and name only; the uid is what boards refer to.
        found = self._found(lambda: self._face.api.GET(f"/datasources/uid/{DATASOURCE_UID}"), "read data sources")
        if found is not None:
            return "there"
        if source is None:
            return "missing"
        self._ask(lambda: self._face.datasource.create_datasource(dict(source)), "make the data source")
        return "created"

    def push(self, board: Mapping[str, Any]) -> Pushed:
        """Create the board, or replace the one of its uid; never one that only has the same title."""
        uid, title = board["uid"], board["title"]
        found = self._found(lambda: self._face.dashboard.get_dashboard(uid), "read boards")
        dashboard = {**board, "id": None}
        if found is not None:
            dashboard["version"] = found["dashboard"]["version"]
        payload = {
            "dashboard": dashboard,
            "folderUid": FOLDER_UID,
            "overwrite": False,
            "message": "kinestream boards push",
        }
        answer = self._ask(lambda: self._face.dashboard.update_dashboard(payload), f"save {title}")
        if not isinstance(answer, dict) or answer.get("uid") != uid:
            raise GrafanaError(f"{self.url} answered {answer!r} to saving {title}: is this a Grafana?")
        page = urlsplit(self.url)._replace(path=answer.get("url", "")).geturl()
        action = "created" if found is None else "updated"
        return Pushed(uid, title, action, page, int(answer.get("version", 0)))

    def _found(self, call: Callable[[], Any], what: str) -> Any:
        """The answer, or None for 404."""
        try:
            return self._ask(call, what)
        except GrafanaError as problem:
            cause = problem.__cause__
            if isinstance(cause, GrafanaClientError) and cause.status_code == 404:
                return None
            raise

    def _ask(self, call: Callable[[], Any], what: str) -> Any:
        try:
            return call()
        except GrafanaException as problem:
            raise GrafanaError(self._refusal(problem, what)) from problem
        except requests.exceptions.JSONDecodeError as problem:
            raise GrafanaError(f"{self.url} gave an answer that is no JSON ({what}): is this a Grafana?") from problem
        except requests.exceptions.RequestException as problem:
            raise GrafanaError(
                f"no Grafana answers at {self.url}: start it, or set KINESTREAM_GRAFANA_URL or --url "
                f"({type(problem).__name__})"
            ) from problem
        except TypeError as problem:  # grafana-api searches an error's JSON for "message", whatever it is
            raise GrafanaError(f"{self.url} gave an answer that is no Grafana's ({what})") from problem

    def _refusal(self, problem: GrafanaException, what: str) -> str:
        code, answer = problem.status_code, problem.response
        said = answer.get("message", "") if isinstance(answer, dict) else str(answer)[:200]
        status = answer.get("status", "") if isinstance(answer, dict) else ""
        if code == 401:
            return f"{self.url} does not accept the token or password: {_TOKENS}"
        if code == 403:
            return f"{self.url} does not let this account {what}: {said or 'it needs role Editor'}"
        if code in (409, 412) and status == "version-mismatch":
            return f"somebody saved the board at {self.url} in this moment: push again"
        if code in (409, 412):
            return f"{self.url} has another one of that name ({said}): rename or remove it, then push again"
        if code == 400 and "provisioned" in said.lower():
            return f"{self.url} has this board from a file: renew the file with `kinestream boards build --out`"
        return f"{self.url} refused to {what} with {code}: {said}"
