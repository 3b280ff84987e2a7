"""Owns the commands ``episodes`` and ``episode``, in the user's words; the reading is in streams/archive.py."""

from __future__ import annotations

from pathlib import Path
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
    html: Annotated[Path | None, typer.Option(help="Write a page with pictures to this file.", dir_okay=False)] = None,
    png: Annotated[Path | None, typer.Option(help="Write a picture to this file.", dir_okay=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Show one episode: what arrived, how it was converted, what was measured and found, a sketch of the joints."""
    from kinestream.deploy.cli.output import emit_json, say, table
    from kinestream.deploy.judging.aligned import aligned_with

    archive = open_archive()
    found = archive.episode(episode_id)
    pictures = [] if as_json and not (html or png) else _pictures(archive, found, html, png)
    aligned = aligned_with(found["metrics"])
    if as_json:
        emit_json(found | {"aligned_with": aligned})
        return
    table(("episode", episode_id), [(name, _noted(name, found[name])) for name in found if name not in _LISTS])
    say("")
    table(("channel", "width", "unit", "its columns"), _channels(found))
    say("")
    if found["conversions"]:
        table(("conversion",), [(told,) for told in found["conversions"]])
        say("")
    metrics = [(m["id"], m["joint"] or "", _text(m["value"]), m["unit"], m["flag"]) for m in found["metrics"]]
    if metrics:  # an episode that is still open has none yet
        table(("metric", "joint", "value", "unit", "flag"), metrics)
        say("")
        clauses = [
            (c["subject"], c["clause"], _text(c["value"]), _text(c["limit"]), _within(c)) for c in aligned["clauses"]
        ]
        table((f"{aligned['claim']} {aligned['standard']}", "clause", "value", "limit", "within"), clauses)
        say("")
    if not found["findings"]:
        say("no findings")
        return
    rows = [(f["flag"], f["metric"], f"{f['first_seq']}-{f['last_seq']}", f["message"]) for f in found["findings"]]
    table(("finding", "metric", "frames", "what"), rows)
    for line in pictures:
        say(line)


def _channels(found: dict[str, Any]) -> list[tuple[str, ...]]:
    from kinestream.schemas.layout import JOINT_CHANNELS

    own = dict.fromkeys(JOINT_CHANNELS, "the joints")
    return [
        (c["name"], str(c["width"]), c["unit"], ", ".join(c["element_names"]) or own.get(c["name"], "-"))
        for c in found["channels"]
    ]


def _pictures(archive: Archive, found: dict[str, Any], html: Path | None, png: Path | None) -> list[str]:
    """Write those asked for; returns the sketch, lines for the terminal."""
    if not (found["findings"] or html or png):
        return []
    from kinestream.deploy.judging import files, page, sketch, stored
    from kinestream.deploy.judging.report import FilesReport

    report = stored.stored_report(found, archive.frames(found["episode_id"], found["stored_day"]))
    if html:
        files.write_text(html, page.page(FilesReport([report]), f"episode {found['episode_id']}"))
    if png:
        from kinestream.deploy.judging.png import picture

        files.write_bytes(png, picture(report.traces, report.source))
    return [line for trace in report.traces[:_SKETCHES] for line in ("", *sketch.sketch(trace))]


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


#: Sketches of an episode, the worst findings' first; pages and pictures have more.
_SKETCHES = 3
_CLOCKS = {
    "duration_s": "by the robot's stamps, first to last",
    "started_at": "when the broker had its first record",
    "ended_at": "when the broker had its last record",
    "source_started_at": "first stamp of the recording",
    "source_ended_at": "last stamp of the recording",
}
_LISTS = ("episode_id", "channels", "conversions", "metrics", "findings")


def _cells(one: dict[str, Any]) -> tuple[str, ...]:
    names = ("started_at", "episode_id", "robot_id", "skill", "status", "verdict", "frames", "findings", "revision")
    return tuple(_verdict(one) if name == "verdict" else _text(one[name]) for name in names)


def _verdict(one: dict[str, Any]) -> str:
    return f"{one['verdict']} by {one['reviewed_by']}" if one["reviewed_by"] else _text(one["verdict"])


def _noted(name: str, value: Any) -> str:
    """A value and whose clock it is by: a recording is replayed in a moment, and lasted as long as its stamps say."""
    return f"{_text(value)}  ({_CLOCKS[name]})" if name in _CLOCKS and value is not None else _text(value)


def _within(clause: dict[str, Any]) -> str:
    return "not evaluated" if clause["within"] is None else "yes" if clause["within"] else "no"


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)
