"""`wire check --robot` on a running cluster: a robot of our SDK conforms, a foreign one is told what it does wrong."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from kinestream import Robot, Settings
from kinestream.deploy.cli import application
from kinestream.schemas.murmur2 import partition_of
from tests.assembling import Take
from tests.capturing import wire_take
from tests.contract import wire_page, wire_reference
from tests.plugins.broker import Broker
from tests.plugins.worker import Pipeline
from tests.sending import RawSender


def wire(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(application(), ["wire", *arguments])
    return done.exit_code, done.stdout or done.output


def failed(document: dict[str, Any]) -> list[str]:
    return [one["id"] for one in document["checks"] if one["result"] == "fail"]


@pytest.fixture
def site(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> Broker:
    return here(broker, monkeypatch)


def here(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> Broker:
    monkeypatch.setenv("KINESTREAM_KAFKA", broker.bootstrap)
    monkeypatch.setenv("KINESTREAM_TENANT", broker.tenant)
    return broker


def test_a_robot_of_the_sdk_conforms_while_it_records_and_afterwards(site: Broker, tmp_path: Path) -> None:
    stop, pause = threading.Event(), threading.Event()
    settings = Settings(tenant=site.tenant)
    with Robot(
        "arm-7", model_id="universal-robots-ur5e", kafka=site.bootstrap, rate_hz=100, settings=settings
    ) as robot:

        def record() -> None:
            began = time.monotonic()
            with robot.episode(skill="pick_place", area="household") as episode:
                for k in range(100_000):
                    episode.send(0.3 * np.sin(k / 50 + np.arange(6)), velocity=0.6 * np.cos(k / 50 + np.arange(6)))
                    if stop.is_set():
                        break
                    pause.wait(max(began + (k + 1) / 100 - time.monotonic(), 0))
                episode.outcome = "SUCCESS"

        recording = threading.Thread(target=record)
        recording.start()
        code, text = wire("check", "--robot", "arm-7", "--seconds", "2.5", "--json")
        stop.set()
        recording.join()
    live = json.loads(text)
    assert (code, failed(live)) == (0, []), text
    said = {one["id"]: one["result"] for one in live["checks"]}
    assert (said["recording"], said["copies"]) == ("pass", "not seen"), "each record is looked at once"

    code, text = wire("check", "--robot", "arm-7", "--since", "10m", "--json")
    whole = json.loads(text)
    assert (code, failed(whole)) == (0, []), text
    (episode,) = whole["episodes"]
    assert (episode["status"], episode["hash_verified"]) == ("COMPLETE", True)
    assert whole["cut_off"] == 0
    assert {one["id"] for one in whole["checks"] if one["result"] == "pass"} >= {
        *("topic", "key", "partition", "ids", "layout", "start", "lane", "values", "stamps", "seq", "total", "hash")
    }

    file = tmp_path / "arm-7.jsonl"
    assert wire("capture", "--robot", "arm-7", "--since", "10m", "--out", str(file))[0] == 0
    code, text = wire("check", str(file), "--json", "--partitions", str(partitions(site)))
    again = json.loads(text)
    assert (code, again["records"], again["episodes"]) == (0, whole["records"], whole["episodes"])


def partitions(broker: Broker) -> int:
    return 8 if broker.kind == "kafka" else 4


def test_a_robot_that_keys_by_episode_and_chooses_partitions_itself_is_found_and_told(
    test_broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its messages lie where nobody who looks for its key would find them."""
    here(test_broker, monkeypatch)
    take = wire_take(frames=60)
    sender = RawSender(test_broker)
    wrong = (partition_of(take.id.encode(), 4) + 1) % 4
    raws = encoded([take.start(tenant=test_broker.tenant), *take.chunks(), take.end()])
    sender.send_raw(raws, robot=take.id, partition=wrong)
    sender.send(*wire_take(robot="other").whole(), robot="other")
    code, text = wire("check", "--robot", "r1", "--since", "10m", "--json")
    document = json.loads(text)
    assert (code, failed(document), document["records"]) == (1, ["partition", "key"], 8)
    assert document["dead_letters"] == {"WRONG_PARTITION": 8}


def encoded(words: Sequence[tuple[str, Any]]) -> list[bytes]:
    from tests.sending import encode

    return [encode(record, value) for record, value in words]


def test_a_robot_nobody_hears_of_is_one_clear_line(test_broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    here(test_broker, monkeypatch)
    RawSender(test_broker).send(*Take(robot="other").whole(), robot="other")
    code, text = wire("check", "--robot", "nobody", "--since", "10m")
    assert code == 2
    assert text.startswith("error: no record of robot 'nobody' since ")
    assert len(text.splitlines()) == 1


def test_what_is_written_from_the_page_alone_arrives_whole_and_verified(
    test_pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A producer with nothing of ours but docs/wire.md, up to the stored episode."""
    here(test_pipeline.broker, monkeypatch)
    test_pipeline.start()
    start = {**golden_start(), "tenant": test_pipeline.broker.tenant, "episode_id": wire_take().id}
    n, joints = 300, len(start["joints"])
    stamps = [time.time_ns() - 10_000_000 * (n - k) for k in range(n)]
    position = [round(0.3 * math.sin(k / 50 + j) * 4096) / 4096 for k in range(n) for j in range(joints)]
    gripper = [k / 512 for k in range(n)]
    messages = [wire_reference.start({**start, "started_at_ns": stamps[0]})]
    for first in range(0, n, 10):
        part = slice(first, first + 10)
        messages.append(
            wire_reference.chunk(
                {
                    "episode_id": start["episode_id"],
                    "layout_id": start["layout_id"],
                    "first_seq": first,
                    "t0_ns": stamps[first],
                    "offset_s": [(t - stamps[first]) / 1e9 for t in stamps[part]],
                    "position": position[first * joints : (first + 10) * joints],
                    **dict.fromkeys(("velocity", "effort", "command"), ()),
                    "extra": [{"name": "gripper", "values": gripper[part]}],
                }
            )
        )
    widths = {"position": joints, "gripper": 1}
    _, digest = wire_reference.hash_steps(widths, stamps, {"position": position, "gripper": gripper})
    end = {"episode_id": start["episode_id"], "n_total": n, "content_hash": digest, "ended_at_ns": stamps[-1]}
    messages.append(wire_reference.end({**end, "outcome": "SUCCESS", "error_cause": "", "restorable": True}))
    RawSender(test_pipeline.broker).send_raw(messages, robot=start["robot_id"])
    rows = test_pipeline.wait_for(
        lambda: test_pipeline.query("SELECT status, frames, hash_verified, content_hash FROM episodes FINAL")
    )
    assert rows == [("COMPLETE", n, 1, digest)]
    code, text = wire("check", "--robot", start["robot_id"], "--since", "10m", "--json")
    assert (code, failed(json.loads(text))) == (0, []), text


def golden_start() -> dict[str, Any]:
    return dict(wire_page.take()[3])
