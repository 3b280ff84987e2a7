"""Owns the commands ``episodes`` and ``episode``, in the user's words; the reading is in streams/archive.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from kinestream.streams.archive import Archive


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(episodes)
    app.command()(episode)


def episodes(
    last: Annotated[int, typer.Option(min=1, help="How many, the newest first.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array.")] = False,
) -> None:
    """List the newest episodes, those still being recorded among them (OPEN)."""
    from kinestream.deploy.cli.output import emit_json, say, table

    found = open_archive().episodes(last)
    if as_json:
        emit_json(found)
        return
    if not found:
        say("no episodes yet: `kinestream demo` or `kinestream publish PATH` makes some")
        return
    columns = ("started", "episode", "robot", "skill", "status", "verdict", "frames", "findings", "revision")
    table(columns, [_cells(one) for one in found])


def episode(
    episode_id: Annotated[str, typer.Argument(metavar="ID", help="Episode id.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Show one episode: what arrived, what was measured, what was found."""
    from kinestream.deploy.cli.output import emit_json, say, table

    found = open_archive().episode(episode_id)
    if as_json:
        emit_json(found)
        return
    table(("episode", episode_id), [(name, _text(found[name])) for name in found if name not in _LISTS])
    say("")
    metrics = [(m["id"], m["joint"] or "", _text(m["value"]), m["unit"], m["flag"]) for m in found["metrics"]]
    if metrics:  # an episode that is still open has none yet
        table(("metric", "joint", "value", "unit", "flag"), metrics)
        say("")
    if not found["findings"]:
        say("no findings")
        return
    rows = [(f["flag"], f["metric"], f"{f['first_seq']}-{f['last_seq']}", f["message"]) for f in found["findings"]]
    table(("finding", "metric", "frames", "what"), rows)


def open_archive() -> Archive:
    """The store of the settings, else of the local stack; raises SettingError or StoreError."""
    from kinestream.deploy.local.stack import Stack
    from kinestream.schemas.errors import SettingError
    from kinestream.schemas.settings import Settings
    from kinestream.streams.archive import Archive

    settings = Settings.from_env()
    url = Stack(settings).where().clickhouse
    if not url:
        raise SettingError("no store: run `kinestream up`, or set KINESTREAM_CLICKHOUSE to one that runs")
    return Archive(settings, url)


_LISTS = ("episode_id", "metrics", "findings")


def _cells(one: dict[str, Any]) -> tuple[str, ...]:
    names = ("started_at", "episode_id", "robot_id", "skill", "status", "verdict", "frames", "findings", "revision")
    return tuple(_text(one[name]) for name in names)


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)
