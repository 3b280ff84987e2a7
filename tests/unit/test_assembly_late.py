"""What comes after an episode has closed: one revision for all of it, and none where nothing differs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.assembling import LIMITS, Log, Owner, Take, of_the_take


def closed(*values, take=None):
    """An episode closed for good, so that only the store knows it."""
    log, owner = Log(), Owner()
    owner.feed(log.append(*values))
    owner.pass_ms(LIMITS.robot_silence_ms)
    log.now_ms = owner.assembler.time_ms
    assert owner.store.in_flight() == []
    assert owner.assembler.episodes == {}
    return owner, log


def incomplete():
    take = Take()
    owner, log = closed(take.start(), take.chunk(0, 100), take.chunk(150, 300), take.end())
    assert [e["status"] for e in owner.store.events] == ["INCOMPLETE"]
    return take, owner, log


def test_a_late_frame_that_completes_the_take_closes_it_again_at_once():
    take, owner, log = incomplete()
    owner.feed(log.append(take.chunk(100, 150)))
    first, second = owner.store.events
    assert (second["revision"], second["status"], second["reason"]) == (2, "COMPLETE", "LATE_FRAMES")
    assert (second["frames_late"], second["final"], second["hash_verified"]) == (50, True, True)
    assert second["content_hash"] == take.content_hash() != first["content_hash"]
    assert owner.store.episodes[take.id].closed["late"] == 50


def test_late_frames_that_do_not_complete_it_make_one_revision_ten_seconds_after_the_last():
    take, owner, log = incomplete()
    for first in (100, 110, 120):
        owner.feed(log.append(take.chunk(first, first + 5), after_ms=LIMITS.incomplete_ms - 1))
    assert len(owner.store.events) == 1
    owner.pass_ms(LIMITS.incomplete_ms - 1)
    assert len(owner.store.events) == 1
    owner.pass_ms(1)
    _, second = owner.store.events
    assert (second["revision"], second["status"], second["frames_late"]) == (2, "INCOMPLETE", 15)
    assert second["missing_range_count"] == 3


def test_frames_late_counts_all_that_came_after_the_first_close():
    take, owner, log = incomplete()
    owner.feed(log.append(take.chunk(100, 120)))
    owner.pass_ms(LIMITS.incomplete_ms)
    log.now_ms = owner.assembler.time_ms
    owner.feed(log.append(take.chunk(120, 150)))
    assert [e["frames_late"] for e in owner.store.events] == [0, 20, 50]
    assert [e["revision"] for e in owner.store.events] == [1, 2, 3]


def test_frames_of_the_millisecond_in_which_it_closes_are_not_late():
    take = Take(130)
    owner, log = closed(take.start(), *take.chunks()[:-1])
    assert owner.store.event()["frames_late"] == 0
    owner.feed(log.append(take.chunks()[-1], take.end(), after_ms=0))
    owner.feed(log.append(take.mark(3)))
    owner.pass_ms(LIMITS.incomplete_ms)
    assert [e["frames_late"] for e in owner.store.events] == [0, 10, 10]
    whole = Take(130)
    owner, log = Owner(), Log()
    owner.feed(log.append(*whole.whole(), after_ms=0))
    owner.feed(log.append(whole.mark(3)))
    owner.pass_ms(LIMITS.incomplete_ms)
    assert [(e["revision"], e["frames_late"]) for e in owner.store.events] == [(1, 0), (2, 0)]


def test_a_chunk_that_truncates_a_take_is_in_its_first_revision():
    take, log, owner = Take(130), Log(), Owner(limits=replace(LIMITS, truncated_frames=100))
    owner.feed(log.append(*take.whole()))
    assert [(e["status"], e["frames_late"]) for e in owner.store.events] == [("TRUNCATED", 0), ("COMPLETE", 30)]


def test_late_copies_are_counted_and_make_no_revision():
    take, owner, log = incomplete()
    owner.feed(log.append(take.chunk(0, 50), take.end(), take.start()))
    assert owner.assembler.counts["duplicates"] == 50
    assert owner.assembler.counts["ignored"] == 2
    owner.pass_ms(LIMITS.incomplete_ms)
    assert len(owner.store.events) == 1
    assert owner.assembler.episodes == {}, "and keep no memory"
    assert owner.committed == len(log.records)


def test_copies_that_come_with_late_frames_are_in_their_revision():
    take, owner, log = incomplete()
    owner.feed(log.append(take.chunk(0, 50), take.chunk(90, 150)))
    _, second = owner.store.events
    assert (second["frames_duplicate"], second["frames_late"]) == (60, 50)


def test_a_whole_closed_episode_sent_again_is_only_counted():
    take = Take()
    owner, log = closed(take.start(), take.mark(7), *take.chunks(), take.end())
    writes = owner.store.block_writes
    records = [take.start(), take.mark(7), *take.chunks(), take.end()]
    owner.feed(log.append(*records))
    assert len(owner.store.events) == 1
    assert owner.assembler.counts["ignored"] == len(records)
    assert owner.store.block_writes == writes
    assert owner.store.dead_letters == []
    assert owner.committed == len(log.records)


@pytest.mark.parametrize("reopened", [False, True])
def test_what_never_fitted_a_whole_closed_episode_is_a_dead_letter_as_it_was_while_that_was_open(reopened: bool):
    take = Take()
    owner, log = closed(take.start(), *take.chunks(), take.end())
    other = Take(joints=("nobody",), id=take.id)
    beyond = take.chunk(0, take.frames)[1]
    strays = [
        other.chunk(0, 3)[1],
        replace(beyond, first_seq=beyond.first_seq + 1),
    ]
    first = [take.mark(9)] if reopened else []
    owner.feed(log.append(*first, *(("FrameChunk", one) for one in strays), take.chunk(0, 10)))
    assert [letter.reason for letter in owner.store.dead_letters] == ["INCONSISTENT", "INCONSISTENT"]
    assert owner.assembler.counts["ignored"] == 1
    owner.pass_ms(LIMITS.robot_silence_ms)
    assert owner.store.events[-1]["frames_unique"] == take.frames


def test_a_late_end_gives_a_timed_out_take_its_status():
    take = Take()
    owner, log = closed(take.start(), *take.chunks())
    owner.feed(log.append(take.end(outcome="SUCCESS")))
    first, second = owner.store.events
    assert (first["status"], first["outcome"]) == ("TIMED_OUT", "UNKNOWN")
    assert (second["status"], second["outcome"], second["revision"]) == ("COMPLETE", "SUCCESS", 2)
    assert (second["frames_late"], second["hash_verified"]) == (0, True)


def test_a_late_end_with_frames_missing_makes_it_incomplete_after_ten_seconds():
    take = Take()
    owner, log = closed(take.start(), take.chunk(0, 100))
    owner.feed(log.append(take.end()))
    assert len(owner.store.events) == 1
    owner.pass_ms(LIMITS.incomplete_ms)
    assert [e["status"] for e in owner.store.events] == ["TIMED_OUT", "INCOMPLETE"]


def test_late_frames_without_an_end_keep_the_status_it_had():
    take = Take()
    owner, log = closed(take.start(), take.chunk(0, 100))
    owner.feed(log.append(take.chunk(100, 200)))
    owner.pass_ms(LIMITS.incomplete_ms)
    assert [(e["status"], e["frames_unique"]) for e in owner.store.events] == [("TIMED_OUT", 100), ("TIMED_OUT", 200)]


def test_late_marks_make_one_revision_for_all_of_them():
    take = Take()
    owner, log = closed(*take.whole())
    owner.feed(log.append(take.mark(10, "reach")))
    owner.feed(log.append(take.mark(20, "lift"), after_ms=LIMITS.incomplete_ms - 1))
    owner.pass_ms(LIMITS.incomplete_ms)
    first, second = owner.store.events
    assert (second["revision"], second["status"], second["content_hash"]) == (2, "COMPLETE", first["content_hash"])
    assert len(owner.store.episodes[take.id].marks) == 2


def test_frames_and_marks_and_the_end_that_come_late_together_make_one_revision():
    take = Take()
    owner, log = closed(take.start(), take.chunk(0, 100))
    owner.feed(log.append(take.mark(3), take.chunk(100, 200), take.end(), take.chunk(200, 300)))
    assert [e["status"] for e in owner.store.events] == ["TIMED_OUT", "COMPLETE"]
    assert owner.store.events[1]["frames_late"] == 200


def test_records_that_come_while_it_closes_wait_and_are_taken_as_late():
    take, log, owner = Take(), Log(), Owner()
    owner.feed(log.append(take.start(), take.chunk(0, 100), take.chunk(150, 300), take.end()))
    other = Take(robot="r2").start()
    log.append(other, after_ms=LIMITS.incomplete_ms)
    log.append(take.chunk(100, 130), take.chunk(130, 150), after_ms=1)
    log.append(Take(robot="r3").start(), after_ms=LIMITS.incomplete_ms // 2)
    owner.feed(log.records[4:], flush=False)
    assert owner.assembler.episodes[take.id].unique == 250
    assert owner.assembler.watermark() <= 5, "what waits is not forgotten"
    owner.flush()
    assert [(e["status"], e["frames_late"]) for e in owner.store.events] == [("INCOMPLETE", 0), ("COMPLETE", 50)]


@pytest.mark.parametrize("size", [10, 128, 200])
def test_a_late_first_frame_gives_the_hash_and_metrics_of_the_whole(size):
    take = Take(frames=700)
    chunks = take.chunks(size)
    owner, log = closed(take.start(), *chunks[1:], take.end())
    owner.feed(log.append(chunks[0]))
    reference = Owner()
    reference.feed(Log().append(*take.whole(size)))
    whole, late = reference.store.event(), owner.store.events[1]
    for name in ("status", "content_hash", "verdict", "frames", "duration_s", "frames_unique"):
        assert late[name] == whole[name], name
    assert of_the_take(late["metrics"]) == of_the_take(whole["metrics"])


def test_stored_day_stays_that_of_the_first_record():
    take, owner, log = incomplete()
    owner.feed(log.append(take.chunk(100, 150), after_ms=3 * 86_400_000))
    assert len({e["frames"]["stored_day"] for e in owner.store.events}) == 1
    assert {row.stored_day for row in owner.store.rows(take.id)} == {owner.store.episodes[take.id].stored_day}


def test_late_frames_that_waited_make_one_revision_however_far_the_log_has_gone():
    take, log, owner = Take(), Log(), Owner()
    log.append(take.start(), take.chunk(0, 100), take.end())
    log.append(Take(robot="r2").start(), after_ms=LIMITS.incomplete_ms)
    log.append(*(take.chunk(i, i + 10) for i in range(100, 200, 10)), after_ms=1)
    log.append(Take(robot="r3").start(), after_ms=60_000)
    owner.feed(log.records)
    owner.feed([])
    assert [(e["revision"], e["frames_late"]) for e in owner.store.events] == [(1, 0), (2, 100)]


@pytest.mark.parametrize("together", [True, False])
def test_copies_of_a_whole_take_count_the_same_with_a_late_mark_or_without(together):
    take = Take()
    owner, log = closed(*take.whole())
    records = log.append(take.chunk(0, 50), take.mark(7), take.chunk(50, 60))
    for fetch in [records] if together else [[record] for record in records]:
        owner.feed(fetch)
    owner.pass_ms(LIMITS.incomplete_ms)
    assert [(e["revision"], e["frames_duplicate"]) for e in owner.store.events] == [(1, 0), (2, 0)]
    assert owner.assembler.counts["ignored"] == 2


def test_a_finding_of_the_revision_before_is_cleared_where_it_no_longer_holds():
    take, owner, log = incomplete()
    owner.feed(log.append(take.chunk(100, 150)))
    final = [c for c in owner.store.findings if not c.provisional and c.finding.metric == "T5"]
    assert [(str(c.state), c.revision) for c in final] == [("RAISED", 1), ("CLEARED", 2)]
    assert final[0].finding.finding_id == final[1].finding.finding_id
