"""A robot with a spool and no broker in sight: what it promises, how it is found again, and where it ends."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from kinestream import ContractError, DeliveryError, Robot, Settings
from kinestream.deploy.local.process import free_port
from kinestream.producers.spool import promised
from kinestream.producers.spool.inspection import inspect
from kinestream.producers.spool.orphans import PROCESS_DIED, spool_codec
from kinestream.producers.spool.places import TABLES, find_spools
from kinestream.producers.spool.tables import Tables
from kinestream.schemas.content_hash import ContentHasher
from kinestream.schemas.errors import SpoolError, SpoolFullError
from kinestream.schemas.layout import Layout
from tests.robots import wait_until

JOINTS = ["hip", "knee", "ankle"]


@contextmanager
def robot(spool: Path, robot_id: str = "r1", durable: Any = "process", **settings: Any) -> Iterator[Robot]:
    """Closed at the end without waiting for the broker, which does not exist."""
    sender = Robot(
        robot_id,
        model_id="m1",
        joints=JOINTS,
        kafka=f"127.0.0.1:{free_port()}",
        spool=spool,
        durable=durable,
        settings=Settings(**settings),
    )
    try:
        yield sender
    finally:
        sender.close(timeout=0)


def motion(frames: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    stamps = 1_800_000_000_000_000_000 + np.cumsum(rng.integers(1, 20_000_000, frames))
    return rng.normal(size=(frames, 3)).astype(np.float32), stamps


def ends(spool: Path) -> dict[str, dict[str, Any]]:
    tables, codec = Tables(spool / TABLES), spool_codec()
    decoded = [codec.decode(kept.body) for row in tables.episodes() for kept in tables.records(row.key, 0, row.records)]
    tables.close()
    return {one.value["episode_id"]: one.value for one in decoded if one.record == "EpisodeEnd"}


def test_what_is_accepted_is_on_disk_bit_for_bit_while_the_broker_is_away(tmp_path: Path):
    position, t = motion(333)
    with robot(tmp_path / "spool") as sender, sender.episode(skill="grasp") as episode:
        episode.send_many(position, t, velocity=position * 2)
        wait_until(lambda: episode.accepted == 333, 5, "the last chunk is cut and kept")
        (kept,) = promised(tmp_path / "spool").values()
        assert (kept.episode_id, kept.frames, kept.ended, kept.acknowledged) == (episode.id, 333, False, False)
        assert kept.seq.tolist() == list(range(333))
        assert kept.t_ns.tolist() == t.tolist()
        assert kept.channels["position"].tobytes() == position.tobytes()
        assert kept.channels["velocity"].tobytes() == (position * 2).tobytes()
        assert kept.start["skill"] == "grasp"
    (kept,) = promised(tmp_path / "spool").values()
    assert (kept.ended, kept.content_hash, kept.lane) == (True, episode.content_hash, "")


def test_a_frame_is_kept_within_a_tenth_of_a_second_even_if_no_other_follows(tmp_path: Path):
    with robot(tmp_path / "spool") as sender, sender.episode() as episode:
        episode.send([1, 2, 3])
        assert episode.accepted == 0
        wait_until(lambda: episode.accepted == 1, 5, "the frame is kept though its chunk is not full")


@pytest.mark.parametrize("frames", [1, 127, 128, 129, 300])
def test_a_take_whose_process_was_killed_is_closed_from_the_spool(tmp_path: Path, frames: int):
    program = f"""
