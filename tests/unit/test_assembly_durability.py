"""What is made durable when, how far the watermark may go, and what a restart finds."""

from __future__ import annotations

import numpy as np
import pytest

from kinestream.schemas.content_hash import HashedBlock, content_hash, leaf, presence_bitmap
from tests.assembling import LIMITS, Log, Owner, Take
from tests.memory_store import Died, MemoryStore


def fed(*values, **kind):
    owner, log = Owner(**kind), Log()
    owner.feed(log.append(*values))
    return owner, log


# -- block rows -------------------------------------------------------------------


def test_a_full_block_is_written_at_once_and_leaves_memory():
    take = Take()
    owner, _ = fed(take.start(), take.chunk(0, 130))
    assert [row.block for row in owner.store.rows(take.id)] == [0]
    assert list(owner.assembler.episodes[take.id].blocks) == [1]


def test_a_partial_block_is_written_when_five_seconds_old_with_all_its_frames():
    take, log = Take(), Log()
    owner = Owner()
    owner.feed(log.append(take.start(), take.chunk(0, 30)))
    owner.feed(log.append(take.chunk(30, 60), after_ms=LIMITS.block_age_ms - 1))
    assert owner.store.rows(take.id) == []
    owner.pass_ms(1)
    (row,) = owner.store.rows(take.id)
    assert row.seq.tolist() == list(range(60))
    assert owner.committed == len(log.records)


def test_a_partial_block_is_written_when_its_episode_closes():
    take = Take(frames=20)
    owner, _ = fed(*take.whole())
    assert [len(row.seq) for row in owner.store.rows(take.id)] == [20]


def test_a_block_is_not_written_again_while_nothing_comes():
    take = Take()
    owner, _ = fed(take.start(), take.chunk(0, 30))
    for _ in range(5):
        owner.pass_ms(LIMITS.block_age_ms)
    assert owner.store.block_writes == 1


def test_a_duplicate_makes_its_row_due_again():
    take, log = Take(), Log()
    owner = Owner()
    owner.feed(log.append(take.start(), take.chunk(0, 130)))
    owner.feed(log.append(take.chunk(5, 9)))
    row = owner.store.rows(take.id)[0]
    assert (row.duplicates, row.last_offset) == (4, 2)


