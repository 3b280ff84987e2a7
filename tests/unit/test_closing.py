"""When an episode closes, and as what: every status and deadline, in broker time."""

from __future__ import annotations

import pytest

from tests.assembling import LIMITS, Log, Owner, Take

MINUTE = 60_000


def fed(*values, owner=None, log=None):
    owner, log = owner or Owner(), log or Log()
    owner.feed(log.append(*values))
    return owner, log


def statuses(owner):
    return {event["episode_id"]: event["status"] for event in owner.store.events}


def test_an_episode_is_open_from_its_start_and_announces_nothing():
    take = Take()
    owner, _ = fed(take.start(), *take.chunks())
    assert owner.store.events == []
    assert owner.store.journal[take.id].phase == "OPEN"


def test_end_mark_all_frames_and_an_equal_hash_is_complete():
    owner, _ = fed(*Take().whole())
    event = owner.store.event()
    assert (event["status"], event["hash_verified"], event["final"]) == ("COMPLETE", True, True)


def test_a_robot_without_a_hash_gives_complete_but_not_verified():
    take = Take()
    owner, _ = fed(take.start(), *take.chunks(), take.end(content_hash=None))
    event = owner.store.event()
    assert (event["status"], event["hash_verified"]) == ("COMPLETE", False)


def test_all_frames_with_another_hash_is_corrupt_and_rejected():
    take = Take()
    owner, _ = fed(take.start(), *take.chunks(), take.end(content_hash="0" * 32))
    event = owner.store.event()
    assert (event["status"], event["verdict"], event["hash_verified"]) == ("CORRUPT", "REJECT", False)


def test_one_flipped_bit_on_the_way_is_corrupt():
    take = Take()
    name, chunk = take.chunk(10, 20)
    chunk.channels["position"] = chunk.channels["position"].copy()
    chunk.channels["position"].view("uint32")[3, 1] ^= 1
    owner, _ = fed(take.start(), take.chunk(0, 10), (name, chunk), take.chunk(20, 300), take.end())
    assert owner.store.event()["status"] == "CORRUPT"


def test_frames_missing_ten_seconds_after_the_end_mark_is_incomplete():
    take = Take()
    owner, _ = fed(take.start(), take.chunk(0, 100), take.chunk(150, 300), take.end())
    owner.pass_ms(LIMITS.incomplete_ms - 1)
    assert owner.store.events == []
    owner.pass_ms(1)
    event = owner.store.event()
    assert (event["status"], event["verdict"], event["final"]) == ("INCOMPLETE", "REJECT", False)
    assert event["missing_ranges"] == [{"first": 100, "last": 149}]


def test_frames_that_come_within_ten_seconds_make_it_complete():
    take, log = Take(), Log()
    owner, _ = fed(take.start(), take.chunk(0, 100), take.chunk(150, 300), take.end(), log=log)
    owner.feed(log.append(take.chunk(100, 150), after_ms=9_990))
    assert owner.store.event()["status"] == "COMPLETE"


def test_the_end_mark_may_come_before_the_frames():
    take = Take()
    owner, _ = fed(take.start(), take.end(), *take.chunks())
    assert owner.store.event()["status"] == "COMPLETE"


def test_an_episode_without_frames_is_complete_at_its_end_mark():
    take = Take(frames=0)
    owner, _ = fed(take.start(), take.end())
    event = owner.store.event()
    assert (event["status"], event["frames_unique"], event["hash_verified"]) == ("COMPLETE", 0, True)
    assert (event["duration_s"], event["frames"]["blocks"]) == (0.0, 0)


def test_an_episode_of_one_frame_is_complete():
    take = Take(frames=1)
    owner, _ = fed(*take.whole())
    event = owner.store.event()
    assert (event["status"], event["frames_unique"], event["hash_verified"]) == ("COMPLETE", 1, True)


# -- without an end mark ----------------------------------------------------------


