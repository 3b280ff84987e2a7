"""Owns the commands ``boards list``, ``build``, ``push`` and ``preview``; the work is in deploy/boards."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from kinestream.schemas.settings import Settings

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    boards = typer.Typer(help="Grafana boards: list, build, push, preview.", no_args_is_help=True)
    for command, name in ((list_, "list"), (build, "build"), (push, "push"), (preview, "preview")):
        boards.command(name)(command)
    app.add_typer(boards, name="boards")


def list_(as_json: AsJson = False) -> None:
    """Say which boards there are."""
    from kinestream.deploy.boards.catalogue import BOARDS
    from kinestream.deploy.cli.output import emit_json, table
    from kinestream.schemas.settings import Settings

    settings = Settings.from_env()
    found = []
    for board in BOARDS.values():
        document = board.document(settings)
        panels = [panel["title"] for panel in document["panels"]]
        about = {name: document[name] for name in ("uid", "title", "description")}
        found.append({"name": board.name, **about, "panels": panels, "file": str(board.path)})
    if as_json:
        emit_json(found)
    else:
        rows = [(one["name"], one["title"], str(len(one["panels"])), one["file"]) for one in found]
        table(("board", "title", "panels", "file"), rows)


def build(
    out: Annotated[Path | None, typer.Option(help="Folder for a Grafana to provision itself from.")] = None,
    seen_as: Annotated[str, typer.Option(help="That folder as Grafana sees it, as in a container.")] = "",
    as_json: AsJson = False,
) -> None:
    """Renew the committed boards; with --out, write a provisioning folder for this site's store, zone and goal."""
    from kinestream.deploy.boards.catalogue import renew
    from kinestream.deploy.boards.provisioning import write
    from kinestream.deploy.cli.output import emit_json, say
    from kinestream.schemas.settings import Settings

    if out is None:
        files = renew(Settings())  # the committed ones are everybody's: defaults, whatever is set here
    else:
        settings = Settings.from_env()
        files = write(settings, _store(settings), out, seen_as)
    if as_json:
        emit_json({"files": [str(path) for path in files]})
        return
    for path in files:
        say(str(path))
    if out is None and not files:
        say("every board was up to date")
    elif out is not None:
        say(f"next: start Grafana with GF_PATHS_PROVISIONING={seen_as or out.resolve()}/provisioning")


def push(
    url: Annotated[str, typer.Option(help="Grafana; default KINESTREAM_GRAFANA_URL.")] = "",
    token: Annotated[str, typer.Option(help="Service account token; default KINESTREAM_GRAFANA_TOKEN.")] = "",
    user: Annotated[str, typer.Option(help="name:password, in place of a token.")] = "",
    as_json: AsJson = False,
) -> None:
    """Put the boards into a running Grafana, and the data source too where it is missing."""
    from kinestream.deploy.boards.catalogue import BOARDS
    from kinestream.deploy.boards.grafana import Grafana
    from kinestream.deploy.boards.provisioning import datasource
    from kinestream.deploy.cli.output import complain, emit_json, say
    from kinestream.deploy.local.stack import Stack
    from kinestream.schemas.settings import Settings

    settings = Settings.from_env()
    store = Stack(settings).where().clickhouse
    source = datasource(settings, store, settings.clickhouse_reader_password) if store else None
    grafana = Grafana(url or settings.grafana_url, _access(settings, token, user))
    try:
        found = grafana.ensure_datasource(source)
        grafana.ensure_folder()
        pushed = [grafana.push(board.document(settings)) for board in BOARDS.values()]
    finally:
        grafana.close()
    if found == "missing":
        complain("Grafana has no data source kinestream-clickhouse yet: set KINESTREAM_CLICKHOUSE and push again")
    if as_json:
        emit_json({"grafana": grafana.url, "datasource": found, "boards": pushed})
        return
    for one in pushed:
        say(f"{one.action} {one.title}, version {one.version}: {one.url}")
    say(f"data source kinestream-clickhouse: {found}")


def preview(
    out: Annotated[Path, typer.Option(help="The SVG file to write.")] = Path("hub-pulse.svg"),
    board: Annotated[str, typer.Option(help="Name of the board; see `boards list`.")] = "hub-pulse",
    minutes: Annotated[int, typer.Option(min=0, help="Show the last minutes; default: today.")] = 0,
) -> None:
    """Draw a board from the running store, without a Grafana: a still picture, and it says so."""
    from kinestream.deploy.boards.catalogue import BOARDS
    from kinestream.deploy.boards.preview import preview as draw
    from kinestream.deploy.cli.output import say
    from kinestream.schemas.errors import SettingError
    from kinestream.schemas.settings import Settings
    from kinestream.streams.store.client import connect

    settings = Settings.from_env()
    if board not in BOARDS:
        raise SettingError(f"no board is called {board!r}: there are {', '.join(BOARDS)}")
    reader = settings.clickhouse_reader, settings.clickhouse_reader_password
    client = connect(_store(settings), settings.clickhouse_database, *reader)
    try:
        out.write_text(draw(BOARDS[board].document(settings), client, minutes=minutes), encoding="utf-8")
    finally:
        client.close()
    say(f"drew {out}")


def _access(settings: Settings, token: str, user: str) -> str | tuple[str, str]:
    """What was given on the command line beats the settings, and a token beats a name."""
    if user and not token:
        name, _, password = user.partition(":")
        return name, password or settings.grafana_password
    if token or settings.grafana_token or not settings.grafana_user:
        return token or settings.grafana_token
    return settings.grafana_user, settings.grafana_password


def _store(settings: Settings) -> str:
    from kinestream.deploy.local.stack import Stack
    from kinestream.schemas.errors import SettingError

    url = Stack(settings).where().clickhouse
    if not url:
        raise SettingError("no store: run `kinestream up`, or set KINESTREAM_CLICKHOUSE to one that runs")
    return url
