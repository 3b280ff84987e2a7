"""The content hash, slowly, from the words of docs/contract.md alone; never imports what it checks."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import xxhash


@dataclass
class Episode:
    """Frames by number: a stamp, and for each channel the 32-bit patterns of its floats."""

    widths: dict[str, int]
    n_total: int
    t_ns: dict[int, int] = field(default_factory=dict)
    values: dict[int, dict[str, list[int]]] = field(default_factory=dict)


def reference_leaves(episode: Episode, block: int) -> dict[str, bytes]:
    """Leaf of each channel, and of ``t``, over the frames of a block that exist."""
    frames = [seq for seq in range(128 * block, 128 * block + 128) if seq in episode.t_ns]
    first = episode.t_ns[min(episode.t_ns)]
    parts = {name: b"" for name in episode.widths}
    parts["t"] = b"".join(struct.pack("<q", episode.t_ns[seq] - first) for seq in frames)
    for seq in frames:
        for name in episode.widths:
            parts[name] += struct.pack(f"<{episode.widths[name]}I", *episode.values[seq][name])
    return {name: xxhash.xxh3_128_digest(part) for name, part in parts.items()}


def reference_presence(episode: Episode, block: int) -> bytes:
    """Bit i of byte i // 8: whether frame 128 block + i exists."""
    bits = bytearray(16)
    for i in range(128):
        if 128 * block + i in episode.t_ns:
            bits[i // 8] |= 1 << i % 8
    return bytes(bits)


def reference_blocks(episode: Episode) -> list[int]:
    """Numbers of the blocks with at least one frame."""
    return sorted({seq // 128 for seq in episode.t_ns})


def reference_hash(episode: Episode) -> str:
    """Lower-case hex of the content hash."""
    hashed = b""
    for name in sorted([*episode.widths, "t"], key=lambda text: text.encode("utf-8")):
        for block in reference_blocks(episode):
            hashed += name.encode() + b"\0" + struct.pack("<I", episode.widths.get(name, 1)) + struct.pack("<I", block)
            hashed += reference_presence(episode, block) + reference_leaves(episode, block)[name]
    return xxhash.xxh3_128_hexdigest(hashed + struct.pack("<Q", episode.n_total))


def from_vector(vector: Mapping[str, Any]) -> Episode:
    """An episode from its description in schemas/golden/content_hash.json."""
    widths = {channel["name"]: channel["width"] for channel in vector["channels"]}
    missing = {seq for first, last in vector["missing"] for seq in range(first, last + 1)}
    episode = Episode(widths, vector["n_total"])
    for seq in range(vector["n_total"]):
        if seq in missing:
            continue
        episode.t_ns[seq] = stamp(vector["t_ns"], seq)
        episode.values[seq] = {name: _bits(vector["values"][name], seq, width) for name, width in widths.items()}
    return episode


def stamp(given: Any, seq: int) -> int:
    """Robot stamp of a frame: listed, or by formula."""
    if isinstance(given, list):
        return int(given[seq])
    return int(given["start"] + seq * given["step"] + seq % given["modulus"] * given["jitter"])


def _bits(given: Any, seq: int, width: int) -> list[int]:
    if isinstance(given, list):
        return [int(pattern, 16) for pattern in given[seq]]
    values = [((seq * given["a"] + j * given["b"]) % given["m"] - given["c"]) / given["d"] for j in range(width)]
    return [pattern for value in values for pattern in _pattern(value)]


def _pattern(value: float) -> Sequence[int]:
    return struct.unpack("<I", struct.pack("<f", value))
