"""The fleet as a process: its report is what its topic holds, in real time, and a signal ends it politely."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from kinestream.producers.fleet.faults import KINDS, SHOWN
from kinestream.schemas.catalogue import FRAMES, topic_name
from kinestream.schemas.models import load_model
from tests.plugins.topics import read_episodes


@pytest.fixture
def fleet(test_broker, tmp_path):
    """Starts a fleet on the test broker; whatever is still running ends with the test."""
    running = []

    def start(*arguments):
        report = tmp_path / f"report-{len(running)}.jsonl"
        command = [sys.executable, "-m", "kinestream.producers.fleet", "--report", str(report)]
        command += ["--kafka", test_broker.bootstrap, *arguments]
        env = {**os.environ, "KINESTREAM_TENANT": test_broker.tenant}
        process = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)
        running.append(process)
        return process, report

    yield start
    for process in running:
        process.kill()
        process.communicate()


def events(report, name):
    lines = [json.loads(line) for line in report.read_text().splitlines()]
    return [line for line in lines if line["event"] == name]


def test_the_report_is_what_the_topic_holds(fleet, test_broker):
    process, report = fleet("--robots", "8", "--seconds", "2", "--faults", "shown:0.6", "--seed", "3", "--rate", "50")
    _, errors = process.communicate(timeout=40)
    assert process.returncode == 0, errors
    on_topic = read_episodes(test_broker.bootstrap, topic_name(FRAMES, test_broker.tenant))
    ended, (summary,) = events(report, "episode_ended"), events(report, "summary")
    assert {line["episode_id"] for line in ended} == set(on_topic)
    assert len(ended) == len(events(report, "episode_started")) == summary["episodes"] >= 8
    assert summary["frames"] == sum(line["frames"] for line in ended)
    assert (summary["aborted"], summary["undelivered"], summary["models"]) == (0, [], 8)
    for line in ended:
        episode = on_topic[line["episode_id"]]
        assert episode.seq == list(range(line["frames"]))
        assert episode.end["content_hash"] == line["content_hash"]
        assert episode.start["robot_id"] == line["robot_id"]
        assert episode.start["skill"]
        assert episode.start["area"]
        assert 3.9 <= (episode.t_ns[-1] - episode.t_ns[0]) / 1e9 <= 8.5
        # real time: a chunk leaves once its last frame is measured, and soon then
        measured_ms = np.array([chunk.t_ns[-1] for chunk in episode.chunks]) / 1e6
        late_ms = np.array(episode.sent_ms) - measured_ms
        assert late_ms.min() >= -21  # clocks are up to 20 ms off
        assert np.median(late_ms) < 250
    check_faults(report, on_topic)


def check_faults(report, on_topic):
    faults = events(report, "fault")
    assert {fault["metric"] for fault in faults} == {KINDS[name].metrics[0] for name in SHOWN}
    for fault in faults:
        episode = on_topic[fault["episode_id"]]
        last_ns = next(c.t_ns[-1] for c in episode.chunks if c.first_seq + len(c) > fault["decisive_seq"])
        assert -21e6 <= fault["sent_ns"] - last_ns < 2e9
        (end,) = [e for e in events(report, "episode_ended") if e["episode_id"] == fault["episode_id"]]
        assert [f["metric"] for f in end["faults"]] == [fault["metric"]]
        assert end["end_sent_ns"] > fault["sent_ns"]
        assert seen(fault, episode)


def seen(fault, episode):
    """The fault is there, at the frame and joint the report says."""
    k, t = fault["seq"], episode.t_ns * 1e-9
    if fault["metric"] == "T4":
        return 0.37 < t[k] - t[k - 1] < 0.43
    limits = load_model(episode.start["model_id"]).limits([fault["joint"]])
    q = episode.values("position")[:, episode.start["joints"].index(fault["joint"])].astype(np.float64)
    if fault["metric"] == "I1":
        return np.isnan(q[k])
    if fault["metric"] == "I8":
        return abs(q[k] - q[k - 1]) > 2 * limits.velocity[0] * (t[k] - t[k - 1])
    return all(not limits.lower[0] - 0.005 <= q[i] <= limits.upper[0] + 0.005 for i in (k, k + 1))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_aborts_the_takes_under_way_and_everything_is_still_delivered(fleet, test_broker, number):
    process, report = fleet("--robots", "3", "--seconds", "60", "--seed", "4")
    deadline = time.monotonic() + 30
    while not (report.exists() and len(events(report, "episode_started")) == 3):
        assert time.monotonic() < deadline
        assert process.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.05)
    process.send_signal(number)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 0, errors
    ended, (summary,) = events(report, "episode_ended"), events(report, "summary")
    assert [line["outcome"] for line in ended] == ["ABORTED"] * 3
    assert summary["aborted"] == 3
    on_topic = read_episodes(test_broker.bootstrap, topic_name(FRAMES, test_broker.tenant))
    assert {e.end["outcome"] for e in on_topic.values()} == {"ABORTED"}
    assert {i: e.end["n_total"] for i, e in on_topic.items()} == {e["episode_id"]: e["frames"] for e in ended}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--models", "unitree-g1"], "robot model 'unitree-g1' is not described"),
        (["--models", "fourier-n1"], "no joint whose limits"),
        (["--robots", "0"], "at least one robot"),
        (["--faults", "bang"], "there are nan,"),
    ],
)
def test_arguments_that_do_not_fit_are_one_line_and_exit_2(fleet, arguments, told):
    process, _ = fleet(*arguments)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 2
    assert told in errors
    assert len(errors.splitlines()) == 1
