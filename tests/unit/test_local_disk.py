"""Shares of a disk, and the guard that refuses robots before it is full."""

from __future__ import annotations

from pathlib import Path

import pytest

from kinestream.deploy.local.disk import MB, quotas, retention, size
from kinestream.deploy.local.guard import Guard, closed
from kinestream.deploy.local.kafka import properties
from kinestream.schemas.catalogue import CATALOGUE, FRAMES
from kinestream.schemas.errors import StackError

GB = 1000 * MB


def test_what_stays_free_is_a_tenth_of_the_disk_within_bounds() -> None:
    assert quotas(5 * GB, 0, 10 * GB).keep_free == 1 * GB
    assert quotas(900 * GB, 0, 1000 * GB).keep_free == 2 * GB
    assert quotas(1 * GB, 0, 1 * GB).keep_free == 256 * MB


def test_broker_and_store_share_what_is_left_and_a_second_start_changes_nothing() -> None:
    first = quotas(11 * GB, 0, 10 * GB)
    assert (first.broker, first.store) == (4 * GB, 6 * GB)
    assert quotas(6 * GB, 5 * GB, 10 * GB) == first, "what the stack itself has written counts as free"


def test_the_broker_never_takes_more_than_the_catalogue_asks_for() -> None:
    assert quotas(900 * GB, 0, 1000 * GB).broker == sum(topic.retention_bytes for topic in CATALOGUE)


def test_a_given_size_bounds_both() -> None:
    found = quotas(100 * GB, 0, 100 * GB, disk_bytes=4 * GB, keep_free=GB)
    assert (found.broker + found.store, found.keep_free, found.store_keep_free) == (3 * GB, GB, GB // 2)


@pytest.mark.parametrize(
    ("free", "more"), [(100 * MB, {}), (10 * GB, {"keep_free": 11 * GB}), (GB, {"disk_bytes": 300 * MB})]
)
def test_a_disk_that_is_too_small_is_refused_with_the_way_out(free: int, more: dict[str, int]) -> None:
    with pytest.raises(StackError, match=r"the disk has .* free; .*KINESTREAM_HOME"):
        quotas(free, 0, 10 * GB, **more)


@pytest.mark.parametrize("share", [200 * MB, 4 * GB, 100 * GB])
def test_every_topic_with_the_segments_being_written_stays_within_the_share(share: int) -> None:
    found = retention(share)
    assert set(found) == set(CATALOGUE)
    whole = sum(
        topic.partitions * (int(one["retention.bytes"]) + int(one["segment.bytes"])) for topic, one in found.items()
    )
    assert whole <= max(share, sum(topic.partitions for topic in CATALOGUE) * 2 * 1024**2)
    assert int(found[FRAMES]["segment.bytes"]) >= 1024**2, "Kafka takes no less"


def test_robots_are_refused_below_the_floor_and_let_in_again_only_well_above_it(tmp_path: Path) -> None:
    (tmp_path / "kafka").mkdir()
    free, restarts, said = [1000], [], []
    guard = Guard(tmp_path, 500, lambda: free[0], lambda: restarts.append(bool(closed(tmp_path))), said.append)
    for now in (1000, 500, 499, 300, 499, 500, 624, 625, 625, 400):
        free[0] = now
        guard.look()
    assert restarts == [True, False, True]
    assert len(said) == 3
    assert closed(tmp_path) == "the disk has 0 MB free, less than 0 MB"


def test_a_broker_that_is_shut_listens_for_workers_only() -> None:
    open_, shut = properties(1, 2, 3), properties(1, 2, 3, open_=False)
    assert open_["listeners"] == "PLAINTEXT://127.0.0.1:1,INSIDE://127.0.0.1:3,CONTROLLER://127.0.0.1:2"
    assert shut["listeners"] == shut["advertised.listeners"] == "INSIDE://127.0.0.1:3,CONTROLLER://127.0.0.1:2"
    assert properties(1, 2)["inter.broker.listener.name"] == "PLAINTEXT"


def test_sizes_are_for_people() -> None:
    assert (size(1.5e9), size(3e6)) == ("1.5 GB", "3 MB")
