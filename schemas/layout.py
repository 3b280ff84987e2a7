"""The layout of a frame: which joints and channels, in which order and unit; never any values."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, Final

import xxhash

from kinestream.schemas.errors import LayoutError
from kinestream.schemas.texts import is_text

#: Channels with one value a joint; they share the joints' names.
JOINT_CHANNELS: Final = ("position", "velocity", "effort", "command")
#: Names a channel may not bear: exports and hashes use them.
RESERVED: Final = frozenset({"t", "t_ns", "seq", "joints"})


@dataclass(frozen=True, slots=True)
class Channel:
    """A measured signal: ``width`` float32 values a frame, in ``unit``."""

    name: str
    width: int
    unit: str
    element_names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Layout:
    """Joints in model order and the channels an episode measures; raises :class:`LayoutError` if they do not fit."""

    joints: tuple[str, ...]
    channels: tuple[Channel, ...] = field(default=())

    def __post_init__(self) -> None:
        _check_unique("joints", self.joints)
        _check_unique("channels", [c.name for c in self.channels])
        for channel in self.channels:
            _check_channel(channel, len(self.joints))

    @cached_property
    def widths(self) -> Mapping[str, int]:
        """Values a frame of each channel."""
        return {channel.name: channel.width for channel in self.channels}

    @cached_property
    def layout_id(self) -> bytes:
        """First 8 bytes of the xxh3-128 over joints and channels, each text preceded by its uint32 LE length."""
        out = bytearray(_texts(self.joints))
        out += struct.pack("<I", len(self.channels))
        for channel in self.channels:
            out += _text(channel.name) + struct.pack("<I", channel.width) + _text(channel.unit)
            out += _texts(channel.element_names)
        return xxhash.xxh3_128_digest(bytes(out))[:8]

    def to_avro(self) -> dict[str, Any]:
        """The fields ``joints``, ``channels`` and ``layout_id`` of an EpisodeStart."""
        channels = [
            {"name": c.name, "width": c.width, "unit": c.unit, "element_names": list(c.element_names)}
            for c in self.channels
        ]
        return {"joints": list(self.joints), "channels": channels, "layout_id": self.layout_id}

    @classmethod
    def from_avro(cls, start: Mapping[str, Any]) -> Layout:
        """Of a decoded EpisodeStart; raises :class:`LayoutError` where it contradicts itself."""
        channels = tuple((c["name"], c["width"], c["unit"], tuple(c["element_names"])) for c in start["channels"])
        layout = _known(tuple(start["joints"]), channels)
        if layout.layout_id != start["layout_id"]:
            raise LayoutError(
                f"layout_id {start['layout_id'].hex()} is not that of its joints and channels,"
                f" {layout.layout_id.hex()}: compute it as docs/contract.md says"
            )
        return layout


@lru_cache(1024)
def _known(joints: tuple[str, ...], channels: tuple[tuple[str, int, str, tuple[str, ...]], ...]) -> Layout:
    """One for all takes of a robot: to check and hash it takes as long as the rest of a start."""
    return Layout(joints, tuple(Channel(*channel) for channel in channels))


def _check_unique(what: str, names: Iterable[str]) -> None:
    names = list(names)
    if len(set(names)) != len(names) or "" in names or not all(map(is_text, names)):
        raise LayoutError(f"{what} {names}: every name must be there once, be text and not be empty")


def _check_channel(channel: Channel, joints: int) -> None:
    if channel.name in RESERVED:
        raise LayoutError(f"channel {channel.name!r}: the names {', '.join(sorted(RESERVED))} are reserved; rename it")
    if "\0" in channel.name:
        raise LayoutError(f"channel {channel.name!r}: the content hash ends a name with NUL; rename it")
    if not all(map(is_text, (channel.unit, *channel.element_names))):
        raise LayoutError(f"channel {channel.name!r}: its unit {channel.unit!r} or an element's name is no text")
    if channel.width < 1 or channel.width > 65535:
        raise LayoutError(f"channel {channel.name!r} has width {channel.width}: allowed are 1 to 65535")
    if channel.name in JOINT_CHANNELS and channel.width != joints:
        raise LayoutError(f"channel {channel.name!r} has width {channel.width}, but there are {joints} joints")
    if channel.element_names and len(channel.element_names) != channel.width:
        raise LayoutError(
            f"channel {channel.name!r} names {len(channel.element_names)} elements, but has width {channel.width}"
        )


def _text(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<I", len(raw)) + raw


def _texts(texts: Iterable[str]) -> bytes:
    texts = list(texts)
    return struct.pack("<I", len(texts)) + b"".join(map(_text, texts))
