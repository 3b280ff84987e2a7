"""The worker's measure at a tiny size, on Apache Kafka: every contender does all the work and judges alike."""

from dataclasses import replace

import pytest

from kinestream.deploy.bench.contender import Figure
from kinestream.deploy.bench.peers import PLAIN_AGENT, peers
from kinestream.deploy.bench.site import Site
from kinestream.deploy.bench.worker import WorkerFigures, check_alike, measure_worker
from kinestream.deploy.cli.bench import _document
from kinestream.deploy.local.stack import Stack
from kinestream.schemas.errors import StackError
from kinestream.schemas.settings import Settings


def test_all_contenders_judge_every_episode_of_the_same_topic(kafka_broker, store, tmp_path):
    settings = replace(Settings(), kafka=kafka_broker.bootstrap, clickhouse=store.url, home=tmp_path / "none")
    assert PLAIN_AGENT.exists()
    said = []
    found = measure_worker(Site(Stack(settings), settings, tmp_path), 64, 3000, 1, said.append, peers())
    assert found.frames >= 3000
    assert found.messages > found.episodes
    assert found.runs.keys() >= {"worker", "bare_loop", "plain_agent"}  # Quix Streams where it is installed
    for (figure,) in found.runs.values():
        assert figure.frames == found.frames
        assert sum(figure.verdicts.values()) == found.episodes
        assert figure.cpu_s > 0
        assert figure.peak_rss_mb > 30
    assert found.runs["worker"][0].verdicts == {"ACCEPT": found.episodes}
    assert found.ratio("bare_loop") == found.rate("worker") / found.rate("bare_loop")
    assert any("frames a CPU-second" in line for line in said)


@pytest.mark.parametrize("other", [{"ACCEPT": 1, "REJECT": 1}, {"ACCEPT": 1, "INCOMPLETE": 1}, {"ACCEPT": 1}])
def test_figures_of_work_that_was_not_the_same_are_refused(other):
    ours = Figure(1000, 1.0, 1.0, 100.0, {"ACCEPT": 2})
    found = WorkerFigures(64, 1000, 2, 20, 1, {"worker": [ours], "peer": [replace(ours, verdicts=other)]})
    with pytest.raises(StackError, match="cannot be compared"):
        check_alike(found)
    check_alike(replace(found, runs={"worker": [ours], "peer": [ours]}))


def test_a_peer_that_is_not_installed_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setattr("kinestream.deploy.bench.peers._QUIX_PYTHON", tmp_path / "python")
    monkeypatch.setattr("kinestream.deploy.bench.peers.find_spec", lambda _: None)
    (quix,) = [peer for peer in peers() if peer.name == "quix_streams"]
    assert "make bench-peers" in quix.missing
    found = WorkerFigures(64, 1000, 2, 20, 1, {"worker": []})
    assert _document(found, [quix])["quix_streams"] == {"missing": quix.missing}
