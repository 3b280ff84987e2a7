"""However a log is cut into fetches, flushed and crashed over, what stands in the end is what one reading gives.

Logs hold losses, copies, conflicting copies, disorder, silence, lost end marks, statuses and late frames. Every event
of every revision has the same bytes as in the one reading: nothing in it depends on fetches, on chunks that come as
runs (in a fetch of one record none does), on flushes or restarts. What may differ is how often an event is delivered (a
repeat after a crash, with equal bytes), how often a dead letter is, and which provisional findings were lit on the way.
"""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from random import Random

import numpy as np
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.assembling import LIMITS, Log, Owner, Take
from tests.memory_store import Died, LateStore

#: Takes and streams here are short: so are those that count as long.
SMALL = replace(LIMITS, truncated_frames=350, truncated_ms=60_000)
SETTINGS = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def examples(usually):
    """How many; the profile ``deep`` wants its own number."""
    return settings.default.max_examples if settings.get_current_profile_name() == "deep" else usually


FATES = ["sent"] * 12 + ["lost", "twice", "differs", "moved", "moved", "late"]
PAUSES_MS = [1] * 20 + [10, 100, 400, 600, 3_000, 5_000]


@dataclass(frozen=True)
class Step:
    """What happens with one fetch."""

    records: int
    flush: bool
    commit: bool
    crash: bool
    #: the process dies after so many durable steps; 0 = it does not
    dies_after: int
    idle: bool
    #: blocks of each episode's backlog that are brought after the fetch
    blocks: int = 1
    #: the owner is paused at this fetch after so many writes, reads on later, and its writes land after the next steps
    paused_after: int = -1
    #: of inserts that are sent together the last one arrives first
    swapped: bool = False


steps = st.builds(
    Step,
    records=st.integers(1, 40),
    flush=st.booleans(),
    commit=st.booleans(),
    crash=st.sampled_from([False, False, True]),
    dies_after=st.sampled_from([0, 0, 0, 1, 2, 3, 4, 5, 7]),
    idle=st.booleans(),
    blocks=st.sampled_from([0, 0, 1, 3]),
    paused_after=st.sampled_from([-1] * 8 + [0, 1, 2, 3, 5]),
    swapped=st.booleans(),
)


def sent(take, random, size):
    """A take's records in the order in which they reach the log, and those that come late."""
    records, late = [], []
    for chunk in take.chunks(size):
        fate = random.choice(FATES)
        first, n = chunk[1].first_seq, len(chunk[1])
        if fate == "late":
            late.append(chunk)
        elif fate == "moved":
            records.insert(random.randint(max(0, len(records) - 6), len(records)), chunk)
        elif fate != "lost":
            records.append(chunk)
        if fate == "twice":
            records.insert(random.randint(max(0, len(records) - 30), len(records)), chunk)
        if fate == "differs":
            other = take.values["position"][first : first + n] + np.float32(0.01)
            records.append(take.chunk(first, first + n, position=other))
    if take.frames:
        records.insert(random.randint(0, len(records)), take.mark(random.randrange(take.frames)))
    for again in (1, 1, 4, 4):
        said = random.choice([{"recording": take.id}, {"unsent": [take.id]}, {}])
        for _ in range(again):  # those that repeat the one before them end no run
            records.insert(random.randint(0, len(records)), take.status(**said))
    fate = random.choice(["sent"] * 6 + ["lost", "late", "early", "wrong"])
    end = take.end(content_hash="f" * 32) if fate == "wrong" else take.end()
    if fate == "late":
        late.insert(random.randint(0, len(late)), end)
    elif fate == "early":
        records.insert(random.randint(0, len(records)), end)
    elif fate != "lost":
        records.append(end)
    return [take.start(marks=random.random() < 0.8), *records], late