def same_rows(one, two):
    assert [r.block for r in one] == [r.block for r in two]
    for a, b in zip(one, two, strict=True):
        for name in ("stored_day", "last_offset", "version", "duplicates", "conflicts", "reordered", "leaves"):
            assert getattr(a, name) == getattr(b, name), name
        for name in ("seq", "t_ns", "broker_ms"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
        for name, values in a.channels.items():
            assert values.tobytes() == b.channels[name].tobytes()


def test_when_a_row_is_written_changes_nothing_in_the_end():
    take, log = Take(frames=400), Log()
    log.append(take.start(), *take.chunks(7)[:20], take.chunk(30, 50), *take.chunks(7)[20:], take.end(), after_ms=999)
    once, often = Owner(), Owner()
    once.feed(log.records)
    for record in log.records:
        often.feed([record])
    assert often.store.block_writes > once.store.block_writes
    same_rows(once.store.rows(take.id), often.store.rows(take.id))


def test_the_version_of_a_row_grows_with_every_frame_and_every_duplicate():
    take, log = Take(), Log()
    owner, versions = Owner(), []
    for value in (take.start(), take.chunk(0, 20), take.chunk(0, 5), take.chunk(20, 40), take.chunk(0, 128)):
        owner.feed(log.append(value))
        owner.pass_ms(LIMITS.block_age_ms)
        log.now_ms = owner.assembler.time_ms
        versions += [row.version for row in owner.store.rows(take.id)]
    assert versions == sorted(set(versions))
    assert versions[-1] == 128 << 48 | 4


def test_the_leaves_in_the_rows_give_the_content_hash():
    take = Take(frames=300)
    owner, _ = fed(take.start(), *take.chunks(), take.end())
    rows = owner.store.rows(take.id)
    base = int(rows[0].t_ns[0])
    blocks = [
        HashedBlock(row.block, presence_bitmap(row.seq), {**row.leaves, "t": leaf(row.t_ns - base)}) for row in rows
    ]
    assert content_hash(take.layout.widths, blocks, 300) == owner.store.event()["content_hash"]
    assert rows[1].leaves["t"] == leaf(rows[1].t_ns - rows[1].t_ns[0])


# -- memory -----------------------------------------------------------------------


@pytest.mark.parametrize("crash", [False, True])
def test_a_hole_that_is_given_up_keeps_no_full_block_in_memory(crash):
    take, log, owner = Take(frames=2000), Log(), Owner()
    for record in log.append(take.start(), *take.chunks()[1:], after_ms=1):
        owner.feed([record])
    if crash:
        owner.crash()
        owner.feed(log.records[owner.committed :])
    owner.feed(log.append(take.status(recording=take.id), after_ms=600))
    owner.feed(log.append(take.mark(1000)))
    owner.feed(log.append(take.chunk(1990, 2000)))
    episode = owner.assembler.episodes[take.id]
    assert owner.assembler.inflight_bytes() <= 2 * episode.block_bytes
    owner.feed(log.append(take.chunk(0, 10), take.end()))
    assert owner.store.event()["status"] == "COMPLETE"


def test_memory_in_flight_is_that_of_the_open_blocks():
    take = Take()
    owner, _ = fed(take.start(), take.chunk(0, 290))
    assert owner.assembler.inflight_bytes() == 128 * (4 * 4 + 16)


# -- watermark --------------------------------------------------------------------


def test_the_watermark_never_passes_what_is_only_in_memory():
    take, log = Take(), Log()
    owner = Owner()
    assert owner.assembler.watermark() == -1
    owner.feed(log.append(take.start(), take.chunk(0, 30)), flush=False)
    assert owner.assembler.watermark() == 0
    owner.flush()
    assert owner.assembler.watermark() == 1, "the start is in the journal, the frames are not yet due"


def test_what_is_taken_holds_the_watermark_until_it_is_confirmed():
    take, log = Take(), Log()
    owner = Owner()
    owner.feed(log.append(take.start(), take.chunk(0, 128)), flush=False)
    due = owner.assembler.take()
    assert (len(due.journal), len(due.blocks), owner.assembler.watermark()) == (1, 1, 0)
    owner.assembler.confirm(due)
    assert owner.assembler.watermark() == 2


def test_a_dead_letter_holds_the_watermark_until_it_is_delivered():
    owner, log = Owner(), Log()
    owner.feed(log.append(Take().mark(1)), flush=False)
    due = owner.assembler.take()
    assert owner.assembler.watermark() == 0
    owner.assembler.confirm(due)
    assert owner.assembler.watermark() == 1


def test_frames_that_come_between_take_and_confirm_hold_the_watermark():
    take, log = Take(), Log()
    owner = Owner()
    owner.feed(log.append(take.start(), take.chunk(0, 128)), flush=False)
    due = owner.assembler.take()
    owner.feed(log.append(take.chunk(0, 10), take.chunk(128, 150)), flush=False)
    owner.make_durable(due)
    owner.assembler.confirm(due)
    assert owner.assembler.watermark() == 2
    assert 0 in owner.assembler.episodes[take.id].blocks, "a duplicate is yet to be written"


def test_a_take_that_never_ends_holds_nobody_up():
    endless, log = Take(frames=6000), Log()
    owner = Owner()
    behind_ms = []
    for records in (log.append(value, after_ms=100) for value in (endless.start(), *endless.chunks())):
        owner.feed(records)
        if owner.committed < len(log.records):
            behind_ms.append(log.now_ms - log.records[owner.committed].broker_ms)
    assert owner.store.events == []
    assert max(behind_ms) <= LIMITS.block_age_ms + 200


def test_a_robot_that_only_sends_its_status_holds_nobody_up():
    take, log = Take(), Log()
    owner = Owner()
    owner.feed(log.append(take.start(), take.chunk(0, 10), take.status(recording=take.id)))
    for _ in range(300):
        owner.feed(log.append(take.status(recording=take.id), after_ms=1_000))
        assert len(log.records) - owner.committed <= LIMITS.block_age_ms / 1_000 + 1


def test_the_watermark_is_the_end_of_the_log_when_all_is_closed():
    owner, log = fed(*Take().whole(), Take(robot="r2").status())
    assert owner.committed == len(log.records)


# -- journal ----------------------------------------------------------------------


class OrderedStore(MemoryStore):
    def __init__(self):
        super().__init__()
        self.order = []

    def put_block(self, row):
        self.order.append("block")
        super().put_block(row)

    def put_journal(self, row):
        before = self.journal.get(row.episode_id)
        assert before is None or row.version > before.version, "a row nobody would see"
        self.order.append("tombstone" if row.is_deleted else row.phase)
        super().put_journal(row)

    def put_episode(self, row, generation):
        self.order.append("episode")
        super().put_episode(row, generation)


def test_journal_goes_in_before_blocks_and_the_tombstone_comes_last():
    store = OrderedStore()
    fed(*Take(frames=130).whole(), store=store)
    assert store.order == ["ENDED", "block", "block", "CLOSED", "episode", "tombstone"]


def test_journal_versions_rise_over_tombstones_and_reopenings():
    store, take, log = OrderedStore(), Take(), Log()
    owner = Owner(store)
    owner.feed(log.append(take.start(), take.chunk(0, 100), take.end()))
    for first in (100, 200):
        owner.pass_ms(LIMITS.incomplete_ms)
        log.now_ms = owner.assembler.time_ms
        owner.feed(log.append(take.chunk(first, first + 100)))
        assert [row.episode_id for row in store.in_flight()] == ([take.id] if first == 100 else [])
    assert [e["revision"] for e in store.events] == [1, 2, 3]


def test_a_reopened_take_is_found_in_the_journal_after_a_crash():
    take, log = Take(), Log()
    owner = Owner()
    owner.feed(log.append(take.start(), take.chunk(0, 128), take.chunk(192, 300), take.end()))
    owner.pass_ms(LIMITS.incomplete_ms)
    log.now_ms = owner.assembler.time_ms
    owner.feed(log.append(take.chunk(128, 150)))
    owner.pass_ms(LIMITS.block_age_ms)
    assert owner.committed == len(log.records), "the late frames are in their row; nothing is read again"
    owner.crash()
    owner.pass_ms(LIMITS.incomplete_ms)
    assert [(e["revision"], e["frames_late"]) for e in owner.store.events] == [(1, 0), (2, 22)]


# -- crashes ----------------------------------------------------------------------


@pytest.mark.parametrize("step", ["journal", "blocks", "outbox", "episode", "event"])
def test_a_crash_between_two_steps_of_a_close_repeats_the_same_bytes(step):
    take, log = Take(), Log()
    records = log.append(take.start(), take.mark(4), *take.chunks(), take.end())
    calm, owner = Owner(), Owner()
    calm.feed(records)
    owner.dies_after = step
    with pytest.raises(Died):
        owner.feed(records)
    owner.crash()
    owner.feed(records[owner.committed :])
    assert set(owner.store.announced) == set(calm.store.announced)
    assert len(owner.store.announced) == (2 if step == "event" else 1)
    assert owner.store.in_flight() == []
    same_rows(owner.store.rows(take.id), calm.store.rows(take.id))


def test_a_closed_journal_row_is_announced_byte_for_byte_and_never_recomputed():
    take, log = Take(), Log()
    owner = Owner()
    owner.dies_after = "outbox"
    with pytest.raises(Died):
        owner.feed(log.append(*take.whole()))
    written = owner.store.journal[take.id].event
    owner.store.blocks.clear()  # whoever recomputed would find nothing
    owner.crash()
    assert owner.store.announced == [(f"{take.id}/1", written)]


def test_an_idle_log_still_closes_what_a_crashed_worker_left():
    take, log = Take(), Log()
    owner = Owner()
    owner.feed(log.append(take.start(), take.chunk(0, 100), take.end()))
    owner.pass_ms(LIMITS.block_age_ms)
    owner.crash()
    assert owner.store.events == []
    owner.pass_ms(LIMITS.incomplete_ms)
    assert [e["status"] for e in owner.store.events] == ["INCOMPLETE"]


def test_after_a_crash_no_deadline_fires_before_the_log_is_read_again():
    """Another episode's later frames are durable, the first one's saving frame is not."""
    take, other, log = Take(), Take(robot="r2"), Log()
    owner = Owner()
    owner.feed(log.append(take.start(), take.chunk(0, 128), take.end(), other.start()))
    owner.feed(log.append(take.chunk(128, 250), after_ms=9_000), flush=False)
    owner.feed(log.append(other.chunk(0, 128), after_ms=900), flush=False)
    owner.feed(log.append(take.chunk(250, 300), after_ms=50), flush=False)
    due = owner.assembler.take()
    due.blocks = [row for row in due.blocks if row.episode_id == other.id]
    owner.make_durable(due)
    owner.crash()
    owner.feed(log.records[owner.committed :])
    assert [(e["episode_id"], e["status"]) for e in owner.store.events] == [(take.id, "COMPLETE")]


@pytest.mark.parametrize("named", [True, False])
def test_what_the_robot_said_of_an_episode_survives_a_crash(named):
    take, later, log = Take(), Take(no=2), Log()
    owner = Owner()
    owner.feed(log.append(take.start(), take.chunk(0, 100), later.start()))
    owner.feed(log.append(later.status(recording=later.id, unsent=[take.id] if named else [])))
    owner.pass_ms(LIMITS.superseded_ms - 1)
    owner.crash()
    owner.feed(log.append(Take(robot="r2").start(), after_ms=LIMITS.superseded_ms + 1_000))
    assert [e["status"] for e in owner.store.events] == ([] if named else ["SUPERSEDED"])


def test_the_robots_last_word_survives_a_crash():
    take, log = Take(), Log()
    owner = Owner()
    owner.feed(log.append(take.start(), take.chunk(0, 100), take.status(recording=take.id)))
    for _ in range(15):
        owner.feed(log.append(take.status(recording=take.id), after_ms=60_000))
    owner.pass_ms(LIMITS.block_age_ms)
    assert owner.committed == len(log.records)
    owner.crash()
    said_ms, log.now_ms = log.now_ms, log.now_ms + LIMITS.robot_silence_ms - 10
    owner.feed(log.append(Take(robot="r2").start(), after_ms=9))
    assert owner.store.events == [], "ten minutes from the last status, not from the last frame"
    owner.feed(log.append(Take(robot="r3").start(), after_ms=1))
    assert log.now_ms == said_ms + LIMITS.robot_silence_ms
    assert [e["status"] for e in owner.store.events] == ["TIMED_OUT"]


def test_a_lamp_lit_before_a_crash_goes_out_after_it():
    take, log = Take(), Log()
    owner = Owner()
    owner.feed(log.append(take.start(), take.chunk(0, 100), take.chunk(150, 250), take.status(recording=take.id)))
    owner.feed(log.append(take.chunk(250, 300), after_ms=600))
    lit = {c.finding.finding_id for c in owner.store.findings if c.state == "RAISED" and c.finding.metric == "T5"}
    assert len(lit) == 1
    owner.crash()
    owner.feed(log.records[owner.committed :])
    owner.feed(log.append(take.chunk(100, 150), take.end()))
    out = {c.finding.finding_id for c in owner.store.findings if c.state == "CLEARED"}
    assert lit <= out
    assert owner.store.event()["status"] == "COMPLETE"


def test_a_status_read_again_after_a_crash_closes_nothing_that_a_later_one_keeps_open():
    """Its later frames are durable and known; the status that names it again is yet to be read again."""
    take, later, log, owner = Take(), Take(no=2), Log(), Owner()
    log.append(take.start(), later.start(), take.chunk(0, 10), take.status(recording=later.id))
    log.append(take.status(recording=later.id, unsent=[take.id]), after_ms=4_000)
    log.append(take.chunk(10, 128), after_ms=2_000)
    owner.commits = False
    owner.feed(log.records)
    owner.crash()
    owner.feed(log.records[:4])
    owner.feed(log.records[4:])
    assert owner.store.events == []


def test_frames_after_a_long_silence_do_not_hide_the_status_that_bridged_it():
    take, log, owner = Take(), Log(), Owner()
    named = take.status(recording=take.id)
    owner.feed(log.append(take.start(), take.chunk(0, 128), named))
    log.append(named, after_ms=LIMITS.robot_silence_ms - 1_000)
    owner.feed([*log.records[3:], *log.append(take.chunk(128, 200), after_ms=3_000)])
    owner.crash()
    owner.feed(log.records[owner.committed :])
    owner.feed(log.append(named))
    assert owner.store.events == []
