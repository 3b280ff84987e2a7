"""Processes that chaos runs itself, robots and workers that join: started again when killed; it kills none itself.

All calls come from one thread, and its end ends them: Linux ties a child to the thread that started it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from kinestream.deploy.local import process
from kinestream.schemas.settings import PREFIX


@dataclass(slots=True)
class Member:
    """One of them: ``python command...`` with these KINESTREAM_* variables."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    child: subprocess.Popen[bytes] | None = None
    #: started again when it ends otherwise than with 0; no longer once it was told to leave
    restart: bool = True
    #: exit codes of the lives that ended, kills as -9
    ended: list[int] = field(default_factory=list)


class Crew:
    """Members by name, in the order they came."""

    def __init__(self) -> None:
        self._members: dict[str, Member] = {}

    def add(self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        """Start one more."""
        self._members[name] = Member(name, command, environment, log)
        self._start(self._members[name])

    def tick(self) -> None:
        """Start again who died. To be called often."""
        for member in self._members.values():
            if member.child is not None and (code := member.child.poll()) is not None:
                member.child = None
                if member.restart:  # what a worker ends with that was told to leave, is its own affair
                    member.ended.append(code)
                if member.restart and code != 0:
                    self._start(member)

    def pid(self, name: str) -> int:
        """Process id; 0 = not running now."""
        member = self._members.get(name)
        return member.child.pid if member and member.child and member.child.poll() is None else 0

    def names(self, prefix: str = "") -> list[str]:
        """Who is running and was not told to leave."""
        return [one.name for one in self._members.values() if one.name.startswith(prefix) and one.restart]

    def leave(self, name: str) -> None:
        """SIGTERM; it is not started again."""
        member = self._members[name]
        member.restart = False
        if member.child is not None:
            member.child.terminate()

    def gone(self, prefix: str = "") -> bool:
        """Everybody of that name has ended."""
        self.tick()
        return not any(one.child for one in self._members.values() if one.name.startswith(prefix))

    def failures(self, prefix: str = "") -> list[str]:
        """Who ended by itself with an error, and the last it said."""
        return [
            f"{one.name} ended with {code}: {one.log.read_text(errors='replace').strip()[-300:]}"
            for one in self._members.values()
            if one.name.startswith(prefix)
            for code in one.ended
            if code > 0
        ]

    def stop(self) -> None:
        """SIGTERM to all, SIGKILL to who does not go."""
        for member in self._members.values():
            member.restart = False
            if member.child is not None:
                process.stop(member.child, 5.0)

    def _start(self, member: Member) -> None:
        environment = {k: v for k, v in os.environ.items() if not k.startswith(PREFIX)} | dict(member.environment)
        with member.log.open("ab") as log:
            member.child = process.spawn(
                [sys.executable, *member.command],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )


def alive(pid: int) -> psutil.Process | None:
    """The process, to be signalled later: its start time tells it from another that got the same id."""
    try:
        return psutil.Process(pid) if pid else None
    except psutil.NoSuchProcess:
        return None
