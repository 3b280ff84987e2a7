from __future__ import annotations

import time
import uuid

import pytest

from kinestream.producers import ids


def test_an_episode_id_is_a_uuid_of_version_7_with_the_time_in_front():
    before = time.time_ns() // 1_000_000
    made = uuid.UUID(ids.uuid7())
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert before <= made.int >> 80 <= before + 60_000


def test_ids_rise_strictly_however_quickly_they_are_made():
    made = [ids.uuid7() for _ in range(20_000)]
    assert made == sorted(set(made))


def test_a_clock_that_steps_back_is_not_followed(monkeypatch: pytest.MonkeyPatch):
    first = ids.uuid7()
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    assert ids.uuid7() > first
