from __future__ import annotations

import time
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinestream.producers.stamps import AnchoredClock, stamp_ns, stamps_ns
from kinestream.schemas.errors import LayoutError
from tests.robots import kept_episode

INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
#: One clock whose steps are small, a month or decades: from 2^51 ns on, one float64 of seconds is not enough.
STEPPING = st.builds(
    lambda t0, steps: [t0 + step for step in steps],
    st.integers(0, 1 << 61),
    st.lists(st.one_of(st.integers(0, 1 << 30), st.integers(1 << 49, 1 << 60)), max_size=25),
)


@settings(deadline=None)
@given(st.one_of(st.lists(INT64, max_size=25), STEPPING), st.booleans())
def test_any_stamp_comes_back_to_the_nanosecond(stamps: list[int], many: bool):
    episode, kept = kept_episode(joints=("a",))
    if many:
        episode.send_many(np.zeros((len(stamps), 1)), t=np.array(stamps, np.int64))
    else:
        for t in stamps:
            episode.send([0.0], t=t)
    episode.end()
    came = [int(t) for chunk in kept.of("FrameChunk") for t in chunk.t_ns]
    assert came == stamps


@given(st.floats(0, 4e9))
def test_float_seconds_become_the_nearest_nanosecond(seconds: float):
    nearest = Decimal(seconds) * 10**9
    assert abs(stamp_ns(seconds) - nearest) <= Decimal("0.5")
    assert stamps_ns([seconds], 1)[0] == stamp_ns(seconds)


@pytest.mark.parametrize("t", [float("nan"), float("inf"), "now", None, True, 1 << 63, 1e300, 1j, np.datetime64("now")])
def test_what_is_no_stamp_is_refused_with_what_is_allowed(t: object):
    with pytest.raises(LayoutError, match="int nanoseconds or finite float seconds"):
        stamp_ns(t)


@pytest.mark.parametrize(
    "t", [[float("nan")], ["now"], [1e300], np.array([1 << 63], np.uint64), [1 << 70], [[1, 2], [3]]]
)
def test_an_array_with_what_is_no_stamp_is_refused(t: object):
    with pytest.raises(LayoutError, match="int nanoseconds or finite float seconds"):
        stamps_ns(t, 1)


def test_one_stamp_a_frame_is_needed():
    with pytest.raises(LayoutError, match=r"shape \(2,\), but 3 frames"):
        stamps_ns([1, 2], 3)


def test_the_callers_array_of_stamps_is_copied():
    given_stamps = np.array([1, 2], np.int64)
    assert not np.shares_memory(stamps_ns(given_stamps, 2), given_stamps)


def test_a_wall_clock_that_steps_leaves_no_trace_within_an_episode(monkeypatch: pytest.MonkeyPatch):
    clock = AnchoredClock()
    first = clock.now_ns()
    assert abs(first - time.time_ns()) < 1_000_000_000
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    assert 0 <= clock.now_ns() - first < 1_000_000_000