def test_a_minute_without_frames_times_out_once_the_robot_no_longer_names_it():
    take, log = Take(), Log()
    owner, _ = fed(take.start(), take.chunk(0, 100), take.status(recording=""), log=log)
    last_frame_ms = log.records[-2].broker_ms
    owner.assembler.pass_time(last_frame_ms + LIMITS.silence_ms - 1)
    owner.feed([])
    assert owner.store.events == []
    owner.pass_ms(1)
    assert owner.store.event()["status"] == "TIMED_OUT"


@pytest.mark.parametrize("said", ["recording", "unsent"])
def test_a_named_episode_waits_beyond_the_minute(said):
    take, log = Take(), Log()
    status = take.status(recording=take.id) if said == "recording" else take.status(unsent=[take.id])
    owner, _ = fed(take.start(), take.chunk(0, 100), status, log=log)
    owner.pass_ms(9 * MINUTE)
    assert owner.store.events == []


def test_it_times_out_at_the_status_that_stops_naming_it_if_the_minute_is_over():
    take, log = Take(), Log()
    owner, _ = fed(take.start(), take.chunk(0, 100), take.status(recording=take.id), log=log)
    owner.feed(log.append(take.status(recording=take.id), after_ms=5 * MINUTE))
    assert owner.store.events == []
    owner.feed(log.append(take.status(recording=""), after_ms=1_000))
    assert owner.store.event()["status"] == "TIMED_OUT"


def test_a_status_of_a_later_boot_counts_too():
    take, log = Take(), Log()
    owner, _ = fed(take.start(), take.chunk(0, 100), log=log)
    owner.feed(log.append(take.status(boot="boot-2"), after_ms=1_000))
    owner.pass_ms(LIMITS.silence_ms)
    assert owner.store.event()["status"] == "TIMED_OUT"


def test_a_status_from_before_the_start_does_not_count():
    take, log = Take(), Log()
    owner, _ = fed(take.status(recording=""), take.start(), take.chunk(0, 100), log=log)
    owner.pass_ms(2 * MINUTE)
    assert owner.store.events == []


def test_without_any_status_ten_minutes_without_a_word_time_out():
    take = Take()
    owner, _ = fed(take.start(), take.chunk(0, 100))
    owner.pass_ms(LIMITS.robot_silence_ms - 1)
    assert owner.store.events == []
    owner.pass_ms(1)
    assert owner.store.event()["status"] == "TIMED_OUT"


def test_frames_of_another_episode_are_a_word_of_the_robot():
    take, later, log = Take(), Take(no=2), Log()
    owner = Owner(live_lane=False)
    fed(take.start(), take.chunk(0, 100), log=log, owner=owner)
    owner.feed(log.append(later.start(), later.chunk(0, 10), after_ms=6 * MINUTE))
    owner.pass_ms(6 * MINUTE)
    assert owner.store.events == []
    owner.pass_ms(5 * MINUTE)
    assert set(statuses(owner).values()) == {"TIMED_OUT"}


def test_another_robots_words_do_not_keep_an_episode_open():
    take, other, log = Take(), Take(robot="r2"), Log()
    owner, _ = fed(take.start(), take.chunk(0, 100), log=log)
    owner.feed(log.append(other.start(), after_ms=LIMITS.robot_silence_ms))
    assert statuses(owner) == {take.id: "TIMED_OUT"}


def test_a_timed_out_episode_without_frames_is_announced():
    take = Take()
    owner, _ = fed(take.start())
    owner.pass_ms(LIMITS.robot_silence_ms)
    event = owner.store.event()
    assert (event["status"], event["frames_expected"], event["frames_unique"]) == ("TIMED_OUT", 0, 0)


# -- superseded -------------------------------------------------------------------


def superseding(**later):
    take = Take()
    later = Take(**{"no": 2, **later})
    owner, log = fed(take.start(), take.chunk(0, 100))
    owner.feed(log.append(later.start()))
    return owner, log, take, later


def test_five_seconds_after_a_later_start_of_the_same_boot_it_is_superseded():
    owner, _, take, _ = superseding()
    owner.pass_ms(LIMITS.superseded_ms - 1)
    assert owner.store.events == []
    owner.pass_ms(1)
    assert statuses(owner) == {take.id: "SUPERSEDED"}


