"""What the assembler makes of single records: copies, replays, disorder, and what nobody can use."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kinestream.schemas.frames import FrameChunk
from kinestream.streams.assembly.values import LogRecord
from tests.assembling import LIMITS, T0, Log, Owner, Take, of_the_take


def run(take, *values, **owner):
    log, owner = Log(), Owner(**owner)
    owner.feed(log.append(*values))
    return owner, log


def metric(event, name):
    return next(m for m in event["metrics"] if m["id"] == name and m["joint"] is None)


def findings(event, name):
    return [f for f in event["findings"] if f["metric"] == name]


# -- copies -----------------------------------------------------------------------


def test_a_repeated_chunk_counts_as_duplicate_and_changes_nothing():
    take = Take()
    owner, _ = run(take, take.start(), take.chunk(0, 50), take.chunk(20, 40), take.chunk(50, 300), take.end())
    event = owner.store.event()
    assert (event["status"], event["frames_unique"], event["frames_duplicate"]) == ("COMPLETE", 300, 20)
    assert (event["frames_received"], event["frames_late"]) == (320, 0)
    assert metric(event, "T6")["value"] == 20
    assert not findings(event, "T6")
    assert event["content_hash"] == take.content_hash()


def test_a_chunk_half_known_adds_the_other_half():
    take = Take()
    owner, _ = run(take, take.start(), take.chunk(0, 100), take.chunk(60, 300), take.end())
    event = owner.store.event()
    assert (event["status"], event["frames_unique"], event["frames_duplicate"]) == ("COMPLETE", 300, 40)


def test_of_two_copies_that_differ_the_first_wins_and_t6_fails():
    take = Take()
    other = take.values["position"][20:40].copy()
    other[5:8] += 0.25
    owner, _ = run(
        take, take.start(), take.chunk(0, 50), take.chunk(20, 40, position=other), take.chunk(50, 300), take.end()
    )
    event = owner.store.event()
    (finding,) = findings(event, "T6")
    assert (event["status"], event["verdict"], event["content_hash"]) == ("COMPLETE", "REJECT", take.content_hash())
    assert (event["frames_duplicate"], finding["value"], finding["flag"]) == (20, 3.0, "FAIL")
    assert sum(row.conflicts for row in owner.store.rows(take.id)) == 3
    assert owner.assembler.counts["conflicts"] == 3


def test_copies_that_differ_only_in_their_stamp_conflict():
    take = Take()
    record, chunk = take.chunk(20, 40)
    shifted = replace(chunk, t0_ns=chunk.t0_ns + 1)
    owner, _ = run(take, take.start(), take.chunk(0, 300), (record, shifted), take.end())
    assert findings(owner.store.event(), "T6")[0]["value"] == 20.0


def test_nan_equals_itself_in_a_copy():
    take = Take()
    take.values["velocity"][10:20] = np.nan
    owner, _ = run(take, take.start(), take.chunk(0, 100), take.chunk(0, 100), take.chunk(100, 300), take.end())
    event = owner.store.event()
    assert (event["status"], event["frames_duplicate"]) == ("COMPLETE", 100)
    assert not findings(event, "T6")
    assert findings(event, "I1")


def test_a_replay_of_the_log_changes_nothing_and_counts_nothing():
    take, log = Take(), Log()
    records = log.append(take.start(), take.chunk(0, 200), take.chunk(100, 120), take.chunk(150, 250))
    owner = Owner()
    owner.feed(records)
    before = dict(owner.store.blocks)
    owner.feed(records)
    owner.feed(records[1:3])
    owner.feed(log.append(take.chunk(250, 300), take.end()))
    assert owner.store.event()["frames_duplicate"] == 70
    assert all(owner.store.blocks[key].version >= row.version for key, row in before.items())


def test_a_replay_of_a_freed_block_is_not_taken_for_new_frames():
    take, log = Take(), Log()
    records = log.append(take.start(), take.chunk(0, 256))
    owner = Owner()
    owner.feed(records)
    assert not owner.assembler.episodes[take.id].blocks
    owner.feed(records)
    assert not owner.assembler.episodes[take.id].blocks
    assert owner.assembler.episodes[take.id].unique == 256


def test_a_copy_of_a_freed_block_is_compared_with_the_stored_one():
    take, log = Take(), Log()
    owner = Owner()
    owner.feed(log.append(take.start(), take.chunk(0, 256)))
    other = take.values["position"][10:20] + np.float32(0.5)
    owner.feed(log.append(take.chunk(10, 20, position=other), take.chunk(130, 140)))
    assert not owner.assembler.episodes[take.id].blocks, "freed again"
    owner.feed(log.append(take.chunk(256, 300), take.end()))
    event = owner.store.event()
    assert (event["frames_duplicate"], findings(event, "T6")[0]["value"]) == (20, 10.0)
    assert [(row.duplicates, row.conflicts) for row in owner.store.rows(take.id)] == [(10, 10), (10, 0), (0, 0)]


def test_a_frame_its_block_lacks_is_added_whatever_its_offset():
    """A broker that lost its tail hands offsets out again."""
    take, log, owner = Take(), Log(), Owner()
    owner.feed(log.append(take.start(), take.chunk(0, 20), take.chunk(40, 128)))
    late = log.append(take.chunk(20, 40))[0]
    late.offset = 1
    owner.feed([late, *log.append(take.chunk(128, 300), take.end())])
    event = owner.store.event()
    assert (event["status"], event["frames_duplicate"]) == ("COMPLETE", 0)
    assert owner.store.rows(take.id)[0].last_offset == 2, "offsets of rows only rise"


# -- disorder ---------------------------------------------------------------------


def test_frames_in_any_order_give_the_same_hash_verdict_and_metrics():
    take = Take(frames=500)
    chunks = take.chunks(7)
    orders = [chunks, chunks[::-1], [*chunks[1::2], *chunks[::2]]]
    events = [run(take, take.start(), *order, take.end())[0].store.event() for order in orders]
    assert {e["status"] for e in events} == {"COMPLETE"}
    for event in events[1:]:
        assert of_the_take(event["metrics"]) == of_the_take(events[0]["metrics"])
        assert (event["content_hash"], event["verdict"]) == (events[0]["content_hash"], events[0]["verdict"])


def test_a_first_frame_that_comes_behind_the_frontier_still_gives_the_right_hash():
    take, log, owner = Take(frames=600), Log(), Owner()
    for record in log.append(take.start(), *take.chunks()[1:], after_ms=100):
        owner.feed([record])
    assert owner.assembler.episodes[take.id].frontier.at == 600, "the hole at the head was given up"
    assert owner.assembler.episodes[take.id].stored, "and full blocks were freed"
    owner.feed(log.append(take.chunk(0, 10), take.end()))
    event = owner.store.event()
    assert (event["status"], event["content_hash"]) == ("COMPLETE", take.content_hash())
    whole = run(take, *take.whole())[0].store.event()
    assert of_the_take(event["metrics"]) == of_the_take(whole["metrics"])


def test_reordered_frames_are_counted_in_their_row():
    take = Take(frames=100)
    owner, _ = run(take, take.start(), take.chunk(0, 30), take.chunk(60, 100), take.chunk(30, 60), take.end())
    (row,) = owner.store.rows(take.id)
    assert (row.reordered, row.duplicates) == (30, 0)


def test_frames_far_apart_cost_neither_time_nor_memory():
    take, log, owner = Take(), Log(), Owner()
    record, chunk = take.chunk(10, 20)
    far = replace(chunk, first_seq=2**32 - 10)
    owner.feed(log.append(take.start(), take.chunk(0, 10), (record, far)))
    owner.pass_ms(LIMITS.robot_silence_ms)
    event = owner.store.event()
    assert event["missing_ranges"] == [{"first": 10, "last": 2**32 - 11}]
    assert (event["frames_expected"], event["frames_unique"], event["frames"]["blocks"]) == (2**32, 20, 2)


def test_a_huge_announced_length_neither_hangs_nor_fills_memory():
    take = Take()
    owner, _ = run(take, take.start(), *take.chunks(), take.end(n_total=10**15))
    owner.pass_ms(LIMITS.incomplete_ms)
    event = owner.store.event()
    assert (event["status"], event["frames_expected"]) == ("INCOMPLETE", 10**15)
    assert event["missing_ranges"] == [{"first": 300, "last": 10**15 - 1}]


def test_an_unknown_model_is_accepted_and_judged_on_what_needs_no_model():
    take = Take(model="nobody-knows-it")
    owner, _ = run(take, *take.whole())
    event = owner.store.event()
    assert event["status"] == "COMPLETE"
    assert metric(event, "T5")["flag"] == "GOOD"
    assert metric(event, "I3")["flag"] == "NOT_EVALUATED"


# -- dead letters -----------------------------------------------------------------


def broken(chunk, **changes):
    return "FrameChunk", replace(chunk, **changes)


def refused(take):
    """Each way in which a chunk can contradict its start."""
    _, chunk = take.chunk(10, 20)
    position, velocity = chunk.channels["position"], chunk.channels["velocity"]
    none = np.empty((0, 2), np.float32)
    return {
        "another layout": broken(chunk, layout_id=b"12345678"),
        "a value too few": broken(chunk, channels={"position": position.reshape(-1)[:-1], "velocity": velocity}),
        "a value too many": broken(chunk, channels={"position": np.append(position, 0), "velocity": velocity}),
        "a channel less": broken(chunk, channels={"position": position}),
        "a channel more": broken(chunk, channels={**chunk.channels, "effort": velocity}),
        "another channel": broken(chunk, channels={"position": position, "effort": velocity}),
        "no frames": broken(chunk, offset_s=np.empty(0), channels={"position": none, "velocity": none}),
        "a negative number": broken(chunk, first_seq=-1),
        "a number beyond 32 bits": broken(chunk, first_seq=2**32 - 9),
        "the highest number": broken(chunk, first_seq=2**63 - 1),
    }


@pytest.mark.parametrize("kind", refused(Take()))
def test_an_inconsistent_chunk_is_a_dead_letter_and_the_rest_goes_on(kind):
    take = Take()
    owner, log = run(take, take.start(), take.chunk(0, 10), refused(take)[kind], take.chunk(10, 300), take.end())
    (letter,) = owner.store.dead_letters
    assert (letter.reason, letter.offset, letter.raw) == ("INCONSISTENT", 2, log.records[2].raw)
    assert take.id in letter.text
    event = owner.store.event()
    assert (event["status"], event["frames_duplicate"], event["frames_unique"]) == ("COMPLETE", 0, 300)
    assert owner.committed == len(log.records)


@pytest.mark.parametrize("stamp", [np.nan, np.inf, -np.inf])
def test_a_stamp_that_is_no_number_is_a_dead_letter(stamp):
    take, log, owner = Take(), Log(), Owner()
    good = log.append(take.start(), take.chunk(0, 10))
    chunk: FrameChunk = take.chunk(10, 20)[1]
    chunk.offset_s[4] = stamp
    bad = LogRecord(2, log.now_ms, b"r1", b"", "FrameChunk", chunk, 1)  # the codec refuses it before, so by hand
    owner.feed([*good, bad])
    assert [(letter.reason, letter.offset) for letter in owner.store.dead_letters] == [("INCONSISTENT", 2)]


def test_a_frame_at_or_beyond_the_announced_length_is_a_dead_letter():
    take = Take()
    owner, _ = run(take, take.start(), take.chunk(0, 90), take.end(n_total=100, content_hash=None), take.chunk(95, 105))
    (letter,) = owner.store.dead_letters
    assert letter.reason == "INCONSISTENT"
    assert "frame 104 where the end mark announces 100" in letter.text
    assert owner.assembler.episodes[take.id].unique == 90, "nothing of it was taken"


@pytest.mark.parametrize("n_total", [299, 0, -1])
def test_an_end_mark_below_a_frame_that_is_here_is_a_dead_letter(n_total):
    take, log = Take(), Log()
    owner = Owner()
    owner.feed(log.append(take.start(), *take.chunks(), take.end(n_total=n_total)))
    (letter,) = owner.store.dead_letters
    assert (letter.reason, owner.store.events) == ("INCONSISTENT", [])
    owner.feed(log.append(take.end()))
    assert owner.store.event()["status"] == "COMPLETE"


@pytest.mark.parametrize(
    "contradiction",
    [
        {"layout_id": b"12345678"},
        {"joints": ["left_elbow_joint", "left_elbow_joint"]},
        {"channels": [{"name": "seq", "width": 1, "unit": "", "element_names": []}]},
    ],
    ids=["layout_id", "joints", "channels"],
)
def test_a_start_that_contradicts_itself_is_a_dead_letter_and_so_are_its_chunks(contradiction):
    take, other = Take(), Take(robot="r2")
    owner, _ = run(take, take.start(**contradiction), take.chunk(0, 10), *other.whole())
    assert [letter.reason for letter in owner.store.dead_letters] == ["INCONSISTENT", "NO_START"]
    assert owner.store.event()["episode_id"] == other.id


@pytest.mark.parametrize("record", ["FrameChunk", "EpisodeMark", "EpisodeEnd"])
def test_a_record_of_an_episode_nobody_has_seen_begin_is_a_dead_letter(record):
    take, other = Take(), Take(robot="r2")
    headless = {"FrameChunk": take.chunk(0, 10), "EpisodeMark": take.mark(3), "EpisodeEnd": take.end()}[record]
    owner, log = run(take, headless, *other.whole())
    assert [(letter.reason, letter.offset) for letter in owner.store.dead_letters] == [("NO_START", 0)]
    assert owner.store.event()["episode_id"] == other.id
    assert owner.committed == len(log.records)


def test_the_first_of_two_starts_and_of_two_ends_counts():
    take = Take()
    owner, _ = run(
        take, take.start(skill="grasp"), take.start(skill="pour"), take.chunk(0, 100), take.end(outcome="SUCCESS"),
        take.end(outcome="FAILURE"), take.chunk(100, 300),
    )  # fmt: skip
    event = owner.store.event()
    assert (event["skill"], event["outcome"], owner.assembler.counts["ignored"]) == ("grasp", "SUCCESS", 2)


def test_how_frames_arrived_and_what_became_of_the_take_are_in_the_rows():
    take = Take(frames=400)
    chunks = take.chunks(20)
    # a frame number's record comes a second before the broker has it, 100 ms apart as they are recorded
    log, owner = Log(now_ms=T0 // 1_000_000 + 1_000), Owner()
    order = [*chunks[:2], chunks[3], chunks[2], *chunks[4:]]
    owner.feed(log.append(take.start(), *order, take.end(outcome="FAILURE"), after_ms=200))
    event = owner.store.event()
    assert metric(event, "T7")["value"] == 20.0
    assert metric(event, "O1")["value"] == 0.0
    assert 0.5 < metric(event, "T9")["value"] < 2.0
    assert metric(event, "T9")["flag"] == "FAIL"
    assert {metric(event, name)["flag"] for name in ("T3", "T10")} != {"NOT_EVALUATED"}
    # the same frames have the same findings, however they came
    assert {f["metric"] for f in event["findings"]} == {
        f["metric"] for f in run(take, *take.whole())[0].store.event()["findings"]
    }
    assert metric(run(take, take.start(), *chunks, take.end())[0].store.event(), "O1")["flag"] == "NOT_EVALUATED"
