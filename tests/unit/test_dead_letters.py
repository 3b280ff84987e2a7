"""The form of dead letters, the order in which they go back, and what can be read of one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from confluent_kafka import Message
from hypothesis import given
from hypothesis import strategies as st

from kinestream.deploy.cli import moments
from kinestream.schemas.catalogue import MAX_MESSAGE_BYTES
from kinestream.schemas.codec import Codec
from kinestream.schemas.errors import SettingError
from kinestream.schemas.reasons import DeadLetterReason
from kinestream.schemas.registry import Registry
from kinestream.streams.assembly.values import DeadLetter, Place
from kinestream.streams.dead_letters.form import (
    MOST_TEXT,
    Letter,
    Source,
    headers_back,
    headers_of,
    letter_of,
    replayed_source,
)
from kinestream.streams.dead_letters.opening import ADVICE, dump, opened
from kinestream.streams.dead_letters.reading import in_log_order
from kinestream.streams.decoding import Decoder
from tests.assembling import Take
from tests.sending import encode

TOPIC = "motion.hub.frames.v1"
PLACE = Place("c", TOPIC, 3)


def buried(offset: int = 7, headers: Any = (), text: str = "bad") -> list[tuple[str, bytes | None]]:
    return headers_of(
        DeadLetter(offset, 1_800_000_000_123, b"r1", b"x", DeadLetterReason.NO_START, text, 2, headers), PLACE
    )


def test_headers_say_where_a_record_stood_and_are_read_back() -> None:
    letter = letter_of(1, 2, b"r1", buried())
    assert letter is not None
    source = Source(TOPIC, 3, 7, 1_800_000_000_123)
    assert letter == Letter(1, 2, "NO_START", "bad", source, source, 2, 1, b"r1")
    assert dict(buried())["time"] == b"2027-01-15T08:00:00.123Z"


def test_a_letter_that_was_sent_back_and_fails_again_counts_on_and_remembers_where_it_began() -> None:
    first = letter_of(1, 2, b"r1", buried())
    assert first is not None
    back = headers_back(first, buried())
    second = letter_of(1, 9, b"r1", buried(offset=40, headers=back))
    assert second is not None
    assert (second.attempts, second.source.offset, second.origin) == (2, 40, first.source)
    third = letter_of(1, 11, b"r1", buried(offset=50, headers=headers_back(second, ())))
    assert third is not None
    assert (third.attempts, third.origin) == (3, first.source)


def test_headers_of_the_record_go_with_it_and_come_back() -> None:
    own = [("traceparent", b"00-1"), ("empty", None)]
    headers = buried(headers=own)
    letter = letter_of(0, 0, b"r1", headers)
    assert letter is not None
    assert headers_back(letter, headers)[:2] == own


def test_a_long_text_is_cut_so_that_a_letter_stays_within_its_bound() -> None:
    said = dict(buried(text="k" * 10**6))["text"] or b""
    assert len(said.decode()) == MOST_TEXT


@given(
    st.dictionaries(
        st.sampled_from(["reason", "partition", "offset", "time", "attempts", "origin", "replayed"]),
        st.none() | st.binary(),
    )
)
def test_headers_that_anybody_may_have_written_are_read_without_harm(headers: dict[str, bytes | None]) -> None:
    letter_of(0, 0, None, list(headers.items()))
    replayed_source(list(headers.items()))


def test_letters_go_back_in_the_order_of_the_log_whatever_the_clock_said() -> None:
    def letter(partition: int, offset: int, ms: int) -> Letter:
        source = Source(TOPIC, partition, offset, ms)
        return Letter(0, 0, "NO_START", "", source, source, 1, 1, b"")

    a, b, c = letter(1, 10, 500), letter(1, 11, 300), letter(1, 12, 600)  # the clock was set back
    other = letter(0, 3, 550)
    assert in_log_order([c, other, b, a]) == [a, b, other, c]


# -- decoding ------------------------------------------------------------------


def refused(key: bytes | None, value: bytes | None, partition: int = -1) -> DeadLetter:
    decoder = Decoder(Codec(Registry(), TOPIC), 8)
    place = decoder._place(key or b"") if partition < 0 else partition
    (letter,) = decoder.decode(place, [Message(TOPIC, 0, 5, key, value, timestamp=(1, 1))])
    assert isinstance(letter, DeadLetter)
    return letter


@pytest.mark.parametrize(("key", "value"), [(None, None), (b"", b""), (None, b"x"), (b"r1", None)])
def test_no_key_and_no_value_stay_none_and_empty_ones_empty(key: bytes | None, value: bytes | None) -> None:
    letter = refused(key, value)
    assert (letter.key, letter.raw, letter.reason, letter.schema_id) == (key, value, "UNDECODABLE", -1)


def test_what_unpacked_to_more_than_a_message_may_have_is_not_even_looked_at() -> None:
    raw = encode(*Take().start())
    assert refused(b"r1", raw + bytes(MAX_MESSAGE_BYTES - len(raw))).reason == "UNDECODABLE"
    letter = refused(b"r1", raw + bytes(MAX_MESSAGE_BYTES + 1 - len(raw)))
    assert letter.reason == "OVERSIZE"
    assert f"{MAX_MESSAGE_BYTES} at most" in letter.text


def test_a_huge_key_is_not_quoted_whole() -> None:
    letter = refused(b"k" * 10**6, b"x", partition=(Decoder(Codec(Registry(), TOPIC), 8)._place(b"k" * 10**6) + 1) % 8)
    assert letter.reason == "WRONG_PARTITION"
    assert len(letter.text) < 500


# -- opening -------------------------------------------------------------------


def test_a_whole_record_is_opened_whole_and_long_lists_are_shortened() -> None:
    take = Take()
    found = opened(encode(*take.chunk(0, 10)), Registry())
    assert (found["record"], found["schema_id"]) == ("FrameChunk", 2)
    assert "problem" not in found
    assert (found["fields"]["episode_id"], found["fields"]["first_seq"]) == (take.id, 0)
    assert found["fields"]["position"]["length"] == 20


def test_a_record_that_was_cut_off_is_opened_up_to_there() -> None:
    raw = encode(*Take().start())
    for end in range(5, len(raw)):
        found = opened(raw[:end], Registry())
        assert "cannot be read" in found["problem"]
    assert {"tenant", "robot_id", "episode_id"} <= found["fields"].keys()
    assert "1 bytes stand behind" in opened(raw + b"x", Registry())["problem"]


@given(st.binary(max_size=300))
def test_any_bytes_are_opened_without_harm(body: bytes) -> None:
    for schema_id in range(1, 8):
        opened(b"\0" + schema_id.to_bytes(4, "big") + body, Registry())
    opened(body, Registry())


def test_a_dump_shows_bytes_and_ends_somewhere() -> None:
    lines = list(dump(b"kinestream" + bytes(1000), 32))
    assert lines[0] == "00000000  6b 69 6e 65 73 74 72 65 61 6d 00 00 00 00 00 00  kinestream......"
    assert lines[2] == "... 978 bytes more"


def test_there_is_advice_for_every_reason() -> None:
    assert set(ADVICE) == set(DeadLetterReason)


# -- when ----------------------------------------------------------------------

NOW = datetime(2026, 5, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("90s", datetime(2026, 5, 31, 11, 58, 30, tzinfo=UTC)),
        ("2h", datetime(2026, 5, 31, 10, tzinfo=UTC)),
        ("7d", datetime(2026, 5, 24, 12, tzinfo=UTC)),
        ("2026-05-30", datetime(2026, 5, 30, tzinfo=UTC)),
        ("2026-05-30T08:00:00+08:00", datetime(2026, 5, 30, tzinfo=UTC)),
    ],
)
def test_since_is_an_age_a_day_or_a_moment(text: str, moment: datetime) -> None:
    assert moments.since(text, NOW) == moment


def test_another_since_is_refused_with_what_is_allowed() -> None:
    with pytest.raises(SettingError, match="give an age"):
        moments.since("yesterday")
