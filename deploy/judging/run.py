"""Walks recordings, an episode at a time, and judges each; holds no episode's frames longer than it judges them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Final

from kinestream.deploy.judging.crew import processors, shared_out
from kinestream.deploy.judging.judged import Bench, judge_recorded
from kinestream.deploy.judging.report import EpisodeReport, FilesReport, Unreadable, report_of
from kinestream.producers.recordings import Choices, missing_note, open_recording
from kinestream.producers.recordings.normalised import NormalisedRecording
from kinestream.schemas.errors import KinestreamError

#: Episodes a process judges before it reports: few enough that a bar moves and no process waits long for the last.
_SHARE: Final = 8


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is, in frames judged."""

    source: str
    frames: int
    frames_total: int


@dataclass(frozen=True, slots=True)
class Task:
    """Some episodes of one recording: the ``share``-th of ``shares`` parts."""

    path: Path
    share: int
    shares: int
    choices: Choices
    bench: Bench
    pictured: bool


def judge_files(
    paths: Sequence[Path],
    choices: Choices,
    bench: Bench,
    *,
    pictured: int = 0,
    jobs: int = 0,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> FilesReport:
    """Judge every episode of the recordings at ``paths``; one that cannot be read is told and the others are judged.

    The ``pictured`` worst episodes come with what is drawn of their findings. ``jobs`` processes (0 = one a
    processor) share the work where there are several recordings or a data set whose episodes can be read apart.
    """
    begun, jobs = time.monotonic(), jobs or processors()
    report, frames, drawn, total = FilesReport(), 0, 0, 0
    tasks = []
    for path in paths:
        try:
            recording = _opened(path, choices)
        except KinestreamError as problem:
            report.unreadable.append(Unreadable(str(path), str(problem)))
            continue
        total += recording.frames
        report.notes += [said] if (said := missing_note(recording, "judged")) else []
        shares = max(1, len(recording.present) // _SHARE) if jobs > 1 and recording.divisible else 1
        tasks += [Task(path, share, shares, choices, bench, bool(pictured)) for share in range(shares)]
    for found in _done(tasks, jobs):
        if isinstance(found, Unreadable):
            report.unreadable.append(found)
            continue
        report.episodes.append(found)
        frames += found.frames
        drawn += bool(found.traces)
        if drawn > 2 * pictured:
            drawn = _forget(report, pictured)
        on_progress(Progress(found.source, frames, total))
    _forget(report, pictured)
    report.seconds = round(time.monotonic() - begun, 3)
    return report


def _done(tasks: Sequence[Task], jobs: int) -> Iterator[EpisodeReport | Unreadable]:
    """What comes of all tasks, in order."""
    if jobs == 1 or len(tasks) < 2:
        for task in tasks:
            yield from _judged(task, _opened)
        return
    for found in shared_out(_all, tasks, jobs):
        yield from found


def _all(task: Task) -> list[EpisodeReport | Unreadable]:
    # what is not read in parts is open at a place in its file, which processes that were forked would share
    opened = _opened if task.shares > 1 else _opened.__wrapped__
    return list(_judged(task, opened))


def _judged(task: Task, opened: Callable[[Path, Choices], NormalisedRecording]) -> Iterator[EpisodeReport | Unreadable]:
    try:
        recording = opened(task.path, task.choices)
        for recorded in recording.part(task.share, task.shares):
            judged = judge_recorded(recorded, task.bench, recording.guess.model)
            yield report_of(str(task.path), judged, task.pictured)
    except KinestreamError as problem:
        yield Unreadable(str(task.path), str(problem))


@lru_cache(maxsize=4)
def _opened(path: Path, choices: Choices) -> NormalisedRecording:
    """A recording whose tasks follow each other is opened once a process."""
    return open_recording(path, choices=choices)


def _forget(report: FilesReport, pictured: int) -> int:
    """Sort the worst first and keep the traces of so many: those of a whole data set would fill the memory."""
    report.episodes.sort(key=EpisodeReport.rank)
    left = pictured
    for place, episode in enumerate(report.episodes):
        if episode.traces and not left:
            report.episodes[place] = replace(episode, traces=())
        left -= bool(episode.traces and left)
    return pictured - left
