"""Owns the command ``fleet``: simulated robots that publish to a broker; they are made in producers/fleet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

if TYPE_CHECKING:
    from kinestream.producers.fleet.report import Summary

#: Exit code: the broker did not take everything.
NOT_DELIVERED = 1


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(fleet)


def fleet(
    robots: Annotated[int, typer.Option(min=1, max=1000, help="Simulated robots.")] = 20,
    rate: Annotated[float, typer.Option(min=5, max=1000, help="Frames a second of each.")] = 100.0,
    seconds: Annotated[float, typer.Option(min=1, help="How long takes begin; the last ones are finished.")] = 30.0,
    faults: Annotated[
        str, typer.Option(metavar="PLAN", help="none, all, shown, or names (nan,spike); :0.1 = a tenth of the takes.")
    ] = "none",
    seed: Annotated[
        int | None, typer.Option(min=0, help="The takes of an earlier run again, frame by frame (another each run).")
    ] = None,
    model: Annotated[list[str] | None, typer.Option(help="Robot model, repeatable (eight of them).")] = None,
    truth: Annotated[str, typer.Option(metavar="FILE", help="Takes and faults as JSON lines; - is the screen.")] = "",
    spool: Annotated[str, typer.Option(metavar="FOLDER", help="Spools of the robots (none: in memory).")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Simulated robots of many models at work, for the broker that is running; exit code 1 when it did not take all."""
    import threading
    from dataclasses import replace

    from kinestream.deploy.cli.output import emit_json, working
    from kinestream.deploy.cli.publish import broker_for
    from kinestream.producers.fleet.faults import FaultPlan
    from kinestream.producers.fleet.floor import MODELS, Floor, fresh_seed, repeats
    from kinestream.producers.fleet.report import Report
    from kinestream.producers.fleet.running import run, stopped_by_signals
    from kinestream.schemas.errors import SettingError
    from kinestream.schemas.settings import Settings

    if as_json and truth == "-":
        raise SettingError("--json and --truth - both go to the screen: name a file for the truth")
    settings = Settings.from_env()
    seed, notes = (fresh_seed(), []) if seed is None else (seed, [repeats(seed)])
    floor = Floor(robots, rate_hz=rate, seed=seed, plan=FaultPlan.parse(faults), models=model or MODELS)
    settings = replace(settings, kafka=broker_for(settings))
    stop = threading.Event()
    with (
        _opened(truth) as out,
        stopped_by_signals(stop),
        working(f"{robots} robots at work, takes begin for {seconds:g} s") as progress,
    ):
        for note in notes:
            progress(note)
        done = run(floor, Report(out), settings, seconds, stop, spool=spool)
    if as_json:
        emit_json({**done.document(), "rate_hz": rate, "plan": faults, "notes": notes})
    else:
        _tell(done, truth)
    if done.undelivered:
        raise typer.Exit(NOT_DELIVERED)


@contextmanager
def _opened(truth: str) -> Iterator[TextIO]:
    import os
    import sys
    from pathlib import Path

    from kinestream.schemas.errors import SettingError

    if truth == "-":
        yield sys.stdout
        return
    try:
        Path(truth or os.devnull).touch()
    except OSError as problem:
        raise SettingError(f"--truth {truth}: {problem.strerror}; name a file that can be written") from None
    with open(truth or os.devnull, "w", encoding="utf-8") as out:
        yield out


def _tell(done: Summary, truth: str) -> None:
    from kinestream.deploy.cli.output import say

    say(f"{done.robots} robots of {done.models} models: {done.episodes:,} takes, {done.frames:,} frames")
    if done.faults:
        told = ", ".join(f"{count} {name}" for name, count in sorted(done.faults.items()))
        say(f"faults: {told}" + (f"; where and when: {truth}" if truth not in ("", "-") else ""))
    kept = done.kept
    say(
        f"while takes began: {kept.frames_per_s:,.0f} frames/s, {kept.cpu_share:.0%} of one core; within takes"
        f" {kept.take_hz:g} frames/s a robot"
    )
    say(
        f"{kept.missed_deadlines:,} of {kept.chunks:,} chunks after the robot's next one was due; late by"
        f" {kept.late_ms.p50:g} ms (p50), {kept.late_ms.p99:g} ms (p99), {kept.late_ms.max:g} ms at most"
    )
    say(f"seed {done.seed}: the same takes again with --seed {done.seed}")
    for text in done.undelivered:
        say(f"not delivered: {text}")
