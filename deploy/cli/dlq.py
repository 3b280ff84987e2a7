"""Owns the commands ``dlq list``, ``show`` and ``replay``, in the user's words; the work is in streams/dead_letters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections import Counter

    from kinestream.streams.dead_letters.form import Letter
    from kinestream.streams.dead_letters.reading import Choice
    from kinestream.streams.dead_letters.replaying import Replay

Reasons = Annotated[list[str] | None, typer.Option("--reason", help="Only this reason; repeat it for several.")]
Robots = Annotated[list[str] | None, typer.Option("--robot", help="Only this robot (the key); repeatable.")]
Since = Annotated[str | None, typer.Option(help="Only what was refused since: 2h, 3d, or a date or moment in UTC.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Records that could not be used: see them, send them back.", no_args_is_help=True)
    group.command("list")(list_letters)
    group.command("show")(show)
    group.command("replay")(replay)
    app.add_typer(group, name="dlq")


def list_letters(
    reason: Reasons = None,
    since: Since = None,
    robot: Robots = None,
    last: Annotated[int, typer.Option(min=1, help="How many, the newest first.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array.")] = False,
) -> None:
    """List dead letters, the newest first."""
    from kinestream.deploy.cli.output import emit_json, say, table
    from kinestream.streams.dead_letters.reading import told

    letters = _open()
    found, counts = letters.newest(_choice(reason, since, robot), last)
    if as_json:
        emit_json([told(letter, replayed) for letter, replayed in found])
        return
    if not found:
        say("no dead letters: every record was used")
        return
    table(_COLUMNS, [_cells(letter, replayed) for letter, replayed in found])
    say(f"\n{len(found)} of {counts.total()}: {_counted(counts)}")
    say("`kinestream dlq show ID` says what one is and what to do about it")


def show(
    letter_id: Annotated[str, typer.Argument(metavar="PARTITION/OFFSET", help="Its id, as `dlq list` shows it.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document; `raw` and `key` are base64.")] = False,
) -> None:
    """Show a dead letter: where it came from, what of it can be read, and what to do."""
    from kinestream.deploy.cli.output import emit_json, say, table
    from kinestream.schemas.registry import Registry
    from kinestream.streams.dead_letters.opening import ADVICE, dump, opened
    from kinestream.streams.dead_letters.reading import told

    letter, message, replayed = _open().one(letter_id)
    raw = message.value() or b""
    document = told(letter, replayed) | {"advice": ADVICE.get(letter.reason, ""), "bytes": len(raw)}
    content = opened(raw, Registry(_registry()))
    if as_json:
        emit_json(document | {"content": content, "key": _base64(message.key()), "raw": _base64(message.value())})
        return
    table(("dead letter", letter.id), [(name, _text(value)) for name, value in document.items() if name != "id"])
    say("")
    if "record" in content:
        rows = [(name, _text(value)) for name, value in content["fields"].items()]
        table((content["record"], f"schema id {content['schema_id']}"), rows)
    if "problem" in content:
        say(f"reading ends: {content['problem']}")
    say("")
    for line in dump(raw):
        say(line)


def replay(
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Only these letters.")] = None,
    reason: Reasons = None,
    since: Since = None,
    robot: Robots = None,
    again: Annotated[bool, typer.Option("--again", help="Also what was sent back before.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be sent, and send nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Send dead letters back to their topic, bytes and keys as they came, in the order of the log.

    Each goes to the partition its key belongs to. What was sent back before stays, unless --again is given; what fails
    again becomes a new dead letter with one attempt more.
    """
    from kinestream.deploy.cli.output import emit_json, working
    from kinestream.deploy.cli.subscribe import broker_address
    from kinestream.schemas.settings import Settings
    from kinestream.streams.dead_letters.replaying import Replayer

    settings = Settings.from_env()
    replayer = Replayer(settings, broker_address(settings))
    with working("reading dead letters") as note:
        done = replayer.replay(
            _choice(reason, since, robot, ids),
            again=again,
            dry_run=dry_run,
            progress=lambda sent, of: note(f"{sent} of {of} sent") if sent % 5000 == 0 else None,
        )
    if as_json:
        emit_json(done.told())
    else:
        _tell(done)


def _tell(done: Replay) -> None:
    from kinestream.deploy.cli.output import say

    for letter_id, why in list(done.refused.items())[:10]:
        say(f"{letter_id} cannot be sent back: {why}")
    left = f"; {done.already_replayed} were sent back before (--again sends them too)" if done.already_replayed else ""
    if not done.sent:
        say(f"nothing to send back{left}")
        return
    robots = ", ".join(f"{robot or '(no key)'} {count}" for robot, count in done.robots.most_common(5))
    say(f"{'would send' if done.dry_run else 'sent'} {done.sent} back: {_counted(done.by_reason)}{left}")
    say(f"robots: {robots}{', ...' if len(done.robots) > 5 else ''}")
    if not done.dry_run:
        say("what fails again is in `kinestream dlq list` with attempts above 1")


def _open() -> Any:
    from kinestream.deploy.cli.subscribe import broker_address
    from kinestream.schemas.settings import Settings
    from kinestream.streams.dead_letters.reading import DeadLetters

    settings = Settings.from_env()
    return DeadLetters(settings, broker_address(settings))


def _choice(
    reasons: list[str] | None, since: str | None, robots: list[str] | None, ids: list[str] | None = None
) -> Choice:
    import re

    from kinestream.deploy.cli import moments
    from kinestream.schemas.errors import SettingError
    from kinestream.schemas.reasons import DeadLetterReason
    from kinestream.streams.dead_letters.reading import Choice

    wanted = frozenset(one.upper() for one in reasons or ())
    if unknown := sorted(wanted - {str(one) for one in DeadLetterReason}):
        raise SettingError(f"--reason {unknown[0]}: the reasons are {', '.join(DeadLetterReason)}")
    for one in ids or ():
        if not re.fullmatch(r"\d+/\d+", one):
            raise SettingError(f"{one!r} is no letter's id: give PARTITION/OFFSET, as `kinestream dlq list` shows it")
    return Choice(wanted, frozenset(robots or ()), frozenset(ids or ()), moments.since(since))


def _registry() -> str:
    from kinestream.deploy.local.stack import Stack
    from kinestream.schemas.settings import Settings

    settings = Settings.from_env()
    return settings.registry or Stack(settings).where().registry


_COLUMNS = ("id", "time", "reason", "robot", "from", "attempts", "sent back", "what")


def _cells(letter: Letter, replayed: bool) -> tuple[str, ...]:
    source = letter.source
    where = f"{source.topic} {source.partition}/{source.offset}"
    what = letter.text if len(letter.text) <= 100 else letter.text[:99] + "…"
    robot = letter.robot_id if len(letter.robot_id) <= 40 else letter.robot_id[:39] + "…"
    return letter.id, letter.time, letter.reason, robot, where, str(letter.attempts), "yes" if replayed else "", what


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{reason} {count:,}" for reason, count in counts.most_common())


def _base64(value: bytes | None) -> str | None:
    import base64

    return None if value is None else base64.b64encode(value).decode()


def _text(value: Any) -> str:
    import json

    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
