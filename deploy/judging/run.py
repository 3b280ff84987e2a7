"""Walks recordings, an episode at a time, and judges each; holds no episode's frames longer than it judges them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
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
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> FilesReport:
    """Judge every episode of the recordings at ``paths``; one that cannot be read is told and the others are judged."""
    begun = time.monotonic()
    report = FilesReport()
    for path in paths:
        for found in _episodes(path, choices, bench, report):
            report.episodes.append(found)
            on_progress(Progress(found.source, report.frames, 0))
    report.episodes.sort(key=EpisodeReport.rank)
    report.seconds = round(time.monotonic() - begun, 3)
    return report


def _episodes(path: Path, choices: Choices, bench: Bench, report: FilesReport) -> Iterator[EpisodeReport]:
    try:
        recording = open_recording(path, choices=choices)
        report.notes += [said] if (said := missing_note(recording, "judged")) else []
        for recorded in recording:
            yield report_of(str(path), judge_recorded(recorded, bench))
    except KinestreamError as problem:
        report.unreadable.append(Unreadable(str(path), str(problem)))
