"""A take that one process left open and another goes on with: the same records as if nothing had happened."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kinestream import Robot, Settings
from kinestream.producers.spool import promised
from tests.robots import wait_until

FRAMES = 300
T_NS = 1_900_000_000_000_000_000 + np.arange(FRAMES) * 10_000_000
POSITION = np.random.default_rng(3).normal(size=(FRAMES, 2)).astype(np.float32)
IMU = np.random.default_rng(4).normal(size=(FRAMES, 3)).astype(np.float32)


def robot(spool: Path, *, go_on: bool = True, **more: object) -> Robot:
    declared = {"joints": ["a", "b"], "channels": {"unused": 4, "imu": 3}, **more}
    return Robot("r1", model_id="m1", spool=spool, go_on=go_on, settings=Settings(kafka="127.0.0.1:1"), **declared)


def send(episode, part: slice) -> None:
    episode.send_many(POSITION[part], T_NS[part], channels={"imu": IMU[part]})


def uninterrupted(spool: Path) -> str:
    whole = robot(spool)
    with whole.episode() as episode:
        send(episode, slice(None))
    whole.close(0)
    return str(episode.content_hash)


@pytest.mark.parametrize("cuts", [(1,), (127,), (128,), (129, 130), (5, 256, 257), (299,), (300,)])
def test_frames_and_hash_are_those_of_a_take_that_was_never_interrupted(tmp_path: Path, cuts: tuple[int, ...]):
    first = robot(tmp_path / "spool")
    episode = first.episode(skill="grasp")
    episode_id = episode.id
    at = cuts[0]
    send(episode, slice(0, at))
    first.close(0, leave_open=True)
    for cut in (*cuts[1:], FRAMES):
        back = robot(tmp_path / "spool")
        gone_on = back.left_open
        assert gone_on is not None
        assert (gone_on.id, gone_on.frames, gone_on.accepted) == (episode_id, at, at)
        if cut > at:
            send(gone_on, slice(at, cut))
        at = max(cut, at)
        if cut == FRAMES:
            gone_on.end("SUCCESS")
            wait_until(lambda e=gone_on: e.end_kept, 10, "the end is kept")
        back.close(0, leave_open=True)
    (kept,) = promised(tmp_path / "spool").values()
    assert (kept.ended, kept.frames, kept.start["skill"]) == (True, FRAMES, "grasp")
    assert kept.content_hash == uninterrupted(tmp_path / "other")
    np.testing.assert_array_equal(kept.t_ns, T_NS)
    np.testing.assert_array_equal(kept.channels["imu"], IMU)


def test_a_take_of_other_joints_or_channels_is_ended_instead(tmp_path: Path):
    for n, other in enumerate(({"joints": ["a", "c"]}, {"channels": {"unused": 4}}, {"model_id": "m2"})):
        spool = tmp_path / str(n)
        first = robot(spool)
        send(first.episode(), slice(0, 50))
        first.close(0, leave_open=True)
        model = str(other.pop("model_id", "m1"))
        declared = {"joints": ["a", "b"], "channels": {"unused": 4, "imu": 3}, **other}
        settings = Settings(kafka="127.0.0.1:1")
        back = Robot("r1", model_id=model, spool=spool, go_on=True, settings=settings, **declared)
        assert back.left_open is None
        (kept,) = promised(spool).values()
        assert (kept.ended, kept.frames) == (True, 50)
        back.close(0)


def test_a_note_is_kept_with_the_spool(tmp_path: Path):
    first = robot(tmp_path)
    first.keep_note("hello")
    first.close(0)
    back = robot(tmp_path)
    assert back.note == "hello"
    back.close(0)
