"""A hash that differs by one common slip is told which; the slips are made here by hand, without the code at test."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import xxhash

from tests.assembling import Take
from tests.capturing import Wire, checked, said, wire_take


def xxh3(raw: bytes) -> bytes:
    return xxhash.xxh3_128_digest(raw)


def little(raw: bytes) -> bytes:
    """As XXH128_hash_t lies in memory: low64, high64, each little-endian."""
    number = xxhash.xxh3_128_intdigest(raw)
    return struct.pack("<QQ", number & (1 << 64) - 1, number >> 64)


def written(
    take: Take,
    *,
    names: tuple[str, ...] = ("position", "t", "velocity"),
    t: Callable[[np.ndarray], np.ndarray] = lambda t: t - t[0],
    values: Callable[[np.ndarray], bytes] = lambda v: v.tobytes(),
    leaf: Callable[[bytes], bytes] = xxh3,
    digest: Callable[[bytes], bytes] = xxh3,
    total: bytes | None = None,
    size: int = 128,
) -> str:
    out = b""
    stamps = t(take.t_ns)
    for name in names:
        for k, first in enumerate(range(0, take.frames, size)):
            part = stamps if name == "t" else take.values[name]
            raw = part[first : first + size].tobytes() if name == "t" else values(part[first : first + size])
            frames = min(size, take.frames - first)
            presence = ((1 << frames) - 1).to_bytes(max(16, -(-frames // 8)), "little")
            width = 1 if name == "t" else len(take.joints)
            out += name.encode() + b"\0" + struct.pack("<II", width, k) + presence + leaf(raw)
    return digest(out + (struct.pack("<Q", take.frames) if total is None else total)).hex()


def told(take: Take, claimed: str) -> str:
    report = checked(Wire().send(said(take, end={"content_hash": claimed})).messages)
    (failure,) = next(one for one in report.checks if one.id == "hash").failures
    return failure.expected


def test_by_hand_without_a_slip_it_is_the_right_one() -> None:
    take = wire_take()
    assert written(take) == take.content_hash()


@pytest.mark.parametrize(
    ("slip", "sentence"),
    [
        (lambda take: take.content_hash().upper(), "lower case"),
        (lambda take: written(take, leaf=little, digest=little), "the digests' low half comes first"),
        (lambda take: written(take, digest=little), "the final digest's low half comes first"),
        (lambda take: written(take, t=lambda t: t), "absolute stamps"),
        (lambda take: written(take, t=lambda t: (t - t[0]) / 1e9), "seconds as double"),
        (lambda take: written(take, names=("position", "velocity")), "channel t is missing"),
        (lambda take: written(take, names=("position", "velocity", "t")), "the layout's order, t behind them"),
        (lambda take: written(take, values=lambda v: v.T.tobytes()), "joint by joint"),
        (lambda take: written(take, values=lambda v: v.byteswap().tobytes()), "hashed big-endian"),
        (lambda take: written(take, total=b""), "number of frames at the end is missing"),
        (lambda take: written(take, total=struct.pack("<I", take.frames)), "has 4 bytes"),
        (lambda take: written(take, size=10**9), "as one block"),
    ],
)
def test_a_common_slip_is_named(slip: Callable[[Take], str], sentence: str) -> None:
    take = wire_take()
    expected = told(take, slip(take))
    assert expected.startswith(f"{take.content_hash()}; ")
    assert sentence in expected


def test_a_hash_that_no_single_slip_explains_is_only_compared() -> None:
    take = wire_take()
    assert told(take, "0" * 32) == take.content_hash()


def test_stamps_that_a_library_rounded_to_float_are_seen() -> None:
    take = wire_take()
    words = [
        (r, replace(v, offset_s=v.offset_s.astype(np.float32).astype(np.float64)) if r == "FrameChunk" else v, at)
        for r, v, at in said(take)
    ]
    report = checked(Wire().send(words).messages)
    (failure,) = next(one for one in report.checks if one.id == "hash").failures
    assert "every offset_s is a float32" in failure.expected
