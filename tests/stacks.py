"""Processes of a local stack that a test is about to signal: found by name, alive for certain."""

from __future__ import annotations

from kinestream.deploy.local import process
from kinestream.deploy.local.stack import Stack


def pid_of(stack: Stack, name: str) -> int:
    """The pid of a service that is up and well; waits half a minute for it, then fails the test.

    Never 0: a signal to process 0 goes to the caller's whole group, which is everything that runs the tests.
    """

    found = 0

    def alive() -> bool:
        nonlocal found
        found = next((one.pid or 0 for one in stack.status() if one.name == name and one.healthy), 0)
        return found > 0

    assert process.wait_until(alive, 30), stack.status()
    return found
