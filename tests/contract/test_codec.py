"""The wire of a chunk: what fastavro, the referee, says, byte for byte."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinestream.schemas.codec import Codec, chunk_from_record
from kinestream.schemas.errors import ContractError
from kinestream.schemas.frames import FrameChunk
from kinestream.schemas.registry import Registry
from tests.contract import chunks as given_chunks

TOPIC = "motion.hub.frames.v1"


def codec() -> Codec:
    return Codec(Registry(), TOPIC)


@settings(max_examples=200)
@given(given_chunks.chunks())
def test_a_chunk_is_written_byte_for_byte_as_fastavro_writes_it(chunk: FrameChunk) -> None:
    quiet = given_chunks.quiet(chunk)
    assert codec().encode_chunk(quiet) == given_chunks.written(given_chunks.SCHEMA, given_chunks.as_record(quiet))


@settings(max_examples=200)
@given(given_chunks.chunks())
def test_a_chunk_comes_back_bit_for_bit_and_as_fastavro_reads_it(chunk: FrameChunk) -> None:
    taker = codec()
    message = taker.encode_chunk(chunk)
    decoded = taker.decode(message)
    assert (decoded.record, decoded.schema_id, taker.slow) == ("FrameChunk", given_chunks.SCHEMA_ID, 0)
    found = decoded.value
    assert (found.episode_id, found.layout_id) == (chunk.episode_id, chunk.layout_id)
    assert (found.first_seq, found.t0_ns) == (chunk.first_seq, chunk.t0_ns)
    assert given_chunks.bits(found.offset_s) == given_chunks.bits(chunk.offset_s)
    assert {n: given_chunks.bits(v) for n, v in found.channels.items()} == {
        n: given_chunks.bits(v) for n, v in chunk.channels.items()
    }
    assert given_chunks.same(given_chunks.quiet(found), given_chunks.resolved(given_chunks.SCHEMA, message))


@given(given_chunks.chunks())
def test_rows_of_joints_are_written_as_flat_ones_are(chunk: FrameChunk) -> None:
    rows = {name: v.reshape(len(chunk), -1) for name, v in chunk.channels.items()}
    matrix = FrameChunk(chunk.episode_id, chunk.layout_id, chunk.first_seq, chunk.t0_ns, chunk.offset_s, rows)
    columns = {name: np.asfortranarray(v) for name, v in rows.items()}
    fortran = FrameChunk(chunk.episode_id, chunk.layout_id, chunk.first_seq, chunk.t0_ns, chunk.offset_s, columns)
    flat = codec().encode_chunk(chunk)
    assert (codec().encode_chunk(matrix), codec().encode_chunk(fortran)) == (flat, flat)


@given(given_chunks.chunks())
def test_the_general_decoder_gives_the_same_chunk(chunk: FrameChunk) -> None:
    message = codec().encode_chunk(chunk)
    record = given_chunks.resolved(given_chunks.SCHEMA, message)
    slow = chunk_from_record(record)
    assert given_chunks.same(slow, record)
    assert (slow.t_ns == codec().decode(message).value.t_ns).all()


@pytest.mark.parametrize("value", [0, -1, 2**63 - 1, -(2**63)])
def test_the_extremes_of_a_long_survive(value: int) -> None:
    chunk = FrameChunk("e", b"12345678", value, value, np.empty(0, np.float64))
    found = codec().decode(codec().encode_chunk(chunk)).value
    assert (found.first_seq, found.t0_ns) == (value, value)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [("layout_id", b"short", "5 bytes"), ("first_seq", 2**63, "9223372036854775808"), ("t0_ns", -(2**63) - 1, "64")],
)
def test_what_no_chunk_can_hold_is_refused_before_it_is_sent(field: str, value: Any, said: str) -> None:
    values = {"episode_id": "e", "layout_id": b"12345678", "first_seq": 0, "t0_ns": 0, "offset_s": np.zeros(1)}
    with pytest.raises(ContractError, match=said):
        codec().encode_chunk(FrameChunk(**{**values, field: value}))


def test_stamps_are_t0_plus_the_offset_rounded_to_the_nanosecond() -> None:
    chunk = FrameChunk("e", b"12345678", 0, 1_760_000_000_000_000_001, np.array([0.0, 0.01, 1e-9, 2.5e-9, -0.5]))
    assert (chunk.t_ns - chunk.t0_ns).tolist() == [0, 10_000_000, 1, 2, -500_000_000]


EVENT_ID = "0199b2c0-0000-7000-8000-000000000001"
MARK = {"episode_id": EVENT_ID, "t_ns": 5, "seq": 3, "kind": "LABEL", "label": "grasped", "note": "ü 机"}


def test_every_other_record_goes_through_fastavro() -> None:
    taker = codec()
    decoded = taker.decode(taker.encode("EpisodeMark", MARK))
    assert (decoded.record, decoded.value) == ("EpisodeMark", MARK)


@pytest.mark.parametrize(
    "wrong", [{**MARK, "t_ns": "now"}, {**MARK, "kind": "SHOUT"}, {**MARK, "colour": "red"}, {"label": "no episode"}]
)
def test_a_value_its_schema_refuses_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ContractError, match="not a EpisodeMark"):
        codec().encode("EpisodeMark", wrong)


def test_a_record_that_is_not_ours_names_those_that_are() -> None:
    with pytest.raises(ContractError, match=r"'EpisodePaused' is not ours.*EpisodeStart"):
        codec().encode("EpisodePaused", {})


@given(st.data())
def test_an_unknown_mark_kind_of_a_newer_writer_becomes_the_default(data: st.DataObject) -> None:
    from kinestream.schemas.registry import committed_schema

    writer = copy.deepcopy(committed_schema("EpisodeMark.v1"))
    kind = next(field for field in writer["fields"] if field["name"] == "kind")
    kind["type"]["symbols"].insert(data.draw(st.integers(0, 4)), "APPLAUSE")

    class Newer(Registry):
        def schema(self, schema_id: int) -> dict[str, Any]:
            return writer

    found = Codec(Newer(), TOPIC).decode(given_chunks.written(writer, {**MARK, "kind": "APPLAUSE"}, 900))
    assert found.value == {**MARK, "kind": "NOTE"}


def test_the_fingerprint_of_a_schema_does_not_see_its_texts() -> None:
    class Redocumented(Registry):
        def schema(self, schema_id: int) -> dict[str, Any]:
            return {**given_chunks.SCHEMA, "doc": "other words"}

    assert Codec(Redocumented(), TOPIC).fingerprint(7) == codec().fingerprint(given_chunks.SCHEMA_ID)
    assert len(codec().fingerprint(given_chunks.SCHEMA_ID)) == 16
