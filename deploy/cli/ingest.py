"""Owns the command ``ingest``: the gateway for robots that do not speak Kafka, in the user's words."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from kinestream.schemas.settings import Settings

#: Exit code where lines were refused, or a take was left open.
REFUSED = 1


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(ingest)


def ingest(
    source: Annotated[str, typer.Argument(metavar="[FILE|-]", help="Lines of a file or of stdin; then it ends.")] = "",
    tcp: Annotated[str, typer.Option(metavar="HOST:PORT", help="Listen for lines; :0 = any free port.")] = "",
    http: Annotated[str, typer.Option(metavar="HOST:PORT", help="Listen for HTTP and WebSocket.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Take frames as JSON lines (docs/ingest.md) from a file, stdin, TCP, HTTP and WebSocket, of many robots.

    A listener runs until Ctrl-C. A file ends with 0 when the broker has everything, 1 where lines were refused.
    """
    import asyncio

    from kinestream.deploy.cli.output import emit_json, say
    from kinestream.producers.ingest.listeners import listener
    from kinestream.producers.ingest.serving import serve
    from kinestream.schemas.errors import SettingError
    from kinestream.schemas.settings import Settings

    settings = Settings.from_env()
    listeners = [listener("tcp", tcp, settings)] if tcp else []
    listeners += [listener("http", http, settings)] if http else []
    if bool(source) == bool(listeners):
        raise SettingError("give a FILE (- for stdin), or an address to listen on, such as --tcp :7700")
    settings = _with_broker(settings)
    if source:
        sys.exit(_from_file(source, settings, as_json))

    def ready(addresses: dict[str, str], left: int) -> None:
        if as_json:
            emit_json({"listening": addresses, "robots_left": left})
        else:
            for kind, address in addresses.items():
                say(f"listening: {kind} {address}")
            if left:
                say(f"{left} robots have something left from before: it is being sent")
        sys.stdout.flush()

    asyncio.run(serve(settings, settings.kafka, listeners, ready))


def _with_broker(settings: Settings) -> Settings:
    """The local stack's, where nothing else is set; it need not be up."""
    from dataclasses import replace

    from kinestream.deploy.local.stack import Stack
    from kinestream.schemas.errors import SettingError

    kafka = Stack(settings).where().kafka
    if not kafka:
        raise SettingError("no broker: run `kinestream up`, or set KINESTREAM_KAFKA to one that will run")
    return replace(settings, kafka=kafka)


def _from_file(source: str, settings: Settings, as_json: bool) -> int:
    """Take the lines of a file or of stdin; the exit code."""
    from dataclasses import asdict

    from kinestream.deploy.cli.output import complain, emit_json, say, working
    from kinestream.producers.ingest.files import ingest_stream
    from kinestream.producers.ingest.gateway import Gateway
    from kinestream.schemas.errors import RecordingError

    try:
        stream = sys.stdin.buffer if source == "-" else open(source, "rb")  # noqa: SIM115
    except OSError as problem:
        raise RecordingError(
            f"{source} cannot be read ({problem.strerror}): give a file of JSON lines, or -"
        ) from problem
    gateway = Gateway(settings)
    try:
        with working("ingesting") as line, stream:
            report = ingest_stream(stream, gateway, line)
    finally:
        gateway.close()
    if as_json:
        emit_json(asdict(report))
    else:
        for one in report.episodes:
            say(f"{one['episode_id']}: {one['frames']:,} frames, {one['outcome']}")
        for refusal in report.refusals[:10]:
            complain(f"line {refusal['line']}: {refusal['reason']}: {refusal['text']}")
        if report.refused:
            complain(f"{report.refused} lines were refused; what was accepted is kept and sent")
        if report.left_open:
            complain(f"{report.left_open} takes had no end line: they are ended ABORTED")
        if report.undelivered:
            complain(report.undelivered)
    return 0 if report.well else REFUSED
