"""`wire check`: a good capture conforms, and each mistake of a producer is named, that one and no other."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from kinestream.deploy.wire.capture import Captured
from kinestream.deploy.wire.checks import RULES, Result
from kinestream.schemas.catalogue import FRAMES_BULK
from kinestream.schemas.frames import FrameChunk
from tests.assembling import Take
from tests.capturing import Wire, changed, checked, failed, numbered, results, said, wire_take
from tests.sending import encode

Messages = list[Captured]
Spoiler = Callable[[Take], Messages]


def good(take: Take) -> Messages:
    return Wire().send(said(take)).messages


def with_value(record: str, nth: int = 0, **fields: Any) -> Spoiler:
    """The ``nth`` record of a kind with other fields."""

    def change(value: Any) -> Any:
        return replace(value, **fields) if isinstance(value, FrameChunk) else {**value, **fields}

    return lambda take: Wire().send(changed(said(take), record, change, nth)).messages


def with_chunk(change: Callable[[FrameChunk], FrameChunk], nth: int = 3) -> Spoiler:
    return lambda take: Wire().send(changed(said(take), "FrameChunk", change, nth)).messages


def with_raw(change: Callable[[bytes], bytes], nth: int = 5) -> Spoiler:
    """The ``nth`` message with other bytes."""

    def spoil(take: Take) -> Messages:
        messages = good(take)
        messages[nth] = replace(messages[nth], raw=change(messages[nth].raw))
        return messages

    return spoil


def with_all(**fields: Any) -> Spoiler:
    """Every message with another place or key."""
    return lambda take: [replace(message, **fields) for message in good(take)]


def channels(chunk: FrameChunk, **given: Any) -> FrameChunk:
    return replace(chunk, channels={**chunk.channels, **given})


def other_byte_order(take: Take) -> Messages:
    def swap(chunk: FrameChunk) -> FrameChunk:
        return replace(chunk, channels={name: values.byteswap() for name, values in chunk.channels.items()})

    words = said(take, end={"content_hash": None})
    return Wire().send([(r, swap(v) if r == "FrameChunk" else v, at) for r, v, at in words]).messages


def big_endian_stamps(take: Take) -> Messages:
    words = said(take)
    swapped = [(r, replace(v, offset_s=v.offset_s.byteswap()) if r == "FrameChunk" else v, at) for r, v, at in words]
    return Wire().send(swapped).messages


def without(record: str, nth: int = 0) -> Spoiler:
    def spoil(take: Take) -> Messages:
        words = said(take)
        at = [i for i, word in enumerate(words) if word[0] == record][nth]
        return Wire().send(words[:at] + words[at + 1 :]).messages

    return spoil


def without_all(record: str) -> Spoiler:
    return lambda take: Wire().send([word for word in said(take) if word[0] != record]).messages


def start_after_the_first_chunk(take: Take) -> Messages:
    messages = good(take)
    messages[1], messages[2] = messages[2], messages[1]
    return numbered(messages)


def in_two_lanes(take: Take) -> Messages:
    messages = good(take)
    return [replace(m, topic=FRAMES_BULK_NAME) if m.number > 20 else m for m in messages]


def repeated(change: Callable[[FrameChunk], FrameChunk]) -> Spoiler:
    def spoil(take: Take) -> Messages:
        words = said(take)
        at = [i for i, word in enumerate(words) if word[0] == "FrameChunk"][4]
        record, chunk, when = words[at]
        return Wire().send([*words[: at + 1], (record, change(chunk), when), *words[at + 1 :]]).messages

    return spoil


def moved(chunk: FrameChunk) -> FrameChunk:
    return channels(chunk, position=chunk.channels["position"] + np.float32(0.1))


def chunks(messages: Messages) -> list[int]:
    """Where the chunks stand: behind the first status and the start, but for the statuses between."""
    return [i for i, message in enumerate(messages) if message.raw[4] == 2]


def two_chunks_swapped(take: Take) -> Messages:
    messages = good(take)
    one, other = chunks(messages)[3:5]
    messages[one], messages[other] = messages[other], messages[one]
    return numbered(messages)


def numbered_from_one(take: Take) -> Messages:
    words = said(take, end={"n_total": take.frames + 1, "content_hash": None})
    moved = [(r, replace(v, first_seq=v.first_seq + 1) if r == "FrameChunk" else v, at) for r, v, at in words]
    return Wire().send(moved).messages


def stamps_in_ms(take: Take) -> Messages:
    when = [at for _, _, at in said(take)]
    take.t_ns = take.t_ns // 1_000_000
    messages = Wire().send([(*take.start(), 0), *((*chunk, 0) for chunk in take.chunks()), (*take.end(), 0)]).messages
    return [m for m in numbered([replace(m, at_ms=m.at_ms + when[i]) for i, m in enumerate(messages)])]


def one_stamp_goes_back(take: Take) -> Messages:
    take.t_ns[57] = take.t_ns[56] - 5_000_000
    return good(take)


def odd_nan(take: Take) -> Messages:
    odd = np.array([0xFFC00000], np.uint32).view(np.float32)
    take.values["velocity"][33, 0] = odd[0]
    return good(take)


def two_takes(**second: Any) -> Spoiler:
    """Two takes of one boot, the second with other fields in its start."""

    def spoil(take: Take) -> Messages:
        later = wire_take(boot=take.boot, no=take.no + 1, seed=1)
        after = [(r, v, at + 10_000) for r, v, at in said(later, start=second)]
        between = [(*take.status(), at) for at in range(4000, 10_000, 1000)]
        return Wire().send([*said(take), *between, *after]).messages

    return spoil


def in_degrees(take: Take) -> Messages:
    channels = tuple(replace(channel, unit="deg") for channel in take.layout.channels[:1])
    take.layout = replace(take.layout, channels=channels + take.layout.channels[1:])
    return good(take)


def never_ended(take: Take) -> Messages:
    later = wire_take(boot=take.boot, no=take.no + 1, seed=1)
    after = [(r, v, at + 4000) for r, v, at in said(later)]
    return Wire().send([*(word for word in said(take) if word[0] != "EpisodeEnd"), *after]).messages


def one_frame_a_message(take: Take) -> Messages:
    words: list[Any] = [word for word in said(take) if word[0] != "FrameChunk"]
    words += [(*take.chunk(i, i + 1), 10 * i + 5) for i in range(take.frames)]
    return Wire().send(sorted(words, key=lambda word: word[2])).messages


FRAMES_BULK_NAME = "motion.hub.frames-bulk.v1"
ELSEWHERE = str(uuid.uuid4())

#: The mistake, what makes it, and the checks that fail: no others.
MISTAKES: dict[str, tuple[Spoiler, list[str]]] = {
    "no zero byte": (with_raw(lambda raw: b"\x01" + raw[1:]), ["framing"]),
    "an Avro file": (with_raw(lambda raw: b"Obj\x01" + raw), ["framing"]),
    "an empty message": (with_raw(lambda raw: b""), ["framing"]),
    "an id nobody gave": (with_raw(lambda raw: b"\0\0\0\x27\x0f" + raw[5:]), ["schema"]),
    "cut off": (with_raw(lambda raw: raw[:-9]), ["avro"]),
    "something behind it": (with_raw(lambda raw: raw + b"\0"), ["avro"]),
    "a record of another topic": (with_raw(lambda raw: encode("EpisodeReceipt", RECEIPT)), ["record"]),
    "too large": (with_raw(lambda raw: raw + bytes(1_048_576)), ["size"]),
    "another topic": (with_all(topic="robots.frames"), ["topic"]),
    "another tenant's topic": (with_all(topic="motion.acme.frames.v1"), ["topic"]),
    "no key": (with_all(own_key=None, partition=3), ["key"]),
    "the partition of CRC32": (with_all(partition=7), ["partition"]),
    "a UUID of version 4": (lambda _: good(wire_take(id=str(uuid.uuid4()))), ["ids"]),
    "a UUID in capitals": (lambda _: good(wire_take(id=wire_take().id.upper())), ["ids"]),
    "a boot that is a number": (lambda _: good(wire_take(boot="17")), ["ids"]),
    "no robot model": (lambda _: good(wire_take(model="")), ["ids"]),
    "the same number twice": (two_takes(episode_no=1), ["number"]),
    "degrees": (in_degrees, ["units"]),
    "a layout_id of something else": (with_value("EpisodeStart", layout_id=b"12345678"), ["layout"]),
    "a chunk of another layout": (with_value("FrameChunk", 3, layout_id=b"12345678"), ["layout"]),
    "no start": (without("EpisodeStart"), ["start"]),
    "a chunk before its start": (start_after_the_first_chunk, ["start"]),
    "two lanes": (in_two_lanes, ["lane"]),
    "a channel missing": (with_chunk(lambda c: replace(c, channels={"position": c.channels["position"]})), ["values"]),
    "a channel nobody declared": (with_chunk(lambda c: channels(c, effort=c.channels["position"])), ["values"]),
    "one joint missing": (with_chunk(lambda c: channels(c, velocity=c.channels["velocity"][:, :1])), ["values"]),
    "no frame": (
        with_chunk(lambda c: replace(c, offset_s=c.offset_s[:0], channels={n: v[:0] for n, v in c.channels.items()})),
        ["seq"],
    ),
    "big-endian floats": (other_byte_order, ["endianness"]),
    "big-endian stamps": (big_endian_stamps, ["endianness"]),
    "another NaN": (odd_nan, ["nan"]),
    "stamps in ms": (stamps_in_ms, ["clock"]),
    "a stamp that goes back": (one_stamp_goes_back, ["stamps"]),
    "a chunk that never came": (without("FrameChunk", 7), ["seq"]),
    "the first chunk never came": (without("FrameChunk", 0), ["seq"]),
    "numbers from 1": (numbered_from_one, ["seq"]),
    "a number used twice": (repeated(moved), ["copies"]),
    "a take without an end": (never_ended, ["end"]),
    "the last chunk never came": (without("FrameChunk", 29), ["total"]),
    "n_total too low": (with_value("EpisodeEnd", n_total=299), ["total"]),
    "n_total too high": (with_value("EpisodeEnd", n_total=301), ["total"]),
    "a hash of something else": (with_value("EpisodeEnd", content_hash="0" * 32), ["hash"]),
    "no status": (without_all("RobotStatus"), ["status"]),
    "a status that names another episode": (with_value("RobotStatus", 2, recording=ELSEWHERE), ["recording"]),
}

RECEIPT = {
    "tenant": "hub",
    "robot_id": "r1",
    "episode_id": ELSEWHERE,
    "revision": 1,
    "frames": 0,
    "content_hash": "",
    "final": True,
}


def test_a_good_robots_messages_conform_and_nothing_is_to_be_improved() -> None:
    report = checked(good(wire_take()))
    assert report.conforms
    assert results(report, Result.FAIL, Result.WARN) == []
    assert set(results(report, Result.NOT_SEEN)) == {"copies", "recut"}
    (episode,) = report.episodes
    assert (episode["status"], episode["hash_verified"], episode["verdict"]) == ("COMPLETE", True, "ACCEPT")
    assert report.dead_letters == {}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named_and_no_other(mistake: str) -> None:
    spoil, expected = MISTAKES[mistake]
    report = checked(spoil(wire_take(frames=600 if mistake == "no status" else 300)))
    assert failed(report) == expected
    for one in report.checks:
        for failure in one.failures:
            assert failure.received, one.id
            assert failure.expected, one.id
            assert failure.what_to_do == RULES[one.id].what_to_do


def test_every_check_has_a_mistake_that_breaks_it() -> None:
    named = {name for _, expected in MISTAKES.values() for name in expected}
    assert named == {name for name, rule in RULES.items() if not rule.advice}


@pytest.mark.parametrize(
    ("advice", "spoil"),
    [
        ("hash_given", with_value("EpisodeEnd", content_hash=None)),
        ("chunking", one_frame_a_message),
        ("order", two_chunks_swapped),
        ("recut", repeated(lambda c: replace(c, t0_ns=c.t0_ns - 10**9, offset_s=c.offset_s + 1.0))),
        ("rate", with_value("EpisodeStart", nominal_rate_hz=0.0)),
        ("skew", lambda take: [replace(m, at_ms=m.at_ms + 60_000) for m in good(take)]),
        ("labels", with_value("EpisodeStart", skill="graps")),
        ("model", with_value("EpisodeStart", model_id="acme-unheard-of")),
        ("process", lambda take: Wire().send(two_boots(said(take))).messages),
        ("status_rate", lambda take: Wire().send([*said(take), *often(take)]).messages),
    ],
)
def test_advice_is_given_and_fails_nothing(advice: str, spoil: Spoiler) -> None:
    report = checked(spoil(wire_take()))
    assert results(report, Result.WARN) == [advice]
    assert report.conforms


@pytest.mark.parametrize(("later_ms", "where"), [(60_000, "behind"), (-60_000, "ahead of")])
def test_stamps_beside_the_brokers_clock_are_told_on_the_side_they_are(later_ms: int, where: str) -> None:
    shifted = [replace(m, at_ms=m.at_ms + later_ms) for m in good(wire_take())]
    (failure,) = next(one for one in checked(shifted).checks if one.id == "skew").failures
    told = re.fullmatch(rf"stamps (\S+) to (\S+) s {where} the broker's clock", failure.received)
    assert told is not None, failure.received
    least, most = map(float, told.groups())
    assert 59 < least <= most < 61


def two_boots(words: list[Any]) -> list[Any]:
    return changed(words, "RobotStatus", lambda status: {**status, "boot_id": ELSEWHERE}, 1)


def often(take: Take) -> list[Any]:
    return [(*take.status(), 3500 + 100 * n) for n in range(20)]


def test_what_a_worker_refuses_is_counted_by_its_reason() -> None:
    report = checked(MISTAKES["one joint missing"][0](wire_take()))
    assert report.dead_letters == {"INCONSISTENT": 1}
    (failure,) = next(one for one in report.checks if one.id == "values").failures
    assert (failure.reason, failure.record) == ("INCONSISTENT", 6)
    assert "10 frames with {'position': 20, 'velocity': 10} values" in failure.received
    assert failure.expected == "{'position': 20, 'velocity': 20}"
    assert report.episodes[0]["status"] == "INCOMPLETE"


def test_on_wrong_partitions_everything_else_is_still_looked_at() -> None:
    def spoil(take: Take) -> Messages:
        messages = Wire().send(changed(said(take), "EpisodeEnd", lambda end: {**end, "content_hash": "0" * 32}))
        return [replace(message, partition=7) for message in messages.messages]

    report = checked(spoil(wire_take()))
    assert failed(report) == ["partition", "hash"]
    assert report.dead_letters == {"WRONG_PARTITION": 37}


def test_an_episode_that_began_before_the_capture_is_no_mistake() -> None:
    report = checked(numbered(good(wire_take())[8:]))
    assert report.conforms
    assert (report.cut_off, report.episodes) == (1, ())


def test_a_take_still_under_way_is_open_and_no_mistake() -> None:
    report = checked(good(wire_take())[:20])
    assert report.conforms
    assert report.episodes[0]["status"] == "OPEN"
    assert {"end", "total", "hash"} <= set(results(report, Result.NOT_SEEN))


def test_a_bulk_upload_has_chunks_of_64_frames_and_old_stamps() -> None:
    take = wire_take()
    words = [word for word in said(take) if word[0] != "FrameChunk"]
    words += [(*take.chunk(i, min(i + 64, 300)), i * 10 + 90_000_000) for i in range(0, 300, 64)]
    order = {"EpisodeStart": 0, "FrameChunk": 1, "EpisodeEnd": 2}
    words = sorted((word for word in words if word[0] in order), key=lambda word: order[word[0]])
    report = checked(Wire(topic=FRAMES_BULK).send((r, v, 90_000_000 + i) for i, (r, v, _) in enumerate(words)).messages)
    assert results(report, Result.FAIL, Result.WARN) == []


def test_what_a_capture_does_not_say_is_not_seen() -> None:
    bare = [Captured(message.number, message.raw) for message in good(wire_take())]
    report = checked(bare)
    assert report.conforms
    assert {"topic", "key", "partition", "skew"} <= set(results(report, Result.NOT_SEEN))
    assert report.episodes[0]["status"] == "COMPLETE"


def test_late_frames_complete_an_episode_as_they_do_at_the_hub() -> None:
    take = wire_take()
    messages = good(take)
    late = messages[chunks(messages)[7]]
    rest = [message for message in messages if message is not late]
    back = replace(late, at_ms=rest[-1].at_ms + 30_000)
    statuses = [(*take.status(unsent=[take.id]), at) for at in range(4000, 33_000, 1000)]
    words = Wire().send(statuses).messages
    report = checked(numbered([*rest, *words, back]))
    assert report.conforms
    assert results(report, Result.WARN) == ["order"]
    assert report.episodes[0]["status"] == "COMPLETE"


def test_a_robot_that_was_off_for_a_while_was_not_silent() -> None:
    before, after = wire_take(), wire_take(no=2)
    words = [*said(before), *((r, v, at + 600_000) for r, v, at in said(after))]
    assert checked(Wire().send(words).messages).conforms


def test_a_status_every_five_seconds_is_too_rare() -> None:
    take = wire_take()
    report = checked(Wire().send([(*take.status(), at) for at in range(0, 30_000, 5_000)]).messages)
    assert failed(report) == ["status"]


def test_a_stream_without_marks_is_told_of_by_the_episodes_cut_out_of_it() -> None:
    take = wire_take(frames=400)
    words: list[Any] = [word for word in said(take, start={"marks": False}) if word[0] != "EpisodeEnd"]
    words = [(r, v, at + 6000 if at > 2000 else at) for r, v, at in words]
    words += [(*take.status(), at) for at in range(2700, 8000, 1000)]
    report = checked(Wire().send(sorted(words, key=lambda word: word[2])).messages)
    assert report.conforms
    assert [(one["status"], one["frames"]) for one in report.episodes] == [("UNMARKED", 200), ("UNMARKED", 200)]
