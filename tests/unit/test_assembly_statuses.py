"""Takes that are too long, robots without marks, episodes that fail, robots with one name, bounds."""

from __future__ import annotations

import uuid
from dataclasses import replace

import pytest

from tests.assembling import LIMITS, PLACE, Log, Owner, Take

MINUTE = 60_000


def events(owner):
    return [(e["status"], e["reason"], e["frames_unique"]) for e in owner.store.events]


def restart(owner, log):
    """The worker dies, and reads again what it had not committed."""
    owner.crash()
    owner.feed(log.records[owner.committed :])


# -- truncated --------------------------------------------------------------------


def long_take(frames=1000):
    """A take whose first frames reach the log shortly before the half hour, the rest after it."""
    take, log, owner = Take(frames=frames), Log(), Owner()
    owner.feed(log.append(take.start(), take.chunk(0, 300)))
    for _ in range(5):
        owner.feed(log.append(take.status(recording=take.id), after_ms=5 * MINUTE))
    log.now_ms += 5 * MINUTE - 200
    owner.feed(log.append(take.chunk(300, 400), take.status(recording=take.id)))
    return take, log, owner


def test_after_half_an_hour_a_take_is_announced_as_it_stands():
    take, log, owner = long_take()
    owner.feed(log.append(take.chunk(400, 500), after_ms=1000))
    assert events(owner) == [("TRUNCATED", "CLOSED", 400)]
    assert not owner.store.event()["final"]


def test_its_frames_go_on_and_make_one_revision_at_the_end():
    take, log, owner = long_take()
    owner.feed(log.append(*[take.chunk(i, i + 100) for i in range(400, 1000, 100)], after_ms=20_000))
    assert len(owner.store.events) == 1
    owner.feed(log.append(take.end()))
    assert events(owner) == [("TRUNCATED", "CLOSED", 400), ("COMPLETE", "LATE_FRAMES", 1000)]
    assert owner.store.events[1]["hash_verified"]


def test_or_at_silence():
    take, log, owner = long_take()
    owner.feed(log.append(take.chunk(400, 500), after_ms=1000))
    owner.pass_ms(LIMITS.silence_ms)
    assert events(owner) == [("TRUNCATED", "CLOSED", 400), ("TRUNCATED", "LATE_FRAMES", 500)]
    owner.pass_ms(LIMITS.robot_silence_ms)
    assert len(owner.store.events) == 2


def test_a_take_with_very_many_frames_is_truncated_too():
    take, log, owner = Take(frames=400), Log(), Owner(limits=replace(LIMITS, truncated_frames=250))
    owner.feed(log.append(take.start(), *take.chunks(100)))
    owner.feed(log.append(take.end()))
    assert events(owner) == [("TRUNCATED", "CLOSED", 300), ("COMPLETE", "LATE_FRAMES", 400)]


def test_a_take_that_never_ends_keeps_the_watermark_within_seconds_for_two_hours():
    take, log, owner = Take(frames=2400 * 2, rate=1.0), Log(), Owner()
    owner.feed(log.append(take.start()))
    worst = 0
    for first in range(0, take.frames, 2):
        owner.feed(log.append(take.chunk(first, first + 2), after_ms=3000))
        if owner.committed < len(log.records):
            worst = max(worst, log.now_ms - log.records[owner.committed].broker_ms)
    assert worst <= LIMITS.block_age_ms + 3000
    assert [e["status"] for e in owner.store.events] == ["TRUNCATED"]
    (episode,) = owner.assembler.episodes.values()
    assert len(episode.blocks) <= 2, "what is full and stored has left memory"


# -- without marks ----------------------------------------------------------------


def stream(frames=1000):
    take, log, owner = Take(frames=frames), Log(), Owner()
    owner.feed(log.append(take.start(marks=False)))
    return take, log, owner


def cut_name(offset):
    name = f"{PLACE.cluster_id}/{PLACE.topic}/{PLACE.partition}/{offset}"
    return str(uuid.uuid5(uuid.NAMESPACE_URL, name))


def test_a_stream_without_marks_is_cut_where_broker_time_jumps():
    take, log, owner = stream()
    owner.feed(log.append(take.chunk(0, 100), take.chunk(100, 200)))
    owner.feed(log.append(take.chunk(200, 300), after_ms=LIMITS.cut_ms))
    owner.pass_ms(LIMITS.cut_ms)
    first, second = owner.store.events
    assert (first["status"], first["frames_unique"], first["frames_expected"]) == ("UNMARKED", 200, 200)
    assert (second["status"], second["frames_unique"], second["frames_expected"]) == ("UNMARKED", 100, 100)
    assert [first["episode_id"], second["episode_id"]] == [cut_name(1), cut_name(3)]
    assert owner.store.rows(cut_name(3))[0].seq[0] == 0, "an episode's frames begin at 0"
    assert not first["hash_verified"]
    assert first["verdict"] == "REVIEW"


