"""What a worker says of itself: alive, ready, and its figures."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from kinestream.deploy.store import migrations
from kinestream.schemas.settings import Settings
from tests.assembling import Take
from tests.plugins.broker import Broker
from tests.plugins.store import Store, StoreProcess
from tests.plugins.worker import Pipeline
from tests.sending import RawSender

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")


@pytest.fixture
def own_store(tmp_path: Path) -> Iterator[StoreProcess]:
    """A store that the test may stop."""
    made = StoreProcess(tmp_path / "store").start()
    made.port = int(made.url.rpartition(":")[2])
    yield made
    made.kill()


@pytest.fixture
def here(test_broker: Broker, own_store: StoreProcess, tmp_path: Path) -> Iterator[Pipeline]:
    """A pipeline on a store of its own; no worker is running yet."""
    database = Settings().clickhouse_database
    store = Store(own_store.url, "", own_store.pid)
    with store.client() as client:
        migrations.apply(client, database)
    made = Pipeline(test_broker, Store(own_store.url, database, own_store.pid), tmp_path)
    yield made
    made.stop_all()


def ask(pipeline: Pipeline, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{pipeline.ports['w1']}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode()


def metrics(pipeline: Pipeline) -> dict[str, dict[tuple[str, ...], float]]:
    """Sum of each sample by its name, and by its labels' values."""
    found: dict[str, dict[tuple[str, ...], float]] = defaultdict(dict)
    for family in text_string_to_metric_families(ask(pipeline, "/metrics")[1]):
        for sample in family.samples:
            found[sample.name][tuple(sample.labels.values())] = sample.value
    return found


def told(pipeline: Pipeline) -> dict[str, Any]:
    return dict(json.loads(ask(pipeline, "/readyz")[1]))


def test_the_pages_count_what_came_and_tell_a_store_that_is_away_from_a_worker_that_is_stuck(
    here: Pipeline, own_store: StoreProcess
) -> None:
    here.start()
    take, sender = Take(), RawSender(here.broker)
    sender.send(*take.whole(), take.chunk(0, 10))
    sender.send_raw([b"no record"])
    here.wait_for(lambda: metrics(here)["kinestream_announced_episodes_total"].get(("COMPLETE", "ACCEPT")))
    here.wait_for(lambda: metrics(here)["kinestream_dead_letters_total"].get(("UNDECODABLE",)))
    said = metrics(here)
    assert sum(said["kinestream_frames_total"].values()) == len(take.t_ns)
    assert sum(said["kinestream_closed_episodes_total"].values()) == 1
    assert sum(said["kinestream_position_lag_messages"].values()) == 0
    assert sum(said["kinestream_open_episodes"].values()) == 0
    assert said["kinestream_event_latency_seconds_count"][()] == 1
    assert said["kinestream_insert_duration_seconds_count"][("episodes",)] == 1
    assert said["kinestream_inserted_rows_total"][("frame_blocks",)] >= 1
    assert said["kinestream_flush_duration_seconds_count"][()] > 0
    assert (said["kinestream_ready"][()], said["kinestream_stalled"][()]) == (1, 0)
    assert said["process_resident_memory_bytes"][()] > 50e6

    own_store.kill()
    sender.send(*Take(seed=2).whole())
    here.wait_for(lambda: ask(here, "/readyz")[0] == 503)
    assert re.search(r"^cannot (write|look).*, for \d+ s$", told(here)["reasons"][0])
    status, body = ask(here, "/healthz")
    assert status == 200, "killing it would help nobody"
    assert json.loads(body)["waits_for"]
    assert sum(metrics(here)["kinestream_retries_total"].values()) > 0
    own_store.start()
    here.wait_for(lambda: told(here) == {"ready": True, "reasons": []})
    assert metrics(here)["kinestream_trouble_seconds"] == {}


def test_the_operations_page_lists_every_metric_and_no_other(here: Pipeline) -> None:
    here.extra["KINESTREAM_STALL_S"] = "0"
    here.start()
    text = ask(here, "/metrics")[1]
    families = re.findall(r"^# TYPE (kinestream_\w+) (\w+)$", text, re.M)
    listed = set(re.findall(r"^\| `(kinestream_\w+)` \|", PAGE, re.M))
    assert {name for name, _ in families if not name.endswith("_created")} == listed
    assert all(name.endswith("_total") for name, kind in families if kind == "counter")
    here.wait_for(lambda: ask(here, "/healthz")[0] == 503)  # no time at all is allowed, so it counts as stuck


def test_what_is_not_ready_says_why_at_a_start(here: Pipeline, own_store: StoreProcess) -> None:
    own_store.kill()
    here.start(wait=False)
    here.wait_for(lambda: here.ports and _answers(here))
    assert told(here) == {"ready": False, "reasons": ["not started: waiting for broker and store"]}
    assert ask(here, "/healthz")[0] == 200
    assert ask(here, "/metrics") == (200, "")
    own_store.start()
    here.wait_for(lambda: ask(here, "/readyz")[0] == 200)


def _answers(pipeline: Pipeline) -> bool:
    try:
        return bool(ask(pipeline, "/readyz"))
    except OSError:
        return False


def test_nothing_is_read_from_a_global_registry() -> None:
    from prometheus_client import REGISTRY

    from kinestream.streams.measuring import Measures

    Measures(), Measures()
    assert not [one.name for one in REGISTRY.collect() if one.name.startswith("kinestream")]
