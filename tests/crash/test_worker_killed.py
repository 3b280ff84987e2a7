"""A worker killed with SIGKILL loses nothing, doubles nothing and shortens nothing."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from kinestream.producers.publish import PublishReport, publish
from kinestream.producers.recordings import open_recording
from kinestream.producers.robot import Robot
from kinestream.schemas.catalogue import EPISODES
from kinestream.streams.worker import CLOSING_BLOCKS
from tests.assembling import Take
from tests.plugins.worker import Pipeline
from tests.reading import read_frames, read_topic
from tests.sending import RawSender

JOINTS = ["left_shoulder_pitch_joint", "left_elbow_joint"]


def visible_duplicates(pipeline: Pipeline) -> list[str]:
    """Identities that were announced with more than one byte string."""
    distinct = {(one.ce_id, one.value) for one in read_topic(pipeline, EPISODES)}
    return [ce_id for ce_id, n in Counter(ce_id for ce_id, _ in distinct).items() if n > 1]


def announced(pipeline: Pipeline) -> set[str]:
    return {one.ce_id for one in read_topic(pipeline, EPISODES)}


def test_an_overlapping_episode_survives_a_kill_after_the_other_was_announced(pipeline: Pipeline) -> None:
    """The classic loss: the first episode's end lets the offset pass frames of the second that are only in memory."""
    pipeline.start()
    settings = pipeline.settings
    # One robot id each, but one partition: both sit on the same log.
    first = Robot("r1", model_id="unitree-g1-29-dof", joints=JOINTS, spool=None, settings=settings, rate_hz=100)
    with (
        first,
        Robot("r1", model_id="unitree-g1-29-dof", joints=JOINTS, spool=None, settings=settings, rate_hz=100) as second,
    ):
        early = second.episode(skill="place")
        with early as long:
            send(long, 0, 150)
            with first.episode(skill="grasp") as short:
                send(short, 0, 120)
            first.flush(20)
            second.flush(20)
            pipeline.wait_for(lambda: any(i.startswith(short.id) for i in announced(pipeline)))
            pipeline.kill()
            send(long, 150, 260)
        second.flush(20)
        pipeline.start()
        pipeline.wait_for(lambda: len(pipeline.query("SELECT 1 FROM episodes FINAL")) == 2)
    rows = dict(pipeline.query("SELECT episode_id, (status, frames, revision) FROM episodes FINAL"))
    assert rows == {short.id: ("COMPLETE", 120, 1), long.id: ("COMPLETE", 260, 1)}
    frames = read_frames(pipeline, long.id)
    assert frames["seq"].tolist() == list(range(260))
    assert frames["position"].tolist() == [position(k).astype(np.float32).tolist() for k in range(260)]
    assert pipeline.wait_for(lambda: announced(pipeline) == {f"{short.id}/1", f"{long.id}/1"})
    assert visible_duplicates(pipeline) == []


def position(k: int) -> np.ndarray:
    return np.array([0.2 * np.sin(k / 100), 0.5])


def send(episode: object, first: int, last: int) -> None:
    for k in range(first, last):
        episode.send(position(k), t=1_900_000_000_000_000_000 + k * 10_000_000 + (k % 7) * 100_000)  # type: ignore[attr-defined]


@pytest.mark.recordings
@pytest.mark.slow
def test_sixty_real_episodes_come_back_bit_for_bit_though_the_worker_dies_three_times(
    pipeline: Pipeline, recordings: Path
) -> None:
    folder = recordings / "g1-inspire-lerobot-v21"
    pipeline.start()
    reports: list[PublishReport] = []
    sender = threading.Thread(
        target=lambda: reports.append(publish([folder], speed=60, settings=pipeline.settings)), daemon=True
    )
    sender.start()
    for stored in (5, 20, 40):
        pipeline.wait_for(lambda least=stored: count(pipeline) >= least, 60)
        pipeline.kill()
        pipeline.start()
    sender.join(60)
    assert len(reports[0].episodes) == 60
    pipeline.wait_for(lambda: count(pipeline) == 60, 60)
    pipeline.wait_for(lambda: len(announced(pipeline)) == 60)
    assert announced(pipeline) == {f"{one.episode_id}/1" for one in reports[0].episodes}
    assert visible_duplicates(pipeline) == []
    rows = dict(pipeline.query("SELECT episode_id, (status, hash_verified, content_hash) FROM episodes FINAL"))
    for sent, recorded in zip(reports[0].episodes, open_recording(folder), strict=True):
        assert sent.source == recorded.source
        assert rows[sent.episode_id] == ("COMPLETE", 1, sent.content_hash)
        frames = read_frames(pipeline, sent.episode_id)
        assert frames["seq"].tolist() == list(range(len(recorded.t_ns)))
        assert (np.diff(frames["t_ns"]) == np.diff(recorded.t_ns)).all()
        assert recorded.command is not None
        expected = {"position": recorded.position, "command": recorded.command, **recorded.further}
        for name, values in expected.items():
            assert frames[name].tobytes() == values.tobytes(), (sent.source, name)


def count(pipeline: Pipeline) -> int:
    return int(pipeline.query("SELECT count() FROM episodes FINAL")[0][0])


def test_takes_that_end_right_after_a_kill_are_judged_from_their_blocks_and_each_announced(
    kafka_pipeline: Pipeline,
) -> None:
    """More blocks than one round reads back: what ends before its metrics are rebuilt is judged from what is stored."""
    pipeline, sender = kafka_pipeline, RawSender(kafka_pipeline.broker)
    takes = [Take(robot=f"r{n}", seed=n, frames=3000) for n in range(CLOSING_BLOCKS * 128 // 3000 + 2)]
    for take in takes:
        sender.send(take.start(), *take.chunks(250), robot=take.robot)
    pipeline.start()
    stored = "SELECT sum(frames) FROM frame_blocks FINAL"
    pipeline.wait_for(lambda: pipeline.query(stored)[0][0] == sum(take.frames for take in takes))
    pipeline.kill()
    for take in takes:
        sender.send(take.end(), robot=take.robot)
    pipeline.start()
    pipeline.wait_for(lambda: count(pipeline) == len(takes), 60)
    rows = pipeline.query("SELECT DISTINCT status, frames, hash_verified, revision FROM episodes FINAL")
    assert rows == [("COMPLETE", 3000, 1, 1)]
    pipeline.wait_for(lambda: announced(pipeline) == {f"{take.id}/1" for take in takes})
    assert visible_duplicates(pipeline) == []
