"""What a person or a script gets back by the command line: events, episodes, frames, and one more worker."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from kinestream import Channel, Robot, Settings, Subscription
from kinestream.deploy.cli import application
from kinestream.deploy.cli.frames import write_npz
from kinestream.deploy.cli.work import worker_settings
from kinestream.deploy.local import process
from kinestream.deploy.local.services import Services
from kinestream.producers.recordings import open_recording
from tests.behaviour.test_subscription import Hub, ids
from tests.plugins.broker import Broker
from tests.plugins.store import Store
from tests.plugins.worker import Pipeline

JOINTS = ["left_shoulder_pitch_joint", "left_elbow_joint"]
FINGERS = ["thumb", "index", "ring"]
T0 = 1_900_000_000_000_000_000
ROUNDED = "hand_position: float64 to nearest float32"
Run = subprocess.CompletedProcess[str]


def environment(given: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("KINESTREAM_")} | given


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from kinestream.deploy.cli import main; main()", *arguments]


def kinestream(given: dict[str, str], *arguments: str) -> Run:
    return subprocess.run(
        command(*arguments), env=environment(given), capture_output=True, text=True, timeout=60, check=False
    )


@contextmanager
def running(given: dict[str, str], *arguments: str, log: Path) -> Iterator[subprocess.Popen[str]]:
    with log.open("w") as errors:
        started = subprocess.Popen(
            command(*arguments), env=environment(given), stdout=subprocess.PIPE, stderr=errors, text=True
        )
    try:
        yield started
    finally:
        started.kill()
        started.wait()


def motion(frames: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Position with one NaN, and stamps that are not on a grid."""
    k = np.arange(frames)
    position = np.stack([0.2 * np.sin(k / 100 + seed), 0.5 + 0.1 * np.cos(k / 90)], axis=1).astype(np.float32)
    position[frames // 2, 1] = np.nan
    return position, T0 + k * 10_000_000 + (k % 7) * 100_003


def record(pipeline: Pipeline, seed: int, skill: str = "grasp", frames: int = 300) -> str:
    position, t = motion(frames, seed)
    hand = {"hand_position": Channel("hand_position", 3, "rad", tuple(FINGERS))}
    with (
        Robot(
            f"r{seed}", model_id="unitree-g1-29-dof", joints=JOINTS, channels=hand, settings=pipeline.settings
        ) as robot,
        robot.episode(skill=skill, area="household", nominal_rate_hz=100) as episode,
    ):
        episode.send_many(position, t, command=position, channels={"hand_position": np.ones((frames, 3)) * seed})
    return str(episode.id)


def is_whole(frames: dict[str, Any], seed: int) -> bool:
    position, t = motion(len(frames["seq"]), seed)
    return (
        frames["seq"].tolist() == list(range(300))
        and frames["t_ns"].tolist() == t.tolist()
        and frames["position"].tobytes() == frames["command"].tobytes() == position.tobytes()
        and bool((frames["hand_position"] == np.full((300, 3), seed, np.float32)).all())
    )


def test_a_take_comes_back_bit_for_bit_under_its_episode_id(pipeline: Pipeline, tmp_path: Path) -> None:
    pipeline.start()
    given = pipeline.environment("none")
    with Subscription(skill="grasp", settings=pipeline.settings) as subscription:
        taken = {record(pipeline, seed): seed for seed in (1, 2)}
        other = record(pipeline, 3, skill="pour")
        events = list(itertools.islice(subscription, 2))
    assert {event.episode_id for event in events} == set(taken)
    assert all(is_whole(event.frames(), taken[event.episode_id]) for event in events)
    pipeline.wait_for(lambda: pipeline.query("SELECT count() FROM episodes FINAL") == [(3,)])

    read = pipeline.wait_for(lambda: lines(kinestream(given, "subscribe", "--from-start", "--until-end", "--json"), 3))
    assert sorted(one["ce_id"] for one in read) == sorted(f"{one}/1" for one in [*taken, other])
    assert {one["frames_unique"] for one in read} == {300}
    assert {one["frames"]["database"] for one in read} == {pipeline.store.database}
    chosen = lines(kinestream(given, "subscribe", "--from-start", "--until-end", "--json", "--skill", "pour"), 1)
    assert [one["episode_id"] for one in chosen] == [other]

    listed = json.loads(kinestream(given, "episodes", "--json").stdout)
    assert {one["episode_id"] for one in listed} == {*taken, other}
    assert len(json.loads(kinestream(given, "episodes", "--last", "2", "--json").stdout)) == 2
    one = json.loads(kinestream(given, "episode", other, "--json").stdout)
    assert [clause["subject"] for clause in one["aligned_with"]["clauses"]][:2] == ["jitter", "loss"]
    is_drawn(given, other, tmp_path)
    assert (one["status"], one["skill"], one["content_hash"] != "") == ("COMPLETE", "pour", True)
    assert one["channel_names"] == ["position", "command", "hand_position"]
    assert one["conversions"] == [ROUNDED]
    assert one["channels"][2] == {"name": "hand_position", "width": 3, "unit": "rad", "element_names": FINGERS}
    assert re.search("hand_position +3 +rad +thumb, index, ring", kinestream(given, "episode", other).stdout)

    file = tmp_path / "take.npz"
    episode_id, seed = next(iter(taken.items()))
    done = kinestream(given, "frames", episode_id, "--out", str(file))
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("hand_position: its columns are thumb, index, ring\n")
    told = json.loads(kinestream(given, "frames", episode_id, "--out", str(file), "--json").stdout)
    assert told["element_names"] == {"hand_position": FINGERS}
    assert told["arrays"]["hand_position"] == {"shape": [300, 3], "dtype": "float32"}
    with np.load(file) as packed:
        frames = {name: packed[name] for name in packed.files}
    kept = ["seq", "t", "t_ns", "joints", "position", "command", "hand_position", "hand_position.names"]
    assert list(frames) == kept
    assert frames["hand_position.names"].tolist() == FINGERS
    (again,) = open_recording(file, model_id="unitree-g1-29-dof")
    assert {c.name: list(c.element_names) for c in again.channels} == {"hand_position": FINGERS}
    assert frames["joints"].tolist() == JOINTS
    assert is_whole(frames, seed)


def is_drawn(given: dict[str, str], episode_id: str, folder: Path) -> None:
    """The joint whose value is no number: as a sketch, a page in two languages and a picture."""
    html, png = folder / "episode.html", folder / "episode.png"
    told = kinestream(given, "episode", episode_id, "--html", str(html), "--png", str(png)).stdout
    assert f"conversion\n{ROUNDED}\n\n" in "\n".join(line.rstrip() for line in told.splitlines())
    assert "left elbow: position, rad" in told
    assert any("\u2801" <= letter <= "\u28ff" for letter in told)
    page = html.read_text()
    assert page.count("<svg") >= 1
    assert "left elbow: 1 position value is not a number" in page
    assert "左肘" in page
    assert png.read_bytes().startswith(b"\x89PNG")


def lines(done: Run, count: int) -> list[dict[str, Any]]:
    """The events, or none while there are not so many."""
    assert done.returncode == 0, done.stderr
    read = [json.loads(line) for line in done.stdout.splitlines()]
    return read if len(read) == count else []


def test_events_are_printed_as_they_come_and_ctrl_c_is_clean(pipeline: Pipeline, tmp_path: Path) -> None:
    pipeline.start()
    log = tmp_path / "subscribe.log"
    with running(pipeline.environment("none"), "subscribe", "--json", "--all", log=log) as subscriber:
        assert process.wait_until(lambda: "waiting for episodes" in log.read_text(), 30), log.read_text()
        episode_id = record(pipeline, 1)
        assert subscriber.stdout is not None
        assert json.loads(subscriber.stdout.readline())["episode_id"] == episode_id
        subscriber.send_signal(signal.SIGINT)
        rest, _ = subscriber.communicate(timeout=20)
        assert (subscriber.returncode, rest) == (130, "")
    assert log.read_text() == "waiting for episodes; Ctrl-C ends\n"


FIVE_LINES = """
from kinestream import Subscription
for episode in Subscription(group="trainer", skill="grasp"):
    frames = episode.frames()
    print(episode.episode_id, frames["position"].shape, flush=True)
"""


def test_five_lines_are_a_subscriber(kafka_pipeline: Pipeline, tmp_path: Path) -> None:
    kafka_pipeline.start()
    Subscription(group="trainer", settings=kafka_pipeline.settings).close()  # its place: from now on
    episode_id = record(kafka_pipeline, 1)
    with (tmp_path / "log").open("w") as log:
        trainer = subprocess.Popen(
            [sys.executable, "-c", FIVE_LINES],
            env=environment(kafka_pipeline.environment("none")),
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        assert trainer.stdout is not None
        assert trainer.stdout.readline() == f"{episode_id} (300, 2)\n", (tmp_path / "log").read_text()
    finally:
        trainer.kill()
        trainer.communicate()


def test_a_reader_that_goes_away_ends_it_quietly(test_broker: Broker, tmp_path: Path) -> None:
    hub = Hub(test_broker)
    for one in ids(200):
        hub.announce(one)
    given = {"KINESTREAM_KAFKA": test_broker.bootstrap, "KINESTREAM_TENANT": test_broker.tenant}
    log = tmp_path / "subscribe.log"
    with running(given, "subscribe", "--from-start", "--until-end", "--json", log=log) as subscriber:
        assert subscriber.stdout is not None
        assert json.loads(subscriber.stdout.readline())["revision"] == 1
        subscriber.stdout.close()
        assert subscriber.wait(30) == 0
    assert log.read_text() == ""


def test_one_more_worker_beside_a_running_stack_does_the_work(pipeline: Pipeline, tmp_path: Path) -> None:
    given = pipeline.environment("work")
    for name in ("KINESTREAM_INSTANCE_ID", "KINESTREAM_WORKER_PORT"):
        del given[name]
    log = tmp_path / "work.log"
    with running(given, "work", log=log) as worker:
        episode_id = record(pipeline, 1)
        stored = lambda: pipeline.query("SELECT episode_id FROM episodes") == [(episode_id,)]  # noqa: E731
        assert process.wait_until(stored, 60), log.read_text()
        assert "http://127.0.0.1:" in log.read_text()
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(20) == 0, log.read_text()


def test_each_worker_has_a_port_and_an_identity_of_its_own() -> None:
    found = Services("127.0.0.1:1", "http://127.0.0.1:2", "http://127.0.0.1:3")
    one, other = (worker_settings(Settings(), found) for _ in range(2))
    assert one.instance_id != other.instance_id
    assert one.worker_port != Settings().worker_port
    assert (one.kafka, one.registry, one.clickhouse) == ("127.0.0.1:1", "http://127.0.0.1:2", "http://127.0.0.1:3")
    pinned = worker_settings(Settings(instance_id="mine", worker_port=7000), found)
    assert (pinned.instance_id, pinned.worker_port) == ("mine", 7000)


@pytest.fixture
def store_only(database: Store, tmp_path: Path) -> dict[str, str]:
    return {
        "KINESTREAM_HOME": str(tmp_path / "home"),
        "KINESTREAM_CLICKHOUSE": database.url,
        "KINESTREAM_CLICKHOUSE_DATABASE": database.database,
    }


def test_an_empty_store_has_an_empty_list(store_only: dict[str, str]) -> None:
    assert kinestream(store_only, "episodes", "--json").stdout == "[]\n"
    assert "no episodes yet" in kinestream(store_only, "episodes").stdout


def test_frames_overwrites_no_file_of_another_kind(tmp_path):
    table = tmp_path / "mine.csv"
    table.write_text("t,q\n")
    done = CliRunner().invoke(application(), ["frames", "anybody", "--out", str(table)])
    assert (done.exit_code, done.stdout) == (2, "")
    assert "give a name that ends with .npz" in done.stderr
    assert table.read_text() == "t,q\n"


@pytest.mark.parametrize("arguments", [["episode", "nobody", "--json"], ["frames", "nobody", "--out", "x.npz"]])
def test_an_unknown_episode_is_one_line_and_exit_2(store_only: dict[str, str], arguments: list[str]) -> None:
    done = kinestream(store_only, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: no episode 'nobody' in the store at http://")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["subscribe"], "error: no broker: run `kinestream up`, or set KINESTREAM_KAFKA to one that runs\n"),
        (["episodes"], "error: no store: run `kinestream up`, or set KINESTREAM_CLICKHOUSE to one that runs\n"),
        (["work"], "or set KINESTREAM_KAFKA and KINESTREAM_CLICKHOUSE to services that run\n"),
    ],
)
def test_where_nothing_runs_it_says_how_to_start_it(tmp_path: Path, arguments: list[str], told: str) -> None:
    done = kinestream({"KINESTREAM_HOME": str(tmp_path)}, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith(told)
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("arguments", [["subscribe"], ["episodes", "--json"], ["work"]])
def test_what_is_away_is_one_line_that_says_what_to_do(tmp_path: Path, arguments: list[str]) -> None:
    away = f"127.0.0.1:{process.free_port()}"
    given = {
        "KINESTREAM_HOME": str(tmp_path),
        "KINESTREAM_KAFKA": away,
        "KINESTREAM_CLICKHOUSE": f"http://{away}",
    }
    done = kinestream(given, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert away in done.stderr
    assert "`kinestream up`" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_file_may_hold_a_channel_of_any_name_and_is_whole_or_not_there(tmp_path: Path) -> None:
    arrays = {"file": np.ones((2, 1), np.float32), "args": np.zeros(3, np.int64), "joints": np.array(["a", "bb"])}
    path = tmp_path / "take"
    write_npz(path, arrays)
    with np.load(path) as packed:
        assert {name: packed[name].tolist() for name in packed.files} == {k: v.tolist() for k, v in arrays.items()}
    with pytest.raises(FileNotFoundError):
        write_npz(tmp_path / "nowhere" / "take.npz", arrays)
    assert [one.name for one in tmp_path.iterdir()] == ["take"]
