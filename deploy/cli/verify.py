"""Owns the command ``verify``: what is said of each episode and the exit code; the checks are in streams/verify.py.

Exit codes: 0 all agree, 1 something differs, 2 it could not be verified.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from kinestream.streams.verify import Report

DIFFERENT = 1
#: Mismatches printed for people; --json has them all.
_SHOWN = 20


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(verify)


def verify(
    since: Annotated[str | None, typer.Option(help="Only episodes since: 2h, 3d, or a date or moment in UTC.")] = None,
    sample: Annotated[int | None, typer.Option(min=1, help="Only so many of them, by chance.")] = None,
    episode: Annotated[list[str] | None, typer.Option("--episode", help="Only this episode; repeatable.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Read episodes back from the store, hash their frames again, and say what differs, block and channel."""
    import time

    from kinestream.deploy.cli import moments
    from kinestream.deploy.cli.output import emit_json, working
    from kinestream.schemas.errors import SettingError

    if episode and (since or sample):
        raise SettingError("--episode names them: leave out --since and --sample")
    verifier, moment = _open(), moments.since(since)
    began_s = time.monotonic()
    with working("verifying") as note:
        chosen = verifier.named(episode) if episode else None
        if chosen is None:
            chosen = verifier.sample(sample, moment) if sample else verifier.all(moment)
        summary = _summary(verifier.verify(chosen), note)
    summary["seconds"] = round(time.monotonic() - began_s, 3)
    if as_json:
        emit_json(summary)
    else:
        _tell(summary)
    if summary["differ"]:
        raise typer.Exit(DIFFERENT)


def _open() -> Any:
    from kinestream.deploy.local.stack import Stack
    from kinestream.schemas.errors import SettingError
    from kinestream.schemas.settings import Settings
    from kinestream.streams.verify import Verifier

    settings = Settings.from_env()
    url = Stack(settings).where().clickhouse
    if not url:
        raise SettingError("no store: run `kinestream up`, or set KINESTREAM_CLICKHOUSE to one that runs")
    return Verifier(settings, url)


def _summary(reports: Iterable[Report], note: Callable[[str], None]) -> dict[str, Any]:
    import time

    counts = {"episodes": 0, "frames": 0, "blocks": 0, "agree": 0, "differ": 0, "changing": 0}
    found: list[dict[str, Any]] = []
    said_s = time.monotonic()
    for report in reports:
        counts["episodes"] += 1
        counts["frames"] += report.frames
        counts["blocks"] += report.blocks
        counts[{"AGREES": "agree", "DIFFERS": "differ"}.get(report.result, "changing")] += 1
        for one in report.mismatches:
            where = {"episode_id": report.episode_id, "robot_id": report.robot_id}
            found.append({**where, "block": one.block, "channel": one.channel, "text": one.text})
        if time.monotonic() - said_s > 2:
            said_s = time.monotonic()
            note(f"{counts['episodes']:,} episodes, {counts['frames']:,} frames, {counts['differ']} differ")
    return {**counts, "mismatches": found}


def _tell(summary: dict[str, Any]) -> None:
    from kinestream.deploy.cli.output import say

    for one in summary["mismatches"][:_SHOWN]:
        block = "" if one["block"] is None else f" block {one['block']}"
        channel = "" if one["channel"] is None else f" {one['channel']}"
        say(f"{one['episode_id']}{block}{channel}: {one['text']}")
    more = len(summary["mismatches"]) - _SHOWN
    if more > 0:
        say(f"... and {more} more: --json lists them all")
    rate = summary["frames"] / max(summary["seconds"], 1e-3)
    looked = f"{summary['episodes']:,} episodes, {summary['frames']:,} frames read back in {summary['seconds']:.1f} s"
    say(f"{looked} ({rate:,.0f} frames/s): {summary['agree']:,} agree, {summary['differ']:,} differ")
    if summary["changing"]:
        say(f"{summary['changing']} are being written to just now: verify them later")
    if summary["differ"]:
        say("what to do: docs/runbooks/verify-mismatch.md")