import os, signal, numpy as np
from tests.unit.test_spool_offline import *
sender = (opened := robot(Path({str(tmp_path / "spool")!r}))).__enter__()
episode = sender.episode(skill="grasp")
position, t = motion({frames})
episode.send_many(position, t)
wait_until(lambda: episode.accepted == {frames}, 10, "kept")
print(episode.id, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    position, t = motion(frames)
    before = promised(tmp_path / "spool")[killed.stdout.strip()]
    assert before.channels["position"].tobytes() == position.tobytes()
    hasher = ContentHasher(Layout.from_avro(before.start))
    hasher.add(0, t, {"position": position})
    assert before.content_hash == hasher.hexdigest()
    with robot(tmp_path / "spool"):
        pass
    (end,) = ends(tmp_path / "spool").values()
    assert (end["outcome"], end["error_cause"], end["n_total"]) == ("ABORTED", PROCESS_DIED, frames)
    assert (end["content_hash"], end["ended_at_ns"]) == (hasher.hexdigest(), t[-1])


def test_takes_are_numbered_across_boots(tmp_path: Path):
    for _ in range(2):
        with robot(tmp_path / "spool") as sender:
            for _ in range(2):
                sender.episode().end()
    numbers = [one.episode_no for one in promised(tmp_path / "spool").values()]
    assert numbers == list(range(numbers[0], numbers[0] + 4))


def test_a_spool_serves_one_robot_and_one_process(tmp_path: Path):
    in_use = r"is in use \(robot r1, process \d+\).*give this one a spool= of its own"
    with robot(tmp_path / "spool"), pytest.raises(SpoolError, match=in_use):
        robot(tmp_path / "spool").__enter__()
    with pytest.raises(SpoolError, match="belongs to robot_id 'r1', not 'r2'"):
        robot(tmp_path / "spool", "r2").__enter__()
    with robot(tmp_path / "spool"):
        pass


def test_every_robot_has_a_usual_spool_of_its_own(spools: Path):
    sender = Robot("arm/7", model_id="m1", joints=JOINTS, kafka="127.0.0.1:1", settings=Settings())
    sender.episode().end()
    sender.close(timeout=0)
    assert len(promised(spools / "hub" / "arm%2F7")) == 1


def test_a_folder_that_cannot_be_written_is_a_clear_error(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolError, match=r"no spool can be made in .*give spool= a folder that can be written"):
        robot(tmp_path / "file" / "spool").__enter__()
    with pytest.raises(SpoolError, match="is no spool"):
        promised(tmp_path)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / TABLES).write_bytes(b"not a database" * 100)
    with pytest.raises(SpoolError, match="cannot be used as a spool"):
        robot(tmp_path / "broken").__enter__()


def test_at_its_bound_new_takes_are_refused_and_the_one_under_way_may_finish(tmp_path: Path):
    position, t = motion(100)
    with robot(tmp_path / "spool", spool_bytes=20_000, spool_reserve_bytes=10_000) as sender:
        with sender.episode() as episode:
            while sender.spool_bytes < 20_000:
                episode.send_many(position, t)
            episode.send_many(position[:10], t[:10])  # it may go on
        with pytest.raises(SpoolFullError, match="no new episode may begin: what is in it is kept"):
            sender.episode()
    (kept,) = promised(tmp_path / "spool").values()
    assert (kept.frames, kept.content_hash) == (episode.frames, episode.content_hash)


def test_beyond_the_reserve_a_take_ends_with_what_was_accepted(tmp_path: Path):
    position, t = motion(100)
    with robot(tmp_path / "spool", spool_bytes=20_000, spool_reserve_bytes=10_000) as sender:
        with pytest.raises(SpoolFullError, match="the reserve of 10,000 for a take under way"):  # noqa: PT012, SIM117
            with sender.episode() as episode:
                while True:
                    episode.send_many(position, t)
        assert 30_000 <= sender.spool_bytes + 1000 < 32_000
    (kept,) = promised(tmp_path / "spool").values()
    assert (kept.frames, kept.content_hash, kept.ended) == (episode.frames, episode.content_hash, True)


def test_an_outage_of_any_length_takes_no_memory(tmp_path: Path):
    """40 MB are recorded while nobody listens; a robot without a spool would hold them all."""
    process = psutil.Process()
    values = np.zeros((1000, 3), np.float32)
    wide = {"hand": np.zeros((1000, 97), np.float32)}
    sender = Robot(
        *("r1",), model_id="m1", joints=JOINTS, channels={"hand": 97}, kafka="127.0.0.1:1", spool=tmp_path / "spool",
        settings=Settings(),
    )  # fmt: skip
    with sender.episode() as episode:
        episode.send_many(values, np.arange(1000), channels=wide)
        before = process.memory_info().rss
        for n in range(1, 100):
            episode.send_many(values, np.arange(1000) + 1000 * n, channels=wide)
        grown = process.memory_info().rss - before
    sender.close(timeout=0)
    assert sender.spool_bytes > 40_000_000
    assert grown < 15_000_000


