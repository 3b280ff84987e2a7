"""An episode that fails again and again is given up, whatever dies meanwhile; its neighbours never notice."""

from __future__ import annotations

import json

from kinestream.schemas.catalogue import EPISODES, FRAMES_DLQ, RECEIPTS
from kinestream.schemas.codec import Codec
from kinestream.schemas.registry import Registry
from tests.assembling import Take
from tests.plugins.worker import Pipeline
from tests.reading import read_topic
from tests.sending import RawSender, encode


def attempts(pipeline: Pipeline, take: Take) -> int:
    rows = pipeline.query("SELECT facts FROM journal FINAL WHERE episode_id = {id:String}", id=take.id)
    return int(json.loads(rows[0][0] or "{}").get("attempts", 0)) if rows else 0


def status_of(pipeline: Pipeline, take: Take) -> str:
    rows = pipeline.query("SELECT status FROM episodes FINAL WHERE episode_id = {id:String}", id=take.id)
    return str(rows[0][0]) if rows else ""


def test_a_refused_episode_is_quarantined_after_three_attempts_over_a_crash_and_the_rest_is_whole(
    kafka_pipeline: Pipeline,
) -> None:
    pipeline = kafka_pipeline
    # The store takes no block of this robot: what a row too strange for it would be.
    pipeline.store.client().command("ALTER TABLE frame_blocks ADD CONSTRAINT sound CHECK robot_id != 'poison'")
    pipeline.extra = {"KINESTREAM_FLUSH_INTERVAL_S": "2", "KINESTREAM_COMMIT_INTERVAL_S": "0.2"}
    bad, neighbours = Take(robot="poison"), [Take(robot=f"r{n}", seed=n) for n in range(4)]
    sender = RawSender(pipeline.broker)
    for take in [*neighbours[:2], bad, *neighbours[2:]]:
        sender.send(*take.whole(), robot=take.robot)
    pipeline.start()
    assert pipeline.wait_for(lambda: attempts(pipeline, bad)) < 3
    pipeline.kill()
    seen = pipeline.log().count(f"for episode {bad.id} is refused")
    pipeline.start()
    pipeline.wait_for(lambda: status_of(pipeline, bad) == "QUARANTINED")
    assert 1 <= pipeline.log().count(f"for episode {bad.id} is refused") - seen < 3, "attempts survive the worker"
    pipeline.wait_for(lambda: all(status_of(pipeline, take) == "COMPLETE" for take in neighbours))
    letters = {one.value: one.headers["reason"] for one in read_topic(pipeline, FRAMES_DLQ)}
    assert letters == {encode(*record): "QUARANTINED" for record in bad.whole()}, "its records as they came"
    codec = Codec(Registry(), "")
    receipts = pipeline.wait_for(lambda: read_topic(pipeline, RECEIPTS))
    told = {one.value["episode_id"]: one.value["status"] for one in (codec.decode(r.value) for r in receipts)}
    assert told == {bad.id: "QUARANTINED", **{take.id: "COMPLETE" for take in neighbours}}
    assert {one.key for one in receipts} == {take.robot.encode() for take in [bad, *neighbours]}
    assert {one.ce_id for one in read_topic(pipeline, EPISODES)} == {f"{take.id}/1" for take in [bad, *neighbours]}
