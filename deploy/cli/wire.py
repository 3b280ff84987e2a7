"""Owns the commands ``wire check`` and ``wire capture``, in the user's words; the work is in deploy/wire.

Exit codes of ``check``: 0 the producer conforms, 1 it does not, 2 nothing could be read.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from kinestream.deploy.wire.checks import Check
    from kinestream.deploy.wire.conformance import Report
    from kinestream.schemas.registry import Registry
    from kinestream.schemas.settings import Settings

#: Exit code where something fails.
DIFFERENT = 1
#: Failures of a check shown for people; --json has more.
_SHOWN = 3

RobotOption = Annotated[str, typer.Option("--robot", help="Read what this robot sends to the running cluster.")]
SecondsOption = Annotated[float, typer.Option(min=0.1, help="With --robot: listen for so long, from now on.")]
SinceOption = Annotated[
    str | None,
    typer.Option(help="With --robot: what came since, instead of listening: 2m, 3h, or a date or moment in UTC."),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Whether a robot's program in any language keeps to docs/wire.md.", no_args_is_help=True)
    group.command("check")(check)
    group.command("capture")(capture)
    app.add_typer(group, name="wire")


def check(
    file: Annotated[Path | None, typer.Argument(help="Captured messages (docs/wire.md); else --robot.")] = None,
    robot: RobotOption = "",
    seconds: SecondsOption = 30.0,
    since: SinceOption = None,
    partitions: Annotated[int, typer.Option(min=1, help="Partitions of the topics a FILE was captured from.")] = 8,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Say what a producer does wrong, and what a worker makes of it; joins no group and changes nothing.

    Exit code 0: it conforms; 1: it does not; 2: nothing could be read.
    """
    from kinestream.deploy.cli.output import emit_json, say
    from kinestream.schemas.errors import SettingError

    if (file is None) == (not robot):
        raise SettingError("give a capture FILE, or --robot ID to read from the running cluster")
    report = _check_robot(robot, seconds, since) if file is None else _check_file(file, partitions)
    if as_json:
        emit_json(report.to_json())
    else:
        for line in _told(report):
            say(line)
    if not report.conforms:
        raise typer.Exit(DIFFERENT)


def capture(
    robot: RobotOption,
    out: Annotated[Path, typer.Option(help="The file to write: a JSON object a line.", dir_okay=False)],
    seconds: SecondsOption = 30.0,
    since: SinceOption = None,
) -> None:
    """Write what a robot sends to a file, for `wire check FILE`; joins no group and changes nothing."""
    import io

    from kinestream.deploy.cli import moments
    from kinestream.deploy.cli.output import say, working
    from kinestream.deploy.judging.files import write_bytes
    from kinestream.deploy.wire.capture import write_capture
    from kinestream.deploy.wire.listening import Listener
    from kinestream.schemas.settings import Settings

    settings = Settings.from_env()
    kafka, registry = _cluster(settings)
    with working(f"reading what {robot} sends") as note:
        found = Listener(settings, kafka, registry, robot).messages(seconds, moments.since(since), note)
    content = io.BytesIO()
    count = write_capture(content, found)
    write_bytes(out, content.getvalue())
    say(f"{out}: {count} messages; next: `kinestream wire check {out}`")


def _check_file(file: Path, partitions: int) -> Report:
    from kinestream.deploy.cli.output import working
    from kinestream.deploy.wire.capture import read_capture
    from kinestream.deploy.wire.conformance import check as look
    from kinestream.schemas.registry import Registry
    from kinestream.schemas.settings import Settings

    settings = Settings.from_env()
    with working(f"checking {file}"):
        return look(read_capture(file), Registry(settings.registry), partitions, settings)


def _check_robot(robot: str, seconds: float, since: str | None) -> Report:
    from kinestream.deploy.cli import moments
    from kinestream.deploy.cli.output import working
    from kinestream.deploy.wire.conformance import check as look
    from kinestream.deploy.wire.listening import Listener
    from kinestream.schemas.settings import Settings
    from kinestream.streams.model_log import ModelLog

    settings = Settings.from_env()
    kafka, registry = _cluster(settings)
    with working(f"reading what {robot} sends") as note:
        listener = Listener(settings, kafka, registry, robot)
        found = listener.messages(seconds, moments.since(since), note)
        models = ModelLog(settings, kafka, registry)
        try:
            return look(found, registry, listener.partitions, settings, models.read())
        finally:
            models.close()


def _cluster(settings: Settings) -> tuple[str, Registry]:
    from kinestream.deploy.cli.subscribe import broker_address
    from kinestream.deploy.local.stack import Stack
    from kinestream.schemas.registry import Registry

    return broker_address(settings), Registry(settings.registry or Stack(settings).where().registry)


def _told(report: Report) -> Iterator[str]:
    marks = {"pass": "ok  ", "fail": "FAIL", "warn": "warn"}
    shown = [check for check in report.checks if check.result in marks]
    for one in shown:
        yield f"{marks[one.result]}  {one.id:<11} {one.title}"
        yield from _failures(one)
    unseen = [check.id for check in report.checks if check.result not in marks]
    if unseen:
        yield f"      not seen    {', '.join(unseen)}"
    yield ""
    yield from (_episode(dict(one)) for one in report.episodes)
    if report.cut_off:
        yield f"{report.cut_off} episodes began before the capture: only their single messages were looked at"
    if report.dead_letters:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in sorted(report.dead_letters.items()))
        yield f"a worker refuses: {reasons} (dead letters)"
    if "WRONG_PARTITION" in report.dead_letters:
        yield "the episodes are told of as they would close, were they on their partitions"
    failed = [check.id for check in report.checks if check.result == "fail"]
    warned = [check.id for check in report.checks if check.result == "warn"]
    advice = f"; advice: {', '.join(warned)}" if warned else ""
    if failed:
        yield f"{report.records:,} records do not conform: {', '.join(failed)}{advice}"
    else:
        yield f"{report.records:,} records conform{advice}"


def _failures(check: Check) -> Iterator[str]:
    for one in check.failures[:_SHOWN]:
        reason = f" -> dead letter {one.reason}" if one.reason else ""
        yield f"        {one.where}{reason}"
        yield f"          received  {one.received}"
        yield f"          expected  {one.expected}"
    if check.failed > _SHOWN:
        yield f"        and {check.failed - min(_SHOWN, len(check.failures)):,} more"
    if check.failures:
        yield f"        to do       {check.failures[0].what_to_do}"


def _episode(episode: dict[str, object]) -> str:
    said = f"episode {episode['episode_id']}: {episode['status']}, {episode['frames']} frames"
    if "verdict" not in episode:
        return said
    verified = "hash verified" if episode["hash_verified"] else "hash not verified"
    findings = episode["findings"]
    assert isinstance(findings, list)
    return f"{said} of {episode['frames_expected']}, {verified}, {episode['verdict']}" + "".join(
        f"\n        {text}" for text in findings
    )
