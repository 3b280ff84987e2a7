"""Resident memory: a worker with many open episodes, and the whole local stack around it."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import psutil

from kinestream.deploy.bench.contender import peak_rss_mb, rss_mb
from kinestream.deploy.bench.floor import Floor
from kinestream.deploy.bench.site import Progress, Site, frames_topic, publish
from kinestream.deploy.local.process import wait_until
from kinestream.schemas.codec import Codec
from kinestream.schemas.errors import StackError
from kinestream.schemas.registry import Registry

#: Frames a live chunk holds: as many as fit its 100 ms.
_CHUNK: Final = 10
_READ_S: Final = 300.0


@dataclass(frozen=True, slots=True)
class MemoryFigures:
    """MB of 10**6 bytes: the worker before, then, and at most (it reads faster than robots record).

    ``services``: resident now, by service; pages they share count in each, so the sum is a little too high.
    """

    open_episodes: int
    frames: int
    worker_idle_mb: float
    worker_mb: float
    worker_peak_mb: float
    services: Mapping[str, float]

    @property
    def stack_mb(self) -> float:
        """All services together."""
        return sum(self.services.values())


def measure_memory(place: Site, episodes: int, frames: int, progress: Progress) -> MemoryFigures:
    """Open ``episodes`` takes of ``frames`` frames each and end none, as fast as the broker takes them."""
    services = {one.name: one for one in place.stack.status()}
    if not services["worker"].pid:
        raise StackError(f"the worker does not run: {services['worker'].detail}")
    url, worker = services["worker"].url, psutil.Process(services["worker"].pid)
    idle = rss_mb(worker)
    takes = [frames] * episodes
    progress(f"{episodes} robots record, {frames} frames each")
    codec = Codec(Registry(), frames_topic(place.settings))
    floor = Floor(codec, place.settings.tenant, _CHUNK, robots=episodes)
    publish(place.settings, floor.send(takes, together=True, end=False))
    if not wait_until(lambda: _facts(url) == (episodes, sum(takes)), _READ_S, every_s=0.5):
        raise StackError(f"the worker has (open episodes, frames) {_facts(url)}, sent were {episodes}, {sum(takes)}")
    pids = {name: one.pid for name, one in services.items() if one.pid}
    resident = {name: _family_mb(pid) for name, pid in pids.items()}
    supervisor = worker.parent()
    if supervisor is not None:
        resident["supervisor"] = rss_mb(supervisor)
    return MemoryFigures(episodes, sum(takes), idle, rss_mb(worker), peak_rss_mb(worker), resident)


def _family_mb(pid: int) -> float:
    """A service and what it started."""
    whole = psutil.Process(pid)
    return sum(rss_mb(one) for one in (whole, *whole.children(recursive=True)))


def _facts(url: str) -> tuple[int, int]:
    """Open episodes and frames read, as the worker's page says."""
    with urllib.request.urlopen(f"{url}/healthz", timeout=10) as answer:
        facts: dict[str, Any] = json.load(answer)
    return sum(one["open"] for one in facts["partitions"].values()), int(facts["frames"])
