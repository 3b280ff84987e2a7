"""Ports of the local stack: kept between runs, never a stranger's."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kinestream.deploy.local import process
from kinestream.deploy.local.ports import PREFERRED, Remembered, choose_ports, lane_of, worker_names
from kinestream.schemas.errors import StackError
from kinestream.schemas.settings import Settings


@pytest.fixture
def stranger() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_every_service_gets_a_port_of_its_own() -> None:
    names = [*PREFERRED, "worker-2", "worker-3", "worker-of-another-kind"]
    ports = choose_ports(Remembered(), names, Settings()).ports
    assert list(ports) == names
    assert len(set(ports.values())) == len(names)


def test_a_restart_keeps_its_ports() -> None:
    ports = {"broker": process.free_port(), "registry": process.free_port()}
    assert choose_ports(Remembered(ports=ports), list(ports), Settings()).ports == ports


def test_a_strangers_port_is_left_alone(stranger: int) -> None:
    assert choose_ports(Remembered(ports={"broker": stranger}), ["broker"], Settings()).ports["broker"] != stranger


def test_a_pinned_port_is_taken_or_refused(stranger: int) -> None:
    free = process.free_port()
    assert choose_ports(Remembered(), ["store"], Settings(store_port=free)).ports == {"store": free}
    with pytest.raises(StackError, match=f"KINESTREAM_KAFKA_PORT={stranger}: the port is in use"):
        choose_ports(Remembered(), ["broker"], Settings(kafka_port=stranger))


def test_a_stack_that_starts_at_the_same_moment_gets_another_port() -> None:
    wish = Remembered(ports={"store": process.free_port()})
    ours = choose_ports(wish, ["store"], Settings()).ports["store"]
    assert ours == choose_ports(wish, ["store"], Settings()).ports["store"] == wish.ports["store"]
    other = f"from kinestream.deploy.local.claims import claim; print(claim({ours}))"
    said = subprocess.run([sys.executable, "-c", other], capture_output=True, text=True, check=True, timeout=60)
    assert said.stdout.strip() == "False"


def test_workers_keep_their_names_when_their_number_changes() -> None:
    assert worker_names(0) == []
    assert worker_names(1) == ["worker"]
    assert worker_names(3) == ["worker", "worker-2", "worker-3"]
    assert worker_names(2, bulk=True) == ["worker", "worker-2", "worker-bulk"]
    assert worker_names(0, bulk=True) == []


def test_with_a_worker_for_bulk_the_numbered_ones_read_the_live_lane() -> None:
    two, one = Remembered(bulk=True), Remembered()
    assert [lane_of(name, two, Settings()) for name in worker_names(2, bulk=True)] == ["live", "live", "bulk"]
    assert [lane_of("worker", one, Settings(lane=lane)) for lane in ("both", "bulk")] == ["both", "bulk"]


def test_what_is_remembered_is_read_back(tmp_path: Path) -> None:
    remembered = Remembered(broker="kafka", ports={"store": 1}, workers=2, socket="/x")
    remembered.save(tmp_path)
    assert Remembered.load(tmp_path) == remembered
    assert Remembered.load(tmp_path / "nowhere") == Remembered()


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"broker": 1'])
def test_a_file_that_is_not_ours_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "stack.json").write_text(text)
    with pytest.raises(StackError, match=r"stack\.json cannot be read"):
        Remembered.load(tmp_path)
