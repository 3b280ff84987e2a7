"""Owns the command ``doctor``: findings as lines or one JSON document; the looking is in deploy/doctor."""

from __future__ import annotations

from typing import Annotated

import typer

#: Exit code when something does not work.
SICK = 1


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(doctor)


def doctor(as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False) -> None:
    """Say what is there, what is missing and what to do; exit code 1 when something does not work."""
    from kinestream.deploy.cli.output import emit_json, say, table, working
    from kinestream.deploy.doctor import FAIL, WARN, examine
    from kinestream.schemas.settings import Settings

    with working("looking"):
        found = list(examine(Settings.from_env()))
    bad = [one for one in found if one.level == FAIL]
    if as_json:
        emit_json({"healthy": not bad, "findings": found})
    else:
        table(("", "what", "found"), [(one.level, one.name, one.detail) for one in found])
        for one in found:
            if one.todo:
                say(f"{one.level} {one.name}: {one.todo}")
        doubtful = sum(one.level == WARN for one in found)
        say(f"{len(found)} things looked at, {doubtful} to know of, {len(bad)} to mend")
    if bad:
        raise typer.Exit(SICK)
