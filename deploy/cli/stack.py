"""Owns the commands ``up``, ``down``, ``status`` and ``env``, in the user's words; the work is in deploy/local."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from kinestream.deploy.local.services import Services

#: Exit code of ``status`` when something is not healthy.
UNHEALTHY = 3


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(up)
    app.command()(down)
    app.command()(status)
    app.command()(env)


def up(
    workers: Annotated[
        int, typer.Option(min=0, help="Stream workers to run; on Apache Kafka one more reads bulk uploads.")
    ] = 1,
) -> None:
    """Start broker, registry, store and workers on this machine, and wait until they are healthy."""
    from kinestream.deploy.cli.output import say, working
    from kinestream.deploy.local.stack import Stack
    from kinestream.schemas.settings import Settings

    stack = Stack(Settings.from_env())
    with working("starting the local stack") as progress:
        found = stack.up(progress, workers)
    say(f"up: data in {stack.home}")
    for variable, value in _variables(found):
        say(f"  {variable}={value}")
    if stack.broker() == "test":
        say("  the test broker keeps messages in memory only: they are gone after `kinestream down`")
    say('next: `eval "$(kinestream env)"` for programs; `kinestream status`; `kinestream down` keeps the data')


def down() -> None:
    """Stop what `up` started; the data stays."""
    from kinestream.deploy.cli.output import say, working
    from kinestream.deploy.local.stack import Stack
    from kinestream.schemas.settings import Settings

    stack = Stack(Settings.from_env())
    with working("stopping the local stack"):
        ran = stack.down()
    say(f"down: data stays in {stack.home}" if ran else f"nothing was running in {stack.home}")


def status(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Say which services work and where they are; exit code 3 when one does not."""
    from dataclasses import asdict

    from kinestream.deploy.cli.output import emit_json, table
    from kinestream.deploy.local.stack import Stack
    from kinestream.schemas.settings import Settings

    stack = Stack(Settings.from_env())
    found = stack.status()
    if as_json:
        emit_json({"services": found, **asdict(stack.where()), "broker": stack.broker()})
    else:
        marks = {True: "healthy", False: "NOT HEALTHY"}
        rows = [(one.name, marks[one.healthy], one.url, str(one.pid or ""), one.detail) for one in found]
        table(("service", "state", "where", "pid", "detail"), rows)
    if not all(one.healthy for one in found):
        raise typer.Exit(UNHEALTHY)


def env() -> None:
    """Print the running stack's addresses as lines for a shell: eval "$(kinestream env)"."""
    from kinestream.deploy.cli.output import say
    from kinestream.deploy.local.stack import Stack
    from kinestream.schemas.settings import Settings

    for variable, value in _variables(Stack(Settings.from_env()).services()):
        say(f"export {variable}={value}")


def _variables(found: Services) -> list[tuple[str, str]]:
    return [
        ("KINESTREAM_KAFKA", found.kafka),
        ("KINESTREAM_REGISTRY", found.registry),
        ("KINESTREAM_CLICKHOUSE", found.clickhouse),
    ]
