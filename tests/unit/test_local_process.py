"""Children end with their parents, whatever ends those."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from kinestream.deploy.local import process

PARENT = """
import sys, signal
from kinestream.deploy.local import process
print(process.spawn(["sleep", "300"]).pid, flush=True)
signal.pause()
"""
STUBBORN = "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); signal.pause()"


@pytest.mark.skipif(sys.platform != "linux", reason="only the Linux kernel tells a child that its parent was killed")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_child_is_gone_when_its_parent_is_killed(number: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        assert child.is_running()
        parent.send_signal(number)
        parent.wait(10)
    assert process.wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, 10)


def test_a_child_whose_parent_is_already_gone_never_starts(tmp_path: Path) -> None:
    done = subprocess.run(process.bound(["touch", str(tmp_path / "started")], parent=2**22 + 1), check=False)
    assert done.returncode == 143
    assert not (tmp_path / "started").exists()


def test_stop_ends_also_what_ignores_sigterm() -> None:
    stubborn = process.spawn([sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE)
    assert stubborn.stdout is not None
    stubborn.stdout.readline()  # its handler is in place
    process.stop(stubborn, timeout_s=0.2)
    assert stubborn.returncode == -signal.SIGKILL
    stubborn.stdout.close()


def test_stop_ends_the_whole_group() -> None:
    shell = process.spawn(["sh", "-c", "sleep 300 & echo $!; wait"], stdout=subprocess.PIPE)
    assert shell.stdout is not None
    inner = psutil.Process(int(shell.stdout.readline()))
    process.stop(shell)
    assert process.wait_until(lambda: not inner.is_running() or inner.status() == psutil.STATUS_ZOMBIE, 10)
    shell.stdout.close()


def test_a_spec_carries_any_text_to_the_command(tmp_path: Path) -> None:
    odd = 'a b;%d "q" \'é'
    show = "import os, sys; print(os.environ['ODD'] == sys.argv[1] == " + repr(odd) + ")"
    process.write_spec(tmp_path / "x.json", [sys.executable, "-c", show, odd], {"ODD": odd})
    done = subprocess.run(process.bound_to_spec(tmp_path / "x.json"), capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


def test_a_port_is_free_until_somebody_listens() -> None:
    port = process.free_port()
    assert process.port_is_free(port)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", port))
        listener.listen()
        assert not process.port_is_free(port)
