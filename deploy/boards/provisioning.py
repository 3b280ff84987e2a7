"""Owns the files that a Grafana provisions itself from: data source, provider, boards; never a private password."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from kinestream.deploy.boards.catalogue import renew
from kinestream.deploy.boards.clickhouse import DATASOURCE_UID, PLUGIN
from kinestream.schemas.errors import SettingError
from kinestream.schemas.settings import Settings

FOLDER_UID: Final = "kinestream"
FOLDER_TITLE: Final = "Kinestream"
_PASSWORD_VARIABLE: Final = "KINESTREAM_CLICKHOUSE_READER_PASSWORD"


def datasource(settings: Settings, url: str, password: str) -> dict[str, Any]:
    """The data source as Grafana's API and files spell it; :class:`SettingError` when ``url`` is no store's."""
    where = urlsplit(url)
    if where.scheme not in ("http", "https") or not where.hostname:
        raise SettingError(f"{url!r} is no ClickHouse URL: give http://host:port or https://host:port")
    return {
        "name": "Kinestream",
        "type": PLUGIN,
        "uid": DATASOURCE_UID,
        "access": "proxy",
        "jsonData": {
            "host": where.hostname,
            "port": where.port or (8443 if where.scheme == "https" else 8123),
            # The plugin's default, native, is a protocol that the embedded store does not speak.
            "protocol": "http",
            "secure": where.scheme == "https",
            "username": settings.clickhouse_reader,
            "defaultDatabase": settings.clickhouse_database,
        },
        "secureJsonData": {"password": password},
    }


def write(settings: Settings, url: str, folder: Path, seen_as: str = "") -> list[Path]:
    """Write a provisioning folder for the store at ``url``; the files.

    ``seen_as`` is ``folder`` as Grafana sees it (in a container, say). A password other than the default is not
    written: Grafana reads it from its environment.
    """
    import yaml

    own = settings.clickhouse_reader_password != Settings().clickhouse_reader_password
    password = f"${{{_PASSWORD_VARIABLE}}}" if own else settings.clickhouse_reader_password
    provider = {
        "name": "Kinestream",
        "folder": FOLDER_TITLE,
        "folderUid": FOLDER_UID,
        "type": "file",
        "allowUiUpdates": False,
        "options": {"path": f"{seen_as or folder.resolve()}/dashboards"},
    }
    files = {
        "datasources": {"apiVersion": 1, "datasources": [datasource(settings, url, password)]},
        "dashboards": {"apiVersion": 1, "providers": [provider]},
    }
    written = []
    for kind, document in files.items():
        path = folder / "provisioning" / kind / "kinestream.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
        written.append(path)
    renew(settings, folder / "dashboards")
    return written + sorted((folder / "dashboards").glob("*.json"))
