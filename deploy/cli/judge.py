"""Owns the command ``judge``, in the user's words; the work is in deploy/judging/."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kinestream.deploy.cli.publish import (
    CalibrationOption,
    JointsOption,
    ModelOption,
    RateOption,
    SplitOption,
    TopicOption,
    UnitOption,
    choices_of,
)

if TYPE_CHECKING:
    from kinestream.deploy.judging.report import EpisodeReport, FilesReport
    from kinestream.deploy.judging.run import Progress

#: Episodes that a page has pictures of, the worst ones.
_PICTURED = 100
#: Findings shown of one episode; --json and --html have them all.
_SHOWN = 6


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(judge)


def judge(
    paths: Annotated[list[Path], typer.Argument(help="Recordings (docs/formats.md); nothing is published or stored.")],
    model: ModelOption = "",
    skill: Annotated[str, typer.Option(help="Skill id: its rules apply (schemas/skills.yaml).")] = "",
    joints: JointsOption = "",
    rate: RateOption = 0.0,
    unit: UnitOption = "",
    topic: TopicOption = "",
    split: SplitOption = 0.0,
    calibration: CalibrationOption = None,
    rules: Annotated[str, typer.Option(help="File or folder of rules that override the committed ones.")] = "",
    jobs: Annotated[
        int, typer.Option(min=0, help="Processes that share a data set or several recordings; 0 = one a processor.")
    ] = 0,
    worst: Annotated[int, typer.Option(min=0, help="Episodes shown, the worst first; --json has all.")] = 10,
    html: Annotated[Path | None, typer.Option(help="Write a page with pictures to this file.", dir_okay=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Judge recordings as the live stream would.

    Exit code 0: every episode is accepted; 1: some are not; 2: a recording could not be read.
    """
    from kinestream.deploy.cli.output import complain, emit_json, say
    from kinestream.deploy.judging.files import write_text
    from kinestream.deploy.judging.judged import Bench
    from kinestream.deploy.judging.page import page
    from kinestream.deploy.judging.run import judge_files
    from kinestream.schemas.rulebook import read_overlays
    from kinestream.schemas.settings import Settings

    settings = Settings.from_env()
    overriding = rules or settings.rules
    bench = Bench(skill, read_overlays(overriding) if overriding else "", settings.metrics)
    with _progress_bar() as on_progress:
        choices = choices_of(model, joints, rate, unit, topic, split, calibration)
        pictured = _PICTURED if html else 0 if as_json else worst
        report = judge_files(paths, choices, bench, pictured=pictured, jobs=jobs, on_progress=on_progress)
    if html:
        write_text(html, page(report, ", ".join(path.name for path in paths)))
    if as_json:
        emit_json(report.to_json())
    else:
        for line in _told(report, worst):
            say(line)
    for one in report.unreadable:
        complain(one.problem)
    raise typer.Exit(report.exit_code)


@contextmanager
def _progress_bar() -> Iterator[Callable[[Progress], None]]:
    """A bar on stderr, on a terminal only."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    columns = (TextColumn("judging {task.description}"), BarColumn(), TextColumn("{task.completed:,.0f} frames"))
    with Bar(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda at: bar.update(
            task, total=at.frames_total or None, completed=at.frames, description=Path(at.source).stem
        )


def _told(report: FilesReport, worst: int) -> Iterator[str]:
    bad = [episode for episode in report.episodes if episode.verdict != "ACCEPT" or episode.findings]
    for episode in bad[:worst]:
        yield from _episode(episode)
    if len(bad) > worst:
        yield f"and {len(bad) - worst} more episodes like these: --worst N, --json or --html FILE show them"
        yield ""
    yield from (f"note       {text}" for text in report.notes)
    yield from (f"odd        {text}" for text in report.oddities())
    if why := report.not_on_files():
        yield f"live only  {', '.join(why)}: a file cannot answer them, they are NOT_EVALUATED"
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in report.verdicts.items()) or "no episodes"
    yield f"verdicts   {verdicts}"
    yield f"judged     {len(report.episodes)} episodes, {report.frames:,} frames in {report.seconds:.1f} s"


def _episode(episode: EpisodeReport) -> Iterator[str]:
    from kinestream.deploy.judging.sketch import sketch

    yield f"{episode.verdict:<10} {episode.source}"
    yield f"           {episode.model_id}, {episode.frames:,} frames, {episode.duration_s:.2f} s"
    if episode.verdict == "UNASSESSED":
        yield f"           required and NOT_EVALUATED: {', '.join(episode.lacking)}"
    for finding in episode.findings[:_SHOWN]:
        begins, ends = episode.span_s(finding)
        limit = f"{finding.value:.4g} {finding.unit}, limit {finding.threshold:.4g} ({finding.origin})"
        yield f"  {finding.flag:<7} {finding.metric:<3} {finding.message}"
        yield f"              {limit}; {begins:.2f} to {ends:.2f} s"
    if len(episode.findings) > _SHOWN:
        yield f"              and {len(episode.findings) - _SHOWN} more findings"
    for trace in episode.traces[:1]:
        yield ""
        yield from sketch(trace, "  ")
    yield ""