def test_a_shorter_pause_cuts_nothing():
    take, log, owner = stream()
    owner.feed(log.append(take.chunk(0, 100)))
    owner.feed(log.append(take.chunk(100, 200), after_ms=LIMITS.cut_ms - 1))
    owner.pass_ms(LIMITS.cut_ms)
    assert [e["frames_unique"] for e in owner.store.events] == [200]


@pytest.mark.parametrize("crash", [False, True])
def test_frames_from_before_a_cut_that_come_late_find_their_episode(crash):
    take, log, owner = stream()
    owner.feed(log.append(take.chunk(0, 100), take.chunk(150, 200)))
    owner.feed(log.append(take.chunk(200, 300), after_ms=LIMITS.cut_ms))
    if crash:
        restart(owner, log)
    owner.feed(log.append(take.chunk(100, 150)))
    owner.pass_ms(MINUTE)
    by_id = {e["episode_id"]: e for e in owner.store.events}
    assert (by_id[cut_name(1)]["revision"], by_id[cut_name(1)]["frames_unique"]) == (2, 200)
    assert by_id[cut_name(3)]["frames_unique"] == 100
    assert owner.store.dead_letters == []


def test_a_stream_outlives_its_worker_and_a_long_silence():
    take, log, owner = stream()
    owner.feed(log.append(take.chunk(0, 100)))
    owner.pass_ms(60 * MINUTE)
    log.now_ms = owner.assembler.time_ms
    owner.crash()
    owner.feed(log.append(take.chunk(100, 200)))
    owner.pass_ms(MINUTE)
    assert [e["frames_unique"] for e in owner.store.events] == [100, 100]


def test_a_mark_of_a_stream_without_marks_is_a_dead_letter():
    take, log, owner = stream()
    owner.feed(log.append(take.chunk(0, 100), take.end()))
    assert [letter.reason for letter in owner.store.dead_letters] == ["INCONSISTENT"]


def test_a_robot_keeps_few_streams():
    log, owner = Log(), Owner()
    takes = [Take(boot=f"boot-{i}") for i in range(6)]
    for take in takes:
        owner.feed(log.append(take.start(marks=False)))
    assert len(owner.store.in_flight()) == 4
    owner.feed(log.append(takes[0].chunk(0, 10), takes[5].chunk(0, 10)))
    assert [letter.reason for letter in owner.store.dead_letters] == ["NO_START"]


# -- two robots with one name -----------------------------------------------------


def conflicts(owner):
    return {e["episode_id"] for e in owner.store.events for f in e["findings"] if f["metric"] == "ID_CONFLICT"}


def test_two_processes_with_one_name_are_a_conflict_and_stay_apart():
    one, two, log, owner = Take(), Take(boot="boot-2", seed=1), Log(), Owner()
    owner.feed(log.append(one.start(), one.status(recording=one.id), two.start(), two.status(recording=two.id)))
    owner.feed(log.append(one.status(recording=one.id), two.status(recording=two.id)))
    restart(owner, log)
    for a, b in zip(one.chunks(), two.chunks(), strict=True):
        owner.feed(log.append(a, b))
    owner.feed(log.append(one.end(), two.end()))
    assert {e["episode_id"]: e["status"] for e in owner.store.events} == {one.id: "COMPLETE", two.id: "COMPLETE"}
    assert all(e["hash_verified"] for e in owner.store.events)
    assert conflicts(owner) == {one.id, two.id}


def test_processes_that_only_begin_takes_are_found_too():
    takes = [Take(boot=f"boot-{i % 2}", no=i, seed=i) for i in range(4)]
    log, owner = Log(), Owner(live_lane=True)
    owner.feed(log.append(*[take.start() for take in takes]))
    owner.feed(log.append(*[record for take in takes for record in (*take.chunks(), take.end())]))
    assert takes[0].id in conflicts(owner)