def test_its_end_mark_within_the_five_seconds_saves_it():
    owner, log, take, _ = superseding()
    owner.feed(log.append(take.chunk(100, 300), take.end()))
    assert statuses(owner) == {take.id: "COMPLETE"}


def test_an_unsent_episode_is_not_superseded_until_the_robot_stops_naming_it():
    owner, log, take, later = superseding()
    owner.feed(log.append(take.status(recording=later.id, unsent=[take.id])))
    owner.pass_ms(30_000)
    assert owner.store.events == []
    owner.feed(log.append(take.status(recording=later.id), after_ms=40_000))
    assert statuses(owner) == {take.id: "SUPERSEDED"}


@pytest.mark.parametrize("later", [{"boot": "boot-2"}, {"no": 1}, {"no": 0}, {"robot": "r2"}], ids=str)
def test_only_a_higher_number_of_the_same_boot_and_robot_supersedes(later):
    owner, *_ = superseding(**later)
    owner.pass_ms(LIMITS.superseded_ms)
    assert owner.store.events == []


def test_the_bulk_lane_supersedes_nothing():
    take, later, log = Take(), Take(no=2), Log()
    owner = Owner(live_lane=False)
    owner.feed(log.append(take.start(), take.chunk(0, 100), later.start()))
    owner.pass_ms(LIMITS.superseded_ms)
    assert owner.store.events == []


def test_an_ended_episode_is_incomplete_not_superseded():
    take, later, log = Take(), Take(no=2), Log()
    owner, _ = fed(take.start(), take.chunk(0, 100), take.end(), later.start(), log=log)
    owner.pass_ms(LIMITS.incomplete_ms)
    assert statuses(owner) == {take.id: "INCOMPLETE"}


# -- in log order -----------------------------------------------------------------


def gap_then_frames(late_by_ms):
    """An ended take whose missing frames come ``late_by_ms`` after its deadline, then another robot's record."""
    take, other, log = Take(), Take(robot="r2"), Log()
    log.append(take.start(), take.chunk(0, 100), take.chunk(150, 300), take.end())
    log.append(take.chunk(100, 150), after_ms=LIMITS.incomplete_ms + late_by_ms)
    log.append(other.start(), after_ms=1)
    return log


@pytest.mark.parametrize("cut", range(1, 6))
def test_a_deadline_fires_before_the_record_that_passes_it_however_the_log_is_fetched(cut):
    log = gap_then_frames(late_by_ms=0)
    owner = Owner()
    owner.feed(log.records[:cut])
    owner.feed(log.records[cut:])
    assert [e["status"] for e in owner.store.events] == ["INCOMPLETE", "COMPLETE"]
    assert [e["reason"] for e in owner.store.events] == ["CLOSED", "LATE_FRAMES"]
    assert [e["frames_late"] for e in owner.store.events] == [0, 50]


@pytest.mark.parametrize("cut", range(1, 6))
def test_a_record_one_millisecond_before_the_deadline_is_in_time_however_the_log_is_fetched(cut):
    log = gap_then_frames(late_by_ms=-1)
    owner = Owner()
    owner.feed(log.records[:cut])
    owner.feed(log.records[cut:])
    assert owner.store.event()["status"] == "COMPLETE"


def test_time_passes_only_with_the_log_or_by_confirmed_idle_time():
    take = Take()
    owner, _ = fed(take.start(), take.chunk(0, 100), take.end())
    for _ in range(100):
        owner.feed([])
    assert owner.store.events == []
    assert owner.assembler.next_deadline() == owner.assembler.time_ms + LIMITS.incomplete_ms


def test_an_episode_closed_by_idle_time_has_the_event_it_would_have_had_in_a_busy_log():
    take, other = Take(), Take(robot="r2")
    idle, log = fed(take.start(), take.chunk(0, 100), take.end())
    busy = Owner()
    busy.feed(log.records)
    idle.pass_ms(LIMITS.incomplete_ms + 7)
    busy.feed(log.append(other.start(), after_ms=123_456))
    assert idle.store.announced == busy.store.announced