def log_of(seed, bursts):
    """Up to four takes of two robots, interleaved; then silence, what comes late, and silence again.

    ``bursts``: most records come in the millisecond of the one before.
    """
    random, log, queues, late = Random(seed), Log(), [], []
    for no in range(random.randint(1, 4)):
        frames = random.choice([0, 1, 5, 130, 256, 300, 400])
        boot = random.choice(["boot-1"] * 3 + ["boot-2"])
        take = Take(
            frames, robot=random.choice("ab"), boot=boot, no=no, seed=seed % 1000 + no, id=f"take-{no}".ljust(36, "-")
        )
        records, after = sent(take, random, random.choice([7, 40, 64, 130]))
        queues.append(records)
        late.append(after)
    watcher = Take(0, robot="watcher", id="watcher")
    for lot in (queues, late):
        while lot := [queue for queue in lot if queue]:
            records, pause = random.choice(lot).pop(0), random.choice(PAUSES_MS)
            log.append(records, after_ms=0 if bursts and pause == 1 else pause)
        log.append(watcher.status(), after_ms=random.choice([4_000, 11_000, 70_000]))
        log.append(watcher.status(), after_ms=700_000)
    return log


def pause(owner, log, position, step):
    """The owner stands still in the midst of a fetch; another takes over. Gives what the first will write later."""
    store = owner.store
    owner.swapped = step.swapped
    owner.store, owner.commits, owner.dies_after = LateStore(store, step.paused_after), False, -1
    with suppress(Died):
        for _ in range(2):
            owner.feed(log.records[position : position + step.records])
            position += step.records
    successor = Owner(store, limits=SMALL)
    successor.committed = owner.committed
    return owner.store, successor


def read(log, plan):
    """Read the log as the plan says, and what is left of it calmly."""
    owner, position, late = Owner(limits=SMALL), 0, []
    steps = iter(plan)
    while position < len(log.records):
        step = next(steps, CALM)
        if late and not step.flush:
            late.pop(0).land()
        if step.paused_after >= 0:
            writes, owner = pause(owner, log, position, step)
            late.append(writes)
            position = owner.committed
            continue
        owner.commits, owner.swapped = step.commit, step.swapped
        owner.dies_after = owner.steps + step.dies_after if step.dies_after else -1
        records = log.records[position : position + step.records]
        died = False
        try:
            if step.idle:
                owner.assembler.pass_time(records[0].broker_ms - 1)
            owner.feed(records, flush=step.flush)
            position += len(records)
            owner.catch_up(step.blocks)
        except Died:
            died = True
        if died or step.crash:
            owner.crash()
            position = owner.committed
    for writes in late:
        writes.land()
    owner.commits, owner.dies_after = True, -1
    owner.flush()
    return owner


def assert_same_state(chaotic, calm):
    assert episodes_in_flight(chaotic) == episodes_in_flight(calm) == []
    assert chaotic.committed == calm.committed
    assert chaotic.store.blocks.keys() == calm.store.blocks.keys()
    for key, row in calm.store.blocks.items():
        assert_same_row(chaotic.store.blocks[key], row)
    assert chaotic.store.episodes.keys() == calm.store.episodes.keys()
    for episode_id, stored in calm.store.episodes.items():
        assert_same_episode(chaotic.store.episodes[episode_id], stored)
    assert {r.offset for r in chaotic.store.dead_letters} == {r.offset for r in calm.store.dead_letters}
    assert final_findings(chaotic) == final_findings(calm)


def episodes_in_flight(owner):
    """But for streams without marks, which stay until their robot begins many others."""
    return [row.episode_id for row in owner.store.in_flight() if "cuts" not in row.facts]


def assert_same_row(one, two):
    names = ("robot_id", "stored_day", "version", "duplicates", "conflicts", "reordered", "leaves")
    assert {n: getattr(one, n) for n in names} == {n: getattr(two, n) for n in names}
    for name in ("seq", "t_ns", "broker_ms"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    for name, values in two.channels.items():
        assert one.channels[name].tobytes() == values.tobytes()


def assert_same_episode(one, two):
    assert (one.start, one.marks, one.end, one.stored_day) == (two.start, two.marks, two.end, two.stored_day)
    apart = ("metric_values", "facts")
    assert {k: v for k, v in one.closed.items() if k not in apart} == {
        k: v for k, v in two.closed.items() if k not in apart
    }
    for a, b in zip(one.closed["metric_values"], two.closed["metric_values"], strict=True):
        assert (a is None and b is None) or math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12)


