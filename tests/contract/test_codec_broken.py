"""Bytes that are no record of ours: one error with a reason, never another, never a hang, never a heap of memory."""

from __future__ import annotations

import copy
import struct
import time
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinestream.schemas.codec import Codec, frame
from kinestream.schemas.codec.chunk_encoder import zigzag
from kinestream.schemas.errors import DecodeError
from kinestream.schemas.frames import FrameChunk
from kinestream.schemas.registry import Registry
from tests.contract import chunks as given_chunks
from tests.contract.test_codec_evolution import THEIRS, codec, record

EXTRA = {"grip": np.array([1, 2], np.float32), "hand": np.array([3, np.nan], np.float32)}
CHUNK = FrameChunk(
    "é" * 18, b"12345678", 5, 10**18, np.array([0.0, 0.01]), {"position": np.ones(4, np.float32), **EXTRA}
)
OURS = Codec(Registry(), "motion.hub.frames.v1")
MESSAGE = OURS.encode_chunk(CHUNK)
MARK = {"episode_id": "e", "t_ns": -5, "seq": 3, "kind": "LABEL", "label": "grasped", "note": "ü"}
STATUS = {
    **dict.fromkeys(("tenant", "robot_id", "model_id", "boot_id"), "some"),
    "sent_at_ns": 10**18,
    "recording": "e",
    "unsent_episodes": ["e", "f"],
    "buffered_bytes": 300,
    "clock_source": "PTP",
    "clock_offset_s": -0.5,
}
MESSAGES = [MESSAGE, OURS.encode("EpisodeMark", MARK), OURS.encode("RobotStatus", STATUS)]


def refused(taker: Codec, message: bytes, reason: str = "UNDECODABLE") -> str:
    with pytest.raises(DecodeError) as caught:
        taker.decode(message)
    assert caught.value.reason == reason
    return str(caught.value)


@pytest.mark.parametrize("message", MESSAGES, ids=["chunk", "mark", "status"])
def test_every_truncation_is_refused(message: bytes) -> None:
    for end in range(5, len(message)):
        refused(OURS, message[:end])


@settings(max_examples=100)
@given(given_chunks.chunks(), st.data())
def test_any_chunk_cut_anywhere_is_refused(chunk: FrameChunk, data: st.DataObject) -> None:
    message = OURS.encode_chunk(chunk)
    refused(OURS, message[: data.draw(st.integers(5, len(message) - 1))])


@pytest.mark.parametrize("message", MESSAGES, ids=["chunk", "mark", "status"])
def test_a_flipped_bit_is_refused_or_read_as_fastavro_reads_it(message: bytes) -> None:
    for bit in range(5 * 8, len(message) * 8):
        broken = bytearray(message)
        broken[bit // 8] ^= 1 << bit % 8
        _refused_or_as_fastavro(bytes(broken))


@settings(max_examples=200)
@given(given_chunks.chunks(), st.data())
def test_overwritten_bytes_are_refused_or_read_as_fastavro_reads_them(chunk: FrameChunk, data: st.DataObject) -> None:
    broken = bytearray(OURS.encode_chunk(chunk))
    for _ in range(data.draw(st.integers(1, 4))):
        broken[data.draw(st.integers(5, len(broken) - 1))] = data.draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]))
    _refused_or_as_fastavro(bytes(broken))


@given(st.binary(max_size=80))
def test_any_bytes_behind_a_known_id_are_refused_or_read_as_fastavro_reads_them(body: bytes) -> None:
    _refused_or_as_fastavro(frame(given_chunks.SCHEMA_ID, body))


def _refused_or_as_fastavro(message: bytes) -> None:
    try:
        decoded = OURS.decode(message)
    except DecodeError as problem:
        assert problem.reason in ("UNDECODABLE", "UNKNOWN_SCHEMA")  # noqa: PT017 - both ends are right
        return
    if decoded.record == "FrameChunk":
        assert given_chunks.same(given_chunks.quiet(decoded.value), given_chunks.resolved(given_chunks.SCHEMA, message))
        assert decoded.value.t_ns.dtype == np.int64
    else:
        assert OURS.decode(OURS.encode(decoded.record, decoded.value)).value == decoded.value


