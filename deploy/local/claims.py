"""Owns which ports this process means to use, so that two stacks that start at once choose different ones."""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path

#: Descriptors of the locks, by port: open as long as this process lives.
_claims: dict[int, int] = {}


def claim(port: int) -> bool:
    """Take ``port`` for this process until it ends; False where another process of this user has taken it.

    A claim says what will be listened on in a moment; whether somebody listens already is for the caller to ask.
    """
    if port in _claims:
        return True
    folder = Path(tempfile.gettempdir()) / f"kinestream-ports-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    lock = os.open(folder / str(port), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return False
    _claims[port] = lock
    return True
