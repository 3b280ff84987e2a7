"""From a robot's first frame to the announced episode, through real processes."""

from __future__ import annotations

import numpy as np

from kinestream.producers.robot import Robot
from tests.plugins.worker import Pipeline

JOINTS = ["left_shoulder_pitch_joint", "left_elbow_joint"]


def record(robot: Robot, frames: int = 300) -> str:
    t0 = 1_900_000_000_000_000_000
    with robot.episode(skill="grasp", area="household") as episode:
        for k in range(frames):
            position = np.array([0.2 * np.sin(k / 100), 0.5])
            episode.send(position, t=t0 + k * 10_000_000 + (k % 7) * 100_000)
    return str(episode.id)


def test_a_take_becomes_an_accepted_episode_with_its_frames(pipeline: Pipeline) -> None:
    pipeline.start()
    robot = Robot("r1", model_id="unitree-g1-29-dof", joints=JOINTS, settings=pipeline.settings, rate_hz=100)
    with robot:
        episode_id = record(robot)
    rows = pipeline.wait_for(
        lambda: pipeline.query("SELECT episode_id, status, verdict, frames, hash_verified FROM episodes")
    )
    assert rows == [(episode_id, "COMPLETE", "ACCEPT", 300, 1)]
    blocks = pipeline.query("SELECT block, frames FROM frame_blocks FINAL ORDER BY block")
    assert blocks == [(0, 128), (1, 128), (2, 44)]