def test_a_take_that_was_being_removed_is_removed_on_and_no_longer_promised(tmp_path: Path):
    """A crash between two pieces of a removal must not leave half a take."""
    with robot(tmp_path / "spool") as sender:
        with sender.episode() as episode:
            episode.send_many(*motion(300))
        wait_until(lambda: episode.accepted == 300, 5, "promised")
    tables = Tables(tmp_path / "spool" / TABLES)
    (row,) = tables.episodes()
    tables.transaction(lambda: tables.forget(row.key, 4))
    tables.close()
    assert promised(tmp_path / "spool") == {}
    assert inspect(tmp_path / "spool", Settings()).unsent_episodes == 0
    with robot(tmp_path / "spool") as sender:
        assert sender.buffered_bytes == 0
        wait_until(lambda: sender.spool_bytes == 0, 5, "the rest goes")


def test_flush_names_what_the_broker_does_not_have_and_where_it_is(tmp_path: Path):
    with robot(tmp_path / "spool") as sender:
        episode = sender.episode()
        episode.end()
        with pytest.raises(DeliveryError, match=f"episode {episode.id}: 2 of 2 records.*stays in the spool"):
            sender.flush(0.1)
        assert sender.buffered_bytes > 0
    with pytest.raises(ContractError, match="is closed"):
        sender.episode()


def test_durable_power_writes_through_to_the_disk(tmp_path: Path):
    with robot(tmp_path / "spool", durable="power") as sender, sender.episode() as episode:
        episode.send([1, 2, 3])
        wait_until(lambda: episode.accepted == 1, 5, "kept")
    tables = Tables(tmp_path / "spool" / TABLES, power=True)
    assert tables.synchronous == "FULL"
    tables.close()


def test_the_spool_is_a_database_anybody_can_look_into(tmp_path: Path):
    with robot(tmp_path / "spool") as sender, sender.episode() as episode:
        episode.send_many(*motion(20))
    connection = sqlite3.connect(tmp_path / "spool" / TABLES)
    assert connection.execute("SELECT id, frames, ended FROM episodes").fetchall() == [(episode.id, 20, 1)]
    connection.close()


def test_looking_into_a_spool_disturbs_neither_its_robot_nor_what_is_in_it(tmp_path: Path):
    settings = Settings(spool_bytes=500)
    assert find_spools(tmp_path) == []
    with robot(tmp_path / "hub" / "r1") as sender:
        with sender.episode() as episode:
            episode.send_many(*motion(20))
        wait_until(lambda: episode.accepted == 20, 5, "promised")
        (folder,) = find_spools(tmp_path)
        running = inspect(folder, settings)
    after = inspect(folder, settings)
    assert (running.in_use, after.in_use) == (True, False)
    for state in (running, after):
        assert (state.robot_id, state.unsent_episodes, state.unsent_frames, state.state) == ("r1", 1, 20, "FULL")
        assert [one["episode_id"] for one in state.episodes] == [episode.id]
    assert inspect(folder, Settings()).state == "TAKING"


def test_a_file_gives_back_what_it_does_not_need(tmp_path: Path):
    path = tmp_path / "spool.sqlite"
    tables = Tables(path)
    tables.transaction(lambda: tables.put_records((n, 0, 0, bytes(15_000)) for n in range(300)))
    tables.forget(0, 290)
    tables.shrink()
    first = path.stat().st_size
    tables.shrink()
    assert (path.stat().st_size, path.with_name("spool.sqlite-wal").stat().st_size) == (first - 128 * 16_384, 0)
    reader = Tables(path)  # reading writes nothing
    assert path.with_name("spool.sqlite-wal").stat().st_size == 0
    reader.close()
    tables.close()
