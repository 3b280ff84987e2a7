"""Attributes of HDF5 objects, read so that a damaged file cannot end the process; never reads an array.

libhdf5 follows the pointer of a text of variable length into the file's heap without checking it: a damaged one crashes
the process (seen in fuzzing, h5py 3.16). Such texts are read by a process of their own.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from kinestream.producers.recordings.columns import library
from kinestream.schemas.errors import RecordingError

_ANSWER_S: Final = 30.0
_READ: Final = """
import sys, h5py
with h5py.File(sys.argv[1], "r") as file:
    value = file[sys.argv[2]].attrs[sys.argv[3]]
sys.stdout.buffer.write(value if isinstance(value, bytes) else str(value).encode())
"""


def attribute(path: Path, thing: Any, name: str, default: Any = None) -> Any:
    """The value of a group's or data set's attribute; raises :class:`RecordingError` where it cannot be read."""
    if name not in thing.attrs:
        return default
    kind = thing.attrs.get_id(name).get_type()
    h5t = library("h5py").h5t
    if isinstance(kind, h5t.TypeStringID) and kind.is_variable_str():
        return _text(path, thing.name, name)
    if isinstance(kind, h5t.TypeVlenID):  # one flipped bit makes this of a text
        raise RecordingError(f"{path}: the attribute {name} of {thing.name} is damaged; copy the file anew")
    return thing.attrs[name]


def _text(path: Path, thing: str, name: str) -> str:
    try:
        done = subprocess.run(
            [sys.executable, "-c", _READ, str(path), thing, name], capture_output=True, timeout=_ANSWER_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise RecordingError(f"{path}: the attribute {name} of {thing} cannot be read ({problem})") from problem
    if done.returncode:
        raise RecordingError(f"{path}: the attribute {name} of {thing} is damaged; copy the file anew")
    return done.stdout.decode("utf-8", "replace")
