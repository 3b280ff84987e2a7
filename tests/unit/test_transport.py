"""Decisions of the transport that need no broker: where to begin, what is behind, who may join."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest
from confluent_kafka import TopicPartition

from kinestream.schemas.errors import SettingError
from kinestream.schemas.settings import Settings
from kinestream.streams.transport.holding import Holding
from kinestream.streams.transport.identity import Identity
from kinestream.streams.transport.joining import Joining
from kinestream.streams.transport.starting import Start, decide


@pytest.mark.parametrize(
    ("wanted", "first", "end", "start"),
    [
        (None, 0, 10, Start(0)),
        (None, 5, 10, Start(5)),
        (7, 5, 10, Start(7)),
        (5, 5, 5, Start(5)),
        (10, 5, 10, Start(10)),
        (3, 5, 10, Start(5, gap=2)),
        (3, 10, 10, Start(10, gap=7)),
        (12, 5, 10, Start(10, lost_tail=2)),
    ],
)
def test_reading_begins_at_the_committed_offset_or_where_the_log_allows(
    wanted: int | None, first: int, end: int, start: Start
) -> None:
    assert decide(wanted, first, end) == start


def test_an_idle_log_is_proven_only_by_an_answer_that_found_nothing_new() -> None:
    holding = Holding(generation=1, start=5, committed=5)
    assert holding.idle_since(0) == -1.0, "nobody was asked yet"
    holding.answer = (5, 100.0)
    assert holding.idle_since(0) == 100.0
    holding.answer = (7, 101.0)
    assert holding.idle_since(5) == -1.0, "two records wait in the log"
    holding.handed = 7
    assert holding.idle_since(5) == -1.0, "they were handed on, and not processed"
    assert holding.idle_since(7) == 101.0


def test_lag_is_what_was_not_handed_on_and_the_age_of_what_was() -> None:
    holding = Holding(generation=1, start=5, committed=5)
    holding.end = 9
    assert (holding.lag().messages, holding.lag().seconds) == (4, 0.0)
    holding.handed, holding.newest_ms = 8, int((time.time() - 30) * 1000)
    assert holding.lag().messages == 1
    assert 29 < holding.lag().seconds < 60
    holding.handed = 9
    assert (holding.lag().messages, holding.lag().seconds) == (0, 0.0)


@pytest.mark.parametrize("instance_id", ["", "  "])
def test_an_empty_static_id_is_refused(instance_id: str) -> None:
    with pytest.raises(SettingError, match="KINESTREAM_INSTANCE_ID"):
        Joining("127.0.0.1:1", "g", instance_id=instance_id)


def test_the_poll_interval_is_never_below_the_session() -> None:
    member = Joining("127.0.0.1:1", "g", instance_id="a", session_s=60, max_poll_s=10).member()
    assert member["max.poll.interval.ms"] == member["session.timeout.ms"] == 60_000


@pytest.mark.parametrize("variable", ["KINESTREAM_LANE", "KINESTREAM_ON_LOG_GAP"])
def test_a_lane_or_decision_that_does_not_exist_is_refused(variable: str) -> None:
    with pytest.raises(SettingError, match=variable):
        Settings.from_env({variable: "sideways"})


class Committed:
    """What a group has on record for one partition, whose mark is ``next_mark`` with every look."""

    def __init__(self, next_mark: Callable[[], str]) -> None:
        self._next_mark = next_mark

    def committed(self, asked: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        return [TopicPartition("t", 0, 5, metadata=self._next_mark())]


def claim(us: Identity, next_mark: Callable[[], str]) -> None:
    us.claim(Committed(next_mark), [TopicPartition("t", 0)], threading.Event(), watch_s=0.1)


def test_an_id_is_a_living_processs_whose_marks_rise_and_ours_whose_marks_are_our_own() -> None:
    """Ours rise while we look when a commit that a dying broker had taken is answered by the one that is back."""
    joining = Joining("b:1", "g", instance_id="w1", session_s=0.3)
    us, other = Identity(joining), Identity(joining)
    with pytest.raises(SettingError, match="is already member 'w1' of group 'g'"):
        claim(us, other.mark)
    claim(us, us.mark)
    dead = other.mark()
    claim(us, lambda: dead)
    looks = iter((dead, us.mark(), other.mark()))
    with pytest.raises(SettingError, match="is already member"):
        claim(us, lambda: next(looks, dead))


def test_marks_of_a_process_that_ended_on_this_machine_need_not_be_watched() -> None:
    joining = Joining("b:1", "g", instance_id="w1", session_s=0.3)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    assert ended.wait() == 0
    mine = Identity(joining).mark()
    looks: list[str] = []

    def looked_at(mark: str) -> int:
        looks.clear()
        claim(Identity(joining), lambda: looks.append(mark) or mark)
        return len(looks)

    assert looked_at(mine) > 1, "a living process: its marks may rise"
    assert looked_at(mine.replace(f"/{os.getpid()}-", f"/{ended.pid}-")) == 1
    elsewhere = mine.replace(f"/{os.getpid()}-", f"/{ended.pid}-").replace(mine.split("-")[-1].split("/")[0], "0" * 16)
    assert looked_at(elsewhere) > 1, "what that number means on another machine nobody here knows"
    assert looked_at(f"w1/{ended.pid}-12345678/7") > 1, "as older versions wrote it"
