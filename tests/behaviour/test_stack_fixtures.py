"""The broker fixtures themselves: what they say when a broker is absent, and that nothing outlives them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.plugins.broker import Broker

ROOT = Path(__file__).parents[2]
ASKS = "def test_it(broker):\n    assert broker.kind\n"
WAITS = """
import signal
def test_it(test_broker, brokers):
    print("pids", *[one.pid for one in brokers.processes], flush=True)
    signal.pause()
"""


def pytest_on(folder: Path, text: str) -> list[str]:
    (folder / "test_given.py").write_text(text)
    config = ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(folder), "-p", "tests.plugins.broker"]
    return [sys.executable, "-m", "pytest", *config, "-s", "-p", "no:cacheprovider", str(folder / "test_given.py")]


def environment(folder: Path, **further: str) -> dict[str, str]:
    """Without network, jars or a CI, unless ``further`` says so."""
    kept = {key: value for key, value in os.environ.items() if key != "CI" and not key.startswith("KINESTREAM_")}
    offline = {"HTTPS_PROXY": "http://127.0.0.1:1", "KINESTREAM_CACHE": str(folder / "cache")}
    return {**kept, **offline, **further}


def run(folder: Path, text: str, **further: str) -> subprocess.CompletedProcess[str]:
    command = pytest_on(folder, text)
    return subprocess.run(
        command, cwd=ROOT, env=environment(folder, **further), capture_output=True, text=True, timeout=100, check=False
    )


def test_without_jars_a_test_skips_with_its_reason_and_the_summary_says_so(tmp_path: Path) -> None:
    done = run(tmp_path, ASKS)
    assert done.returncode == 0, done.stdout
    assert "1 passed, 1 skipped" in done.stdout
    summary = [line for line in done.stdout.splitlines() if line.startswith("brokers: ")]
    assert len(summary) == 1
    assert "test broker ran 1 test; Apache Kafka did not run: the jars of Apache Kafka 4.3.1 could not" in summary[0]


def test_in_ci_a_test_that_needs_kafka_fails_without_jars(tmp_path: Path) -> None:
    done = run(tmp_path, ASKS, CI="true")
    assert done.returncode == 1
    assert "1 passed, 1 error" in done.stdout
    assert "CI must run on Apache Kafka: the jars" in done.stdout


def test_a_cluster_of_the_settings_replaces_both(tmp_path: Path, test_broker: Broker) -> None:
    done = run(tmp_path, ASKS, KINESTREAM_KAFKA=test_broker.bootstrap)
    assert "1 passed" in done.stdout
    assert "brokers: the cluster of KINESTREAM_KAFKA ran 1 test" in done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="only the Linux kernel tells a child that its parent was killed")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_no_broker_outlives_a_session_that_is_killed(tmp_path: Path, number: signal.Signals) -> None:
    command = pytest_on(tmp_path, WAITS)
    with subprocess.Popen(command, cwd=ROOT, env=environment(tmp_path), stdout=subprocess.PIPE, text=True) as session:
        assert session.stdout is not None
        pids = next(line.partition("pids ")[2] for line in session.stdout if "pids " in line)
        children = [psutil.Process(int(pid)) for pid in pids.split()]
        assert len(children) == 1
        session.send_signal(number)
        session.stdout.read()
    assert psutil.wait_procs(children, timeout=20)[1] == []