def test_a_reboot_is_no_conflict_even_if_the_next_boot_sends_what_was_left():
    old, new, log, owner = Take(no=1), Take(boot="boot-2", no=2), Log(), Owner()
    owner.feed(log.append(old.start(), old.status(recording=old.id), old.chunk(0, 100)))
    owner.feed(log.append(new.status(unsent=[old.id], boot="boot-2"), new.start(), new.chunk(0, 50)))
    owner.feed(log.append(old.chunk(100, 300), new.chunk(50, 300), old.end(), new.end()))
    assert len(owner.store.events) == 2
    assert conflicts(owner) == set()


# -- bounds -----------------------------------------------------------------------


def test_of_too_many_open_episodes_the_one_that_began_first_times_out():
    log, owner = Log(), Owner(limits=replace(LIMITS, most_open=3))
    takes = [Take(robot=f"r{i}") for i in range(5)]
    owner.feed(log.append(*[take.start() for take in takes]))
    assert {e["episode_id"]: e["status"] for e in owner.store.events} == dict.fromkeys(
        (takes[0].id, takes[1].id), "TIMED_OUT"
    )
    owner.feed(log.append(*takes[0].chunks(), takes[0].end()))
    assert owner.store.events[-1]["status"] == "COMPLETE", "its frames are not lost"


def test_too_many_frames_or_marks_are_dead_letters():
    take, log, owner = Take(), Log(), Owner(limits=replace(LIMITS, most_frames=200, most_marks=2))
    owner.feed(log.append(take.start(), *take.chunks(100), *[take.mark(i) for i in range(3)]))
    assert [letter.reason for letter in owner.store.dead_letters] == ["OVERSIZE", "OVERSIZE"]


def test_records_that_wait_for_an_announcement_count_as_in_flight():
    take, log, owner = Take(), Log(), Owner()
    records = log.append(take.start(), take.chunk(0, 100), take.end())
    log.now_ms += LIMITS.incomplete_ms
    late = log.append(*take.chunks()[10:])
    owner.feed([*records, *late], flush=False)
    assert owner.assembler.inflight_bytes() >= sum(len(r.raw) for r in late)


# -- what else an event and a receipt say ------------------------------------------


def test_the_finding_of_a_conflict_names_its_first_frame_also_after_a_crash():
    take, log, owner = Take(), Log(), Owner()
    other = take.values["position"] + 1
    owner.feed(log.append(take.start(), *take.chunks(), take.chunk(200, 210, position=other[200:210])))
    restart(owner, log)
    owner.feed(log.append(take.chunk(143, 150, position=other[143:150]), take.end()))
    (finding,) = [f for f in owner.store.event()["findings"] if f["metric"] == "T6"]
    assert (finding["first_seq"], finding["value"]) == (143, 17)


def test_a_jump_of_the_robots_clock_harms_nothing():
    take = Take()
    take.t_ns[150:] -= 86_400_000_000_000
    log, owner = Log(), Owner()
    owner.feed(log.append(take.start(), *take.chunks(), take.end()))
    event = owner.store.event()
    assert (event["status"], event["hash_verified"]) == ("COMPLETE", True)


def test_an_event_names_the_schemas_of_all_its_records():
    take, log, owner = Take(), Log(), Owner()
    owner.feed(log.append(take.start(), take.chunk(0, 100)))
    restart(owner, log)
    owner.feed(log.append(take.chunk(100, 300), take.end()))
    assert len(owner.store.event()["schema_fingerprints"]) == 3


def test_a_receipt_says_what_the_hub_has():
    take, log, owner = Take(), Log(), Owner()
    owner.feed(log.append(take.start(), take.chunk(0, 100), take.chunk(150, 300), take.end()))
    owner.pass_ms(LIMITS.incomplete_ms)
    (receipt,) = owner.store.receipts
    assert receipt == {
        "tenant": "hub", "robot_id": "r1", "episode_id": take.id, "revision": 1, "status": "INCOMPLETE", "frames": 250,
        "n_total": 300, "missing": [{"first": 100, "last": 149}], "missing_ranges": 1,
        "content_hash": owner.store.event()["content_hash"], "hash_verified": False, "final": False,
    }  # fmt: skip
    owner.feed(log.append(take.chunk(100, 150)))
    assert (owner.store.receipts[1]["final"], owner.store.receipts[1]["hash_verified"]) == (True, True)


def test_a_receipt_without_an_end_mark_knows_no_total():
    take, log, owner = Take(), Log(), Owner()
    owner.feed(log.append(take.start(), take.chunk(0, 100)))
    owner.pass_ms(LIMITS.robot_silence_ms)
    assert owner.store.receipts[0]["n_total"] == -1
