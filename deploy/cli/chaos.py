"""Owns the command ``chaos``: what was killed, and what the audit found; the work is in deploy/chaos."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from kinestream.deploy.chaos.run import Outcome

#: Exit codes: a figure that should be 0 is not; SIGTERM (128 + 15).
NOT_WHOLE, TERMINATED = 1, 143


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(chaos)


def chaos(
    kills: Annotated[int, typer.Option(min=1, max=1000, help="Processes to kill with SIGKILL.")] = 30,
    minutes: Annotated[float, typer.Option(min=0, help="How long to disturb; 0 = 20 s a kill.")] = 0.0,
    workers: Annotated[int, typer.Option(min=0, help="Stream workers; 0 = two, or one on the test broker.")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Fixes what is killed when.")] = 1,
    engine: Annotated[str, typer.Option(help="faust, or bare: the same core in a bare consumer loop.")] = "faust",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Kill processes under a floor of robots whose every frame is known, then audit; exit code 1 unless all is whole.

    It runs on a stack of its own, with real processes and kill -9; takes 20 s a kill and two minutes more.
    """
    from kinestream.deploy.chaos.run import Wish, run
    from kinestream.deploy.chaos.stage import ENGINES
    from kinestream.deploy.cli.output import emit_json, working
    from kinestream.schemas.errors import SettingError
    from kinestream.schemas.settings import Settings

    if engine not in ENGINES:
        raise SettingError(f"--engine {engine!r}: allowed are {', '.join(ENGINES)}")
    signal.signal(signal.SIGTERM, _terminated)
    settings = Settings.from_env()
    wish = Wish(kills, minutes, workers or (1 if settings.broker == "test" else 2), seed, engine)
    with working("chaos") as progress:
        outcome = run(settings, wish, progress)
    if as_json:
        emit_json(outcome.document())
    else:
        _tell(outcome)
    if not outcome.clean:
        raise typer.Exit(NOT_WHOLE)


def _terminated(_number: int, _frame: object) -> NoReturn:
    """The stack must end with us, and what is held still must not stay so."""
    sys.exit(TERMINATED)


def _tell(outcome: Outcome) -> None:
    from kinestream.deploy.chaos.audit import SHOULD_BE_ZERO
    from kinestream.deploy.cli.output import say, table

    found = outcome.audited
    killed = ", ".join(f"{n} {name}" for name, n in outcome.kills.items() if n)
    say(f"killed -9: {killed}; {outcome.pauses} pauses, {outcome.outages} outages, {outcome.poison} bad messages")
    say(f"{found.episodes} episodes, {found.frames:,} promised frames, each read back and compared bit for bit")
    table(("should be 0", ""), [(name.replace("_", " "), str(getattr(found, name))) for name in SHOULD_BE_ZERO])
    say(f"repeated events (allowed): {found.repeated_events}")
    say(f"longest recovery: {outcome.max_recovery_s:.1f} s ({outcome.max_recovery_of})")
    for line in (*found.trouble, *outcome.failures):
        say(f"  {line}")
    for line in outcome.excused_exits:
        say(f"  allowed, for it was killed or held still: {line}")
    if outcome.folder:
        say(f"NOT WHOLE: logs and data are kept in {outcome.folder}; the same again: --seed {outcome.seed}")
    else:
        say(f"nothing lost, nothing doubled (seed {outcome.seed}, {outcome.seconds:.0f} s)")