def final_findings(owner):
    return {(c.finding.finding_id, c.revision, str(c.state)) for c in owner.store.findings if not c.provisional
            and c.state == "RAISED"}  # fmt: skip


def assert_one_identity_one_byte_string(owner):
    """And never two revisions with equal compared content."""
    by_id = dict(owner.store.announced)
    assert set(by_id.items()) == set(owner.store.announced)
    revisions: dict[str, list[int]] = {}
    contents: dict[str, list[object]] = {}
    for event in owner.store.events:
        numbers = revisions.setdefault(event["episode_id"], [])
        if event["revision"] not in numbers:
            numbers.append(event["revision"])
            compared = [event[n] for n in ("status", "outcome", "content_hash", "rule_version", "verdict")]
            contents.setdefault(event["episode_id"], []).append(compared)
    for episode_id, numbers in revisions.items():
        assert numbers == list(range(1, len(numbers) + 1))
        marks_may_differ = len(owner.store.episodes[episode_id].marks) > 0
        assert marks_may_differ or all(a != b for a, b in pairwise(contents[episode_id]))


CALM = Step(1000, True, True, False, 0, False, 0)
#: A former owner's late frames are stored, its journal row that it reopened the episode is not.
UNTOLD = [
    *[Step(1, False, False, False, 0, False, 0)] * 2,
    Step(1, True, False, False, 1, False, 0),
    Step(12, True, False, False, 0, False, 0),
    Step(1, False, False, False, 0, False, 0, 1, True),
]
#: A former owner's frames are stored, its journal row that names their schema is not; the end mark is read first.
UNNAMED = [
    Step(1, False, False, False, 0, False, 0),
    Step(1, False, False, False, 0, False, 0, 0),
    Step(24, False, False, False, 0, False, 0, 1, True),
]


@settings(SETTINGS, max_examples=examples(50))
@given(seed=st.integers(0, 2**32), bursts=st.booleans(), plan=st.lists(steps, max_size=60))
@example(seed=379669, plan=UNTOLD, bursts=False)
@example(seed=4111134, plan=UNNAMED, bursts=False)
def test_cuts_flushes_and_crashes_change_nothing(seed, plan, bursts):
    log = log_of(seed, bursts)
    calm, chaotic = Owner(limits=SMALL), read(log, plan)
    calm.feed(log.records)
    assert_same_state(chaotic, calm)
    assert set(chaotic.store.announced) == set(calm.store.announced)
    assert_one_identity_one_byte_string(chaotic)


@settings(SETTINGS, max_examples=examples(15))
@given(seed=st.integers(0, 2**32), bursts=st.booleans())
def test_record_by_record_gives_the_events_of_one_fetch_in_the_same_order_for_each_episode(seed, bursts):
    log = log_of(seed, bursts)
    calm, slow = (
        Owner(limits=SMALL),
        read(log, [Step(1, True, True, False, 0, True)] * len(log_of(seed, bursts).records)),
    )
    calm.feed(log.records)
    assert_same_state(slow, calm)
    assert sorted(slow.store.announced) == sorted(calm.store.announced)


@settings(SETTINGS, max_examples=examples(15))
@given(seed=st.integers(0, 2**32), bursts=st.booleans(), plan=st.lists(steps, max_size=30))
def test_a_second_reading_of_the_whole_log_announces_nothing_new(seed, plan, bursts):
    log = log_of(seed, bursts)
    owner = read(log, plan)
    announced, rows = set(owner.store.announced), dict(owner.store.blocks)
    owner.crash()
    owner.feed(log.records)
    assert set(owner.store.announced) == announced
    for key, row in rows.items():
        assert_same_row(owner.store.blocks[key], row)
