"""Owns the command ``rescore``: what is said of each episode; judging is in streams/rescoring.py, writing the workers'.

Exit codes: 0 done, 1 not every episode could be judged or was written, 2 an error that one line explains.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from kinestream.schemas.models import Models
    from kinestream.schemas.settings import Settings
    from kinestream.streams.command_sender import CommandSender
    from kinestream.streams.rescoring import Rescored, Rescorer

UNFINISHED = 1
#: Seconds without a single new revision after which workers are no longer waited for.
WAIT_S = 15.0
#: Commands that workers have to carry out at once, at most: live takes go first.
WAVE = 100
#: Episodes shown to people; --json has them all.
_SHOWN = 50


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(rescore)


def rescore(
    since: Annotated[str | None, typer.Option(help="Only episodes since: 2h, 3d, or a date or moment in UTC.")] = None,
    rules: Annotated[
        str, typer.Option(metavar="FILE", help="Rules that override the committed ones: a file or a folder.")
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change, and change nothing.")] = False,
    skill: Annotated[list[str] | None, typer.Option(help="Only this skill; repeatable.")] = None,
    model: Annotated[list[str] | None, typer.Option(help="Only this robot model; repeatable.")] = None,
    episode: Annotated[list[str] | None, typer.Option("--episode", help="Only this episode; repeatable.")] = None,
    by: Annotated[str, typer.Option(metavar="NAME", help="Who wants it (a pseudonym).")] = "rescore",
    note: Annotated[str, typer.Option(metavar="TEXT", help="Why.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Judge stored episodes again; a worker makes a revision of each whose verdict or findings change."""
    from kinestream.deploy.cli import moments
    from kinestream.deploy.cli.output import emit_json, working
    from kinestream.schemas.errors import SettingError
    from kinestream.streams.command_sender import check_by

    if episode and (since or skill or model):
        raise SettingError("--episode names them: leave out --since, --skill and --model")
    rescorer, moment = _open(rules), moments.since(since)
    said = {"by": check_by(by), "note": note}
    with working("judging") as tell:
        chosen = rescorer.named(episode) if episode else rescorer.chosen(moment, skill or (), model or ())
        summary = _summary(rescorer, rescorer.judge(chosen), None if dry_run else _sender(), said, tell)
    if as_json:
        emit_json(summary)
    else:
        _tell(summary)
    if summary["waiting"] or summary["overtaken"] or summary["problems"]:
        raise typer.Exit(UNFINISHED)


def _open(rules: str) -> Rescorer:
    from kinestream.deploy.local.stack import Stack
    from kinestream.schemas.errors import SettingError
    from kinestream.schemas.rulebook import read_overlays
    from kinestream.schemas.settings import Settings
    from kinestream.streams.rescoring import Rescorer

    settings = Settings.from_env()
    overlays = read_overlays(rules) if rules else None
    url = Stack(settings).where().clickhouse
    if not url:
        raise SettingError("no store: run `kinestream up`, or set KINESTREAM_CLICKHOUSE to one that runs")
    return Rescorer(settings, url, overlays, _models(settings))


def _models(settings: Settings) -> Models:
    """Descriptions of robots in force: those that are registered, as workers read them."""
    from kinestream.deploy.cli.subscribe import broker_address
    from kinestream.schemas.registry import Registry
    from kinestream.streams.model_log import ModelLog

    log = ModelLog(settings, broker_address(settings), Registry(settings.registry))
    try:
        return log.read()
    finally:
        log.close()


def _sender() -> CommandSender:
    from kinestream.deploy.cli.subscribe import broker_address
    from kinestream.schemas.settings import Settings
    from kinestream.streams.command_sender import CommandSender

    settings = Settings.from_env()
    return CommandSender(settings, broker_address(settings))


