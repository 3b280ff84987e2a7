"""Owns which ports this process means to use, so that two stacks that start at once choose different ones."""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path
from typing import IO

_claims: dict[int, IO[str]] = {}


def claim(port: int) -> bool:
    """Take ``port`` for this process until it ends; False where another process of this user has taken it.

    A claim says what will be listened on in a moment; whether somebody listens already is for the caller to ask.
    """
    if port in _claims:
        return True
    folder = Path(tempfile.gettempdir()) / f"kinestream-ports-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    file = (folder / str(port)).open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return False
    _claims[port] = file
    return True
