"""The worker's measure at a tiny size, on Apache Kafka: both contenders do all the work and judge alike."""

from dataclasses import replace

import pytest

from kinestream.deploy.bench.contender import Figure
from kinestream.deploy.bench.site import Site
from kinestream.deploy.bench.worker import PLAIN_AGENT, WorkerFigures, check_alike, measure_worker
from kinestream.deploy.local.stack import Stack
from kinestream.schemas.errors import StackError
from kinestream.schemas.settings import Settings


def test_both_contenders_judge_every_episode_of_the_same_topic(kafka_broker, store, tmp_path):
    settings = replace(Settings(), kafka=kafka_broker.bootstrap, clickhouse=store.url, home=tmp_path / "none")
    assert PLAIN_AGENT.exists()
    said = []
    found = measure_worker(Site(Stack(settings), settings, tmp_path), 64, 3000, 1, said.append)
    assert found.frames >= 3000
    assert found.messages > found.episodes
    for runs in (found.worker, found.plain_agent):
        (figure,) = runs
        assert figure.frames == found.frames
        assert sum(figure.verdicts.values()) == found.episodes
        assert figure.cpu_s > 0
        assert figure.peak_rss_mb > 30
    assert found.worker[0].verdicts == {"ACCEPT": found.episodes}
    assert found.ratio == found.rate("worker") / found.rate("plain_agent")
    assert any("frames a CPU-second" in line for line in said)


@pytest.mark.parametrize("other", [{"ACCEPT": 1, "REJECT": 1}, {"ACCEPT": 1, "INCOMPLETE": 1}, {"ACCEPT": 1}])
def test_figures_of_work_that_was_not_the_same_are_refused(other):
    ours = Figure(1000, 1.0, 1.0, 100.0, {"ACCEPT": 2})
    found = WorkerFigures(64, 1000, 2, 20, 1, [ours], [replace(ours, verdicts=other)])
    with pytest.raises(StackError, match="cannot be compared"):
        check_alike(found)
    check_alike(replace(found, plain_agent=[ours]))
