"""Owns the fleet as a process of the demo: its command, its report, its end; it looks into no take."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from kinestream.deploy.demo.published import Published, ReportReader
from kinestream.deploy.local import process

#: Share of takes with a fault.
_FAULT_SHARE = 0.15


def shift_of(robots: int, seconds: float) -> tuple[str, ...]:
    """A demonstration: so many robots begin takes for so long, some of them with a fault."""
    share = min(max(_FAULT_SHARE, 1 / robots), 0.5)  # a small floor has a fault in each round, too
    return ("--robots", str(robots), "--seconds", f"{seconds:g}", "--faults", f"shown:{share:g}")


class FleetProcess:
    """``python -m kinestream.producers.fleet``, tied to the calling thread."""

    def __init__(self, home: Path, environment: Mapping[str, str], shift: Sequence[str]) -> None:
        """``shift``: what it is asked to do, as of :func:`shift_of`."""
        self.published = Published()
        self._log = home / "logs" / "fleet.log"
        report = home / "fleet.jsonl"
        report.unlink(missing_ok=True)
        self._report = ReportReader(report)
        module = [sys.executable, "-m", "kinestream.producers.fleet"]
        spec = home / "run" / "fleet.json"
        process.write_spec(spec, [*module, *shift, "--report", str(report)], environment)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                process.bound(process.bound_to_spec(spec), os.getpid()),
                cwd=home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def report(self) -> Path:
        """Its JSON lines."""
        return self._report.path

    def read(self) -> None:
        """Bring ``published`` up to date."""
        self._report.read(self.published)

    def ended(self) -> bool:
        """Whether the process is gone."""
        return self._process.poll() is not None

    def problem(self) -> str:
        """Why the fleet did not do its work, in one line; empty when it did, or still does."""
        if self._process.poll() in (None, 0):
            return ""
        lines = self._log.read_text(errors="replace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), "it said nothing")
        return f"the fleet ended with {self._process.returncode}: {last.strip()} (log: {self._log})"

    def stop(self) -> None:
        """End it now; takes under way are cut short."""
        process.stop(self._process, timeout_s=1.0)
