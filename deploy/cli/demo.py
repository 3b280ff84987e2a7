"""Owns the command ``demo``, in the user's words; the work is in deploy/demo."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from kinestream.deploy.demo.run import Done
    from kinestream.schemas.settings import Settings

#: Exit codes: something that was published did not arrive; SIGTERM (128 + 15).
NOT_WHOLE, TERMINATED = 1, 143


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(demo)


def demo(
    robots: Annotated[int, typer.Option(min=1, max=1000, help="Simulated robots.")] = 20,
    seconds: Annotated[float, typer.Option(min=1, help="How long new takes begin; the last ones are finished.")] = 30.0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Show a simulated floor of robots at work on a local stack of its own; exit code 1 when anything is missing."""
    from kinestream.deploy.cli.output import emit_json
    from kinestream.deploy.demo.stage import own_settings
    from kinestream.schemas.settings import Settings

    settings = own_settings(Settings.from_env())
    done = _run(settings, robots, seconds)
    if as_json:
        emit_json(done.figures.document() | {"missing": done.lacks})
    else:
        _tell(settings, done)
    if done.lacks:
        raise typer.Exit(NOT_WHOLE)


def _run(settings: Settings, robots: int, seconds: float) -> Done:
    import time
    from contextlib import ExitStack

    from kinestream.deploy.cli.output import working
    from kinestream.deploy.demo.run import Run
    from kinestream.deploy.demo.stage import staged

    signal.signal(signal.SIGTERM, _terminated)
    began_s, opened = time.monotonic(), ExitStack()
    try:
        with working("starting the local stack") as progress:
            stage = opened.enter_context(staged(settings, progress))
        return Run(stage, robots, seconds, began_s).play()
    finally:
        with working("stopping every process"):
            opened.close()


def _tell(settings: Settings, done: Done) -> None:
    from rich.console import Console
    from rich.text import Text

    from kinestream.deploy.demo.summary import how_to_go_on, summary

    console = Console(highlight=False)
    elsewhere = bool(settings.kafka or settings.clickhouse)
    told = summary(done.figures, done.lacks, done.per_day)
    next_ = how_to_go_on(_program(), _short(settings.home), settings.tenant, done.example, elsewhere=elsewhere)
    console.print(Text(told[0], style="bold red" if done.lacks else "bold green"))
    for line in (*told[1:], "", *next_):
        console.print(Text(line), soft_wrap=True)


def _short(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _terminated(_number: int, _frame: object) -> NoReturn:
    sys.exit(TERMINATED)


def _program() -> str:
    """How the command was called: by its name, or by a path as in ``.venv/bin/kinestream``."""
    called = Path(sys.argv[0])
    return called.name if called.is_absolute() else str(called)
