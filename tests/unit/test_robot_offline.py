"""A robot without a spool whose broker does not answer: bounded memory, a word about it, and clear errors."""

from __future__ import annotations

import logging
import threading
from typing import Any

import numpy as np
import pytest

from kinestream import ContractError, DeliveryError, LayoutError, Robot, Settings
from kinestream.deploy.local.process import free_port
from kinestream.schemas.errors import SettingError
from tests.robots import wait_until

FRAME = np.zeros(3, np.float32)


def offline_robot(**settings: Any) -> Robot:
    return Robot(
        "r1",
        model_id="m1",
        joints=["hip", "knee", "ankle"],
        kafka=f"127.0.0.1:{free_port()}",
        spool=None,
        settings=Settings(**settings),
    )


def close_undelivered(robot: Robot) -> str:
    with pytest.raises(DeliveryError) as raised:
        robot.close(timeout=0.1)
    return str(raised.value)


def test_send_does_not_wait_for_the_broker_and_flush_names_what_it_does_not_have():
    robot = offline_robot()
    with robot.episode() as episode:
        for i in range(25):
            episode.send(FRAME, t=i)
    assert (episode.frames, episode.accepted) == (25, 0)
    with pytest.raises(DeliveryError, match=f"episode {episode.id}: 5 of 5 records, 25 of 25 frames") as raised:
        robot.flush(timeout=0.1)
    assert "start the broker and call flush() again" in str(raised.value)
    assert episode.id in close_undelivered(robot)


def test_a_full_buffer_blocks_send_and_says_so_every_second(caplog: pytest.LogCaptureFixture):
    robot = offline_robot(buffer_bytes=20_000)
    outcome: list[BaseException] = []

    def record() -> None:
        try:
            with robot.episode() as episode:
                while True:
                    episode.send(FRAME, t=1)
        except DeliveryError as problem:
            outcome.append(problem)

    def said() -> list[str]:
        return [line.getMessage() for line in caplog.records if "has been blocked" in line.getMessage()]

    with caplog.at_level(logging.WARNING, "kinestream.robot"):
        recorder = threading.Thread(target=record)
        recorder.start()
        wait_until(lambda: len(said()) >= 2, 10, "two lines about the blocked send()")
    assert "of 20000 buffer bytes wait for the broker 127.0.0.1:" in said()[0]
    assert 15_000 < robot.buffered_bytes <= 20_000
    with pytest.raises(DeliveryError, match="are not acknowledged"):
        robot.flush(timeout=0.1)  # another thread's send() holds it up no longer than that
    assert "20" in close_undelivered(robot)
    recorder.join(10)
    assert "the robot was closed while send() waited" in str(outcome[0])
    assert robot.buffered_bytes <= 21_000  # the last chunk and the end mark go past the bound


def test_a_robot_records_one_episode_at_a_time():
    robot = offline_robot()
    first = robot.episode()
    with pytest.raises(ContractError, match=f"is recording episode {first.id}"):
        robot.episode()
    first.end()
    robot.episode().end()
    close_undelivered(robot)


def test_a_closed_robot_records_nothing_more():
    robot = offline_robot()
    episode = robot.episode()
    close_undelivered(robot)
    assert (episode.ended, episode.outcome) == (True, "ABORTED")
    with pytest.raises(ContractError, match="is closed: make a new Robot"):
        robot.episode()
    robot.close()


def test_undelivered_data_does_not_hide_the_exception_that_ended_the_program(monkeypatch: pytest.MonkeyPatch):
    close = Robot.close
    monkeypatch.setattr(Robot, "close", lambda self: close(self, timeout=0.1))

    def program() -> None:
        with offline_robot() as robot, robot.episode() as episode:
            episode.send(FRAME, t=1)
            raise ValueError("slipped")

    with pytest.raises(ValueError, match="slipped") as raised:
        program()
    assert "are not acknowledged" in raised.value.__notes__[0]


def test_without_a_broker_s_address_the_error_says_how_to_give_one():
    with pytest.raises(SettingError, match="KINESTREAM_KAFKA"):
        Robot("r1", model_id="m1", joints=["a"], settings=Settings())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model_id": "nobody-s", "joints": None}, "'nobody-s' is not described.*give joints="),
        ({"joints": "hip"}, "joints='hip': give a list"),
        ({"joints": ["hip", "hip"]}, "every name must be there once"),
        ({"robot_id": ""}, "robot_id=''"),
        ({"robot_id": "\ud800"}, "robot_id="),
        ({"channels": {"t_ns": 1}}, "reserved"),
        ({"channels": {"position": 3}}, "every name must be there once"),
    ],
)
def test_a_robot_described_wrongly_is_refused(arguments: dict[str, Any], message: str):
    described = {"robot_id": "r1", "model_id": "m1", "joints": ["hip"], "kafka": "127.0.0.1:1", **arguments}
    with pytest.raises(LayoutError, match=message):
        Robot(**described, settings=Settings())


def test_the_joints_of_a_described_model_need_not_be_given():
    robot = Robot("r1", model_id="unitree-g1-29-dof", kafka="127.0.0.1:1", spool=None, settings=Settings())
    with pytest.raises(LayoutError, match=r"\(29,\) is needed"):
        robot.episode().send(FRAME)
    close_undelivered(robot)
