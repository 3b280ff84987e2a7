"""An episode that takes a run is, in every field, what it is after the chunks one by one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kinestream.streams.assembly.values import LogRun
from tests.assembling import LIMITS, Log, Owner, Take, joined

FIELDS = [
    "unique",
    "duplicates",
    "conflicting",
    "highest_seq",
    "base_seq",
    "last_frame_ms",
    "heard_ms",
    "heard_pending",
    "heard_since_ms",
    "schema_ids",
    "journal_pending",
    "wake_ms",
    "phase",
    "late_frames",
    "named",
    "unnamed_ms",
]
BLOCK_FIELDS = [
    "count",
    "duplicates",
    "conflicts",
    "reordered",
    "next",
    "last_offset",
    "pending_offset",
    "due_since_ms",
]


def read(records, limits=LIMITS):
    owner = Owner(limits=limits)
    owner.prepare(records)
    owner.assembler.process(records, live=True)
    assert owner.assembler.episodes
    return owner.assembler


def state(assembler):
    """Of every episode its fields, and those of its blocks."""
    found = {}
    for episode in assembler.episodes.values():
        blocks = {
            index: (
                {name: getattr(block, name) for name in BLOCK_FIELDS},
                block.present.tolist(),
                held.seq.tolist(),
                held.t_ns.tolist(),
                held.broker_ms.tolist(),
                {name: values.tobytes() for name, values in held.channels.items()},
            )
            for index, block in episode.blocks.items()
            for held in [block.held()]
        }
        frontier = (episode.frontier.at, episode.frontier.judged, episode.frontier.dirty)
        found[episode.id] = ({name: getattr(episode, name) for name in FIELDS}, blocks, frontier)
    return found, assembler.counts, assembler.time_ms, assembler.watermark()


@pytest.mark.parametrize("size", [1, 7, 64, 100, 128, 200])
@pytest.mark.parametrize("lost", [0, 1])
def test_a_run_leaves_what_its_chunks_leave(size, lost):
    one, two, log = Take(900, robot="a"), Take(900, robot="b", no=2), Log()
    log.append(one.start(), two.start())
    chunks = [one.chunks(size)[lost:9], two.chunks(size)[:9]]
    for pair in zip(*chunks, strict=False):
        log.append(*pair, after_ms=37)
    records = joined(log.records)
    assert sum(isinstance(one, LogRun) for one in records) >= 2
    assert state(read(records)) == state(read(log.records))


def test_words_before_a_run_and_another_take_of_the_robot():
    before, take, log = Take(50, no=1), Take(400, no=2), Log()
    log.append(before.start(), before.chunk(0, 50), take.start(), take.status(recording=take.id))
    log.append(*take.chunks(40)[:8], after_ms=1_000)
    assert state(read(joined(log.records))) == state(read(log.records))


@pytest.mark.parametrize("said", [{"recording": "it"}, {"unsent": "it"}, {}, {"boot": "boot-2", "recording": "it"}])
@pytest.mark.parametrize("known", [False, True])
def test_statuses_within_a_run(said, known):
    """``known``: the episode heard the same before; else the run is no use, though its statuses are alike."""
    before, take, log = Take(50, no=1), Take(400, no=2), Log()
    of_take = {name: take.id if value == "it" else value for name, value in said.items()}
    if "unsent" in of_take:
        of_take["unsent"] = [take.id]
    status = take.status(**of_take)
    if not known:
        log.append(status, after_ms=1)
    log.append(before.start(), take.start(), take.chunk(0, 80))
    if known:
        log.append(status, after_ms=1)
    for chunk in take.chunks(40)[2:9]:
        log.append(chunk, status, after_ms=100)
    joint = joined(log.records)
    assert [len(one.statuses) for one in joint if isinstance(one, LogRun)] == [6]
    one, other = state(read(joint)), state(read(log.records))
    if known and "boot" not in said:  # nothing waits for a journal row that one by one does not
        assert [fields["heard_pending"] for fields, _, _ in one[0].values()][1] == log.records[-1].offset
    assert one == other


def test_a_run_that_must_be_taken_apart_gives_its_records_their_places():
    """The end came first: between the chunks another robot speaks, whose place must stay."""
    take, other, log = Take(40, robot="a"), Take(40, robot="b", no=2), Log()
    log.append(take.start(), other.start(), take.end(), *take.chunks(10)[:1])
    log.append(take.chunks(10)[1], other.chunk(0, 10), take.chunks(10)[2], other.chunk(10, 20), take.chunks(10)[3])
    assert any(isinstance(one, LogRun) for one in joined(log.records))
    assert state(read(joined(log.records))) == state(read(log.records))


def test_a_deadline_within_a_run_fires_where_it_would():
    """The robot's status no longer names the take: silence of a minute between two of its chunks closes it there."""
    take, log = Take(60), Log()
    log.append(take.start(), take.chunk(0, 10), take.status())
    log.append(take.chunk(10, 20), take.chunk(20, 30))
    log.append(take.chunk(30, 40), after_ms=70_000)
    log.append(take.chunk(40, 50))
    joint, single = read(joined(log.records)), read(log.records)
    assert any(isinstance(one, LogRun) for one in joined(log.records))
    assert [e.closing_status for e in joint.episodes.values()] == ["TIMED_OUT"]
    assert [len(e.deferred) for e in joint.episodes.values()] == [2]
    assert state(joint) == state(single)


@pytest.mark.parametrize("starts", [0, 3])
def test_where_episodes_crowd_nothing_is_taken_together(starts):
    """A start may close the episode that began first, between two of its chunks."""
    take, log = Take(60, robot="a"), Log()
    log.append(take.start(), *take.chunks(10)[:2])
    log.append(*[Take(1, robot=f"r{i}", no=i).start() for i in range(starts)])
    log.append(*take.chunks(10)[2:5])

    few = replace(LIMITS, most_open=3)
    joint, single = read(joined(log.records), few), read(log.records, few)
    assert state(joint) == state(single)
    assert sum(len(e.deferred) for e in joint.episodes.values()) == (3 if starts == 3 else 0)


def test_values_come_bit_for_bit_out_of_a_run():
    take = Take(256)
    log = Log()
    log.append(take.start(), *take.chunks(32))
    (episode,) = read(joined(log.records)).episodes.values()
    for name, values in take.values.items():
        got = np.concatenate([episode.blocks[index].channels[name] for index in (0, 1)])
        assert got.tobytes() == values.tobytes()
