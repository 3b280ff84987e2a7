"""When a worker counts as stuck: something to do, nothing away, and no step for a while."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from kinestream.schemas.settings import Settings
from kinestream.streams.assigned import Membership
from kinestream.streams.health import Position, Sample, Watchdog
from kinestream.streams.retrying import Retry
from kinestream.streams.worker import Worker

KEY = ("motion.hub.frames.v1", 3)
STALL_S = 60.0


def watch(dog: Watchdog, seconds: range, lag: int, offset: int = 10, *, waits: Sequence[str] = (), **more: int) -> None:
    for now in seconds:
        at = Position(offset, lag, more.get("watermark", offset), bool(more.get("loaded", 1)))
        dog.see(Sample(float(now), float(more.get("flushed", now)), waits, {KEY: at}))


def test_a_partition_that_lags_and_does_not_move_is_stuck() -> None:
    dog = Watchdog(STALL_S)
    watch(dog, range(60), lag=5)
    assert dog.stalled == ()
    watch(dog, range(60, 62), lag=5)
    assert dog.stalled == ("motion.hub.frames.v1-3 stands at 10 for 61 s, 5 messages behind",)


def test_one_step_is_progress() -> None:
    dog = Watchdog(STALL_S)
    watch(dog, range(100), lag=5)
    watch(dog, range(100, 101), lag=4, offset=11)
    assert dog.stalled == ()


def test_an_idle_log_is_no_stall_and_its_first_message_has_its_time() -> None:
    dog = Watchdog(STALL_S)
    watch(dog, range(1000), lag=0)
    watch(dog, range(1000, 1059), lag=1)
    assert dog.stalled == ()


def test_a_store_that_is_away_is_no_reason_to_kill_the_worker_and_after_it_the_time_begins_anew() -> None:
    dog = Watchdog(STALL_S)
    watch(dog, range(500), lag=5, flushed=0, waits=["cannot write the journal: away"])
    watch(dog, range(500, 559), lag=5, flushed=0)
    assert dog.stalled == ()
    watch(dog, range(559, 562), lag=5, flushed=0)
    assert len(dog.stalled) == 2


def test_a_flush_that_never_ends_is_stuck_even_without_lag() -> None:
    dog = Watchdog(STALL_S)
    watch(dog, range(62), lag=0, flushed=0)
    assert dog.stalled == ("nothing was flushed for 61 s, though nothing is away",)


def test_loading_is_not_a_stall() -> None:
    dog = Watchdog(STALL_S)
    watch(dog, range(300), lag=5, loaded=0)
    assert dog.stalled == ()


def test_a_process_that_stood_still_gets_its_time_again() -> None:
    dog = Watchdog(STALL_S)
    watch(dog, range(10), lag=5)
    watch(dog, range(500, 510), lag=5, flushed=9)
    assert dog.stalled == ()


def test_the_age_of_the_watermark_counts_from_when_reading_passed_it() -> None:
    dog = Watchdog(STALL_S)
    watch(dog, range(5), lag=0, offset=10, watermark=10)
    watch(dog, range(5, 10), lag=0, offset=20, watermark=10)
    watch(dog, range(10, 15), lag=0, offset=30, watermark=10)
    assert dog.watermark_age(KEY, 10) == 9.0
    assert dog.watermark_age(KEY, 20) == 4.0
    assert dog.watermark_age(KEY, 30) == 0.0
    assert dog.watermark_age(("other", 0), 0) == 0.0


def test_a_broker_that_is_silent_is_waited_for_also_where_nothing_is_to_be_written() -> None:
    confirmed_s = time.monotonic() - 5.5  # sessions are of 10 s
    seen: Any = SimpleNamespace(
        _membership=lambda: Membership(3, confirmed_s), generation=3, settings=Settings(), retry=Retry()
    )
    assert Worker.waits_for(seen) == ["the broker has not confirmed our membership, for 6 s"]
    confirmed_s += 3
    assert Worker.waits_for(seen) == []
    confirmed_s, seen.generation = -1.0, -1
    assert Worker.waits_for(seen) == [], "it has not yet joined"
