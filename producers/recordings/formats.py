"""Which reader a path needs; never reads a frame itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from kinestream.producers.recordings.amp import AmpJson, is_amp
from kinestream.producers.recordings.csv_file import CsvFile
from kinestream.producers.recordings.damaged import read_or_refused
from kinestream.producers.recordings.hdf5 import Hdf5
from kinestream.producers.recordings.lerobot import LeRobot
from kinestream.producers.recordings.lerobot_v1 import LeRobotV1
from kinestream.producers.recordings.mcap_file import mcap_file
from kinestream.producers.recordings.mocap import Mocap
from kinestream.producers.recordings.normalised import NormalisedRecording
from kinestream.producers.recordings.npz import Npz
from kinestream.producers.recordings.rosbag import rosbag1, rosbag2
from kinestream.producers.recordings.take import Choices, Source
from kinestream.schemas.errors import RecordingError

READABLE: Final = (
    "readable are LeRobot v1, v2.0, v2.1 and v3.0, MCAP, rosbag2, ROS 1 bags, HDF5 of ACT, robomimic and dm_control,"
    " CSV, npz, AMP JSON, BVH and AMC (docs/formats.md)"
)
_Reader = Callable[[Path, Choices], Source]
_HDF5: Final = (".hdf5", ".h5", ".hdf")
_READERS: Final[dict[str, tuple[str, _Reader]]] = {
    ".arrow": ("Arrow file", lambda path, _: LeRobotV1(path)),
    ".mcap": ("MCAP", mcap_file),
    ".bag": ("ROS 1 bag", rosbag1),
    **dict.fromkeys(_HDF5, ("HDF5", Hdf5)),
    ".csv": ("CSV", CsvFile),
    ".npz": ("npz", Npz),
    ".bvh": ("BVH", Mocap),
    ".amc": ("AMC", Mocap),
}
_ROS: Final = ("MCAP", "rosbag2", "ROS 1 bag")
#: Bytes of a text that show whether it is an AMP motion.
_HEAD: Final = 4096


def open_recording(path: Path | str, model_id: str = "", choices: Choices | None = None) -> NormalisedRecording:
    """Open a recording; ``model_id`` overrides the robot its format implies, ``choices`` all else a person may say.

    Raises :class:`RecordingError`, in one sentence, for what is no recording, is of another version, lacks a column,
    is cut short, or could be two things; and ``UnknownModelError`` for a model nobody has described.
    """
    path = Path(path)
    choices = choices or Choices()
    if model_id:
        choices = replace(choices, model=model_id)
    return NormalisedRecording(path, open_source(path, choices), choices)


def open_source(path: Path, choices: Choices) -> Source:
    """The source at ``path``, whoever's robot it is of; raises :class:`RecordingError`."""
    if not path.exists():
        raise RecordingError(f"{path} does not exist; {READABLE}")
    if path.is_file() and path.stat().st_size == 0:
        raise RecordingError(
            f"{path} is an empty file (0 bytes): nothing was written to it, or its copy failed; copy it anew"
        )
    what, reader = _reader_of(path)
    _check_options(path, what, choices)
    with read_or_refused(path, what):
        return reader(path, choices)


def _check_options(path: Path, what: str, choices: Choices) -> None:
    """Raises :class:`RecordingError` for an option that this format would not heed."""
    if choices.split_s and what not in (*_ROS, "CSV", "npz"):
        raise RecordingError(
            f"{path}: --split parts bags, CSV and npz at their gaps; a recording of the kind {what} says itself where"
            " episodes begin: leave it out"
        )
    if choices.topic and what not in _ROS:
        raise RecordingError(f"{path}: --topic chooses among the topics of a bag, and {what} has none: leave it out")


def _reader_of(path: Path) -> tuple[str, _Reader]:
    folder = _data_set_of(path)
    if folder is not None:
        only = path if path.is_file() else None
        return "LeRobot data set", lambda _, __: LeRobot(folder, only)
    if (path / "metadata.yaml").is_file():
        return "rosbag2", rosbag2
    suffix = path.suffix.lower()
    if path.is_file() and suffix in _READERS:
        return _READERS[suffix]
    if path.is_file() and suffix in (".txt", ".json") and is_amp(_head(path)):
        return "AMP motion", AmpJson
    raise RecordingError(f"{path} is no recording: {_why(path, suffix)}; {READABLE}")


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEAD)


def _why(path: Path, suffix: str) -> str:
    if path.is_dir():
        return f"there is neither meta/info.json nor metadata.yaml in it{_files_in(path)}"
    if suffix == ".asf":
        return "a skeleton has no frames: give the .amc beside it"
    if suffix == ".db3":
        return "give the folder of the rosbag2, in which metadata.yaml says what it holds"
    return (
        "there is no meta/info.json in or above it"
        if suffix == ".parquet"
        else f"files {suffix or 'without ending'} are not known"
    )


def _files_in(folder: Path) -> str:
    """The recordings in a folder that is none itself, in words; empty where there are none."""
    try:
        names = sorted(file.name for file in folder.iterdir() if file.suffix.lower() in _READERS)
    except OSError as problem:
        return f" that could be seen ({problem.strerror})"
    if not names:
        return ""
    return f"; it holds {names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''}: give its files"


def _data_set_of(path: Path) -> Path | None:
    if path.is_dir():
        return path if (path / "meta" / "info.json").is_file() else None
    if path.suffix != ".parquet":
        return None
    return next((above for above in path.resolve().parents if (above / "meta" / "info.json").is_file()), None)
