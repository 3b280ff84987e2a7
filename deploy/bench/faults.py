"""The fault matrix through the real stream: a floor of robots, each with its fault, on the local stack."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from clickhouse_connect.driver.exceptions import ClickHouseError

from kinestream.deploy.bench.matrix import Matrix, Seen, Sent, matrix_of
from kinestream.deploy.bench.site import Progress, Site, environment, reader
from kinestream.deploy.bench.trial import decidable
from kinestream.deploy.demo.floor import FleetProcess
from kinestream.deploy.demo.measurement import Event, first_read
from kinestream.deploy.listening import Listener
from kinestream.deploy.local import process
from kinestream.producers.fleet.matrix import MatrixFloor
from kinestream.schemas.errors import StackError
from kinestream.schemas.settings import Settings

#: Seconds between two looks for findings: what a delay may be too long by.
LOOK_S: Final = 0.1
#: Broker time of findings that may still be new at a look, ms: the rest was read before.
_RECENT_MS: Final = 30_000
#: Seconds of a first floor that nobody counts, and those the takes may need beyond their own time.
_WARM: Final = ("--robots", "8", "--seconds", "3", "--faults", "shown:0.5", "--seed", "77")
_SHIFT_S: Final = 900.0
_COLUMNS: Final = "episode_id, finding_id, metric, joint, flag, state, message, version, broker_ms"


class Watcher(threading.Thread):
    """Looks for findings again and again; knows when each could first be read, and its last state."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(name="findings watcher", daemon=True)
        self._client, self._tenant = reader(settings), settings.tenant
        self._ended = threading.Event()
        self._latest_ms = 0
        self._found: dict[tuple[str, str], tuple[int, Seen]] = {}

    def run(self) -> None:
        """Look until :meth:`stop`; a store that is away for a moment is asked again."""
        while not self._ended.wait(LOOK_S):
            try:
                self.look(self._latest_ms - _RECENT_MS)
            except ClickHouseError:
                continue

    def look(self, since_ms: int = 0) -> None:
        """Ask once for findings decided after ``since_ms``, broker time."""
        asked = f"SELECT {_COLUMNS} FROM findings WHERE tenant = {{tenant:String}} AND broker_ms >= {{since:Int64}}"
        rows = self._client.query(asked, parameters={"tenant": self._tenant, "since": since_ms}).result_rows
        now_ns = time.time_ns()
        for *names, version, broker_ms in rows:
            episode_id, finding_id, metric, joint, flag, state, message = names
            known = self._found.get((episode_id, finding_id))
            if known is None or version > known[0]:
                seen_ns = known[1].seen_ns if known else now_ns
                seen = Seen(episode_id, metric, joint, flag, state, message, seen_ns)
                self._found[episode_id, finding_id] = (version, seen)
            self._latest_ms = max(self._latest_ms, broker_ms)

    @property
    def findings(self) -> list[Seen]:
        """All so far."""
        return [seen for _, seen in self._found.values()]

    def stop(self) -> None:
        """Stop looking."""
        self._ended.set()
        if self.is_alive():
            self.join(5)


@dataclass(frozen=True, slots=True)
class _Line:
    """A take as the fleet reports it."""

    robot: int
    number: int
    begun_ns: int
    ended_ns: int


def measure_faults(place: Site, seed: int, models: Sequence[str], episodes: int, progress: Progress) -> Matrix:
    """Raises :class:`ContractError` where a model leaves no room for a fault, :class:`StackError` for lost takes."""
    floor = MatrixFloor(seed=seed, models=models, episodes=episodes)
    progress("warming up")
    with _at_work(place, place.settings, _WARM) as warm:
        _finish(warm)
    listener, watcher = Listener(place.settings, place.settings.kafka, Event.of), Watcher(place.settings)
    try:
        listener.start()
        watcher.start()
        progress(f"{len(floor.posts)} robots, {sum(floor.takes(post) for post in floor.posts)} takes")
        shift = (
            "--matrix",
            str(episodes),
            "--seconds",
            f"{_SHIFT_S:g}",
            "--seed",
            str(seed),
            "--models",
            ",".join(models),
        )
        with _at_work(place, place.settings, shift) as fleet:
            _finish(fleet)
            lines = _lines(fleet.report)
            progress("waiting for the last episodes")
            _announced(listener, lines, place.settings)
    finally:
        listener.stop()
        watcher.stop()
    watcher.look()
    progress("working out when each fault could be known")
    return matrix_of(_sent(floor, lines), watcher.findings)


@contextmanager
def _at_work(place: Site, settings: Settings, shift: Sequence[str]) -> Iterator[FleetProcess]:
    fleet = FleetProcess(place.stack.home, environment(settings), shift)
    try:
        yield fleet
    finally:
        fleet.stop()


def _finish(fleet: FleetProcess) -> None:
    if not process.wait_until(fleet.ended, _SHIFT_S, every_s=0.2):
        raise StackError(f"the floor did not end its takes within {_SHIFT_S:g} s")
    if problem := fleet.problem():
        raise StackError(problem)


def _announced(listener: Listener[Event], lines: dict[str, _Line], settings: Settings) -> None:
    """Until every take is closed: those that lack frames are waited for."""
    patience_s = settings.incomplete_after_s + 30.0
    if not process.wait_until(
        lambda: lines.keys() <= first_read(list(listener.events)).keys(), patience_s, every_s=0.2
    ):
        lost = lines.keys() - first_read(list(listener.events)).keys()
        raise StackError(f"{len(lost)} of {len(lines)} takes were never announced, {min(lost)} among them")


def _lines(report: Path) -> dict[str, _Line]:
    begun: dict[str, dict[str, Any]] = {}
    lines: dict[str, _Line] = {}
    for text in report.read_text(encoding="utf-8").splitlines():
        line = json.loads(text)
        if line["event"] == "episode_started":
            begun[line["episode_id"]] = line
        elif line["event"] == "episode_ended":
            start = begun[line["episode_id"]]
            lines[line["episode_id"]] = _Line(start["robot"], start["number"], start["begun_ns"], line["end_sent_ns"])
    return lines


def _sent(floor: MatrixFloor, lines: dict[str, _Line]) -> Iterator[Sent]:
    """Every take again, by its seed, and when its fault could be known: on the hub's clock, frames as measured."""
    hole_ns = round(Settings().hole_wait_s * 1e9)
    for episode_id, line in lines.items():
        post = floor.posts[line.robot]
        order, cell = floor.order(post, line.number), floor.cell(post)
        fault, known_ns = order.fault, 0
        if fault is not None:
            frame = decidable(post.model, order.take, fault, floor.rate_hz)
            frame = len(order.take) - 1 if frame is None else frame
            known_ns = line.begun_ns + int(order.take.t_ns[frame])
            if fault.name == "loss":
                known_ns += hole_ns
            elif fault.name == "duplicate":
                known_ns = line.ended_ns
        yield Sent(episode_id, post.model.model_id, cell.mode, cell.fault, fault, known_ns, line.ended_ns)
