"""Owns the course of a demo: robots work, the last episodes are waited for, everything is counted."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Final

from kinestream.deploy.demo.display import Display, shown
from kinestream.deploy.demo.floor import FleetProcess
from kinestream.deploy.demo.measurement import Measurement, Observed, StoredEpisode, first_read, measure, missing
from kinestream.deploy.demo.stage import Stage
from kinestream.deploy.demo.view import View, pace
from kinestream.deploy.demo.working import FramesCounter
from kinestream.schemas.errors import StoreError

#: Sessions beyond ``incomplete_after_s`` that the last episodes are waited for: a killed worker is back by then.
SETTLE_SESSIONS: Final = 2
#: Seconds the fleet may take beyond its time: its last takes (8 s), then 30 s for the broker to have them.
FINISH_S: Final = 45.0
_TICK_S: Final = 0.1
_TITLES: Final = {"kafka": "Apache Kafka", "test": "test broker, in memory"}


@dataclass(frozen=True, slots=True)
class Done:
    """A finished run: its figures, what is missing (nothing: all arrived), its pace in episodes a day.

    ``example`` is an episode worth looking at: one with a finding, if there is any; empty without episodes.
    """

    figures: Measurement
    lacks: tuple[str, ...]
    per_day: float
    example: str


@dataclass(slots=True)
class Run:
    """One run on a stage."""

    stage: Stage
    robots: int
    seconds: float
    #: monotonic time at which the command began
    began_s: float = field(default_factory=time.monotonic)

    def play(self) -> Done:
        """Let the robots work and finish their takes; wait until all is there, or no more will come; count it."""
        fleet = self.stage.fleet(self.robots, self.seconds)
        title = f"Kinestream demo: {self.robots} robots, {_TITLES[self.stage.broker]}"
        with FramesCounter(self._workers()) as frames, shown(title) as display:
            show = Showing(self.stage, fleet, display, frames)
            self._work(fleet, show)
            self._settle(fleet, show)
        return self._count(fleet, show)

    def _work(self, fleet: FleetProcess, show: Showing) -> None:
        while not fleet.ended():
            left = self.seconds - show.now_s()
            if left < -FINISH_S:
                fleet.stop()
            show(f"robots at work, takes begin for {left:.0f} s more" if left > 0 else "robots finish their last takes")
            time.sleep(_TICK_S)

    def _settle(self, fleet: FleetProcess, show: Showing) -> None:
        settings = self.stage.settings
        deadline = time.monotonic() + settings.incomplete_after_s + SETTLE_SESSIONS * settings.session_s
        while time.monotonic() < deadline and not self._all_there(fleet):
            show("waiting for the last episodes")
            time.sleep(_TICK_S)
        show("counting what arrived")

    def _all_there(self, fleet: FleetProcess) -> bool:
        fleet.read()
        ids = fleet.published.takes.keys()
        if not ids <= first_read(list(self.stage.listener.events)).keys():
            return False
        try:
            return ids <= self.stage.reader.statuses().keys()
        except StoreError:
            return False

    def _count(self, fleet: FleetProcess, show: Showing) -> Done:
        stage, trouble = self.stage, [fleet.problem()]
        trouble += [f"{one.name} does not work: {one.detail}" for one in stage.stack.status() if not one.healthy]
        stage.watcher.stop()
        stored: dict[str, StoredEpisode] = {}
        try:
            stage.watcher.look()
            stored = stage.reader.episodes(fleet.published)
        except StoreError as problem:
            trouble.append(str(problem))
        stage.listener.stop()
        seen = Observed(fleet.published, stage.listener.events, stored, stage.watcher.findings)
        store = "clickhouse" if stage.settings.clickhouse else "embedded"
        seconds = time.monotonic() - self.began_s
        figures = measure(seen, broker=stage.broker, store=store, robots=self.robots, seconds=seconds)
        lacks = (*missing(seen, figures), *filter(None, trouble))
        example = next((f.episode_id for f in seen.findings), next(iter(seen.published.takes), ""))
        return Done(figures, lacks, pace(seen.events, show.began_ns), example)

    def _workers(self) -> list[str]:
        return [one.url for one in self.stage.stack.status() if one.name.startswith("worker")]


class Showing:
    """Brings the report up to date and shows the moment."""

    def __init__(self, stage: Stage, fleet: FleetProcess, display: Display, frames: FramesCounter) -> None:
        self._stage, self._fleet, self._display, self._frames = stage, fleet, display, frames
        #: UTC time at which the robots began, ns
        self.began_ns = time.time_ns()
        self._began_s = time.monotonic()

    def now_s(self) -> float:
        """Seconds since the robots began."""
        return time.monotonic() - self._began_s

    def __call__(self, phase: str) -> None:
        """Show it."""
        self._fleet.read()
        published, events = self._fleet.published, list(self._stage.listener.events)
        self._display.show(
            View(
                phase=phase,
                now_s=self.now_s(),
                frames=self._frames.frames,
                frames_per_s=self._frames.per_s(),
                open=published.open,
                completed=len(first_read(events)),
                per_day=pace(events, self.began_ns),
                findings=tuple(self._stage.watcher.findings),
            )
        )
