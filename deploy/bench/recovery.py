"""How fast a worker that was killed is back, and how fast it replays what was in flight, up to the verdict."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

from clickhouse_connect.driver.client import Client

from kinestream.deploy.bench.contender import Contender, started
from kinestream.deploy.bench.floor import Floor
from kinestream.deploy.bench.peers import peers, stored_verdicts
from kinestream.deploy.bench.site import Progress, Site, environment, frames_topic, publish, reader
from kinestream.deploy.local.process import free_port, wait_until
from kinestream.schemas.codec import Codec
from kinestream.schemas.errors import StackError
from kinestream.schemas.registry import Registry
from kinestream.schemas.settings import Settings

_WAIT_S: Final = 300.0
_STORED: Final = "SELECT sum(n) FROM (SELECT max(frames) AS n FROM frame_blocks GROUP BY episode_id, block)"


@dataclass(frozen=True, slots=True)
class RecoveryFigures:
    """Seconds from the start of the process: ``empty_s`` until it is ready with nothing in flight, ``back_s`` the same
    after kill -9 with ``episodes`` open, ``closed_s`` from their end marks until the last is in the table episodes.

    ``replay_per_cpu_s``: frames in flight over the CPU the second life needed, up to every verdict, its start-up left
    out: reading blocks back, every metric, the hash, rows and events.
    """

    episodes: int
    frames: int
    empty_s: float
    back_s: float
    closed_s: float
    replay_per_cpu_s: float


def measure_recovery(place: Site, episodes: int, frames: int, progress: Progress) -> RecoveryFigures:
    """Open ``episodes`` takes of ``frames`` frames, store them, kill the worker, start it again, end them all."""
    with place.tenant() as tenant, place.database(tenant) as base, reader(base) as client:
        mine = replace(base, instance_id=base.group, worker_port=free_port())
        codec = Codec(Registry(), frames_topic(tenant))
        messages = list(Floor(codec, tenant.tenant, 64, robots=episodes).send([frames] * episodes, together=True))
        body, ends = messages[:-episodes], messages[-episodes:]
        with _life(mine, "first") as (first, empty_s):
            idle_cpu = first.cpu_s()
            progress(f"{episodes} takes of {frames:,} frames are recorded")
            publish(tenant, body)
            _await(lambda: _stored(client) == episodes * frames, f"{episodes * frames} frames stored")
        progress("killed -9 and started again")
        with _life(mine, "second") as (second, back_s):
            publish(tenant, ends)
            ended, verdicts = time.monotonic(), stored_verdicts(client)
            _await(lambda: verdicts().total() == episodes, f"{episodes} episodes closed")
            closed_s, cpu = time.monotonic() - ended, second.cpu_s() - idle_cpu
        if verdicts() != {"ACCEPT": episodes}:
            raise StackError(f"not what was recorded: {dict(verdicts())} of {episodes} episodes")
    return RecoveryFigures(episodes, episodes * frames, empty_s, back_s, closed_s, episodes * frames / cpu)


@contextmanager
def _life(mine: Settings, name: str) -> Iterator[tuple[Contender, float]]:
    """A worker until kill -9, and the seconds it took to be ready."""
    begun = time.monotonic()
    with started(name, peers()[0].command, environment(mine), Counter, mine.home) as one:
        _await(lambda: _ready(mine.worker_port), f"the {name} worker ready")
        yield one, time.monotonic() - begun


def _stored(client: Client) -> int:
    return int(client.query(_STORED).result_rows[0][0])


def _ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _await(condition: Callable[[], bool], what: str) -> None:
    if not wait_until(condition, _WAIT_S, every_s=0.05):
        raise StackError(f"not within {_WAIT_S:g} s: {what}")
