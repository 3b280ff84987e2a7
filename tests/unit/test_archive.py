"""What the archive gives back of what a worker stored: the same episodes, the same bits."""

from __future__ import annotations

import json
import socket

import numpy as np
import pytest

from kinestream.schemas.errors import StoreError
from kinestream.schemas.settings import Settings
from kinestream.streams import archive as module
from kinestream.streams.archive import Archive
from tests.assembling import JOINTS, Log, Owner, Take
from tests.plugins.store import Store
from tests.stored import archive, put

DAY_MS = 24 * 3600 * 1000


def stored(database: Store, *records, log: Log | None = None) -> Owner:
    owner = Owner()
    owner.feed((log or Log()).append(*records))
    put(database, owner)
    return owner


def test_frames_come_back_bit_for_bit_and_nan_with_them(database: Store) -> None:
    take = Take(frames=300)
    take.values["velocity"][17, 1] = np.nan
    take.values["position"][3, 0] = -0.0
    stored(database, *take.whole())
    frames = archive(database).frames(take.id)
    assert list(frames) == ["seq", "t", "t_ns", "joints", "position", "velocity"]
    assert frames["seq"].tolist() == list(range(300))
    assert frames["t_ns"].tolist() == take.t_ns.tolist()
    assert (frames["t"] == (take.t_ns - take.t_ns[0]) / 1e9).all()
    assert frames["joints"].tolist() == list(JOINTS)
    for name, values in take.values.items():
        assert (frames[name].shape, frames[name].tobytes()) == ((300, 2), values.tobytes())
    kinds = {name: values.dtype.str for name, values in frames.items()}
    assert {kinds["seq"], kinds["t_ns"]} == {"<i8"}
    assert (kinds["t"], kinds["position"], kinds["joints"][:2]) == ("<f8", "<f4", "<U")


def test_missing_frames_are_absent(database: Store) -> None:
    take = Take(frames=300)
    there = [*range(20), *range(60, 130), *range(256, 300)]
    owner, log = Owner(), Log()
    chunks = [take.chunk(0, 20), take.chunk(60, 130), take.chunk(256, 300)]
    owner.feed(log.append(take.start(), *chunks, take.end()))
    owner.pass_ms(20_000)
    put(database, owner)
    assert archive(database).episode(take.id)["status"] == "INCOMPLETE"
    frames = archive(database).frames(take.id)
    assert frames["seq"].tolist() == there
    assert frames["position"].tobytes() == take.values["position"][there].tobytes()
    assert frames["t"][0] == 0


def test_frames_of_the_latest_revision(database: Store) -> None:
    take = Take(frames=40)
    owner, log = Owner(), Log()
    owner.feed(log.append(take.start(), take.chunk(0, 10), take.chunk(20, 40), take.end()))
    owner.pass_ms(20_000)
    put(database, owner)
    owner.feed(log.append(take.chunk(10, 20)))
    put(database, owner)
    read = archive(database)
    assert read.frames(take.id)["seq"].tolist() == list(range(40))
    (one,) = read.episodes()
    assert (one["revision"], one["status"], one["frames"]) == (2, "COMPLETE", 40)


def test_an_episode_of_no_frames_has_arrays_of_none(database: Store) -> None:
    take = Take(frames=0)
    stored(database, take.start(), take.end())
    frames = archive(database).frames(take.id)
    assert {name: values.shape for name, values in frames.items()} == {
        "seq": (0,),
        "t": (0,),
        "t_ns": (0,),
        "joints": (2,),
        "position": (0, 2),
        "velocity": (0, 2),
    }
    assert [one.agrees for one in archive(database).verify([take.id])] == [True]


def test_the_newest_come_first_over_days_and_an_empty_store_has_none(database: Store) -> None:
    assert archive(database).episodes() == []
    takes = [Take(frames=10, no=n) for n in range(5)]
    for n, take in enumerate(takes):
        stored(database, *take.whole(), log=Log(now_ms=1_800_000_000_000 + n * DAY_MS))
    listed = archive(database).episodes(3)
    assert [one["episode_id"] for one in listed] == [take.id for take in takes[:1:-1]]
    assert len(archive(database).episodes(10)) == 5
    wanted = {"episode_id", "robot_id", "model_id", "skill", "status", "verdict", "frames", "started_at", "revision"}
    assert wanted <= listed[0].keys()
    assert listed[0]["started_at"] == "2027-01-19T08:00:00.010Z"


def test_rows_that_are_not_merged_yet_count_once(database: Store) -> None:
    older, newer = Take(frames=10, no=1), Take(frames=10, no=2)
    stored(database, *older.whole())
    owner = stored(database, *newer.whole(), log=Log(now_ms=1_800_000_000_000 + DAY_MS))
    for generation in range(2, 5):
        put(database, owner, generation)
    assert [one["episode_id"] for one in archive(database).episodes(2)] == [newer.id, older.id]


