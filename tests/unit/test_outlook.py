"""How long what nobody has read is still safe: by time, by bytes, and by how fast more comes."""

from __future__ import annotations

import logging
import math

import pytest

from kinestream.streams.outlook import FAIL, OK, WARN, Kept, Outlook, Unread, level
from kinestream.streams.retention import RetentionWatch

DAY = 86_400.0
KEPT = Kept(DAY, 100e6)


def seen(*unread: tuple[float, Unread], kept: Kept = KEPT) -> Outlook:
    outlook = Outlook()
    for now_s, one in unread:
        outlook.see(now_s, one, kept)
    return outlook


def test_nothing_unread_is_safe_for_ever() -> None:
    outlook = seen((0.0, Unread(0, 1000, 5e5, 0.0)))
    assert (outlook.until_s, outlook.margin) == (math.inf, 1.0)


def test_age_counts_against_the_time_that_the_log_keeps() -> None:
    outlook = seen((0.0, Unread(10, 1000, 10_000.0, DAY * 0.95)))
    assert outlook.until_s == pytest.approx(DAY * 0.05)
    assert outlook.margin == pytest.approx(0.05)


def test_bytes_count_against_those_that_the_log_keeps_as_fast_as_more_of_them_come() -> None:
    """80 of 100 MB unread, and 100 kB/s more: 200 s."""
    outlook = seen(
        *((float(s), Unread(80_000 - 100 * (20 - s), 100_000 + 100 * s, 1e3, 10.0)) for s in range(0, 21, 5))
    )
    assert outlook.margin == pytest.approx(1 - 80_000 * 1e3 / 100e6)
    assert outlook.until_s == pytest.approx((100e6 - 80e6) / (100 * 1e3))


def test_a_full_log_has_no_time_left_though_nothing_comes() -> None:
    outlook = seen((0.0, Unread(200_000, 200_000, 1e3, 10.0)))
    assert (outlook.until_s, outlook.margin) == (0.0, 0.0)


def test_the_earlier_of_both_counts_and_a_log_without_bounds_keeps_all() -> None:
    unread = Unread(90_000, 90_000, 1e3, DAY / 2)
    assert seen((0.0, unread)).until_s == DAY / 2
    assert seen((0.0, unread)).margin == pytest.approx(0.1)
    outlook = seen((0.0, unread), kept=Kept(math.inf, math.inf))
    assert (outlook.until_s, outlook.margin) == (math.inf, 1.0)


def test_the_pace_is_that_of_the_last_minute() -> None:
    slow = [(float(s), Unread(1000, 1000 + s, 1e3, 1.0)) for s in range(0, 600, 10)]
    fast = [(float(s), Unread(1000, 1600 + 1000 * (s - 600), 1e3, 1.0)) for s in range(600, 680, 10)]
    outlook = seen(*slow, *fast)
    assert outlook.until_s == pytest.approx((100e6 - 1e6) / 1e6)


def test_a_log_that_was_made_anew_has_no_pace_yet() -> None:
    outlook = seen((0.0, Unread(1000, 50_000, 1e3, 1.0)), (30.0, Unread(10, 10, 1e3, 1.0)))
    assert outlook.until_s == pytest.approx(DAY - 1)


def test_a_message_after_a_day_of_rest_is_not_a_day_old() -> None:
    """The newest one read is; what came behind it came after the last look at which all was read."""
    outlook = seen((0.0, Unread(0, 1000, 1e3, DAY)), (1.0, Unread(1, 1001, 1e3, DAY)))
    assert outlook.until_s == DAY - 1
    assert outlook.margin > 0.99


@pytest.mark.parametrize(
    ("margin", "found"), [(1.0, OK), (0.25, OK), (0.24, WARN), (0.1, WARN), (0.09, FAIL), (0.0, FAIL)]
)
def test_three_levels(margin: float, found: str) -> None:
    assert level(margin) == found


def test_a_worker_says_once_what_became_worse_and_once_that_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    kept = [KEPT]
    watch = RetentionWatch(lambda: {"t": kept[0]})
    watch.see({("t", 0): Unread(90_000, 90_000, 1e3, 1.0)})
    assert watch.warnings() == [], "nobody has told yet what the topic keeps"
    watch.ask()
    caplog.set_level(logging.WARNING, "kinestream.worker")
    for count in (10_000, 80_000, 80_000, 95_000, 95_000, 0, 0):
        watch.see({("t", 0): Unread(count, 100_000, 1e3, 1.0)})
        assert len(watch.warnings()) == (count > 10_000)
    told = [(record.levelname, record.getMessage().split(":")[0]) for record in caplog.records]
    assert told == [("WARNING", "t-0"), ("ERROR", "t-0"), ("WARNING", "over")]
    watch.see({})
    assert watch.outlooks == {}, "a partition that went elsewhere is no longer ours to tell of"
