"""A robot killed with SIGKILL within takes, with a broker that comes and goes: every promised frame arrives."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

from kinestream import Robot, Settings
from kinestream.producers.spool import promised
from kinestream.producers.spool.orphans import PROCESS_DIED
from kinestream.schemas.catalogue import FRAMES, FRAMES_BULK, topic_name
from kinestream.schemas.codec import Decoded
from tests.plugins.mockbroker import MockBroker
from tests.robots import read_topic, received_hash

KILLS = 5
#: A robot that records take after take at 500 Hz and says what it was promised, a line each ten frames.
ROBOT = """
import json, sys, threading
import numpy as np
from kinestream import Robot, Settings

kafka, spool = sys.argv[1:]
settings = Settings(live_within_s=0.3, status_interval_s=0.2)
pace = threading.Event()
with Robot("r1", model_id="m1", joints=["a", "b"], kafka=kafka, spool=spool, settings=settings) as robot:
    while True:
        with robot.episode() as episode:
            for k in range(150):
                episode.send(np.array([k, episode.accepted], np.float32))
                pace.wait(0.002)
                if k % 10 == 9:
                    print(json.dumps([episode.id, episode.accepted]), flush=True)
"""


def test_every_promised_frame_of_a_robot_killed_again_and_again_arrives_once(mock_broker: MockBroker, tmp_path: Path):
    rng = random.Random(11)
    said: dict[str, int] = {}
    for kill in range(KILLS):
        (mock_broker.down if kill % 3 == 1 else mock_broker.up)()
        run_and_kill(mock_broker, tmp_path, said, lines=rng.randint(5, 40), toggle=kill % 3 == 2)
    kept = promised(tmp_path)
    for episode_id, accepted in said.items():
        assert kept[episode_id].frames >= accepted, "what the process was told is in the spool"
    mock_broker.up()
    with Robot(
        "r1", model_id="m1", joints=["a"], kafka=mock_broker.bootstrap, spool=tmp_path, settings=Settings()
    ) as r:
        r.flush(20)
    ends = check_arrived(mock_broker, promised(tmp_path))
    assert sum(end["error_cause"] == PROCESS_DIED for end in ends.values()) >= KILLS - 1
    assert {id_: end["content_hash"] for id_, end in ends.items()} == {id_: e.content_hash for id_, e in kept.items()}
    numbers = [episode.episode_no for episode in kept.values()]
    assert numbers == sorted(set(numbers))


def run_and_kill(broker: MockBroker, spool: Path, said: dict[str, int], lines: int, toggle: bool) -> None:
    command = [sys.executable, "-c", ROBOT, broker.bootstrap, str(spool)]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert running.stdout is not None
        for number in range(lines):
            episode_id, accepted = json.loads(running.stdout.readline())
            said[episode_id] = accepted
            if toggle and number in (10, 20):
                (broker.down if number == 10 else broker.up)()
    finally:
        running.kill()
        for line in running.stdout or []:
            if line.endswith("]\n"):
                episode_id, accepted = json.loads(line)
                said[episode_id] = accepted
        running.wait()


def check_arrived(broker: MockBroker, kept: dict) -> dict[str, dict]:
    """Each episode in one topic only, whole, in its order; a record that came twice came with the same bytes."""
    ends: dict[str, dict] = {}
    for topic in (FRAMES, FRAMES_BULK):
        lane = {id_ for id_, episode in kept.items() if episode.lane == ("live" if topic is FRAMES else "bulk")}
        came, messages = read_topic(broker.bootstrap, topic_name(topic, "hub"), lambda c, w=lane: w <= ended(c))
        records: dict[str, list[tuple[Decoded, bytes]]] = defaultdict(list)
        for one, message in zip(came, messages, strict=True):
            if one.record != "RobotStatus":
                id_ = one.value.episode_id if one.record == "FrameChunk" else one.value["episode_id"]
                records[id_].append((one, message.value()))
        assert set(records) == lane
        for id_, found in records.items():
            first_copies = {raw: one for one, raw in reversed(found)}
            ends[id_] = check_one([one for one, raw in found if first_copies.get(raw) is one])
    return ends


def ended(came: list[Decoded]) -> set[str]:
    return {one.value["episode_id"] for one in came if one.record == "EpisodeEnd"}


def check_one(records: list[Decoded]) -> dict:
    """Of one episode, each different record once, by its first copy."""
    start, *chunks, end = records
    assert (start.record, end.record, {one.record for one in chunks}) == ("EpisodeStart", "EpisodeEnd", {"FrameChunk"})
    values = [one.value for one in chunks]
    assert [chunk.first_seq for chunk in values] == list(np.cumsum([0, *map(len, values)]))[:-1]
    assert sum(map(len, values)) == end.value["n_total"]
    assert received_hash(start.value, values, end.value["n_total"]) == end.value["content_hash"]
    return end.value
