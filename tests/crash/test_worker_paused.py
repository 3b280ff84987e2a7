"""A worker that is stopped past its session and goes on afterwards changes nothing: neither a row nor an event."""

from __future__ import annotations

import json
import os
import signal
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kinestream.schemas.catalogue import EPISODES
from tests.assembling import Take
from tests.plugins.worker import Pipeline
from tests.reading import read_topic
from tests.sending import RawSender

#: The shortest session that Apache Kafka allows by default.
SESSION_S = 6
EPISODE_ROWS = "SELECT episode_id, version, status, frames, content_hash, event FROM episodes FINAL ORDER BY episode_id"
BLOCK_ROWS = "SELECT episode_id, block, cityHash64(*) FROM frame_blocks FINAL ORDER BY episode_id, block"


def facts(pipeline: Pipeline, name: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://127.0.0.1:{pipeline.ports[name]}/healthz", timeout=5) as answer:
        return dict(json.load(answer))


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def announced(pipeline: Pipeline) -> list[str]:
    return sorted(one.ce_id for one in read_topic(pipeline, EPISODES))


def test_a_paused_owner_changes_nothing_when_it_goes_on(kafka_pipeline: Pipeline) -> None:
    pipeline = kafka_pipeline
    # It flushes rarely, so that it is stopped with whole takes in memory that nobody has stored or announced.
    pipeline.extra = {"KINESTREAM_SESSION_S": str(SESSION_S), "KINESTREAM_FLUSH_INTERVAL_S": "4"}
    paused = pipeline.start("paused")
    sender, takes = RawSender(pipeline.broker), [Take(robot=f"r{n}", seed=n) for n in range(8)]
    for take in takes:
        sender.send(*take.whole(), robot=take.robot)
    pipeline.wait_for(lambda: facts(pipeline, "paused")["frames"] == sum(take.frames for take in takes))
    with stopped(paused.pid):
        assert len(announced(pipeline)) < len(takes), "the paused one has something left to do"
        pipeline.extra = {"KINESTREAM_SESSION_S": str(SESSION_S)}
        pipeline.start("other", wait=False)
        ids = {f"{take.id}/1" for take in takes}
        pipeline.wait_for(lambda: set(announced(pipeline)) == ids, 60)
        told = announced(pipeline)  # what it announced just before it was stopped may have been repeated by the other
        episodes, blocks = pipeline.query(EPISODE_ROWS), pipeline.query(BLOCK_ROWS)
    assert {row[2:4] for row in episodes} == {("COMPLETE", takes[0].frames)}
    shared = lambda: all(facts(pipeline, name)["partitions"] for name in ("paused", "other"))  # noqa: E731
    pipeline.wait_for(lambda: pipeline.healthy("paused") and shared(), 60)
    later = [Take(robot=f"r{n}", seed=n, no=2) for n in range(8)]
    for take in later:
        sender.send(*take.whole(), robot=take.robot)
    ids = sorted([*told, *(f"{take.id}/1" for take in later)])
    pipeline.wait_for(lambda: len(announced(pipeline)) >= len(ids), 60)
    assert announced(pipeline) == ids, "each once: the paused one repeated nothing"
    known = {take.id for take in takes}
    assert [row for row in pipeline.query(EPISODE_ROWS) if row[0] in known] == episodes
    assert [row for row in pipeline.query(BLOCK_ROWS) if row[0] in known] == blocks
