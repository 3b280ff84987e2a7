"""Owns the command ``subscribe``: one line an event, as events come; the reading is in streams/subscription.py."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from kinestream.schemas.settings import Settings
    from kinestream.streams.events import EpisodeCompleted, EpisodeWithdrawn


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(subscribe)


def subscribe(
    skill: Annotated[list[str] | None, typer.Option(help="Only this skill; repeat it for several.")] = None,
    verdict: Annotated[
        list[str] | None, typer.Option(help="Only what holds: ACCEPT, REVIEW, REJECT or UNASSESSED; repeatable.")
    ] = None,
    from_start: Annotated[bool, typer.Option("--from-start", help="Begin with the oldest event kept.")] = False,
    until_end: Annotated[bool, typer.Option("--until-end", help="Stop at the present end of the log.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Every status, and repeats.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Show episodes as they are announced; by default those that are COMPLETE, each revision once."""
    from kinestream.schemas.settings import Settings
    from kinestream.streams.subscription import Subscription

    settings = Settings.from_env()
    line = _as_json if as_json else _told
    subscription = Subscription(
        skill=skill or (),
        verdict=[one.upper() for one in verdict or ()],
        status=() if everything else "COMPLETE",
        repeats=everything,
        from_start=from_start,
        until_end=until_end,
        on_withdrawn=(lambda event: print(line(event), flush=True)) if everything else lambda _: None,
        kafka=broker_address(settings),
        settings=settings,
    )
    with subscription:
        if not until_end:
            _note("waiting for episodes; Ctrl-C ends")
        if not _print(subscription, line):
            _note("no such episode" + ("" if from_start else "; --from-start shows earlier ones"))


def _note(text: str) -> None:
    print(text, file=sys.stderr)


def broker_address(settings: Settings) -> str:
    """The broker of the settings, else of the local stack; raises SettingError where there is none."""
    from kinestream.deploy.local.stack import Stack
    from kinestream.schemas.errors import SettingError

    kafka = Stack(settings).where().kafka
    if not kafka:
        raise SettingError("no broker: run `kinestream up`, or set KINESTREAM_KAFKA to one that runs")
    return kafka


def _print(events: Iterable[EpisodeCompleted], line: Callable[[EpisodeCompleted], str]) -> int:
    """Each line at once; how many. A reader that went away, such as ``head``, ends it quietly."""
    count = 0
    try:
        for event in events:
            print(line(event), flush=True)
            count += 1
    except BrokenPipeError:
        # Python would flush once more at its end, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return count


def _as_json(event: EpisodeCompleted | EpisodeWithdrawn) -> str:
    return json.dumps(event.to_json(), ensure_ascii=False, allow_nan=False)


def _told(event: EpisodeCompleted | EpisodeWithdrawn) -> str:
    from datetime import UTC, datetime

    from kinestream.streams.events import EpisodeWithdrawn

    if isinstance(event, EpisodeWithdrawn):
        why = f": {event.note}" if event.note else ""
        return f"{event.episode_id}  {event.robot_id}  WITHDRAWN by {event.by} revision {event.revision}{why}"
    ended = datetime.fromtimestamp(event.ended_at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    again = f" revision {event.revision}" if event.revision > 1 else ""
    worst = f": {event.findings[0]['message'] or event.findings[0]['metric']}" if event.findings else ""
    plural = "" if event.finding_count == 1 else "s"
    findings = f", {event.finding_count} finding{plural}{worst}" if event.finding_count else ""
    by = f" by {event.review['by']}" if event.review else ""
    return (
        f"{ended}  {event.episode_id}  {event.robot_id}  {event.skill or '-'}  {event.status} {event.verdict}{by}"
        f"{again}  {event.frames_unique} frames, {event.duration_s:.1f} s{findings}"
    )