@pytest.mark.parametrize("message", MESSAGES, ids=["chunk", "mark", "status"])
def test_trailing_bytes_are_refused(message: bytes) -> None:
    assert str(len(message) + 1) in refused(OURS, message + b"\0")


@pytest.mark.parametrize("message", [b"", b"\0", b"\0\0\0\0", b"\1" + MESSAGE[1:], b'{"json": 1}'])
def test_what_is_not_framed_is_refused(message: bytes) -> None:
    refused(OURS, message)


def test_an_unknown_schema_id_says_which_are_known() -> None:
    assert "4711" in refused(OURS, frame(4711, b""), "UNKNOWN_SCHEMA")


@pytest.mark.parametrize(
    "schema",
    [
        "string",
        ["null", "string"],
        {"type": "record", "name": "com.acme.FrameChunk", "fields": []},
        {"type": "record", "name": "io.kinestream.motion.Gripper", "fields": []},
        {"type": "enum", "name": "io.kinestream.motion.FrameChunk", "symbols": ["A"]},
        {"type": "record", "name": "io.kinestream.motion.FrameChunk", "fields": [{"name": "x", "type": "Nowhere"}]},
        {"type": "recrod"},
        {},
        None,
    ],
)
def test_a_schema_that_is_not_ours_or_no_schema_is_unknown(schema: Any) -> None:
    refused(codec(schema), frame(THEIRS, b""), "UNKNOWN_SCHEMA")


# -- arrays in several blocks ---------------------------------------------------------------------------------------


def blocks(values: np.ndarray[Any, Any], cuts: list[tuple[int, bool]]) -> bytes:
    """An Avro array cut at ``cuts``; True writes a block with a negative count and its size."""
    out, start = b"", 0
    for end, sized in [*cuts, (len(values), False)]:
        part = values[start:end].tobytes()
        if end > start:
            out += zigzag(start - end) + zigzag(len(part)) if sized else zigzag(end - start)
        out, start = out + part, max(start, end)
    return out + b"\0"


@given(st.lists(st.tuples(st.integers(1, 11), st.booleans()), max_size=4).map(sorted), st.booleans())
def test_arrays_in_several_blocks_are_read(cuts: list[tuple[int, bool]], sized: bool) -> None:
    offset_s, position = np.arange(12) * 0.5, np.arange(12, dtype=np.float32)
    head = zigzag(1) + b"e" + b"12345678" + zigzag(0) + zigzag(10**18)
    entry = zigzag(4) + b"grip" + blocks(position, cuts)
    extra = (zigzag(-1) + zigzag(len(entry)) if sized else zigzag(1)) + entry + b"\0"
    body = head + blocks(offset_s, cuts) + blocks(position, cuts) + b"\0\0\0" + extra
    message = frame(given_chunks.SCHEMA_ID, body)
    found = OURS.decode(message).value
    assert found.offset_s.tolist() == offset_s.tolist()
    assert {name: v.tolist() for name, v in found.channels.items()} == dict.fromkeys(
        ("position", "grip"), position.tolist()
    )
    assert given_chunks.same(found, given_chunks.resolved(given_chunks.SCHEMA, message))


# -- messages made to hurt ------------------------------------------------------------------------------------------

HEAD = zigzag(1) + b"e" + b"12345678"
NODE = {"type": "record", "name": "Node", "fields": [{"name": "next", "type": ["null", "Node"]}]}
SLOW = {"type": "array", "items": "int"}  # of velocity: puts a writer on the general decoder


def added(kind: Any, slow: bool) -> dict[str, Any]:
    """Our schema with a field of type ``kind`` before all others."""
    schema = copy.deepcopy(given_chunks.SCHEMA)
    if slow:
        next(field for field in schema["fields"] if field["name"] == "velocity")["type"] = SLOW
    schema["fields"].insert(0, {"name": "added", "type": kind})
    return schema


