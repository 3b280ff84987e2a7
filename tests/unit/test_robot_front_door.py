"""The names of the front door, and that a robot imports no more than a robot needs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import kinestream

NAMES = [
    "Channel",
    "ContractError",
    "DeliveryError",
    "Episode",
    "EpisodeCompleted",
    "KinestreamError",
    "LayoutError",
    "Robot",
    "RobotFinding",
    "Settings",
    "Subscription",
]


def test_the_public_names_are_these_and_each_is_there():
    assert sorted(kinestream.__all__) == NAMES
    assert [getattr(kinestream, name).__name__ for name in NAMES] == NAMES
    assert dir(kinestream) == NAMES


def test_a_name_that_is_not_there_is_answered_with_those_that_are():
    with pytest.raises(AttributeError, match="has no 'Robbot'; its names are Channel"):
        _ = kinestream.Robbot


def test_a_robot_imports_neither_the_worker_nor_the_store_nor_the_command_line():
    program = "import sys, kinestream; kinestream.Robot; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert {name.partition(".")[0] for name in loaded} & {"kinestream", "confluent_kafka", "numpy"}
    unwanted = {"faust", "aiokafka", "clickhouse_connect", "pyarrow", "chdb", "typer", "rich", "yaml", "starlette"}
    assert not {name.partition(".")[0] for name in loaded} & unwanted
    assert not [name for name in loaded if name.startswith(("kinestream.streams", "kinestream.deploy"))]