def test_what_is_being_recorded_is_there_too_and_its_frames_so_far(database: Store) -> None:
    done, running = Take(frames=10, no=1, robot="r2"), Take(frames=300, no=2)
    stored(database, *done.whole())
    stored(database, running.start(), *running.chunks()[:20], log=Log(now_ms=1_800_000_100_000))
    open_, closed = archive(database).episodes()
    assert (open_["episode_id"], open_["status"], open_["verdict"]) == (running.id, "OPEN", "")
    assert (open_["revision"], open_["frames"], open_["skill"]) == (0, 128, "grasp")
    assert closed["status"] == "COMPLETE"
    assert archive(database).frames(running.id)["position"].tobytes() == running.values["position"][:128].tobytes()
    assert archive(database).episode(running.id)["status"] == "OPEN"


def test_one_episode_with_its_metrics_and_findings_is_ready_for_json(database: Store) -> None:
    take = Take(frames=300)
    take.values["position"][100:140, 1] = np.nan
    stored(database, *take.whole())
    found = archive(database).episode(take.id)
    json.dumps(found, allow_nan=False)
    assert found["joints"] == list(JOINTS)
    assert (found["frames"], found["frames_expected"], found["hash_verified"]) == (300, 300, True)
    assert {one["id"] for one in found["metrics"]} >= {"T1", "I1"}
    assert "I1" in {one["metric"] for one in found["findings"]}
    assert found["content_hash"] == take.content_hash()


def test_what_was_converted_and_where_from_is_read_from_the_start_record(database: Store) -> None:
    said = {
        "source": "bench/a.mcap",
        "source_started_at_ns": 1_600_000_000_123_456_789,
        "conversions": ["deg to rad", "b"],
    }
    replayed, live, running = (Take(frames=10, no=n) for n in (1, 2, 3))
    stored(database, replayed.start(**said), *replayed.chunks(), replayed.end())
    stored(database, *live.whole(), log=Log(now_ms=1_800_000_100_000))
    stored(database, running.start(**said), log=Log(now_ms=1_800_000_200_000))
    for take in (replayed, running):
        found = archive(database).episode(take.id)
        assert (found["source"], found["conversions"]) == ("bench/a.mcap", ["deg to rad", "b"])
        assert found["source_started_at"] == "2020-09-13T12:26:40.123456789Z"
    ended = archive(database).episode(replayed.id)["source_ended_at"]
    assert ended > "2020-09-13T12:26:40.123456789Z", "it lasted as long as its stamps say, not as its replay did"
    assert "source_ended_at" not in archive(database).episode(running.id), "nobody knows yet"
    found = archive(database).episode(live.id)
    assert (found["source"], found["conversions"], "source_started_at" in found) == ("", [], False)
    json.dumps(found, allow_nan=False)


def test_an_unknown_episode_is_told_from_an_empty_one(database: Store) -> None:
    for question in (archive(database).episode, archive(database).frames):
        with pytest.raises(StoreError, match=r"no episode 'nobody' in the store .* `kinestream episodes` lists them"):
            question("nobody")


def test_every_hash_is_computed_from_what_is_read_back(database: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    takes = [Take(frames=n, no=n, seed=n) for n in (5, 128, 300, 301)]
    for n, take in enumerate(takes):
        stored(database, *take.whole(), log=Log(now_ms=1_800_000_000_000 + n % 2 * DAY_MS))
    monkeypatch.setattr(module, "VERIFY_FRAMES", 302)
    verified = {one.episode_id: one for one in archive(database).verify([*(take.id for take in takes), "nobody"])}
    assert {i: one.computed for i, one in verified.items()} == {take.id: take.content_hash() for take in takes}
    assert all(one.agrees for one in verified.values())


def test_a_changed_bit_in_the_store_is_seen(database: Store) -> None:
    take, sound = Take(frames=200, no=1), Take(frames=200, no=2)
    stored(database, *sound.whole())
    owner = Owner()
    owner.feed(Log().append(*take.whole()))
    block = owner.store.blocks[take.id, 1]
    block.channels["velocity"].view(np.uint32)[7, 1] ^= 1
    put(database, owner)
    assert {one.episode_id: one.agrees for one in archive(database).verify([take.id, sound.id])} == {
        take.id: False,
        sound.id: True,
    }


def test_a_store_that_is_away_is_one_line_that_says_what_to_do() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        with pytest.raises(StoreError, match=r"^no store answers at \S+ \(connection refused\): see `kine"):
            Archive(Settings(), url)
