"""Which reader a path needs; never reads a frame itself."""

from __future__ import annotations

from pathlib import Path

from kinestream.producers.recordings.lerobot_v21 import LeRobotV21
from kinestream.producers.recordings.recording import Recording
from kinestream.schemas.errors import RecordingError

_READABLE = "readable are LeRobot v2.1 data sets (the folder with meta/info.json, or one of its episode files)"


def open_recording(path: Path | str, model_id: str = "") -> Recording:
    """Open a recording; ``model_id`` overrides the robot model its format implies.

    Raises :class:`RecordingError`, in one sentence, for what is no recording, is of another version, lacks a column or
    is cut short; and ``UnknownModelError`` for a model nobody has described.
    """
    path = Path(path)
    if not path.exists():
        raise RecordingError(f"{path} does not exist; {_READABLE}")
    if path.is_file() and path.stat().st_size == 0:
        raise RecordingError(f"{path} is an empty file; {_READABLE}")
    folder = _data_set_of(path)
    if folder is None:
        raise RecordingError(f"{path} is no recording: there is no meta/info.json in or above it; {_READABLE}")
    return LeRobotV21(folder, model_id, only=path if path.is_file() else None)


def _data_set_of(path: Path) -> Path | None:
    if path.is_dir():
        return path if (path / "meta" / "info.json").is_file() else None
    if path.suffix != ".parquet":
        return None
    return next((above for above in path.resolve().parents if (above / "meta" / "info.json").is_file()), None)
