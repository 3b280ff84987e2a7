"""The reader of rosbag2 folders (MCAP, SQLite) and ROS 1 bags, by the rosbags library; never converts a value."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from kinestream.producers.recordings.columns import library
from kinestream.producers.recordings.damaged import read_or_refused
from kinestream.producers.recordings.ros import Message, RosRecording, wanted
from kinestream.producers.recordings.take import Choices

_STORAGES: Final = (".mcap", ".db3")
_Messages = Callable[[list[Any]], Iterator[Message]]


def rosbag2(folder: Path, choices: Choices) -> RosRecording:
    """The joint states of a rosbag2 folder; raises :class:`RecordingError` where it has none, or a file is damaged."""
    reader = library("rosbags.rosbag2").Reader(folder)
    try:
        reader.open()
    except Exception:
        _tell_damaged(folder)
        raise
    return _recording(folder, "rosbag2", reader, _of_files(reader), choices)


def rosbag1(path: Path, choices: Choices) -> RosRecording:
    """The joint states of a ROS 1 bag; raises :class:`RecordingError` where it has none."""
    reader = library("rosbags.rosbag1").Reader(path)
    reader.open()
    return _recording(path, "ROS 1 bag", reader, lambda read: _messages(reader, read, "ros1"), choices)


def _recording(path: Path, form: str, reader: Any, messages: _Messages, choices: Choices) -> RosRecording:
    try:
        read = [c for c in reader.connections if wanted(c.topic, c.msgtype)]
        others = [f"{c.topic} ({c.msgtype})" for c in reader.connections if not wanted(c.topic, c.msgtype)]
        return RosRecording(path, form, messages(read), others, choices)
    finally:
        reader.close()


def _of_files(reader: Any) -> _Messages:
    """The messages of a rosbag2, file after file as its reader does; each knows its file, and so does damage."""
    folder = reader.storage

    def messages(connections: list[Any]) -> Iterator[Message]:
        for storage in list(folder.storages):
            folder.storages = [storage]
            with read_or_refused(storage.path, "file of a rosbag2"):
                yield from _messages(reader, connections, "cdr", storage.path.name)

    return messages


def _messages(reader: Any, connections: list[Any], wire: str, file: str = "") -> Iterator[Message]:
    if connections:  # rosbags reads all topics where none is given
        for connection, log_ns, raw in reader.messages(connections=connections):
            yield Message(connection.topic, connection.msgtype, wire, log_ns, bytes(raw), file)


def _tell_damaged(folder: Path) -> None:
    """Raises :class:`RecordingError` that names the first file of a rosbag2 that does not open by itself."""
    for file in sorted(one for one in folder.iterdir() if one.suffix in _STORAGES):
        with read_or_refused(file, "file of a rosbag2"), library("rosbags.rosbag2").Reader(file):
            pass
