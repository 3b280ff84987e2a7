"""Two lanes in one group: a worker of each reads its own topic, and one of both may be replaced by them."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import psutil

from kinestream.schemas.catalogue import EPISODES, FRAMES, FRAMES_BULK, Topic, topic_name
from tests.assembling import Take
from tests.plugins.worker import Pipeline
from tests.reading import read_frames, read_topic
from tests.sending import RawSender


def frames_by_lane(pipeline: Pipeline, name: str) -> dict[str, int]:
    """Frames a worker has added to episodes, by topic it has partitions of."""
    with urllib.request.urlopen(f"http://127.0.0.1:{pipeline.ports[name]}/healthz", timeout=5) as answer:
        partitions = json.load(answer)["partitions"]
    found: dict[str, int] = {}
    for place, facts in partitions.items():
        topic = place.rpartition("-")[0]
        found[topic] = found.get(topic, 0) + facts["frames"]
    return found


def topic(pipeline: Pipeline, lane: Topic) -> str:
    return topic_name(lane, pipeline.broker.tenant)


def complete(pipeline: Pipeline) -> set[str]:
    return {row[0] for row in pipeline.query("SELECT episode_id FROM episodes FINAL WHERE status = 'COMPLETE'")}


def test_each_lane_is_processed_by_its_own_worker_and_bulk_gives_way(kafka_pipeline: Pipeline) -> None:
    pipeline, live, bulk = kafka_pipeline, Take(frames=200, seed=1), Take(frames=300, seed=2)
    pipeline.lanes = {"live": "live", "bulk": "bulk"}
    pipeline.start("live", wait=False)
    pipeline.start("bulk")
    pipeline.wait_for(lambda: pipeline.healthy("live"))
    RawSender(pipeline.broker, FRAMES_BULK).send(*bulk.whole())
    RawSender(pipeline.broker).send(*live.whole())
    pipeline.wait_for(lambda: complete(pipeline) == {live.id, bulk.id})
    assert frames_by_lane(pipeline, "live") == {topic(pipeline, FRAMES): 200}
    assert frames_by_lane(pipeline, "bulk") == {topic(pipeline, FRAMES_BULK): 300}
    threads = Path(f"/proc/{pipeline.running['bulk'].pid}/task")
    assert {psutil.Process(int(one.name)).nice() for one in threads.iterdir()} == {10}
    assert psutil.Process(pipeline.running["live"].pid).nice() == 0


def test_a_worker_of_both_lanes_is_replaced_by_one_of_each_and_nothing_is_lost(kafka_pipeline: Pipeline) -> None:
    pipeline, live, bulk = kafka_pipeline, Take(frames=300, seed=1), Take(frames=300, seed=2)
    takes = {FRAMES: live, FRAMES_BULK: bulk}
    senders = {lane: RawSender(pipeline.broker, lane) for lane in takes}
    pipeline.start("both")
    for lane, take in takes.items():
        senders[lane].send(*take.whole()[:16])
    pipeline.wait_for(lambda: sum(frames_by_lane(pipeline, "both").values()) == 300)
    pipeline.lanes = {"live": "live", "bulk": "bulk"}
    pipeline.start("live", wait=False)
    pipeline.start("bulk", wait=False)
    assert pipeline.stop("both") == 0
    for lane, take in takes.items():
        senders[lane].send(*take.whole()[16:])
    pipeline.wait_for(lambda: complete(pipeline) == {live.id, bulk.id}, 60)
    for take in takes.values():
        frames = read_frames(pipeline, take.id)
        assert all(frames[name].tobytes() == values.tobytes() for name, values in take.values.items())
    assert len(read_topic(pipeline, EPISODES)) == 2, "one event an episode"
