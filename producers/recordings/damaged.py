"""Where libraries meet foreign bytes: whatever they raise there becomes one sentence; never hides our own errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kinestream.schemas.errors import KinestreamError, RecordingError


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
    return RecordingError(f"{path} is damaged or no {what} ({_line(problem)}); copy it anew")


def _line(problem: Exception) -> str:
    text = " ".join(str(problem).split())[:200].rstrip(".")
    return f"{type(problem).__name__}: {text}" if text else type(problem).__name__
