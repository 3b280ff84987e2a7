"""A ROS 2 node that records takes: JointState in, the SDK out; only :func:`main` knows ROS, all else runs without.

``python -m kinestream.producers.bridges.ros2 --ros-args -p robot_id:=arm-7 -p model:=universal-robots-ur5e``; copy it
where a robot needs more (docs/ros2.md).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Final

from kinestream.producers.bridges.joint_states import JointStateBridge
from kinestream.producers.episode import Episode
from kinestream.producers.ingest.messages import End, Mark, Start, read_message
from kinestream.producers.robot import Robot
from kinestream.schemas.errors import ContractError, KinestreamError

log = logging.getLogger("kinestream.ros2")

#: Messages of a topic that wait while another is handled.
_DEPTH: Final = 1000


class TakeRecorder:
    """Frames of one robot while a take is recorded; called by one thread.

    ``make`` is :class:`Robot` with all that is not in the messages, such as its spool.
    """

    def __init__(self, robot_id: str, bridge: JointStateBridge, make: Callable[..., Robot] = Robot) -> None:
        self._robot_id, self._bridge, self._make = robot_id, bridge, make
        self._robot: Robot | None = None
        self.episode: Episode | None = None

    def on_joint_state(self, topic: str, message: Any, received_ns: int) -> None:
        """A message of the state, or of a topic beside it; ``received_ns``: ns since the epoch, UTC.

        What cannot be taken ends the take ABORTED: a take with holes that nobody sees is worse than none.
        """
        try:
            if self.episode is None:
                self._bridge.hold(topic, message)
                return
            frame = self._bridge.take(topic, message, received_ns)
            if frame is not None:
                self.episode.send(**frame.arguments())
        except KinestreamError as problem:
            log.error("robot %s: %s", self._robot_id, problem)
            if self.episode is not None:
                self.episode.end("ABORTED", str(problem))
                self.episode = None

    def on_take(self, text: str) -> str:
        """A line of docs/ingest.md: ``start``, ``mark`` or ``end``; the answer, for people.

        Raises :class:`ContractError` for any other, or at the wrong time.
        """
        message = read_message(text.encode())
        if isinstance(message, Start):
            robot = self._opened()
            self._bridge.begin()
            message.labels.setdefault("conversions", list(self._bridge.conversions))
            self.episode = robot.episode(**message.labels)
            return f"recording {self.episode.id}"
        if self.episode is None:
            raise ContractError(f"{text!r}: no take is being recorded; start one")
        if isinstance(message, Mark):
            self.episode.mark(message.kind, message.label, message.note, message.t)
            return f"marked before frame {self.episode.frames}"
        if isinstance(message, End):
            episode, self.episode = self.episode, None
            episode.end(message.outcome, message.error_cause, message.restorable)
            return f"{episode.id}: {episode.frames} frames, {message.outcome}"
        raise ContractError(f"{text!r}: here only start, mark and end are understood")

    def close(self) -> None:
        """End the take that is recorded (ABORTED), and give the broker what it takes."""
        if self._robot is not None:
            self._robot.close()

    def _opened(self) -> Robot:
        if self._robot is None:
            self._robot = self._make(self._robot_id, **self._bridge.robot())
        return self._robot


def main(arguments: list[str] | None = None) -> None:
    """Run the node until it is interrupted; exits with a sentence where there is no ROS 2."""
    try:
        import rclpy
        from rclpy.executors import ExternalShutdownException
        from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
        from sensor_msgs.msg import JointState
        from std_msgs.msg import String
    except ImportError as missing:
        raise SystemExit(
            f"error: {missing}: rclpy comes with ROS 2, not from a package index; run this where `source"
            " /opt/ros/jazzy/setup.bash` has set ROS 2 up, with kinestream installed into that Python (docs/ros2.md)"
        ) from missing

    rclpy.init(args=arguments)
    node = rclpy.create_node("kinestream")
    asked = {"robot_id": "", "model": "", "state_topic": "/joint_states", "command_topics": [""]}
    told = {name: node.declare_parameter(name, default).value for name, default in asked.items()}
    beside = [topic for topic in told["command_topics"] if topic]
    bridge = JointStateBridge(told["state_topic"], beside, told["model"])
    recorder = TakeRecorder(told["robot_id"], bridge)

    def on_take(message: Any) -> None:
        try:
            answer = recorder.on_take(message.data)
            node.get_logger().info(answer)
        except KinestreamError as problem:
            answer = f"error: {problem}"
            node.get_logger().error(answer)
        answers.publish(String(data=answer))

    # Best effort hears both kinds of publishers; a reliable subscription would not hear a sensor's.
    sensors = QoSProfile(depth=_DEPTH, reliability=ReliabilityPolicy.BEST_EFFORT)
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    answers = node.create_publisher(String, "~/answers", 10)
    for topic in bridge.heard:
        hear = lambda message, topic=topic: recorder.on_joint_state(topic, message, time.time_ns())  # noqa: E731
        node.create_subscription(JointState, topic, hear, sensors)
    describe = lambda message: bridge.describe("/robot_description", message.data)  # noqa: E731
    node.create_subscription(String, "/robot_description", describe, latched)
    node.create_subscription(String, "~/take", on_take, 10)
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass  # the take that is recorded is ended below
    finally:
        recorder.close()


if __name__ == "__main__":
    main()
