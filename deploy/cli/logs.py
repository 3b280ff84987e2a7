"""Owns the command ``logs``: what the local stack's services wrote; the reading is in deploy/local/logs."""

from __future__ import annotations

import sys
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(logs)


def logs(
    services: Annotated[
        list[str] | None, typer.Argument(help="broker, registry, store, worker ...; all if none.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is written, until Ctrl-C.")] = False,
    last: Annotated[int, typer.Option(min=0, help="Lines of each service.")] = 20,
) -> None:
    """Show the last lines of the local stack's services."""
    from kinestream.deploy.cli.output import say
    from kinestream.deploy.local import logs as reading
    from kinestream.deploy.local.stack import Stack
    from kinestream.schemas.settings import Settings

    stack = Stack(Settings.from_env())
    found = reading.service_logs(stack.home, stack.logged(), services or [])
    width = max(map(len, found)) if len(found) > 1 else 0

    def show(name: str, line: str) -> None:
        say(f"{name:<{width}} | {line}" if width else line)
        sys.stdout.flush()  # a pipe would hold what is followed back

    coming = reading.follow(found) if follow else iter(())
    for name, path in found.items():
        for line in reading.last_lines(path, last):
            show(name, line)
    for name, line in coming:
        show(name, line)
