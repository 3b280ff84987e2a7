"""``kinestream bench files``: a data set that is one, and figures only of those who graded all of it."""

import sys

import numpy as np
import pytest

from kinestream.deploy.bench.dataset import MODEL, write_dataset
from kinestream.deploy.bench.graders import Grader, graders, measure_files, run
from kinestream.producers.recordings import open_recording
from kinestream.schemas.errors import StackError


def grader(name, body):
    """A contender that is a line of Python; it prints how many episodes it graded."""
    command = (sys.executable, "-c", f"import sys; {body}", "{data}")
    return Grader(name, "a test", command, lambda told: int(told.split()[-1]) if told.strip() else 0, {}, False)


COUNTS = "from pathlib import Path; print(len(list(Path(sys.argv[1]).rglob('*.parquet'))))"


def test_the_data_set_is_read_as_a_robot_of_its_model_with_takes_of_their_own(tmp_path):
    frames = write_dataset(tmp_path / "reaches", 20)
    episodes = list(open_recording(tmp_path / "reaches", MODEL))
    assert (len(episodes), sum(map(len, episodes))) == (20, frames)
    assert {len(episode.joints) for episode in episodes} == {29}
    first, again = episodes[0], episodes[16]  # one motion, sensed twice
    n = min(len(first), len(again))
    assert 0 < np.abs(first.position[:n] - again.position[:n]).max() < 1e-3


def test_cpu_and_memory_are_those_of_the_command(tmp_path):
    write_dataset(tmp_path / "data", 2)
    busy = grader("busy", f"x = bytearray(300_000_000); x[::4096] = x[::4096]; sum(range(10**7)); {COUNTS}")
    figure = run(busy, tmp_path / "data", tmp_path, 2)
    assert figure.peak_mb > 290
    assert 0.05 < figure.cpu_s <= figure.wall_s + 0.1


@pytest.mark.parametrize("body", ["print(1)", "sys.exit(3)", "pass"])
def test_who_fails_or_leaves_episodes_out_has_no_figure(tmp_path, body):
    write_dataset(tmp_path / "data", 2)
    with pytest.raises(StackError, match=r"graded \d of 2 episodes"):
        run(grader("lazy", body), tmp_path / "data", tmp_path, 2)


def test_ours_grades_every_episode_and_who_is_not_installed_is_left_out():
    ours = graders(2)[2]
    absent = Grader("absent", "", ("nobody",), len, {}, False, "absent is not installed: make bench-peers")
    said = []
    found = measure_files(4, 1, [ours, absent], said.append)
    assert list(found.runs) == ["judge_core"]
    assert found.episodes == 4
    assert found.cpu_s("judge_core") > 0
    assert said[0].startswith("a data set of 4 episodes, ")
