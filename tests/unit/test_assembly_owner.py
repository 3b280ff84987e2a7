"""An owner that reads the store while it flushes: what was loaded or waits for a fetch is there when it comes."""

from __future__ import annotations

from tests.assembling import LIMITS, Log, Owner, Take


def test_what_was_reloaded_for_a_fetch_stays_until_it_is_processed():
    take, log, owner = Take(), Log(), Owner()
    owner.feed(log.append(take.start(), take.chunk(0, 100), take.chunk(150, 300), take.end()))
    owner.pass_ms(LIMITS.incomplete_ms)
    log.now_ms = owner.assembler.time_ms
    late = log.append(take.chunk(100, 150))
    owner.prepare(late)
    owner.flush()
    owner.assembler.process(late, live=True)
    owner.flush()
    assert owner.store.dead_letters == []
    assert [e["status"] for e in owner.store.events] == ["INCOMPLETE", "COMPLETE"]


def test_a_block_put_back_for_a_fetch_is_not_freed_before_it():
    take, log, owner = Take(), Log(), Owner()
    owner.feed(log.append(take.start(), take.chunk(0, 256)))
    copies = log.append(take.chunk(10, 20), take.chunk(130, 135))
    owner.prepare(copies)
    owner.flush()
    owner.assembler.process(copies, live=True)
    owner.flush()
    assert owner.assembler.episodes[take.id].duplicates == 15


def test_a_block_that_becomes_durable_after_the_look_up_is_still_there_for_its_copies():
    take, log, owner = Take(), Log(), Owner()
    owner.feed(log.append(take.start(), take.chunk(0, 128)), flush=False)
    copies = log.append(take.chunk(10, 20))
    owner.prepare(copies)
    owner.flush()
    owner.assembler.process(copies, live=True)
    owner.flush()
    assert owner.assembler.episodes[take.id].duplicates == 10
    assert owner.store.rows(take.id)[0].duplicates == 10
    assert owner.assembler.episodes[take.id].blocks == {}


def test_records_of_an_episode_announced_after_the_look_up_wait_for_another_one():
    """Its start among them: it must not begin anew."""
    take, log, owner = Take(), Log(), Owner()
    owner.feed(log.append(*take.whole()), flush=False)
    again = log.append(take.start(), take.chunk(0, 10), take.mark(3), take.end(), Take(robot="r2").start())
    owner.prepare(again)
    owner.flush()
    assert take.id not in owner.assembler.episodes
    owner.assembler.process(again, live=True)
    assert [record.offset for record in owner.assembler.requeued] == [r.offset for r in again[:4]]
    assert owner.assembler.watermark() == again[0].offset
    owner.feed([])
    owner.pass_ms(LIMITS.incomplete_ms)
    assert owner.store.dead_letters == []
    assert [e["revision"] for e in owner.store.events] == [1, 2], "the mark is new"


def test_records_requeued_while_a_fetch_is_prepared_are_not_lost():
    take, log, owner = Take(), Log(), Owner()
    owner.feed(log.append(take.start(), take.chunk(0, 100), take.end()))
    log.append(Take(robot="r2").start(), after_ms=LIMITS.incomplete_ms)
    log.append(take.chunk(100, 300), after_ms=1)
    owner.feed(log.records[3:], flush=False)
    fetch = log.append(Take(robot="r3").start())
    owner.prepare(fetch)
    due = owner.assembler.take()
    owner.make_durable(due)
    owner.assembler.confirm(due)
    assert owner.assembler.watermark() == 4, "the frames that wait"
    owner._close(take.id)
    assert len(owner.assembler.requeued) == 1
    owner.assembler.process(fetch, live=True)
    assert len(owner.assembler.requeued) == 1
    owner.flush()
    assert [e["status"] for e in owner.store.events] == ["INCOMPLETE", "COMPLETE"]
    assert owner.committed == len(log.records)
