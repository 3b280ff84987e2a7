"""Judging a data set of files beside the graders others use: commands as a user types them, one after the other."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from kinestream.deploy.bench.dataset import MODEL, write_dataset
from kinestream.deploy.bench.peers import ROOT
from kinestream.schemas.errors import StackError
from kinestream.schemas.settings import PREFIX

_BIN: Final = ROOT / ".venv-bench" / "bin"
_JUDGE: Final = (sys.executable, "-c", "from kinestream.deploy.cli import main; main()", "judge")
#: Episodes of the small data set that every contender grades first: its bytecode is cached then.
_WARM: Final = 3
#: Seconds a contender may take.
_PATIENCE_S: Final = 600.0


@dataclass(frozen=True, slots=True)
class Grader:
    """One contender: ``command`` with {data} and {out} in it, and how its answer tells the episodes it graded."""

    name: str
    does: str
    command: tuple[str, ...]
    episodes: Callable[[str], int]
    #: KINESTREAM_ settings of ours
    settings: Mapping[str, str]
    ours: bool
    #: why it cannot run here; empty = it can
    missing: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """User and system CPU of a command and all it started, s; ``peak_mb`` is that of its largest process (10**6 B)."""

    cpu_s: float
    wall_s: float
    peak_mb: float


@dataclass(frozen=True, slots=True)
class FileFigures:
    """Every run of each contender at hand, by name."""

    episodes: int
    frames: int
    dataset_mb: float
    runs: Mapping[str, list[Run]]

    def cpu_s(self, name: str) -> float:
        """Median."""
        return median(run.cpu_s for run in self.runs[name])

    def wall_s(self, name: str) -> float:
        """Median."""
        return median(run.wall_s for run in self.runs[name])

    def peak_mb(self, name: str) -> float:
        """The largest."""
        return max(run.peak_mb for run in self.runs[name])


def graders(jobs: int = 0) -> tuple[Grader, ...]:
    """Ours first, in three ways (``jobs``: processes, 0 = one a processor); then everybody they are measured beside."""
    ours = (*_JUDGE, "{data}", "--model", MODEL, "--unit", "rad", "--worst", "0")
    every, core = {"METRICS": "all"}, {"METRICS": "core"}
    return (
        Grader("judge", "every metric, a process a processor", (*ours, "--jobs", str(jobs)), _of_judge, every, True),
        Grader("judge_one", "the same in one process, --jobs 1", (*ours, "--jobs", "1"), _of_judge, every, True),
        Grader("judge_core", "ten core metrics in one process", (*ours, "--jobs", "1"), _of_judge, core, True),
        _peer("deepen-grade", "deepen", ("grade", "{data}", "--json", "--quiet", "-o", "{out}"), _of_document),
        _peer("robot-report-card", "rrc", ("score", "{data}", "--json-out", "{out}", "--overwrite"), _of_document),
        _peer("lerobot-doctor", "lerobot-doctor", ("check", "{data}"), _of_doctor),
    )


def _peer(name: str, command: str, arguments: tuple[str, ...], episodes: Callable[[str], int]) -> Grader:
    missing = "" if (_BIN / command).exists() else f"{name} is not installed: make bench-peers"
    return Grader(name, "its own checks", (str(_BIN / command), *arguments), episodes, {}, False, missing)


def measure_files(
    episodes: int, repeats: int, contenders: Sequence[Grader], progress: Callable[[str], None]
) -> FileFigures:
    """Write a data set and let every contender at hand grade it, in ``repeats`` rounds.

    Raises :class:`StackError` where one fails or did not grade every episode: it would have no figure.
    """
    with tempfile.TemporaryDirectory(prefix="kinestream-bench-") as folder:
        place = Path(folder)
        small, data = place / "small", place / "data"
        write_dataset(small, _WARM)
        frames = write_dataset(data, episodes)
        size = sum(file.stat().st_size for file in data.rglob("*") if file.is_file()) / 1e6
        progress(f"a data set of {episodes} episodes, {frames:,} frames, {size:.0f} MB")
        at_hand = [one for one in contenders if not one.missing]
        for one in at_hand:
            run(one, small, place, _WARM)
        found = FileFigures(episodes, frames, size, {one.name: [] for one in at_hand})
        for _ in range(repeats):
            for one in at_hand:
                found.runs[one.name].append(run(one, data, place, episodes))
                last = found.runs[one.name][-1]
                progress(f"{one.name}: {last.cpu_s:.2f} CPU-seconds, {last.wall_s:.2f} s, {last.peak_mb:.0f} MB")
        return found


def run(one: Grader, data: Path, place: Path, episodes: int) -> Run:
    """One command over ``data``, its CPU and memory as the system counted them; raises :class:`StackError`."""
    answer, log = place / "answer.json", place / "log.txt"
    answer.unlink(missing_ok=True)
    command = [word.format(data=data, out=answer) for word in one.command]
    with log.open("wb") as out:
        begun = time.monotonic()
        child = subprocess.Popen(
            command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, env=_environment(one, place)
        )
        _, status, used = os.wait4(child.pid, 0)
        wall = time.monotonic() - begun
    child.returncode = os.waitstatus_to_exitcode(status)
    told = answer.read_text() if answer.exists() else log.read_text(errors="replace")
    if child.returncode or one.episodes(told) != episodes:
        tail = log.read_text(errors="replace")[-600:].strip()
        raise StackError(
            f"{one.name} graded {one.episodes(told)} of {episodes} episodes, code {child.returncode}: {tail}"
        )
    scale = 1 if sys.platform == "darwin" else 1024
    return Run(used.ru_utime + used.ru_stime, wall, used.ru_maxrss * scale / 1e6)


def _environment(one: Grader, place: Path) -> dict[str, str]:
    """Nobody's settings but ours, and bytecode that is kept: nobody is measured compiling."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(PREFIX) and k != "PYTHONDONTWRITEBYTECODE"}
    ours = {f"{PREFIX}{name}": value for name, value in one.settings.items()}
    return kept | ours | {"PYTHONPYCACHEPREFIX": str(place / "bytecode"), "NO_COLOR": "1", "COLUMNS": "120"}


def _of_judge(told: str) -> int:
    found = re.search(r"judged +([\d,]+) episodes", told)
    return int(found[1].replace(",", "")) if found else 0


def _of_document(told: str) -> int:
    try:
        return len(json.loads(told)["episodes"])
    except (ValueError, KeyError, TypeError):
        return 0


def _of_doctor(told: str) -> int:
    found = re.search(r"Episodes: ([\d,]+)", told)
    return int(found[1].replace(",", "")) if found else 0
