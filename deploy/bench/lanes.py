"""What a bulk upload at full speed does to the live lane: the same floor of robots without and beside one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from kinestream.deploy.bench.site import Progress, Site, environment
from kinestream.deploy.bench.upload import TAKE
from kinestream.deploy.demo.floor import FleetProcess, shift_of
from kinestream.deploy.demo.measurement import Event, Latency, first_read
from kinestream.deploy.listening import Listener
from kinestream.deploy.local import process
from kinestream.deploy.local.ports import BULK
from kinestream.schemas.errors import StackError

#: Seconds the last takes and their events may need, and the bulk lane its rest.
_SETTLE_S: Final = 60.0
_BULK_S: Final = 600.0
#: Seconds of a first floor that nobody counts: everything is loaded and used once.
_WARM_S: Final = 5.0
_LOOK_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Beside:
    """Live takes whose end mark was sent in a window, end mark to readable event; ``unannounced`` never were."""

    latency_ms: Latency
    unannounced: int


@dataclass(frozen=True, slots=True)
class LaneFigures:
    """``beside`` counts takes that ended while the upload or the work on it went on; bulk is measured from the upload's
    first message to the last frame added, and its upload to the broker's last acknowledgement.
    """

    robots: int
    alone: Beside
    beside: Beside
    bulk_frames: int
    bulk_frames_per_s: float
    upload_frames_per_s: float


@dataclass(frozen=True, slots=True)
class _Bulk:
    began_ns: int
    uploaded_ns: int
    done_ns: int


def measure_lanes(place: Site, robots: int, seconds: float, frames: int, progress: Progress) -> LaneFigures:
    """Raises :class:`StackError` when the bulk lane does not come through, or the floor does not work."""
    listener = Listener(place.settings, place.settings.kafka, Event.of)
    listener.start()
    try:
        _floor(place, listener, robots, _WARM_S)
        progress(f"{robots} robots alone, {seconds:g} s")
        alone = _told(listener, _floor(place, listener, robots, seconds), (0, time.time_ns()))
        progress(f"{robots} robots beside an upload of {frames:,} frames")
        with _started(place, robots, seconds) as fleet:
            bulk = _upload(place, frames)
            _finish(fleet, listener)
        beside = _told(listener, fleet, (bulk.began_ns, bulk.done_ns))
    finally:
        listener.stop()
    sent = frames // TAKE * TAKE
    rates = [sent * 1e9 / (end - bulk.began_ns) for end in (bulk.done_ns, bulk.uploaded_ns)]
    return LaneFigures(robots, alone, beside, sent, *rates)


@contextmanager
def _started(place: Site, robots: int, seconds: float) -> Iterator[FleetProcess]:
    fleet = FleetProcess(place.stack.home, environment(place.settings), shift_of(robots, seconds))
    try:
        yield fleet
    finally:
        fleet.stop()


def _floor(place: Site, listener: Listener[Event], robots: int, seconds: float) -> FleetProcess:
    with _started(place, robots, seconds) as fleet:
        _finish(fleet, listener)
    return fleet


def _finish(fleet: FleetProcess, listener: Listener[Event]) -> None:
    """Until its shift is over and its takes are announced, or will not be."""
    process.wait_until(fleet.ended, _BULK_S, every_s=_LOOK_S)
    fleet.read()
    if problem := fleet.problem():
        raise StackError(problem)
    ids = fleet.published.takes.keys()
    process.wait_until(lambda: ids <= first_read(list(listener.events)).keys(), _SETTLE_S, every_s=_LOOK_S)


def _told(listener: Listener[Event], fleet: FleetProcess, window: tuple[int, int]) -> Beside:
    read = first_read(list(listener.events))
    takes = [t for t in fleet.published.takes.values() if window[0] <= t.end_sent_ns <= window[1]]
    late = [read[t.episode_id] - t.end_sent_ns for t in takes if t.episode_id in read]
    return Beside(Latency.of(late), len(takes) - len(late))


def _upload(place: Site, frames: int) -> _Bulk:
    """Send, and wait until the bulk worker has added every frame."""
    command = [sys.executable, "-m", "kinestream.deploy.bench.upload", "--frames", str(frames)]
    url = next(one.url for one in place.stack.status() if one.name == BULK)
    before, began_ns = _frames(url), time.time_ns()
    with (place.folder / "upload.log").open("wb") as log:
        child = process.spawn(command, env={**os.environ, **environment(place.settings)}, stdout=log, stderr=log)
    try:
        if child.wait(_BULK_S) != 0:
            raise StackError(f"the upload failed: {(place.folder / 'upload.log').read_text()[-500:]}")
        uploaded_ns, goal = time.time_ns(), before + frames // TAKE * TAKE
        if not process.wait_until(lambda: _frames(url) >= goal, _BULK_S, every_s=_LOOK_S):
            raise StackError(f"{_frames(url) - before:,} of {frames:,} frames were processed, then no more")
        return _Bulk(began_ns, uploaded_ns, time.time_ns())
    except subprocess.TimeoutExpired:
        raise StackError(f"the upload did not end within {_BULK_S:g} s") from None
    finally:
        process.stop(child)


def _frames(url: str) -> int:
    with urllib.request.urlopen(f"{url}/healthz", timeout=30) as answer:
        return int(json.load(answer)["frames"])