HUGE = zigzag(2**60)
HOSTILE: dict[str, tuple[Any, bytes]] = {
    "endless nulls": ({"type": "array", "items": "null"}, HUGE + b"\0"),
    "endless empty records": (
        {"type": "array", "items": {"type": "record", "name": "Nothing", "fields": []}},
        HUGE + b"\0",
    ),
    "endless floats": ({"type": "array", "items": "float"}, HUGE + bytes(64)),
    "endless strings": ({"type": "array", "items": "string"}, HUGE + bytes(64)),
    "endless map": ({"type": "map", "values": "null"}, HUGE + bytes(64)),
    "a block that points back": ({"type": "array", "items": "int"}, zigzag(-1) + zigzag(-3) + b"\0"),
    "a negative branch": (["null", "int"], zigzag(-1) + zigzag(5)),
    "a branch too many": (["null", "int"], zigzag(2) + zigzag(5)),
    "a long text": ("string", HUGE),
    "a text of negative length": ("string", zigzag(-7)),
    "a long without end": ("long", b"\xff" * 400_000),
    "a deep nest": (NODE, zigzag(1) * 400_000 + zigzag(0)),
}


@pytest.mark.parametrize("slow", [False, True], ids=["fast", "general"])
def test_a_sound_field_before_the_others_is_read(slow: bool) -> None:
    """The messages below differ from this one by their first field alone."""
    found = codec(added("int", slow)).decode(frame(THEIRS, zigzag(5) + MESSAGE[5:])).value
    assert (found.episode_id, found.first_seq) == (CHUNK.episode_id, CHUNK.first_seq)


@pytest.mark.parametrize("slow", [False, True], ids=["fast", "general"])
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_field_is_refused_at_once_and_in_little_memory(name: str, slow: bool) -> None:
    kind, body = HOSTILE[name]
    taker, message = codec(added(kind, slow)), frame(THEIRS, body + MESSAGE[5:])
    refused(taker, message)
    tracemalloc.start()
    began = time.process_time()
    refused(taker, message)
    spent, peak = time.process_time() - began, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert spent < 2
    assert peak < 20_000_000


@pytest.mark.parametrize("count", [2**31, 2**61, 2**62, 2**62 + 1, 2**63 - 1, -1, -(2**61), -(2**63)])
def test_a_count_of_frames_that_the_message_cannot_hold_is_refused(count: int) -> None:
    size = zigzag(8) if count < 0 else b""
    refused(OURS, frame(given_chunks.SCHEMA_ID, HEAD + b"\0\0" + zigzag(count) + size + bytes(6)))


@pytest.mark.parametrize("overlong", [b"\xff" * 9 + b"\x03", b"\x80" * 10 + b"\x01"])
def test_a_long_of_more_than_64_bits_is_refused(overlong: bytes) -> None:
    for place in (HEAD + overlong + b"\0", HEAD + b"\0" + overlong):
        refused(OURS, frame(given_chunks.SCHEMA_ID, place + bytes(6)))


@pytest.mark.parametrize("slow", [False, True], ids=["fast", "general"])
@pytest.mark.parametrize("offset_s", [np.nan, np.inf, -np.inf, 1e300, 9.3e9, -9.3e9])
def test_a_stamp_that_is_no_number_of_nanoseconds_is_refused(offset_s: float, slow: bool) -> None:
    body = zigzag(5) + MESSAGE[5:].replace(struct.pack("<d", 0.01), struct.pack("<d", offset_s))
    assert "stamp" in refused(codec(added("int", slow)), frame(THEIRS, body))


@pytest.mark.parametrize(("t0_ns", "offset_s"), [(2**63 - 1, 1e-8), (-(2**63), -1e-8), (2**62, 5e9)])
def test_a_stamp_beyond_int64_is_refused(t0_ns: int, offset_s: float) -> None:
    chunk = FrameChunk("e", b"12345678", 0, t0_ns, np.array([offset_s]))
    assert "stamp" in refused(OURS, OURS.encode_chunk(chunk))


def test_offsets_that_are_seconds_since_the_epoch_are_taken() -> None:
    stamps = np.full(300, 1.76e9)
    found = OURS.decode(OURS.encode_chunk(FrameChunk("e", b"12345678", 0, 0, stamps))).value
    assert set(found.t_ns.tolist()) == {1_760_000_000_000_000_000}


@pytest.mark.parametrize("slow", [False, True], ids=["fast", "general"])
@pytest.mark.parametrize("name", ["position", "grip"])
def test_a_channel_given_twice_is_refused(name: str, slow: bool) -> None:
    schema = added("int", slow)
    taken = record() | {"added": 1, "velocity": []}
    taken["extra"] = [{"name": "grip", "values": [1.0]}, {"name": name, "values": [2.0]}]
    assert "twice" in refused(codec(schema), given_chunks.written(schema, taken, THEIRS))
