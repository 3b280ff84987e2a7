"""Owns how a running demo looks on stderr: a live panel on a terminal, plain lines elsewhere; it counts nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from kinestream.deploy.demo.measurement import CLEARED, FindingSeen
from kinestream.deploy.demo.view import GOAL_PER_DAY, View

#: Findings on the panel, the newest.
_SHOWN = 8
#: Seconds between two plain lines.
_LINE_S = 5.0
_COLOURS = {"FAIL": "bold red", "SUSPECT": "yellow"}


class Display(Protocol):
    """Shows one moment after another."""

    def show(self, view: View) -> None:
        """Show this moment."""


@contextmanager
def shown(title: str) -> Iterator[Display]:
    """The display that fits stderr; it is left with its last picture standing."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield PlainDisplay(console)
        return
    with Live(console=console, refresh_per_second=8, transient=False) as live:
        yield LiveDisplay(live, title)


class LiveDisplay:
    """A panel that is drawn anew for each moment."""

    def __init__(self, live: Live, title: str) -> None:
        self._live = live
        self._title = title

    def show(self, view: View) -> None:
        """Draw it."""
        self._live.update(panel(view, self._title))


class PlainDisplay:
    """A line every few seconds, and one for each finding."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._told: set[tuple[str, str]] = set()
        self._next_s = 0.0

    def show(self, view: View) -> None:
        """Print what is new."""
        for found in view.findings:
            if (found.episode_id, found.finding_id) not in self._told:
                self._told.add((found.episode_id, found.finding_id))
                where = found.joint or "whole robot"
                self._print(f"finding: {found.flag} {found.robot_id} {where}: {sentence(found)}")
        if view.now_s >= self._next_s:
            self._next_s = view.now_s + _LINE_S
            self._print(
                f"{view.now_s:3.0f} s: {view.phase}; {view.frames_per_s:,.0f} frames/s, {view.open} episodes open,"
                f" {view.completed} completed, pace {view.per_day:,.0f} of {GOAL_PER_DAY:,} a day (short takes)"
            )

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False, soft_wrap=True)


def sentence(found: FindingSeen) -> str:
    """A finding's sentence without the joint that is named beside it."""
    return found.message.removeprefix(f"{found.joint}: ")


def panel(view: View, title: str) -> RenderableType:
    """The picture of one moment."""
    clock = Text(f"{view.now_s:.0f} s  {view.phase}", style="dim")
    parts: list[RenderableType] = [_figures(view), Text(), _pace(view), Text(), _findings(view)]
    return Panel(Group(*parts), title=f"[bold]{title}[/]", title_align="left", subtitle=clock, subtitle_align="left")


def _figures(view: View) -> Table:
    grid = Table.grid(expand=True)
    figures = (
        (f"{view.frames_per_s:,.0f}", "frames/s", "cyan"),
        (f"{view.frames:,}", "frames judged", "cyan"),
        (f"{view.open}", "episodes open", "yellow"),
        (f"{view.completed}", "completed", "green"),
        (f"{len(view.findings)}", "findings", "red" if view.findings else "dim"),
    )
    for _ in figures:
        grid.add_column(justify="center", ratio=1)
    grid.add_row(*(Text(number, style=f"bold {colour}") for number, _, colour in figures))
    grid.add_row(*(Text(label, style="dim") for _, label, _ in figures))
    return grid


def _pace(view: View) -> Table:
    grid = Table.grid(expand=True, padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(ratio=1)
    grid.add_column(no_wrap=True)
    reached = view.per_day >= GOAL_PER_DAY
    bar = ProgressBar(total=GOAL_PER_DAY, completed=min(view.per_day, GOAL_PER_DAY), finished_style="green")
    grid.add_row(
        Text.assemble("pace ", (f"{view.per_day:,.0f}", "bold green" if reached else "bold"), " a day"),
        bar,
        Text(f"goal {GOAL_PER_DAY:,} (these are short takes)", style="dim"),
    )
    return grid


def _findings(view: View) -> RenderableType:
    if not view.findings:
        return Text("no findings yet: a fault shows here while its take is still being recorded", style="dim")
    grid = Table.grid(expand=True, padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True, overflow="ellipsis", max_width=34, ratio=2)
    grid.add_column(no_wrap=True, overflow="ellipsis", max_width=28, ratio=2)
    grid.add_column(no_wrap=True, overflow="ellipsis", ratio=4)
    for found in reversed(view.findings[-_SHOWN:]):
        gone = found.state == CLEARED
        colour = "dim strike" if gone else _COLOURS.get(found.flag, "")
        robot, joint = found.robot_id.removeprefix("sim-"), found.joint or "whole robot"
        grid.add_row(Text(found.flag, style=colour), Text(robot), Text(joint, style="cyan"), Text(sentence(found)))
    return grid
