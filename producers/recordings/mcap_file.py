"""The reader of single MCAP files; never decodes a message of a type it does not need."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from kinestream.producers.recordings.columns import library
from kinestream.producers.recordings.ros import Message, RosRecording, wanted
from kinestream.producers.recordings.take import Choices

#: A record beyond it is damage: the largest real ones are chunks of some MB.
_LARGEST: Final = 256 * 2**20
_WIRES: Final = ("cdr", "ros1")


def mcap_file(path: Path, choices: Choices) -> RosRecording:
    """The joint states of an MCAP file; raises :class:`RecordingError` where it has none."""
    others: set[str] = set()
    return RosRecording(path, "MCAP", mcap_messages(path, others), others, choices)


def mcap_messages(path: Path, others: set[str]) -> Iterator[Message]:
    """Messages that are read, in the order of their log; topics of other types are added to ``others``."""
    with path.open("rb") as file:
        reader = library("mcap.reader").NonSeekingReader(file, validate_crcs=True, record_size_limit=_LARGEST)
        for schema, channel, message in reader.iter_messages(log_time_order=True):
            kind = _kind(schema)
            if wanted(channel.topic, kind) and channel.message_encoding in _WIRES:
                yield Message(channel.topic, kind, channel.message_encoding, message.log_time, message.data)
            else:
                others.add(f"{channel.topic} ({_said(kind, channel.message_encoding)})")


def _kind(schema: Any) -> str:
    name = "" if schema is None else str(schema.name)
    return name if "/msg/" in name or "/" not in name else name.replace("/", "/msg/", 1)


def _said(kind: str, encoding: str) -> str:
    return kind or "no schema" if encoding in _WIRES else f"{kind or 'no schema'} in {encoding}, which is not read"
