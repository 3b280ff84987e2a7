"""What a robot sends, as any consumer finds it in the topic."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from kinestream import DeliveryError, Robot, Settings
from kinestream.schemas.catalogue import FRAMES, FRAMES_BULK, PARTITIONS, topic_name
from kinestream.schemas.codec import Decoded
from kinestream.schemas.murmur2 import murmur2, partition_of
from tests.plugins.broker import Broker
from tests.robots import read_topic, received_hash, values, wait_until

JOINTS = ["hip", "knee", "ankle"]


def robot(broker: Broker, robot_id: str = "r1", lane: str = "live", spool: str | None = "", **settings: float) -> Robot:
    own = Settings(tenant=broker.tenant, **settings)  # type: ignore[arg-type]
    return Robot(
        robot_id,
        model_id="m1",
        joints=JOINTS,
        kafka=broker.bootstrap,
        lane=lane,  # type: ignore[arg-type]
        spool=spool,
        settings=own,
    )


def ends(n: int) -> object:
    return lambda came: sum(one.record == "EpisodeEnd" for one in came) >= n


def of(came: Sequence[Decoded], record: str, episode_id: str) -> list:
    return [
        one.value
        for one in came
        if one.record == record
        and (one.value.episode_id if record == "FrameChunk" else one.value["episode_id"]) == episode_id
    ]


def test_murmur2_is_the_jvms():
    known = {b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536, b"abc": 479470107}
    assert {key: (murmur2(key) ^ 1 << 31) - (1 << 31) for key in known} == known


def test_a_take_arrives_whole_in_order_and_bit_for_bit(broker: Broker):
    position = np.random.default_rng(1).standard_normal((157, 3)).astype(np.float32)
    t = 1_700_000_000_000_000_000 + np.arange(157) * 10_000_001
    with robot(broker) as sender:
        with sender.episode(skill="grasp") as episode:
            for row, stamp in zip(position, t.tolist(), strict=True):
                episode.send(row, t=stamp, command=row)
        sender.flush()
        assert episode.accepted == episode.frames == 157
        assert sender.buffered_bytes == 0
    came, messages = read_topic(broker.bootstrap, topic_name(FRAMES, broker.tenant), ends(1))
    mine = [one for one in came if one.record != "RobotStatus"]
    assert [mine[0].record, *{one.record for one in mine[1:-1]}, mine[-1].record] == [
        *("EpisodeStart", "FrameChunk", "EpisodeEnd")
    ]
    chunks = of(came, "FrameChunk", episode.id)
    assert values(chunks, "position", 3).tobytes() == values(chunks, "command", 3).tobytes() == position.tobytes()
    assert np.concatenate([chunk.t_ns for chunk in chunks]).tolist() == t.tolist()
    assert [chunk.first_seq for chunk in chunks] == list(np.cumsum([0, *map(len, chunks)]))[:-1]
    assert received_hash(mine[0].value, chunks, 157) == mine[-1].value["content_hash"] == episode.content_hash
    assert {message.key() for message in messages} == {b"r1"}


def test_every_robot_lands_on_the_partition_a_jvm_client_would_choose(broker: Broker):
    names = [f"robot-{i}" for i in range(8)]
    for name in names:
        with robot(broker, name) as sender, sender.episode() as episode:
            episode.send([1, 2, 3])
    _, messages = read_topic(broker.bootstrap, topic_name(FRAMES, broker.tenant), ends(8))
    partitions = PARTITIONS if broker.kind == "kafka" else 4  # the test broker makes every topic with 4
    found = {message.key().decode(): message.partition() for message in messages}
    assert found == {name: partition_of(name.encode(), partitions) for name in names}


def test_an_exception_ends_the_take_aborted_and_its_frames_are_kept(broker: Broker):
    def take() -> None:
        with robot(broker) as sender, sender.episode() as episode:
            episode.send([1, 2, 3])
            raise ValueError("slipped")

    with pytest.raises(ValueError, match="slipped"):
        take()
    came, _ = read_topic(broker.bootstrap, topic_name(FRAMES, broker.tenant), ends(1))
    (end,) = [one.value for one in came if one.record == "EpisodeEnd"]
    assert (end["outcome"], end["error_cause"], end["n_total"]) == ("ABORTED", "ValueError: slipped", 1)


def test_a_partial_chunk_does_not_wait_for_frames_that_do_not_come(broker: Broker):
    with robot(broker) as sender, sender.episode() as episode:
        episode.send([1, 2, 3])
        wait_until(lambda: episode.accepted == 1, 10, "the frame is sent after 100 ms and acknowledged")
        assert not episode.ended


def test_recordings_go_to_the_bulk_lane_in_larger_chunks(broker: Broker):
    with robot(broker, lane="bulk") as sender, sender.episode() as episode:
        episode.send_many(np.zeros((130, 3)), t=np.arange(130))
    came, _ = read_topic(broker.bootstrap, topic_name(FRAMES_BULK, broker.tenant), ends(1))
    assert [len(chunk) for chunk in of(came, "FrameChunk", episode.id)] == [64, 64, 2]


def test_a_robot_says_once_in_a_while_what_it_records(broker: Broker):
    topic = topic_name(FRAMES, broker.tenant)

    def told(recording: str) -> object:
        return lambda came: any(one.record == "RobotStatus" and one.value["recording"] == recording for one in came)

    with robot(broker, status_interval_s=0.1) as sender:
        read_topic(broker.bootstrap, topic, told(""))
        episode = sender.episode()
        came, _ = read_topic(broker.bootstrap, topic, told(episode.id))
        episode.end()
        sender.flush()
    status = [one.value for one in came if one.record == "RobotStatus"][-1]
    assert (status["robot_id"], status["boot_id"], status["clock_source"]) == ("r1", sender.boot_id, "SYSTEM")
    assert status["unsent_episodes"] == []


def test_takes_of_one_boot_are_numbered_by_one_from_its_milliseconds(broker: Broker):
    with robot(broker) as sender:
        for _ in range(3):
            sender.episode().end()
    came, _ = read_topic(broker.bootstrap, topic_name(FRAMES, broker.tenant), ends(3))
    starts = [one.value for one in came if one.record == "EpisodeStart"]
    first = starts[0]["episode_no"]
    assert [start["episode_no"] for start in starts] == [first, first + 1, first + 2]
    assert abs(first - starts[0]["started_at_ns"] // 1_000_000) < 60_000


def test_threads_may_share_an_episode_and_no_frame_is_lost(broker: Broker):
    with robot(broker) as sender, sender.episode() as episode:

        def send() -> None:
            for i in range(500):
                episode.send([i, i, i])

        threads = [threading.Thread(target=send) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    came, _ = read_topic(broker.bootstrap, topic_name(FRAMES, broker.tenant), ends(1))
    chunks = of(came, "FrameChunk", episode.id)
    assert sum(map(len, chunks)) == 2000
    assert received_hash(came_start(came), chunks, 2000) == episode.content_hash


def came_start(came: Sequence[Decoded]) -> dict:
    return next(one.value for one in came if one.record == "EpisodeStart")


def test_a_program_that_forgets_to_close_its_robot_still_delivers(broker: Broker, spools: Path):
    program = f"""
