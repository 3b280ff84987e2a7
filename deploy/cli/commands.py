"""Owns the commands ``withdraw``, ``correct`` and ``review``, in the user's words; it sends nothing itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from kinestream.streams.archive import Archive
    from kinestream.streams.assembly.values import JsonDict

#: Seconds until a person hears that no worker has carried the command out.
WAIT_S = 15.0

EpisodeId = Annotated[str, typer.Argument(metavar="ID", help="Episode id.")]
By = Annotated[str, typer.Option(metavar="NAME", help="Who wants it (a pseudonym).")]
Note = Annotated[str, typer.Option(metavar="TEXT", help="Why.")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait up to 15 s for the new revision.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(withdraw)
    app.command()(correct)
    app.command()(review)


def withdraw(episode_id: EpisodeId, by: By, note: Note = "", wait: Wait = True, as_json: AsJson = False) -> None:
    """Take an episode back: it is announced as withdrawn, and what still comes of it is dropped."""
    from kinestream.streams.command_sender import check_takes

    _command(episode_id, "WITHDRAW", by, note, lambda placed: check_takes(placed, "WITHDRAW", {}), wait, as_json)


def correct(
    episode_id: EpisodeId,
    labels: Annotated[list[str], typer.Argument(metavar="NAME=VALUE...", help="Labels and their right values.")],
    by: By,
    note: Note = "",
    wait: Wait = True,
    as_json: AsJson = False,
) -> None:
    """Set labels of an episode right: skill, area, site, station, operator, job or task."""
    from kinestream.streams.command_sender import check_takes, labels_of

    right = labels_of(labels)
    check = lambda placed: check_takes(placed, "CORRECT", right)  # noqa: E731
    _command(episode_id, "CORRECT", by, note, check, wait, as_json, labels=right)


def review(
    episode_id: EpisodeId,
    by: By,
    accept: Annotated[bool, typer.Option("--accept", help="It is good, whatever the rules say.")] = False,
    reject: Annotated[bool, typer.Option("--reject", help="It is not good, whatever the rules say.")] = False,
    relabel: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Set a label right, such as skill=place; repeatable.")
    ] = None,
    note: Note = "",
    wait: Wait = True,
    as_json: AsJson = False,
) -> None:
    """Say what a person thinks of an episode: it stands beside the machine's verdict, and above it."""
    from kinestream.streams.command_sender import check_by, check_listed, check_reviews, labels_of, review_of

    labels, by = labels_of(relabel or []), check_by(by)
    verdict = review_of(accept, reject, labels)
    check_listed(labels)
    check = lambda placed: check_reviews(placed, verdict, by, note, labels)  # noqa: E731
    _command(episode_id, "REVIEW", by, note, check, wait, as_json, labels=labels, verdict=verdict)


def _command(
    episode_id: str,
    kind: str,
    by: str,
    note: str,
    check: Callable[[JsonDict], None],
    wait: bool,
    as_json: bool,
    **further: Any,
) -> None:
    from kinestream.deploy.cli.episodes import open_archive
    from kinestream.deploy.cli.output import emit_json, say
    from kinestream.deploy.cli.subscribe import broker_address
    from kinestream.schemas.settings import Settings
    from kinestream.streams.archive_rows import OPEN
    from kinestream.streams.command_sender import CommandSender, check_by

    settings, archive, by = Settings.from_env(), open_archive(), check_by(by)
    before = archive.placed(episode_id)
    check(before)
    command_id = CommandSender(settings, broker_address(settings)).send(before, kind, by, note, **further)
    later = kind == "CORRECT" and before["status"] == OPEN  # its first revision will have them
    after = before if later or not wait else _awaited(archive, before, kind)
    if as_json:
        emit_json({**after, "command_id": command_id, "carried_out": after is not before})
    elif after is before:
        when = ": it is open, and shows it when it closes" if later else ""
        say(f"{kind} of episode {episode_id} is sent (command {command_id}){when}")
    else:
        verdict = f", {after['verdict']} (the rules say {after['machine_verdict']})" if kind == "REVIEW" else ""
        say(f"episode {episode_id}: revision {after['revision']}, {after['status']}, {after['reason']}{verdict}")


def _awaited(archive: Archive, before: JsonDict, kind: str) -> JsonDict:
    """The new revision; raises StoreError when it does not come."""
    import time

    from kinestream.streams.command_sender import carried_out, not_yet

    deadline_s = time.monotonic() + WAIT_S
    while time.monotonic() < deadline_s:
        after = archive.placed(before["episode_id"])
        if carried_out(after, before, kind):
            return after
        time.sleep(0.1)
    raise not_yet(before, WAIT_S)
