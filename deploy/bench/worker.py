"""Fetch to verdict: the real worker beside a plain Faust agent, over the same topic, in the same run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Final

from clickhouse_connect.driver.client import Client

from kinestream.deploy.bench.contender import Contender, Figure, Verdicts, started
from kinestream.deploy.bench.floor import Floor, lengths
from kinestream.deploy.bench.site import Progress, Site, environment, frames_topic, publish, reader
from kinestream.deploy.local.process import free_port
from kinestream.schemas.codec import Codec
from kinestream.schemas.errors import StackError
from kinestream.schemas.registry import Registry
from kinestream.schemas.settings import Settings

#: Peers are scripts beside the package: they serve measuring and nobody installs them.
PLAIN_AGENT: Final = Path(__file__).resolve().parents[2] / "bench" / "plain_agent.py"
#: What a contender does before its clock runs: takes, and frames each.
_WARM_TAKES: Final = (300,) * 20


@dataclass(frozen=True, slots=True)
class WorkerFigures:
    """One chunk size: every run of the worker and of the plain agent (none where its script is not at hand)."""

    chunk: int
    frames: int
    episodes: int
    messages: int
    bytes: int
    worker: list[Figure]
    plain_agent: list[Figure]

    def rate(self, of: str) -> float:
        """Median frames a CPU-second of ``worker`` or ``plain_agent``; NaN where it did not run."""
        runs: list[Figure] = getattr(self, of)
        return median(run.frames_per_cpu_s for run in runs) if runs else float("nan")

    @property
    def ratio(self) -> float:
        """How many times as many frames the worker does."""
        return self.rate("worker") / self.rate("plain_agent")


def default_frames(chunk: int) -> int:
    """Frames that keep the worker busy for some CPU-seconds, and the plain agent not for minutes."""
    return 250_000 if chunk < 10 else 500_000 if chunk < 64 else 1_000_000


def measure_worker(place: Site, chunk: int, frames: int, repeats: int, progress: Progress) -> WorkerFigures:
    """Fill one topic, then let every contender have it, one after the other."""
    with ExitStack() as ends:
        tenant = ends.enter_context(place.tenant())
        codec = Codec(Registry(), frames_topic(tenant))
        publish(tenant, Floor(codec, tenant.tenant, chunk).send(_WARM_TAKES))
        agents = repeats if PLAIN_AGENT.exists() else 0
        workers = [ends.enter_context(_worker(place, tenant, number)) for number in range(repeats)]
        plain = [ends.enter_context(_plain_agent(place, tenant, number)) for number in range(agents)]
        for one in (*workers, *plain):
            one.warm_up(len(_WARM_TAKES))
        takes = lengths(frames)
        progress(f"filling a topic: {len(takes)} episodes of {sum(takes):,} frames, {chunk} a chunk")
        messages, size = publish(tenant, Floor(codec, tenant.tenant, chunk).send(takes))
        found = WorkerFigures(chunk, sum(takes), len(takes), messages, size, [], [])
        for number in range(repeats):
            for runs, contenders in ((found.worker, workers), (found.plain_agent, plain)):
                for one in contenders[number : number + 1]:
                    runs.append(one.run(len(takes), sum(takes)))
                    progress(f"{one.name}: {runs[-1].frames_per_cpu_s:,.0f} frames a CPU-second")
    check_alike(found)
    return found


def check_alike(found: WorkerFigures) -> None:
    """A figure is worth nothing when the work was not the same, or was not done: raises :class:`StackError`."""
    verdicts = [run.verdicts for run in (*found.worker, *found.plain_agent)]
    if any(one != verdicts[0] for one in verdicts):
        raise StackError(f"the contenders judged differently, their figures cannot be compared: {verdicts}")


@contextmanager
def _worker(place: Site, tenant: Settings, number: int) -> Iterator[Contender]:
    with place.database(tenant) as base, reader(base) as client:
        mine = replace(base, instance_id=base.group, worker_port=free_port())
        command = ("-m", "faust", "-A", "kinestream.streams.app", "worker")
        with started(f"worker-{number}", command, environment(mine), _stored(client), mine.home) as one:
            yield one


def _stored(client: Client) -> Verdicts:
    """Verdicts of the episodes that are stored complete; anything else is counted under its status."""
    sql = (
        "SELECT if(status = 'COMPLETE' AND missing = 0 AND hash_verified, verdict, status), uniqExact(episode_id) "
        "FROM episodes GROUP BY 1"
    )

    def verdicts() -> Counter[str]:
        return Counter(dict(client.query(sql).result_rows))

    return verdicts


@contextmanager
def _plain_agent(place: Site, tenant: Settings, number: int) -> Iterator[Contender]:
    with place.database(tenant) as mine:
        written = mine.home / "verdicts"

        def verdicts() -> Counter[str]:
            return Counter(written.read_text().split()) if written.exists() else Counter()

        command = ("-m", "faust", "-A", "plain_agent", "--workdir", str(PLAIN_AGENT.parent), "worker")
        settings = environment(replace(mine, worker_port=free_port()))
        with started(f"plain-agent-{number}", command, settings, verdicts, mine.home) as one:
            yield one
