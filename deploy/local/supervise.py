"""Owns supervisord: its file, its start, its end, and the calls to it. It knows no service, only names and commands."""

from __future__ import annotations

import http.client
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import xmlrpc.client
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from kinestream.deploy.local import process
from kinestream.schemas.errors import StackError

#: Longest path of a unix socket: 108 bytes on Linux, 104 on macOS, of which supervisord needs eight for a moment.
_SOCKET_BYTES: Final = 90
_ABSENT: Final = (OSError, http.client.HTTPException)


@dataclass(frozen=True, slots=True)
class Program:
    """A process to supervise; restarted whenever it ends, unless ``restart`` says no (nothing of it would be left)."""

    name: str
    priority: int
    stop_s: int = 15
    restart: bool = True


class Supervisor:
    """The supervisor of one home folder: ``supervisor.conf``, ``run/`` and ``logs/`` in it."""

    def __init__(self, home: Path, socket: str = "") -> None:
        self.home = home
        self.socket = socket
        self._child: subprocess.Popen[bytes] | None = None

    def start(self, programs: Sequence[Program], *, foreground: bool) -> None:
        """Start supervisord with every program stopped; with ``foreground`` it ends with the calling thread."""
        self._forget_socket()
        self.socket = _socket_path(self.home)
        (self.home / "run").mkdir(exist_ok=True)
        (self.home / "logs").mkdir(exist_ok=True)
        self._write(programs)
        command = [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", "supervisor.conf"]
        if foreground:
            command = process.bound(command, os.getpid())
        with (self.home / "logs" / "supervisord.err").open("wb") as errors:
            self._child = subprocess.Popen(
                command, cwd=self.home, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors, start_new_session=True
            )
        if not process.wait_until(lambda: self.pid() > 0 or self._ended(), 20):
            self.stop()
        if self._ended():
            tail = (self.home / "logs" / "supervisord.err").read_text(errors="replace").strip()[-500:]
            raise StackError(f"supervisord did not start: {tail or 'it said nothing'}")

    def pid(self) -> int:
        """Process id of supervisord; 0 when it does not run."""
        if not self.socket:
            return 0
        try:
            return int(self._call("getPID"))
        except xmlrpc.client.Fault:  # it is shutting down and answers no more questions
            return int((self.home / "run" / "supervisord.pid").read_text())
        except _ABSENT:
            return 0

    def state(self, name: str) -> tuple[str, int]:
        """State of a program in supervisord's words (RUNNING, STOPPED, FATAL ...) and its pid; ("", 0) if unknown."""
        try:
            found = self._call("getProcessInfo", name)
        except (*_ABSENT, xmlrpc.client.Fault):
            return "", 0
        return str(found["statename"]), int(found["pid"])

    def run(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start a program with this command, unless it runs already. Returns at once."""
        process.write_spec(self._spec(name), command, environment)
        if self.state(name)[0] in ("RUNNING", "STARTING", "BACKOFF"):
            return
        try:
            self._call("startProcess", name, False)
        except xmlrpc.client.Fault as problem:
            raise StackError(f"{name} cannot be started: {problem.faultString} (see {self.home / 'logs'})") from problem

    def restart(self, name: str) -> None:
        """End a program and start it again with the command it has; quiet when it does not run."""
        with suppress(xmlrpc.client.Fault):
            self._call("stopProcess", name)
        with suppress(xmlrpc.client.Fault):
            self._call("startProcess", name, False)

    def halt(self, name: str) -> None:
        """Stop a program, which then stays stopped until :meth:`resume`. Returns at once."""
        self._call("stopProcess", name, False)

    def resume(self, name: str) -> None:
        """Start a halted program as it was; raises ``xmlrpc.client.Fault`` while it is still on its way down."""
        self._call("startProcess", name, False)

    def update(self, programs: Sequence[Program]) -> None:
        """Make the running supervisor's programs these: stop and forget others, learn new ones (stopped)."""
        self._write(programs)
        added, _, removed = self._call("reloadConfig")[0]
        for name in removed:
            self._call("stopProcessGroup", name)
            self._call("removeProcessGroup", name)
        for name in added:
            self._call("addProcessGroup", name)

    def stop(self, timeout_s: float = 60.0) -> None:
        """End supervisord and, in reverse order, what it runs. Quiet when it does not run."""
        pid = self.pid()
        if pid:
            with suppress(*_ABSENT):
                self._call("shutdown")
        elif self._child and self._child.poll() is None:  # still starting: it has no socket yet
            self._child.send_signal(signal.SIGTERM)
            pid = self._child.pid
        if pid and not process.wait_until(lambda: not _alive(pid, self._child), timeout_s):
            raise StackError(f"the local stack (supervisord, pid {pid}) does not end: see {self.home / 'logs'}")
        self._forget_socket()

    def _forget_socket(self) -> None:
        if self.socket:
            Path(self.socket).unlink(missing_ok=True)
            if Path(self.socket).parent != self.home / "run":
                with suppress(OSError):
                    Path(self.socket).parent.rmdir()

    def _ended(self) -> bool:
        return self._child is not None and self._child.poll() is not None

    def _spec(self, name: str) -> Path:
        return self.home / "run" / f"{name}.json"

    def _call(self, method: str, *arguments: Any) -> Any:
        from supervisor.xmlrpc import SupervisorTransport

        transport = SupervisorTransport(None, None, f"unix://{self.socket}")
        with xmlrpc.client.ServerProxy("http://127.0.0.1", transport) as server:
            return getattr(server.supervisor, method)(*arguments)

    def _write(self, programs: Sequence[Program]) -> None:
        blocks = [_HEAD.format(socket=_quoted(self.socket))]
        for one in programs:
            # Relative paths: supervisord runs in the home folder, whose name may hold anything.
            command = process.bound_to_spec(Path("run") / f"{one.name}.json")
            blocks.append(
                _PROGRAM.format(
                    name=one.name,
                    command=_quoted(shlex.join(command)),
                    restart=str(one.restart).lower(),
                    priority=one.priority,
                    stop_s=one.stop_s,
                )
            )
        (self.home / "supervisor.conf").write_text("\n".join(blocks))


_HEAD: Final = """\
[unix_http_server]
file={socket}
chmod=0700

[supervisord]
logfile=logs/supervisord.log
logfile_maxbytes=1MB
logfile_backups=1
pidfile=run/supervisord.pid
silent=true
nocleanup=true

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
"""

_PROGRAM: Final = """\
[program:{name}]
command={command}
priority={priority}
autostart=false
autorestart={restart}
startsecs=1
startretries=5
stopsignal=TERM
stopwaitsecs={stop_s}
killasgroup=true
redirect_stderr=true
stdout_logfile=logs/{name}.log
stdout_logfile_maxbytes=10MB
stdout_logfile_backups=3
"""


def _quoted(text: str) -> str:
    return text.replace("%", "%%")


def _socket_path(home: Path) -> str:
    beside = home / "run" / "supervisor.sock"
    plain = not any(character in str(beside) for character in ";#,")
    if plain and len(os.fsencode(beside)) <= _SOCKET_BYTES:
        return str(beside)
    return str(Path(tempfile.mkdtemp(prefix="kinestream-")) / "supervisor.sock")


def _alive(pid: int, child: subprocess.Popen[bytes] | None) -> bool:
    if child is not None and child.pid == pid:
        return child.poll() is None
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
