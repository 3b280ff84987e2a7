"""From the spool through a worker and back: its receipt is what ends a take's stay on the robot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kinestream import Robot
from kinestream.producers.spool import promised
from tests.plugins.broker import Broker
from tests.plugins.store import Store
from tests.plugins.worker import Pipeline
from tests.robots import wait_until


@pytest.fixture
def hub(test_broker: Broker, database: Store, tmp_path: Path):
    made = Pipeline(test_broker, database, tmp_path)
    made.start()
    yield made
    made.stop_all()


def test_a_worker_s_receipt_empties_the_spool_while_the_robot_runs_and_after_it(hub: Pipeline, spools: Path):
    sender = Robot("r1", model_id="m1", joints=["a", "b"], spool=spools / "r1", settings=hub.settings)
    with sender.episode() as first:
        first.send_many(np.zeros((300, 2)), np.arange(300) * 10_000_000)
    wait_until(lambda: not promised(spools / "r1"), 30, "the hub has the first take")
    with sender.episode() as second:
        second.send_many(np.zeros((300, 2)), np.arange(300) * 10_000_000)
    sender.close()
    drained = spool(hub, "drain", str(spools), "--timeout", "30", "--json")
    assert json.loads(drained.stdout)["drained"] is True, drained.stderr
    (state,) = json.loads(spool(hub, "status", str(spools), "--json").stdout)["spools"]
    assert (state["unsent_episodes"], state["without_receipt"], state["bytes"]) == (0, 0, 0)
    rows = hub.query("SELECT toString(episode_id), status, frames FROM episodes FINAL")
    assert sorted(rows) == sorted((one.id, "COMPLETE", 300) for one in (first, second))


def spool(hub: Pipeline, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("KINESTREAM_")} | hub.environment("robot")
    command = [sys.executable, "-c", "from kinestream.deploy.cli import main; main()", "spool", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done
