"""Owns the command ``work``: one more worker beside a running stack, in this very process; it supervises nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from kinestream.deploy.local.services import Services
    from kinestream.schemas.settings import Settings


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(work)


def work(
    lane: Annotated[
        str, typer.Option(help="Which frames it reads: live, bulk or both (live beside a worker-bulk, else both).")
    ] = "",
) -> None:
    """Run one worker until Ctrl-C; it shares the partitions with those that run already."""
    import os
    import sys
    from dataclasses import fields, replace

    from kinestream.deploy.cli.output import working
    from kinestream.deploy.local.stack import Stack
    from kinestream.schemas.settings import PREFIX, Settings, check_choice

    settings = Settings.from_env()
    stack = Stack(settings)
    settings = replace(settings, lane=check_choice("lane", lane or stack.lane(), "--lane"))
    found = stack.for_workers()
    _check(settings, found)
    mine = worker_settings(settings, found)
    with working("starting") as note:
        note(f"worker {mine.instance_id}: http://127.0.0.1:{mine.worker_port}/readyz says when it is ready")
    os.environ.update({PREFIX + one.name.upper(): str(getattr(mine, one.name)) for one in fields(mine)})
    command = (sys.executable, "-m", "faust", "-A", "kinestream.streams.app", "worker")
    os.execv(sys.executable, command)


def worker_settings(settings: Settings, found: Services) -> Settings:
    """Of a worker beside others: the stack's addresses, a free port, an instance id that nobody else has."""
    import socket
    import uuid
    from dataclasses import replace

    from kinestream.deploy.local.process import free_port
    from kinestream.schemas.settings import Settings as Defaults

    return replace(
        settings,
        kafka=found.kafka,
        registry=found.registry,
        clickhouse=found.clickhouse,
        home=settings.home.expanduser().resolve(),
        worker_port=free_port() if settings.worker_port == Defaults().worker_port else settings.worker_port,
        # Two members with one static id would throw each other out for ever.
        instance_id=settings.instance_id or f"{socket.gethostname()}-work-{uuid.uuid4().hex[:8]}",
    )


def _check(settings: Settings, found: Services) -> None:
    """A worker waits for ever for services that are away: right under a supervisor, puzzling at a keyboard."""
    from kinestream.deploy.local import health
    from kinestream.schemas.errors import StackError

    broker, store = health.broker(found.kafka, access=settings.kafka_access()), health.store(found.clickhouse)
    if not broker.healthy:
        raise StackError(broker.detail)
    if not store.healthy:
        raise StackError(f"{store.detail}: start it with `kinestream up`, or set KINESTREAM_CLICKHOUSE")
