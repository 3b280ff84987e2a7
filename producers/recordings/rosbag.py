"""The reader of rosbag2 folders (MCAP, SQLite) and ROS 1 bags, by the rosbags library; never converts a value."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kinestream.producers.recordings.columns import library
from kinestream.producers.recordings.ros import Message, RosRecording, wanted
from kinestream.producers.recordings.take import Choices


def rosbag2(folder: Path, choices: Choices) -> RosRecording:
    """The joint states of a rosbag2 folder; raises :class:`RecordingError` where it has none."""
    return _recording(folder, "rosbag2", library("rosbags.rosbag2").Reader(folder), "cdr", choices)


def rosbag1(path: Path, choices: Choices) -> RosRecording:
    """The joint states of a ROS 1 bag; raises :class:`RecordingError` where it has none."""
    return _recording(path, "ROS 1 bag", library("rosbags.rosbag1").Reader(path), "ros1", choices)


def _recording(path: Path, form: str, reader: Any, wire: str, choices: Choices) -> RosRecording:
    with reader:
        read = [c for c in reader.connections if wanted(c.topic, c.msgtype)]
        others = [f"{c.topic} ({c.msgtype})" for c in reader.connections if not wanted(c.topic, c.msgtype)]
        return RosRecording(path, form, _messages(reader, read, wire), others, choices)


def _messages(reader: Any, connections: list[Any], wire: str) -> Iterator[Message]:
    if connections:  # rosbags reads all topics where none is given
        for connection, log_ns, raw in reader.messages(connections=connections):
            yield Message(connection.topic, connection.msgtype, wire, log_ns, bytes(raw))
