"""A take that was recorded before is known when it closes: the event names the other one."""

from __future__ import annotations

import uuid

import numpy as np

from kinestream.schemas.catalogue import EPISODES
from kinestream.schemas.codec import Codec
from kinestream.schemas.registry import Registry
from tests.assembling import Take
from tests.plugins.worker import Pipeline
from tests.reading import read_topic
from tests.sending import RawSender


def recording(seed: int) -> dict[str, np.ndarray]:
    """Reaches of three seconds, of their own shape for each seed."""
    rng, t = np.random.default_rng(seed), np.arange(300)[:, None] / 100
    pace, way, phase = rng.uniform(0.2, 0.5, (3, 1, 2)) * [[[2 * np.pi]], [[1.0]], [[10.0]]]
    return {
        "position": (0.5 + way * np.sin(pace * t + phase)).astype(np.float32),
        "velocity": (way * pace * np.cos(pace * t + phase)).astype(np.float32),
    }


def take_of(values: dict[str, np.ndarray], no: int, **fields: object) -> Take:
    # ids rise as a robot's do: what starts in the same millisecond is ordered by them
    take = Take(no=no, seed=no, id=f"0190{no:04d}-0000-7000-8000-{uuid.uuid4().hex[:12]}", **fields)
    return _with(take, {name: channel.copy() for name, channel in values.items()})


def _with(take: Take, values: dict[str, np.ndarray]) -> Take:
    take.values = values
    return take


def events(pipeline: Pipeline) -> dict[str, dict]:
    codec = Codec(Registry(), "")
    return {
        event["episode_id"]: event
        for one in read_topic(pipeline, EPISODES)
        for event in [codec.decode(one.value).value]
    }


def told(event: dict) -> list[tuple[str, str, str]]:
    return [(f["metric"], f["flag"], f["message"]) for f in event["findings"] if f["metric"] in ("D1", "D2")]


def test_a_take_recorded_before_is_named_when_it_closes(pipeline: Pipeline) -> None:
    """Stored or of the same flush, the same again (D1), all but the same (D2), or another take of the skill."""
    pipeline.start()
    sender = RawSender(pipeline.broker)
    first = take_of(recording(1), 1)
    sender.send(*first.whole())
    pipeline.wait_for(lambda: first.id in events(pipeline))
    again, shaken, other = take_of(recording(1), 2), take_of(recording(1), 3), take_of(recording(2), 4)
    shaken.values["position"] += np.random.default_rng(3).normal(0, 1e-3, (300, 2)).astype(np.float32)
    twice = take_of(recording(2), 5)
    sender.send(*(record for take in (again, shaken, other, twice) for record in take.whole()))
    pipeline.wait_for(lambda: len(events(pipeline)) == 5)
    found = events(pipeline)
    assert told(found[first.id]) == told(found[other.id]) == []
    assert told(found[again.id]) == [("D1", "FAIL", f"Holds exactly the same frames as {first.id}")]
    assert told(found[shaken.id]) == [("D2", "SUSPECT", f"Moves almost exactly as {first.id} does")]
    assert told(found[twice.id]) == [("D1", "FAIL", f"Holds exactly the same frames as {other.id}")]
    assert [found[take.id]["verdict"] for take in (again, shaken)] == ["REJECT", "REVIEW"]
    rows = {m["id"]: (m["flag"], m["value"]) for m in found[other.id]["metrics"]}
    assert (rows["D1"], rows["D2"]) == (("GOOD", 0.0), ("GOOD", None))
