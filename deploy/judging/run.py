"""Walks recordings, an episode at a time, and judges each; holds no episode's frames longer than it judges them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kinestream.deploy.judging.judged import Bench, judge_recorded
from kinestream.deploy.judging.report import EpisodeReport, FilesReport, Unreadable, report_of
from kinestream.producers.recordings import Choices, missing_note, open_recording
from kinestream.schemas.errors import KinestreamError


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is, in frames judged."""

    source: str
    frames: int
    frames_total: int


def judge_files(
    paths: Sequence[Path],
    choices: Choices,
    bench: Bench,
    *,
    pictured: int = 0,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> FilesReport:
    """Judge every episode of the recordings at ``paths``; one that cannot be read is told and the others are judged.

    The ``pictured`` worst episodes come with what is drawn of their findings.
    """
    begun = time.monotonic()
    report, frames, drawn = FilesReport(), 0, 0
    for path in paths:
        for found in _episodes(path, choices, bench, report, bool(pictured)):
            report.episodes.append(found)
            frames += found.frames
            drawn += bool(found.traces)
            if drawn > 2 * pictured:
                drawn = _forget(report, pictured)
            on_progress(Progress(found.source, frames, 0))
    _forget(report, pictured)
    report.seconds = round(time.monotonic() - begun, 3)
    return report


def _forget(report: FilesReport, pictured: int) -> int:
    """Sort the worst first and keep the traces of so many: those of a whole data set would fill the memory."""
    report.episodes.sort(key=EpisodeReport.rank)
    left = pictured
    for place, episode in enumerate(report.episodes):
        if episode.traces and not left:
            report.episodes[place] = replace(episode, traces=())
        left -= bool(episode.traces and left)
    return pictured - left


def _episodes(
    path: Path, choices: Choices, bench: Bench, report: FilesReport, pictured: bool
) -> Iterator[EpisodeReport]:
    try:
        recording = open_recording(path, choices=choices)
        report.notes += [said] if (said := missing_note(recording, "judged")) else []
        for recorded in recording:
            yield report_of(str(path), judge_recorded(recorded, bench), pictured)
    except KinestreamError as problem:
        report.unreadable.append(Unreadable(str(path), str(problem)))
