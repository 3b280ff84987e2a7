"""Chunks that are read together give what each gives by itself, or nothing."""

from __future__ import annotations

import uuid
from dataclasses import replace
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinestream.schemas.codec.run_decoder import HEAD, decode_run
from kinestream.schemas.errors import DecodeError
from kinestream.schemas.frames import ChunkRun, FrameChunk
from tests.assembling import CODEC

ID = str(uuid.UUID(int=7))
T0 = 1_800_000_000_000_000_000


def chunks(count, size, *, first=0, widths=(("position", 3), ("velocity", 3)), seed=0, t0=T0):
    rng = np.random.default_rng(seed)
    return [
        FrameChunk(
            ID,
            b"8 bytes.",
            first + i * size,
            t0 + i * size * 10_000_000 + int(rng.integers(1_000_000)),
            np.sort(rng.uniform(0, size / 100, size)),
            {name: rng.normal(size=size * width).astype(np.float32) for name, width in widths},
        )
        for i in range(count)
    ]


def encoded(some):
    return [CODEC.encode_chunk(chunk) for chunk in some]


def assert_joined(run: ChunkRun, singles: list[FrameChunk]) -> None:
    first = singles[0]
    assert (run.episode_id, run.layout_id, run.first_seq) == (first.episode_id, first.layout_id, first.first_seq)
    assert len(run) == sum(map(len, singles)) == run.size * len(singles)
    np.testing.assert_array_equal(run.t_ns, np.concatenate([one.t_ns for one in singles]))
    assert run.t_ns.dtype == np.int64
    assert list(run.channels) == list(first.channels)
    assert run.sizes == {name: sum(one.channels[name].size for one in singles) for name in first.channels}
    for name, values in run.channels.items():
        assert values.dtype == np.uint8
        assert [one.tobytes() for one in values] == [one.channels[name].tobytes() for one in singles]


@pytest.mark.parametrize(("first", "n"), [(0, 20), (0, 1), (3, 9), (4, 4), (7, 1), (19, 1), (11, 9)])
def test_any_of_its_frames_can_be_copied(first, n):
    some = chunks(5, 4)
    run = decode_run(encoded(some))
    assert run is not None
    into = np.full((n + 2, 3), -1, np.float32)
    run.put("velocity", first, into[1:-1])
    whole = np.concatenate([one.channels["velocity"] for one in some]).reshape(-1, 3)
    assert into[1:-1].tobytes() == whole[first : first + n].tobytes()
    assert (into[[0, -1]] == -1).all()


FURTHER = (("position", 2), ("effort", 2), ("hand_position", 6), ("手", 1))


@pytest.mark.parametrize("first", [0, 55, 8_100, 1_000_000, 2**31])
@pytest.mark.parametrize("widths", [(("position", 3),), FURTHER, (("command", 64),)])
def test_a_run_is_its_chunks_joined(first, widths):
    messages = encoded(chunks(5, 8, first=first, widths=widths))
    same = [m for m in messages if len(m) == len(messages[-1])]
    run = decode_run(same)
    assert run is not None
    assert_joined(run, [CODEC.decode(m).value for m in same])


@pytest.mark.parametrize("size", [1, 63, 64, 65, 5_000])
def test_chunks_of_any_size(size):
    messages = encoded(chunks(3, size, first=10**6))
    run = decode_run(messages)
    assert run is not None
    assert_joined(run, [CODEC.decode(m).value for m in messages])


def test_values_that_are_no_numbers_stay_bit_for_bit():
    some = chunks(3, 4)
    some[1].channels["position"][2:4] = np.array([0x7FC0BEEF, 0xFF800000], np.uint32).view(np.float32)
    run = decode_run(encoded(some))
    assert run is not None
    assert_joined(run, some)


def changed(at, **fields):
    some = chunks(4, 5)
    some[at] = replace(some[at], **fields)
    return encoded(some)


@pytest.mark.parametrize(
    "messages",
    [
        changed(2, first_seq=11),
        changed(3, first_seq=10),
        changed(1, offset_s=np.array([0, 0.1, np.nan, 0.3, 0.4])),
        changed(1, offset_s=np.array([0, 0.1, 1e10, 0.3, 0.4])),
        encoded(chunks(3, 5, first=-15)),
        encoded(chunks(3, 5, widths=())[:1] * 2),
    ],
    ids=["a gap", "a copy", "no number", "far away", "negative", "twice"],
)
def test_what_one_by_one_must_tell_is_not_read_together(messages):
    assert decode_run(messages) is None


def test_arrays_of_two_blocks_are_read_one_by_one():
    """A writer may cut an array into blocks: allowed, and made by nobody."""
    chunk = CODEC.encode_chunk(chunks(1, 2, widths=())[0])
    head = chunk[: chunk.index(b"\x04", HEAD + 5)]
    stamps = np.array([0, 0.01]).tobytes()
    cut = head + b"\x02" + stamps[:8] + b"\x02" + stamps[8:] + b"\x00" + b"\x00" * 5
    assert len(CODEC.decode(cut).value) == 2
    assert decode_run([cut, cut]) is None


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 2**32), extra=st.booleans())
def test_broken_bytes_are_never_read_as_something_else(seed, extra):
    random = Random(seed)
    widths = FURTHER if extra else (("position", 3),)
    messages = encoded(
        chunks(random.randint(2, 5), random.choice([1, 5, 70]), first=random.choice([0, 500]), widths=widths)
    )
    messages = [m for m in messages if len(m) == len(messages[0])]
    for _ in range(random.randint(1, 3)):
        which = random.randrange(len(messages))
        broken = bytearray(messages[which])
        at = random.choice([random.randrange(HEAD, min(HEAD + 40, len(broken))), random.randrange(HEAD, len(broken))])
        broken[at] = random.choice([0, 1, 0x7F, 0x80, 0xFF, random.randrange(256)])
        messages[which] = bytes(broken)
    run = decode_run(messages)
    if run is None:
        return
    try:
        singles = [CODEC.decode(message).value for message in messages]
    except DecodeError as problem:
        raise AssertionError("what cannot be read by itself was read together") from problem
    assert_joined(run, singles)
