"""Content codings and block framing."""

from __future__ import annotations

import random

import pytest

from kinestream.deploy.store import blocks, coding
from kinestream.deploy.store.errors import QueryError

BODY = random.Random(7).randbytes(300_000) + b"\0" * 3_000_000


def test_the_first_acceptable_coding_is_chosen() -> None:
    assert [coding.encoder(accepted)[0] for accepted in ("gzip, lz4;q=1", "br, deflate", "br", "")] == [
        "lz4",
        "deflate",
        "",
        "",
    ]


@pytest.mark.parametrize("name", coding.CODINGS)
def test_what_is_encoded_decodes_to_the_same_bytes(name: str) -> None:
    _, encoder = coding.encoder(name)
    coded = encoder.encode(BODY[:1000]) + encoder.encode(BODY[1000:]) + encoder.end()
    decoder = coding.decoder(name)
    pieces = [decoder.decode(coded[start : start + 4096]) for start in range(0, len(coded), 4096)]
    assert b"".join(pieces) + decoder.end() == BODY


@pytest.mark.parametrize("name", coding.CODINGS)
def test_every_piece_can_be_read_at_once_and_the_end_is_missed(name: str) -> None:
    _, encoder = coding.encoder(name)
    decoder = coding.decoder(name)
    assert decoder.decode(encoder.encode(b"rows") + encoder.encode_error(b"error")) == b"rowserror"
    with pytest.raises(QueryError, match="cut off"):
        decoder.end()


@pytest.mark.parametrize("name", coding.CODINGS)
def test_an_empty_result_is_still_a_whole_body(name: str) -> None:
    decoder = coding.decoder(name)
    assert decoder.decode(coding.encoder(name)[1].end()) == b""
    decoder.end()


@pytest.mark.parametrize("name", coding.CODINGS)
@pytest.mark.parametrize("cut", [1, 7, 10_000])
def test_a_body_of_several_members_is_read_to_its_last(name: str, cut: int) -> None:
    # what pigz, bgzip, zstd -T and `cat a.gz b.gz` write; a reader that stops at the first loses rows without a word
    members = []
    for part in (b"1,a\n", b"2,b\n" * 3, b"", b"3,c\n"):
        _, encoder = coding.encoder(name)
        members.append((encoder.encode(part) if part else b"") + encoder.end())
    body, decoder = b"".join(members), coding.decoder(name)
    pieces = [decoder.decode(body[i : i + cut]) for i in range(0, len(body), cut)]
    decoder.end()
    assert b"".join(pieces) == b"1,a\n" + b"2,b\n" * 3 + b"3,c\n"


@pytest.mark.parametrize("name", coding.CODINGS)
def test_a_last_member_that_is_cut_off_or_no_member_is_refused(name: str) -> None:
    _, encoder = coding.encoder(name)
    whole = encoder.encode(b"1,a\n") + encoder.end()
    for rest in (whole[:-3], b"garbage that is no member"):
        with pytest.raises(QueryError):
            read_whole(coding.decoder(name), whole + rest)


def read_whole(decoder: coding.Decoder, body: bytes) -> bytes:
    return decoder.decode(body) + decoder.end()


def test_damaged_and_unknown_bodies_are_refused() -> None:
    for name in coding.CODINGS:
        with pytest.raises(QueryError, match="271"):
            coding.decoder(name).decode(b"this is no compressed body at all")
    with pytest.raises(QueryError, match="'br': allowed are lz4, zstd, gzip, deflate"):
        coding.decoder("br")


def test_blocks_round_trip_cut_anywhere() -> None:
    coded = blocks.BlockEncoder().encode(BODY)
    decoder = blocks.BlockDecoder()
    pieces = [decoder.decode(coded[start : start + 7919]) for start in range(0, len(coded), 7919)]
    assert b"".join(pieces) + decoder.end() == BODY


def test_a_flipped_bit_in_a_block_is_refused() -> None:
    coded = bytearray(blocks.BlockEncoder().encode(b"motion" * 100))
    coded[40] ^= 1
    with pytest.raises(QueryError, match="checksum"):
        blocks.BlockDecoder().decode(bytes(coded))


def test_a_body_that_ends_inside_a_block_is_refused() -> None:
    decoder = blocks.BlockDecoder()
    decoder.decode(blocks.BlockEncoder().encode(b"motion" * 100)[:-1])
    with pytest.raises(QueryError, match="ends inside a block"):
        decoder.end()


def test_an_error_travels_in_a_stored_block() -> None:
    assert b"Code: 395" in blocks.BlockEncoder().encode_error(b"Code: 395")
