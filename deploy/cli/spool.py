"""Owns the command ``spool``: what robots keep on this machine, and sending it without them; it decides nothing."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from kinestream.producers.spool.inspection import SpoolState

Json = Annotated[bool, typer.Option("--json", help="One JSON document.")]
Folder = Annotated[Path | None, typer.Argument(help="A spool, or a folder of spools (default: this user's).")]
#: Exit code while something is not delivered.
NOT_DELIVERED = 3


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="What robots keep on disk until the hub has it.", no_args_is_help=True)
    for command in (status, drain):
        group.command()(command)
    app.add_typer(group, name="spool")


def status(folder: Folder = None, as_json: Json = False) -> None:
    """What each spool holds: takes not sent, takes without a receipt, bytes, and whether it takes more."""
    from kinestream.deploy.cli.output import emit_json, say, table
    from kinestream.producers.spool.inspection import inspect
    from kinestream.schemas.settings import Settings

    settings = Settings.from_env()
    found = [inspect(one, settings) for one in _spools(folder)]
    if as_json:
        emit_json({"spools": [one.to_json() for one in found]})
        return
    columns = ("robot", "in use", "unsent", "frames", "no receipt", "MB", "state", "folder")
    table(columns, [_row(one) for one in found])
    if any(one.unsent_episodes and not one.in_use for one in found):
        say("next: start the robot again, or `kinestream spool drain` sends what waits")


def drain(
    folder: Folder = None,
    timeout: Annotated[float, typer.Option(min=0.0, help="Seconds for each spool.")] = 60.0,
    kafka: Annotated[str, typer.Option(help="Bootstrap servers (KINESTREAM_KAFKA).")] = "",
    as_json: Json = False,
) -> None:
    """Send what is in a spool without its robot and wait for the hub's receipts.

    Ends with 0 when every frame is acknowledged and every take has its receipt (or the hub writes none), 3 when not.
    """
    from kinestream.deploy.cli.output import emit_json, say, working
    from kinestream.producers.spool.draining import drain_spool
    from kinestream.schemas.settings import Settings

    settings = Settings.from_env()
    with working("sending") as line:
        done = [drain_spool(one, settings, kafka or settings.kafka, timeout, line) for one in _spools(folder)]
    if as_json:
        emit_json({"drained": all(one.drained for one in done), "spools": done})
    else:
        for one in done:
            say(f"{one.robot_id}: {one.text}")
    if not all(one.drained for one in done):
        sys.exit(NOT_DELIVERED)


def _spools(folder: Path | None) -> list[Path]:
    from kinestream.producers.spool.places import find_spools, spools_folder
    from kinestream.schemas.errors import SpoolError
    from kinestream.schemas.settings import Settings

    where = folder or spools_folder(Settings.from_env().spool)
    found = find_spools(where)
    if not found and folder is not None:
        raise SpoolError(f"{where} holds no spool: give the folder of one, or one above several")
    return found


def _row(one: SpoolState) -> tuple[str, ...]:
    used = "yes" if one.in_use else "no"
    counts = (f"{one.unsent_episodes}", f"{one.unsent_frames:,}", f"{one.without_receipt}", f"{one.bytes / 1e6:,.1f}")
    return (one.robot_id, used, *counts, one.state, str(one.folder))
