"""What a spool holds at most: its bytes, the reserve, and what a take that has begun a chunk needs to end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from kinestream.producers.spool import promised
from kinestream.producers.spool.places import TABLES
from kinestream.producers.spool.store import Spool
from kinestream.producers.spool.tables import Tables
from kinestream.schemas.errors import SpoolFullError
from tests.robots import wait_until
from tests.unit.test_spool_offline import JOINTS, robot

T0 = 1_800_000_000_000_000_000
#: A chunk of these tests (ten frames of three joints) with its head, and an end mark, bytes at most.
CHUNK, END = 500, 350


def in_tables(spool: Path) -> int:
    """Bytes of records in a spool, as its tables hold them."""
    tables = Tables(spool / TABLES)
    held = sum(len(kept.body) for row in tables.episodes() for kept in tables.records(row.key, 0, row.records))
    tables.close()
    return held


def test_a_slow_robot_whose_chunks_are_cut_for_their_age_is_held_to_the_reserve(tmp_path: Path):
    with robot(tmp_path / "spool", spool_bytes=4_000, spool_reserve_bytes=2_000, chunk_ms=10) as sender:
        episode, sent = sender.episode(), 0
        with pytest.raises(SpoolFullError, match="the reserve of 2,000"):  # noqa: PT012
            while sender.spool_bytes < 20_000:
                before = sender.spool_bytes
                episode.send(np.zeros(len(JOINTS)), T0 + sent * 20_000_000)
                sent += 1
                wait_until(lambda before=before: sender.spool_bytes > before, 5, "it is cut for its age")
        episode.end("SUCCESS")
        assert sender.spool_bytes <= 6_000 + CHUNK + END
    assert in_tables(tmp_path / "spool") <= 6_000 + CHUNK + END
    (kept,) = promised(tmp_path / "spool").values()
    assert (kept.frames, kept.ended) == (sent, True), "what was taken before is kept"


def test_marks_do_not_pass_the_reserve(tmp_path: Path):
    with robot(tmp_path / "spool", spool_bytes=4_000, spool_reserve_bytes=2_000) as sender:
        episode = sender.episode()
        episode.send(np.zeros(len(JOINTS)), T0)
        with pytest.raises(SpoolFullError, match="the reserve of 2,000"):  # noqa: PT012
            while sender.spool_bytes < 20_000:
                episode.mark("NOTE", note="x" * 400)
        episode.end()
        assert sender.spool_bytes <= 6_000 + CHUNK + END


def test_what_is_being_committed_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A disk that takes its time: as much again as was on its way could be handed over meanwhile."""
    commit, begun, may_go = Spool.write, threading.Semaphore(0), threading.Semaphore(0)

    def write(self: Spool, work: Callable[[], None]) -> None:
        begun.release()
        may_go.acquire(timeout=20)
        commit(self, work)

    with robot(tmp_path / "spool", spool_bytes=40_000, spool_reserve_bytes=20_000) as sender:
        episode = sender.episode()

        def send_to(size: int) -> None:
            while sender.spool_bytes < size:
                stamps = T0 + (episode.frames + np.arange(10)) * 10_000_000
                episode.send_many(np.zeros((10, 3)), stamps)

        monkeypatch.setattr(Spool, "write", write)
        try:
            send_to(1)
            assert begun.acquire(timeout=5), "the first goes to the disk"
            send_to(50_000)
            may_go.release()
            assert begun.acquire(timeout=5), "now most of it does"
            with pytest.raises(SpoolFullError, match="the reserve of 20,000"):
                send_to(200_000)
            assert sender.spool_bytes <= 60_000
        finally:
            may_go.release(1000)
        episode.end()
        wait_until(lambda: episode.end_kept, 5, "the end is kept")
    assert 50_000 < in_tables(tmp_path / "spool") <= 60_000 + END
