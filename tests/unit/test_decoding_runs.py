"""The worker's decoder: which records of a fetch come as one, and where they stand."""

from __future__ import annotations

import uuid

from kinestream.schemas.codec import Codec
from kinestream.schemas.registry import Registry
from kinestream.streams.assembly.values import DeadLetter, LogRecord, LogRun
from kinestream.streams.decoding import Decoder
from tests.assembling import CODEC, Log, Message, Take


def a_decoder():
    decoder = Decoder(CODEC, 1)
    decoder.codec.decode(CODEC.encode_chunk(Take().chunk(0, 1)[1]))
    return decoder


def told(records):
    """(offset, how many chunks) of runs, else the offset."""
    return [(one.offset, len(one.offsets)) if isinstance(one, LogRun) else one.offset for one in records]


def test_two_robots_that_speak_in_turn_make_two_runs_at_the_places_of_their_first_chunks():
    one, two, log = Take(robot="a"), Take(robot="b"), Log()
    log.append(one.start(), two.start())
    for pair in zip(one.chunks(10)[:4], two.chunks(10)[:4], strict=True):
        log.append(*pair)
    found = a_decoder().decode(0, [Message(one) for one in log.records])
    assert told(found) == [0, 1, (2, 4), (3, 4)]
    assert isinstance(found[2], LogRun)
    assert (found[2].offsets.tolist(), found[2].last_offset) == ([2, 4, 6, 8], 8)
    assert found[2].times_ms.tolist() == [log.records[i].broker_ms for i in (2, 4, 6, 8)]
    assert (found[2].key, found[2].record, len(found[2].value)) == (b"a", "FrameChunk", 40)


def test_a_word_of_the_robot_ends_its_run():
    take, log = Take(), Log()
    log.append(take.start(), *take.chunks(10)[:3], take.status(), *take.chunks(10)[3:5], take.mark(3))
    assert told(a_decoder().decode(0, [Message(one) for one in log.records])) == [0, (1, 3), 4, (5, 2), 7]


def test_a_status_that_repeats_the_one_before_it_ends_no_run():
    take, log = Take(), Log()
    recording, unsent, reboot = take.status(recording=take.id), take.status(unsent=[take.id]), take.status(boot="2")
    log.append(take.start(), recording, *take.chunks(10)[:2], recording, *take.chunks(10)[2:4], recording)
    log.append(unsent, *take.chunks(10)[4:6], unsent, *take.chunks(10)[6:7], reboot, *take.chunks(10)[7:8])
    found = a_decoder().decode(0, [Message(one) for one in log.records])
    assert told(found) == [0, 1, (2, 4), 4, 7, 8, (9, 3), 11, 13, 14]
    assert [[status.offset for status in one.statuses] for one in found if isinstance(one, LogRun)] == [[4], [11]]


def test_a_robots_statuses_do_not_speak_for_another():
    one, two, log = Take(robot="a"), Take(robot="b"), Log()
    log.append(
        one.start(),
        two.start(),
        one.status(recording="x"),
        *two.chunks(10)[:1],
        two.status(recording="x"),
        *two.chunks(10)[1:3],
    )
    log.append(*one.chunks(10)[:1], one.status(recording="y"), *one.chunks(10)[1:2])
    assert told(a_decoder().decode(0, [Message(one) for one in log.records])) == [0, 1, 2, 3, 4, (5, 2), 7, 8, 9]


def test_a_gap_in_the_numbers_and_a_shorter_chunk_are_read_by_themselves():
    take, log = Take(), Log()
    log.append(*take.chunks(10)[:2], take.chunk(30, 40), take.chunk(40, 45), take.chunk(45, 55))
    assert told(a_decoder().decode(0, [Message(one) for one in log.records])) == [0, 1, 2, 3, 4]


def test_parts_are_the_records_one_by_one_and_for_a_while_no_run_of_that_robot_is_made():
    take, log, decoder = Take(), Log(), a_decoder()
    log.append(*take.chunks(10)[:5])
    messages = [Message(one) for one in log.records]
    (run,) = decoder.decode(0, messages)
    assert isinstance(run, LogRun)
    parts = run.parts()
    assert [type(part) for part in parts] == [LogRecord] * 5
    assert [(p.offset, p.broker_ms, p.key, p.raw) for p in parts] == [
        (r.offset, r.broker_ms, r.key, r.raw) for r in log.records
    ]
    assert run.parts() is parts
    tries = [len(decoder.decode(0, messages)) for _ in range(40)]
    assert tries[0] == 5
    assert tries[-1] == 1
    assert tries == sorted(tries, reverse=True)


def test_chunks_on_a_wrong_partition_are_dead_letters_one_by_one():
    take, log = Take(), Log()
    log.append(*take.chunks(10)[:3])
    decoder = Decoder(CODEC, 8)
    right = next(p for p in range(8) if not isinstance(decoder.decode(p, [Message(log.records[0])])[0], DeadLetter))
    messages = [Message(one) for one in log.records]
    assert told(decoder.decode(right, messages)) == [(0, 3)]
    wrong = decoder.decode((right + 1) % 8, messages)
    assert [(letter.offset, str(letter.reason)) for letter in wrong if isinstance(letter, DeadLetter)] == [
        (offset, "WRONG_PARTITION") for offset in range(3)
    ]


def test_names_that_are_no_uuid_are_read_by_themselves():
    take, log = Take(id="a name of its own"), Log()
    log.append(*take.chunks(10)[:3])
    assert told(a_decoder().decode(0, [Message(one) for one in log.records])) == [0, 1, 2]


def test_a_schema_is_first_learned_from_one_record():
    take, log = Take(id=str(uuid.uuid4())), Log()
    log.append(*take.chunks(10)[:4])
    fresh = Decoder(Codec(Registry(), "motion.hub.frames.v1"), 1)
    messages = [Message(one) for one in log.records]
    assert told(fresh.decode(0, messages)) == [0, (1, 3)]
    assert told(fresh.decode(0, messages)) == [(0, 4)]
