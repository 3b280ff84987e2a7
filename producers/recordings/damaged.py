"""Where libraries meet foreign bytes: whatever they raise there becomes one sentence; never hides our own errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from kinestream.schemas.errors import KinestreamError, RecordingError

#: Formats that are never text.
_BINARY: Final = frozenset({"MCAP", "ROS 1 bag", "HDF5", "npz"})
#: How a pointer of Git LFS begins, which stands where a file was not fetched.
_LFS: Final = "version https://git-lfs"
#: Bytes that show a text, and characters of it that a sentence shows.
_HEAD, _SHOWN = 256, 40


@contextmanager
def read_or_refused(path: Path, what: str) -> Iterator[None]:
    """Raises :class:`RecordingError` for any error within: parsers of damaged bytes raise anything."""
    try:
        yield
    except KinestreamError:
        raise
    except Exception as problem:
        raise damaged(path, what, problem) from problem


def damaged(path: Path, what: str, problem: Exception) -> RecordingError:
    """The one sentence of an error that a library raised over the bytes of ``path``."""
    text = f"{path} is damaged or no {what} ({_line(problem)}); copy it anew"
    return (what in _BINARY and text_instead(path, what)) or RecordingError(text)


def text_instead(path: Path, what: str) -> RecordingError | None:
    """That a text stands where a ``what`` should, as a page or a pointer does; None for any other bytes."""
    text = _text_of(path)
    if not text:
        return None
    to_do = "fetch the file itself (`git lfs pull`)" if text.startswith(_LFS) else "its download gave another file"
    return RecordingError(f"{path} is no {what}: it is a text that begins {text[:_SHOWN]!r}; {to_do}")


def _text_of(path: Path) -> str:
    """The first line of a file that begins as a text; empty for any other bytes, and for the formats' own."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
        text = head.decode("utf-8", "strict").strip()
    except (OSError, UnicodeDecodeError):
        return ""
    first = text.splitlines()[0] if text else ""
    return first if first.isprintable() and not first.startswith("#ROSBAG") else ""


def _line(problem: Exception) -> str:
    text = " ".join(str(problem).split())[:200].rstrip(".")
    return f"{type(problem).__name__}: {text}" if text else type(problem).__name__
