"""Takes of a task become its statistics; later ones are judged beside them, and say by which."""

from __future__ import annotations

import numpy as np

from tests.assembling import Take
from tests.behaviour.test_twins import events, recording, take_of
from tests.plugins.worker import Pipeline
from tests.sending import RawSender


def stretched(no: int, seconds: float) -> Take:
    """A take of its own shape that lasts so long."""
    take, values = Take(frames=round(seconds * 100), no=no, seed=no), recording(no)
    grown = np.linspace(0, 299, take.frames)
    for name, channel in values.items():
        slower = 300 / take.frames if name == "velocity" else 1.0
        columns = [np.interp(grown, np.arange(300), column) * slower for column in channel.T]
        take.values[name] = np.stack(columns, axis=1).astype(np.float32)
    return take


def test_from_twenty_takes_on_a_take_is_judged_beside_them_also_after_a_restart(test_pipeline: Pipeline) -> None:
    pipeline = test_pipeline
    pipeline.start()
    sender = RawSender(pipeline.broker)
    usual = [take_of(recording(no), no) for no in range(1, 21)]
    sender.send(*(record for take in usual for record in take.whole(100)))
    (task,) = pipeline.wait_for(lambda: pipeline.query("SELECT statistics, episodes, skill FROM task_statistics"))
    assert task[1:] == (20, "grasp")
    early = events(pipeline)
    assert all(flags(event)["E5"] == "NOT_EVALUATED" for event in early.values())
    assert not any("+task-" in event["rule_version"] for event in early.values())

    long = stretched(21, 9.0)
    whole = long.whole(100)
    sender.send(*whole[:3])
    pipeline.wait_for(lambda: pipeline.query("SELECT 1 FROM frame_blocks WHERE episode_id = {id:String}", id=long.id))
    pipeline.kill()
    pipeline.start()  # what it is judged by is in the journal
    sender.send(*whole[3:], *stretched(22, 3.1).whole(100))
    pipeline.wait_for(lambda: len(events(pipeline)) == 22)
    found = events(pipeline)
    assert found[long.id]["rule_version"].endswith(f"+task-{task[0]}")
    (finding,) = [f for f in found[long.id]["findings"] if f["metric"] == "E5"]
    assert (finding["flag"], finding["origin"]) == ("SUSPECT", "task")
    (last,) = [event for episode_id, event in found.items() if episode_id not in early and episode_id != long.id]
    assert flags(last)["E5"] == "GOOD"


def flags(event: dict) -> dict[str, str]:
    return {row["id"]: row["flag"] for row in event["metrics"] if not row["joint"]}
