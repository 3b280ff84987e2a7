"""A robot of the chaos floor that is told to end while the broker is away: what it promised gets there."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from kinestream.deploy.chaos import robot
from kinestream.deploy.chaos.promises import read_promises
from kinestream.producers.spool.inspection import inspect
from kinestream.producers.spool.places import find_spools
from kinestream.schemas.settings import Settings
from tests.plugins.mockbroker import MockBroker
from tests.robots import wait_until


def test_a_robot_that_is_to_end_waits_for_a_broker_that_is_away(
    mock_broker: MockBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Closing alone gives an absent broker one second: a run that ended just after a kill missed frames in spools."""
    monkeypatch.setenv("KINESTREAM_KAFKA", mock_broker.bootstrap)
    monkeypatch.setenv("KINESTREAM_TENANT", "hub")
    monkeypatch.setenv("KINESTREAM_SPOOL", str(tmp_path / "spool"))
    monkeypatch.setattr(robot, "TAKE", (0.3, 0.4))
    promises, rest, ends = tmp_path / "r1.promises", tmp_path / "rest", list[int]()
    given = ["--robot-id", "r1", "--seed", "1", "--promises", str(promises), "--until", str(rest)]
    running = threading.Thread(target=lambda: ends.append(robot.main(given)), daemon=True)
    running.start()
    wait_until(lambda: promises.exists() and len(read_promises([promises])) >= 2, 30, "two takes")
    mock_broker.down()
    rest.touch()
    wait_until(lambda: "is away" in caplog.text, 30, "the robot says that the broker is away")
    running.join(timeout=3)  # longer than close() waits
    assert running.is_alive()
    mock_broker.up()
    running.join(timeout=30)
    assert ends == [0]
    (spool,) = find_spools(tmp_path / "spool")
    state = inspect(spool, Settings())
    assert state.unsent_episodes == 0
    assert state.without_receipt == len([one for one in read_promises([promises]).values() if one.promised]) >= 2