def _summary(
    rescorer: Rescorer,
    judged: Iterator[Rescored],
    sender: CommandSender | None,
    said: dict[str, str],
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """A wave of changes at a time: judged, asked for, waited for."""
    found: dict[str, Any] = {"dry_run": sender is None, "episodes": 0, "changed": 0, "written": 0}
    found |= {"waiting": [], "overtaken": [], "problems": [], "changes": []}
    changes = _changes(judged, found)
    while wave := list(islice(changes, WAVE)):
        revisions = _written(rescorer, wave, sender, said, found) if sender else {}
        found["changes"] += [_document(one, revisions.get(one.placed["episode_id"])) for one in wave]
        tell(f"{found['episodes']:,} episodes judged, {found['changed']:,} change")
    return found


def _changes(judged: Iterator[Rescored], found: dict[str, Any]) -> Iterator[Rescored]:
    for one in judged:
        found["episodes"] += 1
        if one.problem:
            found["problems"].append({"episode_id": one.placed["episode_id"], "text": one.problem})
        elif one.changes:
            found["changed"] += 1
            yield one


def _written(
    rescorer: Rescorer, wave: Sequence[Rescored], sender: CommandSender, said: dict[str, str], found: dict[str, Any]
) -> dict[str, int]:
    """Ask for their revisions, and wait; the revisions by episode."""
    import time

    what = [{"kind": "RESCORE", **said, "pins": dict(one.pins), "rule_version": one.rule_version} for one in wave]
    sender.send_all([(one.placed, fields) for one, fields in zip(wave, what, strict=True)])
    revisions: dict[str, int] = {}
    pending = {one.placed["episode_id"]: one for one in wave}
    deadline_s = time.monotonic() + WAIT_S
    while pending and time.monotonic() < deadline_s:
        rows = rescorer.latest(pending)
        for episode_id, row in rows.items():
            if row["revision"] == pending[episode_id].placed["revision"]:
                continue
            one, deadline_s = pending.pop(episode_id), time.monotonic() + WAIT_S
            if row["rule_version"] == one.rule_version:
                revisions[episode_id] = row["revision"]
            else:  # late frames, or another command: ours was for the revision before
                found["overtaken"].append(episode_id)
        time.sleep(0.1)
    found["waiting"] += list(pending)
    found["written"] += len(revisions)
    return revisions


def _document(one: Rescored, revision: int | None) -> dict[str, Any]:
    was = one.placed
    return {
        **{name: was[name] for name in ("episode_id", "robot_id", "skill")},
        "revision": {"before": was["revision"], "after": revision},
        "verdict": {"before": was["verdict"], "after": one.verdict},
        "machine_verdict": {"before": was["machine_verdict"], "after": one.machine_verdict},
        "rule_version": {"before": was["rule_version"], "after": one.rule_version},
        "findings": [{"before": pair.before, "after": pair.after} for pair in one.findings],
    }


def _tell(found: dict[str, Any]) -> None:
    from kinestream.deploy.cli.output import say

    for one in found["changes"][:_SHOWN]:
        _tell_change(one)
    more = len(found["changes"]) - _SHOWN
    if more > 0:
        say(f"... and {more:,} more: --json lists them all")
    for one in found["problems"]:
        say(f"{one['episode_id']} cannot be judged: {one['text']}")
    would = "would change: run it without --dry-run" if found["changed"] else "would change"
    done = would if found["dry_run"] else f"changed, {found['written']:,} revisions written"
    say(f"{found['episodes']:,} episodes judged again, {found['changed']:,} {done}")
    if found["overtaken"]:
        say(f"{len(found['overtaken'])} got another revision meanwhile: run it again")
    if found["waiting"]:
        say(
            f"{len(found['waiting'])} wait: no revision came within {WAIT_S:g} s; they are made when a worker runs"
            " (`kinestream status`), a refused command is in `kinestream dlq list`"
        )


def _tell_change(one: dict[str, Any]) -> None:
    from kinestream.deploy.cli.output import say

    verdict, machine = one["verdict"], one["machine_verdict"]
    said = f"{machine['before']} -> {machine['after']}" if machine["before"] != machine["after"] else machine["after"]
    kept = f", {verdict['after']} by a person" if verdict["after"] != machine["after"] else ""
    revision = f"  revision {one['revision']['after']}" if one["revision"]["after"] else ""
    say(f"{one['episode_id']}  {one['robot_id']}  {one['skill'] or '-'}  {said}{kept}{revision}")
    for pair in one["findings"]:
        say(f"  {_why(pair['before'], pair['after'])}")


def _why(before: dict[str, Any] | None, after: dict[str, Any] | None) -> str:
    if before is None or after is None:
        found = after or before or {}
        return f"{'+' if after else '-'} {found['flag']} {found['metric']}: {found['message']} {_limit(found)}"
    flag = before["flag"] if before["flag"] == after["flag"] else f"{before['flag']} -> {after['flag']}"
    return f"~ {flag} {after['metric']}: {after['message']} {_limit(before)} -> {_limit(after)}"


def _limit(found: dict[str, Any]) -> str:
    return "" if found["threshold"] is None else f"(threshold {found['threshold']:.6g}, {found['origin']})"