import kinestream
settings = kinestream.Settings(tenant={broker.tenant!r})
robot = kinestream.Robot("r1", model_id="m1", joints=["a"], kafka={broker.bootstrap!r}, spool={str(spools)!r},
    settings=settings)
robot.episode().send([1.0])
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
    came, _ = read_topic(broker.bootstrap, topic_name(FRAMES, broker.tenant), ends(1))
    (end,) = [one.value for one in came if one.record == "EpisodeEnd"]
    assert (end["outcome"], end["n_total"]) == ("ABORTED", 1)


def test_ctrl_c_ends_the_take_aborted_and_delivers_it(broker: Broker, spools: Path):
    program = f"""
import kinestream, threading
settings = kinestream.Settings(tenant={broker.tenant!r})
with kinestream.Robot("r1", model_id="m1", joints=["a"], kafka={broker.bootstrap!r}, spool={str(spools)!r},
    settings=settings) as robot:
    with robot.episode() as episode:
        episode.send([1.0])
        print("recording", flush=True)
        while not threading.Event().wait(0.1):  # a signal that comes just before a wait is only seen after it
            pass
"""
    running = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert running.stdout is not None
        assert running.stdout.readline() == b"recording\n"
        running.send_signal(2)
        _, said = running.communicate(timeout=60)
    finally:
        running.kill()
    assert said.rstrip().endswith(b"KeyboardInterrupt")
    came, _ = read_topic(broker.bootstrap, topic_name(FRAMES, broker.tenant), ends(1))
    (end,) = [one.value for one in came if one.record == "EpisodeEnd"]
    assert (end["outcome"], end["error_cause"].partition(":")[0]) == ("ABORTED", "KeyboardInterrupt")


def test_a_message_the_broker_refuses_is_an_error_with_what_to_do(kafka_broker: Broker):
    small = replace(kafka_broker, tenant=kafka_broker.tenant + "-small")
    topic = NewTopic(topic_name(FRAMES, small.tenant), 1, config={"max.message.bytes": "400"})
    admin = AdminClient({"bootstrap.servers": small.bootstrap})
    admin.create_topics([topic])[topic.topic].result(30)
    sender = robot(small, spool=None)
    sender.episode().end()  # its start is larger than the topic takes
    with pytest.raises(DeliveryError, match=r"takes no more: .*MSG_SIZE_TOO_LARGE.*start the robot again"):
        sender.flush()
    episode = sender.episode()
    with pytest.raises(DeliveryError, match="MSG_SIZE_TOO_LARGE"):
        episode.send([1, 2, 3])
    with pytest.raises(DeliveryError):
        sender.close()
