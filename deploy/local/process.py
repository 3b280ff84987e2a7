"""Owns how a child process is tied to the life of its parent; it must import nothing but the standard library.

It is run by its path (``python -I -S process.py``), so that a child costs 15 ms and not an import of the package.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1


def bound(command: Sequence[str], parent: int | None = None) -> list[str]:
    """The command line that runs ``command`` in the same pid and sends it SIGTERM when its parent is gone.

    ``parent`` is the pid it must find as its parent; None takes whoever starts it. On Linux the kernel does this even
    when the parent is killed with SIGKILL; elsewhere nothing is promised. Beware: Linux means the parent *thread*.
    """
    expected = [] if parent is None else ["--parent", str(parent)]
    return [sys.executable, "-I", "-S", str(Path(__file__).resolve()), *expected, "--", *command]


def write_spec(path: Path, command: Sequence[str], environment: Mapping[str, str]) -> None:
    """Record what :func:`bound_to_spec` will run: a supervisor's own file cannot quote every path and value."""
    partial = path.with_name(path.name + ".part")
    partial.write_text(json.dumps({"command": list(command), "environment": dict(environment)}, indent=1))
    os.replace(partial, path)


def bound_to_spec(path: Path) -> list[str]:
    """Like :func:`bound`, for the command and further environment that ``path`` holds when it starts."""
    return [sys.executable, "-I", "-S", str(Path(__file__).resolve()), "--spec", str(path)]


def spawn(command: Sequence[str], **popen: Any) -> subprocess.Popen[bytes]:
    """Start ``command`` in its own process group, tied to the life of the calling thread; Popen's keywords pass on."""
    return subprocess.Popen(bound(command, os.getpid()), start_new_session=True, **popen)


def stop(process: subprocess.Popen[bytes], timeout_s: float = 10.0) -> None:
    """End a process made by :func:`spawn` and its whole group: SIGTERM, and SIGKILL after ``timeout_s``."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            break
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout_s)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)  # what the process itself started and left behind


def wait_until(condition: Callable[[], bool], timeout_s: float, every_s: float = 0.05) -> bool:
    """Ask ``condition`` until it holds (True) or ``timeout_s`` is over (False)."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(every_s)
    return True


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def port_is_free(port: int) -> bool:
    """Whether a server could listen on 127.0.0.1:``port`` now; connections that linger from an old one do not count."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _tie_to_parent(expected: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != expected:  # it died before the line above
        sys.exit(143)


def _main(arguments: list[str]) -> None:
    expected = os.getppid()
    if arguments[0] == "--parent":
        expected, arguments = int(arguments[1]), arguments[2:]
    _tie_to_parent(expected)
    if arguments[0] == "--spec":
        spec = json.loads(Path(arguments[1]).read_text())
        os.environ.update(spec["environment"])
        arguments = ["--", *spec["command"]]
    os.execvp(arguments[1], arguments[1:])


if __name__ == "__main__":
    _main(sys.argv[1:])
