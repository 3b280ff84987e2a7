"""README.md is true: every command and program in it runs, in order, as its reader would run it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
#: until the worker has closed the robot's episode, that of the JSON lines and the sixty of the recording
WAIT = """
until kinestream episodes --last 100 --json |
    python -c 'import json, sys; sys.exit(sum(e["revision"] > 0 for e in json.load(sys.stdin)) != 62)'; do :; done
"""
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.M | re.S)


def test_the_two_commands_are_targets_of_the_makefile() -> None:
    kind, first = BLOCKS[0]
    assert kind == "bash"
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M)
    assert [line.split()[1] for line in first.splitlines()] == ["demo", "test"]
    assert {"demo", "test"} <= set(targets)


def test_a_robot_is_connected_in_ten_lines_and_a_subscriber_in_five() -> None:
    robot, subscriber = (body for kind, body in BLOCKS if kind == "python")
    assert len([line for line in robot.splitlines() if line.strip()]) <= 11
    assert len([line for line in subscriber.splitlines() if line.strip()]) <= 5


def test_what_it_links_to_is_there() -> None:
    links = re.findall(r"\]\(([\w/.-]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.slow
@pytest.mark.recordings
@pytest.mark.timeout(300)
def test_every_block_runs_in_order(recordings: Path, tmp_path: Path) -> None:
    """One shell for all, as a reader has; only the path to the recordings is this machine's."""
    script = ["set -euo pipefail"]
    for number, (kind, body) in enumerate(BLOCKS[1:]):
        if kind == "python":
            (tmp_path / f"block{number}.py").write_text(body)
            body = f"python block{number}.py"
        script.append(body.replace("../shared/data/recordings", str(recordings)))
        if "kinestream publish" in body:
            script.append(WAIT)  # a reader is slower than the worker; this shell is not
    environment = {k: v for k, v in os.environ.items() if not k.startswith("KINESTREAM_")}
    environment |= {
        "PATH": f"{Path(sys.executable).parent}:{environment['PATH']}",
        "KINESTREAM_HOME": str(tmp_path / "home"),
        "KINESTREAM_SPOOL": str(tmp_path / "spool"),
    }
    try:
        done = subprocess.run(
            ["bash", "-c", "\n".join(script)],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=240,
        )
    finally:
        subprocess.run(["kinestream", "down"], cwd=tmp_path, env=environment, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "500 frames promised" in done.stdout
    assert "universal-robots-ur5e (500, 6)" in done.stdout, "the subscriber saw the robot's episode"
    assert "unitree-g1-29-dof" in done.stdout
    assert (tmp_path / "take.npz").stat().st_size > 1000
