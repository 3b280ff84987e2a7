"""A process whose CPU time and memory are measured: started, held still while a topic is filled, then let run.

A figure must hold the work and nothing else. So a contender starts, joins its group and does a small floor first; then
it is stopped by signal, which costs it nothing; its clock is read, and runs on from there until its last verdict.
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from kinestream.deploy.local.process import wait_until
from kinestream.schemas.errors import StackError
from kinestream.schemas.settings import PREFIX

#: Verdict -> how many episodes have it.
Verdicts = Callable[[], Counter[str]]
#: Seconds for a contender's start and small floor, and for the whole measured one.
WARM_S, RUN_S = 120.0, 1200.0
#: Seconds between two looks at the verdicts: by so much of its own pace a figure may be too low.
_LOOK_S: Final = 0.1
_PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None)  # looked up before any fork: a forked child of a process with threads must not


@dataclass(frozen=True, slots=True)
class Figure:
    """What one contender needed for one floor; CPU is user + system of its process, all threads."""

    frames: int
    cpu_s: float
    wall_s: float
    peak_rss_mb: float
    verdicts: Mapping[str, int]

    @property
    def frames_per_cpu_s(self) -> float:
        """Fetch to verdict."""
        return self.frames / self.cpu_s


class Contender:
    """A started process; see the file's head."""

    def __init__(self, name: str, child: subprocess.Popen[bytes], verdicts: Verdicts, log: Path) -> None:
        self.name, self._child, self._verdicts, self._log = name, child, verdicts, log
        self._process = psutil.Process(child.pid)
        self._before: Counter[str] = Counter()

    def warm_up(self, episodes: int) -> None:
        """Wait until the small floor is judged and the process is at rest, then hold it still."""
        self._await(episodes, WARM_S)
        rested = wait_until(self._at_rest, WARM_S)
        if not rested:
            raise StackError(f"{self.name} does not come to rest (log: {self._log})")
        self._child.send_signal(signal.SIGSTOP)
        self._before = self._verdicts()

    def run(self, episodes: int, frames: int) -> Figure:
        """Let it run until it has judged this many episodes more."""
        cpu, wall = self.cpu_s(), time.monotonic()
        self._child.send_signal(signal.SIGCONT)
        self._await(episodes + self._before.total(), RUN_S)
        cpu, wall = self.cpu_s() - cpu, time.monotonic() - wall
        return Figure(frames, cpu, wall, peak_rss_mb(self._process), dict(self._verdicts() - self._before))

    def hold(self) -> None:
        """Hold it still again: what it does at rest is not the next one's to bear."""
        self._child.send_signal(signal.SIGSTOP)

    def cpu_s(self) -> float:
        """User + system seconds so far."""
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def _at_rest(self) -> bool:
        before = self.cpu_s()
        time.sleep(1.0)
        return self.cpu_s() - before < 0.05

    def _await(self, episodes: int, timeout_s: float) -> None:
        def judged() -> bool:
            return self._child.poll() is not None or self._verdicts().total() >= episodes

        done = wait_until(judged, timeout_s, every_s=_LOOK_S)
        if not done or self._child.poll() is not None:
            tail = self._log.read_text(errors="replace")[-800:].strip()
            raise StackError(f"{self.name} judged {self._verdicts().total()} of {episodes} episodes, then: {tail}")


@contextmanager
def started(
    name: str,
    command: Sequence[str],
    settings: Mapping[str, str],
    verdicts: Verdicts,
    folder: Path,
    python: str = sys.executable,
) -> Iterator[Contender]:
    """Run ``python command...`` in ``folder`` with these KINESTREAM_* variables only; killed at the end."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(PREFIX)} | dict(settings)
    log = folder / f"{name}.log"
    with log.open("wb") as out:
        child = subprocess.Popen(
            [python, *command],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            cwd=folder,
            start_new_session=True,  # Ctrl-C is ours to handle
            preexec_fn=_die_with_parent,
        )
    try:
        yield Contender(name, child, verdicts, log)
    finally:
        child.kill()
        child.wait()


def _die_with_parent() -> None:
    """SIGKILL, because a process that is held still takes no other signal."""
    if sys.platform == "linux":
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def peak_rss_mb(process: psutil.Process) -> float:
    """Largest resident size so far where the system keeps it (Linux), else the size now; MB of 10**6 bytes."""
    status = Path(f"/proc/{process.pid}/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return int(found[1]) * 1024 / 1e6 if found else rss_mb(process)


def rss_mb(process: psutil.Process) -> float:
    """Resident size now, MB of 10**6 bytes."""
    return float(process.memory_info().rss) / 1e6
