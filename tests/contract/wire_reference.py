"""A producer in another language, written from the words of docs/wire.md alone: struct and xxhash, nothing of ours."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import xxhash

Channels = Sequence[Mapping[str, Any]]


# -- Avro -------------------------------------------------------------------------


def long(value: int) -> bytes:
    """int, long, lengths and enums: zigzag, then 7 bits a byte, the lowest first, the top bit set but in the last."""
    zigzag = (value << 1) ^ (value >> 63)
    out = b""
    while zigzag >= 128:
        out += bytes([zigzag % 128 + 128])
        zigzag //= 128
    return out + bytes([zigzag])


def text(value: str) -> bytes:
    raw = value.encode("utf-8")
    return long(len(raw)) + raw


def texts(values: Sequence[str]) -> bytes:
    return (long(len(values)) + b"".join(map(text, values)) if values else b"") + b"\0"


def floats(values: Sequence[float], form: str = "f") -> bytes:
    return (long(len(values)) + struct.pack(f"<{len(values)}{form}", *values) if values else b"") + b"\0"


def double(value: float) -> bytes:
    return struct.pack("<d", value)


def optional(value: Any, encode: Any) -> bytes:
    """A union of null and something: the branch, then the value."""
    return long(0) if value is None else long(1) + encode(value)


def enum(symbol: str, symbols: Sequence[str]) -> bytes:
    return long(symbols.index(symbol))


CLOCKS = ("UNKNOWN", "SYSTEM", "NTP", "PTP", "GPS")
LEVELS = ("UNKNOWN", "L1", "L2", "L3", "L4")
OUTCOMES = ("UNKNOWN", "SUCCESS", "FAILURE", "ABORTED")


def framed(schema_id: int, body: bytes) -> bytes:
    return b"\0" + struct.pack(">I", schema_id) + body


def start(v: Mapping[str, Any]) -> bytes:
    channels = b"".join(
        text(c["name"]) + long(c["width"]) + text(c["unit"]) + texts(c["element_names"]) for c in v["channels"]
    )
    body = text(v["tenant"]) + text(v["robot_id"]) + text(v["model_id"]) + text(v["boot_id"]) + text(v["episode_id"])
    body += long(v["episode_no"]) + texts(v["joints"]) + long(len(v["channels"])) + channels + b"\0"
    body += layout_id(v["joints"], v["channels"]) + long(v["started_at_ns"]) + double(v["nominal_rate_hz"])
    body += long(v["stamp_resolution_ns"]) + enum(v["clock_source"], CLOCKS) + optional(v["clock_offset_s"], double)
    for name in ("site", "station", "operator", "skill", "area", "job"):
        body += text(v[name])
    body += texts(v["subtasks"]) + text(v["task"]) + enum(v["scene_level"], LEVELS)
    for name in ("object_variation", "scene_variation", "calibration_id", "licence"):
        body += text(v[name])
    body += bytes([v["marks"]]) + text(v["source"]) + optional(v["source_started_at_ns"], long)
    return framed(1, body + texts(v["conversions"]) + text(v["sdk"]))


def chunk(v: Mapping[str, Any]) -> bytes:
    body = text(v["episode_id"]) + v["layout_id"] + long(v["first_seq"]) + long(v["t0_ns"]) + floats(v["offset_s"], "d")
    for name in ("position", "velocity", "effort", "command"):
        body += floats(v[name])
    if v["extra"]:
        body += long(len(v["extra"])) + b"".join(text(e["name"]) + floats(e["values"]) for e in v["extra"])
    return framed(2, body + b"\0")


def end(v: Mapping[str, Any]) -> bytes:
    body = text(v["episode_id"]) + long(v["n_total"]) + optional(v["content_hash"], text) + long(v["ended_at_ns"])
    return framed(4, body + enum(v["outcome"], OUTCOMES) + text(v["error_cause"]) + bytes([v["restorable"]]))


def status(v: Mapping[str, Any]) -> bytes:
    body = text(v["tenant"]) + text(v["robot_id"]) + text(v["model_id"]) + text(v["boot_id"]) + long(v["sent_at_ns"])
    body += text(v["recording"]) + texts(v["unsent_episodes"]) + long(v["buffered_bytes"]) + long(v["spool_bytes"])
    body += long(v["spool_limit_bytes"]) + bytes([v["spool_full"]]) + enum(v["clock_source"], CLOCKS)
    return framed(12, body + optional(v["clock_offset_s"], double))


# -- layout, hash, partition ------------------------------------------------------------


def _u32(value: int) -> bytes:
    return struct.pack("<I", value)


def _counted(value: str) -> bytes:
    return _u32(len(value.encode())) + value.encode()


def _list(values: Sequence[str]) -> bytes:
    return _u32(len(values)) + b"".join(map(_counted, values))


def layout_bytes(joints: Sequence[str], channels: Channels) -> bytes:
    out = _list(joints) + _u32(len(channels))
    for c in channels:
        out += _counted(c["name"]) + _u32(c["width"]) + _counted(c["unit"]) + _list(c["element_names"])
    return out


def layout_id(joints: Sequence[str], channels: Channels) -> bytes:
    return xxhash.xxh3_128_digest(layout_bytes(joints, channels))[:8]


def hash_steps(
    widths: Mapping[str, int], t_ns: Sequence[int], values: Mapping[str, Sequence[float]]
) -> tuple[list[tuple[str, int, bytes, bytes]], str]:
    """Of a whole take: (channel, block, presence, leaf) in the order in which they are hashed, and the content hash.

    ``values``: frame by frame, width values each.
    """
    n, steps = len(t_ns), []
    for name in sorted([*widths, "t"], key=lambda channel: channel.encode()):
        for block in range((n + 127) // 128):
            first, last = 128 * block, min(128 * block + 128, n)
            presence = sum(1 << i for i in range(last - first)).to_bytes(16, "little")
            if name == "t":
                raw = b"".join(struct.pack("<q", t - t_ns[0]) for t in t_ns[first:last])
            else:
                w = widths[name]
                raw = struct.pack(f"<{(last - first) * w}f", *values[name][first * w : last * w])
            steps.append((name, block, presence, xxhash.xxh3_128_digest(raw)))
    total = b"".join(
        name.encode() + b"\0" + _u32(widths.get(name, 1)) + _u32(block) + presence + leaf
        for name, block, presence, leaf in steps
    )
    return steps, xxhash.xxh3_128_hexdigest(total + struct.pack("<Q", n))


def murmur2(key: bytes) -> int:
    """Apache Kafka's, as a number of 32 bits without a sign."""
    m, mask = 0x5BD1E995, 0xFFFFFFFF
    h = (0x9747B28C ^ len(key)) & mask
    for at in range(0, len(key) - 3, 4):
        (k,) = struct.unpack_from("<I", key, at)
        k = k * m & mask
        k ^= k >> 24
        h = (h * m & mask) ^ (k * m & mask)
    rest = key[len(key) // 4 * 4 :]
    if rest:
        h = (h ^ int.from_bytes(rest, "little")) * m & mask
    h ^= h >> 13
    h = h * m & mask
    return h ^ h >> 15


def partition(key: bytes, partitions: int) -> int:
    return (murmur2(key) & 0x7FFFFFFF) % partitions
