"""What the hub finds in a robot's take comes back to its station at once, and only what is new and its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from confluent_kafka import Producer

from kinestream import ContractError, Robot, RobotFinding, Settings
from kinestream.schemas.catalogue import FINDINGS, topic_name
from kinestream.schemas.codec import Codec
from kinestream.schemas.registry import Registry
from tests.plugins.mockbroker import MockBroker
from tests.plugins.worker import Pipeline
from tests.robots import wait_until

JOINTS = ["left_shoulder_pitch_joint", "left_elbow_joint"]
TOPIC = topic_name(FINDINGS, "hub")


class Lamp:
    """A station's lamp: keeps what it was told, and when."""

    def __init__(self) -> None:
        self.told: list[tuple[float, RobotFinding]] = []

    def __call__(self, finding: RobotFinding) -> None:
        self.told.append((time.monotonic(), finding))

    @property
    def words(self) -> list[tuple[str, str, str, bool]]:
        return [(one.metric, one.joint, one.state, one.provisional) for _, one in self.told]


def test_a_faulty_frame_lights_the_station_s_lamp_within_two_seconds(pipeline: Pipeline) -> None:
    pipeline.start()
    lamp, pace, faulty_s = Lamp(), threading.Event(), 0.0
    with Robot("r1", model_id="unitree-g1-29-dof", joints=JOINTS, settings=pipeline.settings, rate_hz=100) as robot:
        robot.on_finding(lamp)
        with robot.episode(skill="grasp") as episode:
            for k in range(800):
                position = np.array([0.2 * np.sin(k / 100), np.nan if k == 150 else 0.5])
                episode.send(position, t=1_900_000_000_000_000_000 + k * 10_000_000 + (k % 7) * 100_000)
                faulty_s = time.monotonic() if k == 150 else faulty_s
                if lamp.told:
                    break
                pace.wait(0.01)
        wait_until(lambda: not lamp.told[-1][1].provisional, 30, "the final word")
    at_s, first = lamp.told[0]
    assert (first.metric, first.joint, first.state, first.provisional) == ("I1", "left_elbow_joint", "RAISED", True)
    assert (first.episode_id, first.flag, first.from_s) == (episode.id, "FAIL", pytest.approx(1.5003, abs=1e-6))
    assert "left elbow" in first.text
    assert "左肘" in first.text_zh
    assert at_s - faulty_s < 2.0
    final = [one for one in lamp.words if not one[3]]
    assert ("I1", "left_elbow_joint", "RAISED", False) in final


class Hub:
    """Says findings as a worker does, of robot r1 unless told otherwise."""

    def __init__(self, bootstrap: str) -> None:
        self._producer = Producer({"bootstrap.servers": bootstrap, "partitioner": "murmur2_random", "log_level": 2})
        self._codec = Codec(Registry(), TOPIC)

    def say(self, episode_id: str, version: int, metric: str = "I1", robot_id: str = "r1", **more: Any) -> None:
        value = {
            "finding_id": f"{episode_id}-{metric}",
            "tenant": "hub",
            "robot_id": robot_id,
            "model_id": "m1",
            "provisional": True,
            "episode_id": episode_id,
            "metric": metric,
            "rule_version": "r",
            "first_seq": 0,
            "last_seq": 9,
            "t_start_ns": 1_000_000_000,
            "t_end_ns": 3_500_000_000,
            **more,
        }
        headers = [("ce_id", f"{value['finding_id']}/{version}".encode())]
        self._producer.produce(TOPIC, self._codec.encode("QualityFinding", value), robot_id.encode(), headers=headers)
        assert self._producer.flush(10) == 0


@pytest.fixture
def robot(mock_broker: MockBroker) -> Iterator[Robot]:
    settings = Settings(kafka=mock_broker.bootstrap)
    with Robot("r1", model_id="m1", joints=["a"], spool=None, settings=settings) as made:
        yield made


def light(hub: Hub, lamp: Lamp, episode_id: str) -> None:
    """Findings until one comes: reading has begun."""
    versions = iter(range(1, 10_000))

    def said() -> bool:
        hub.say(episode_id, next(versions), "T5")
        return bool(lamp.told)

    wait_until(said, 20, "the first finding")


def test_only_what_is_new_and_of_its_own_takes_is_handed_over(mock_broker: MockBroker, robot: Robot) -> None:
    hub, lamp = Hub(mock_broker.bootstrap), Lamp()
    with robot.episode() as episode:
        episode.send([0.0], t=1_000_000_000)
        hub.say(episode.id, 3, "T8")  # before anybody listened
        robot.on_finding(lamp)
        light(hub, lamp, episode.id)
        hub.say("of a former start", 5)
        hub.say(episode.id, 5, robot_id="r2")
        hub.say(episode.id, 5, flag="FAIL", value=0.5, unit="share", message="elbow", message_zh="肘")
        hub.say(episode.id, 5)  # a worker that began again repeats itself
        hub.say(episode.id, 4)  # and what it said before that
        hub.say(episode.id, 6, state="CLEARED")
        wait_until(lambda: ("I1", "", "CLEARED", True) in lamp.words, 10, "the last word")
    assert [one for one in lamp.words if one[0] != "T5"] == [("I1", "", "RAISED", True), ("I1", "", "CLEARED", True)]
    raised = next(one for _, one in lamp.told if one.metric == "I1")
    assert (raised.value, raised.unit, raised.threshold, raised.flag) == (0.5, "share", None, "FAIL")
    assert (raised.from_s, raised.to_s, raised.text, raised.text_zh) == (0.0, 2.5, "elbow", "肘")


def test_a_callback_that_fails_is_logged_once_and_stops_neither_sending_nor_the_next_finding(
    mock_broker: MockBroker, robot: Robot, caplog: pytest.LogCaptureFixture
) -> None:
    hub, lamp = Hub(mock_broker.bootstrap), Lamp()

    def broken(finding: RobotFinding) -> None:
        lamp(finding)
        raise RuntimeError("no such lamp")

    robot.on_finding(broken)
    with robot.episode() as episode:
        episode.send([0.0], t=0)
        light(hub, lamp, episode.id)
        for version in range(20_000, 20_003):
            hub.say(episode.id, version)
        wait_until(lambda: len([one for one in lamp.words if one[0] == "I1"]) == 3, 10, "all three")
        episode.send([0.0], t=1)
    robot.flush()
    assert episode.accepted == 2
    assert len([one for one in caplog.records if "callback failed" in one.message]) == 1


def test_a_broker_that_was_away_is_read_again_by_itself(mock_broker: MockBroker, robot: Robot) -> None:
    hub, lamp = Hub(mock_broker.bootstrap), Lamp()
    robot.on_finding(lamp)
    with robot.episode() as episode:
        episode.send([0.0], t=0)
        light(hub, lamp, episode.id)
        mock_broker.down()
        mock_broker.up()
        hub.say(episode.id, 20_000)
        wait_until(lambda: "I1" in {one[0] for one in lamp.words}, 10, "a finding after the outage")


def test_one_callback_for_a_robot_that_is_open(robot: Robot) -> None:
    robot.on_finding(print)
    with pytest.raises(ContractError, match="has a callback for findings"):
        robot.on_finding(print)
    robot.close()
    with pytest.raises(ContractError, match="is closed"):
        robot.on_finding(print)
