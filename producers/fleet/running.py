"""A floor at work until its shift is over: opens and closes its robots, counts what it cost; never prints."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from kinestream.producers.fleet.bad_line import SimulatedRobot
from kinestream.producers.fleet.floor import Floor
from kinestream.producers.fleet.pace import Pace
from kinestream.producers.fleet.report import Report, Summary
from kinestream.producers.fleet.shift import Station, work
from kinestream.schemas.errors import DeliveryError, SpoolError
from kinestream.schemas.settings import Settings

#: Seconds the broker is waited for at the end.
FLUSH_S = 30.0


def run(
    floor: Floor,
    report: Report,
    settings: Settings,
    seconds: float,
    stop: threading.Event,
    *,
    spool: str = "",
    flush_s: float = FLUSH_S,
) -> Summary:
    """Takes begin for ``seconds``, or until every robot did its own; ``stop`` aborts them. Then all is delivered."""
    begun, cpu, pace = time.monotonic(), time.process_time(), Pace()
    robots: list[SimulatedRobot] = []
    undelivered: list[str] = []
    try:
        for post in floor.posts:
            robots.append(
                SimulatedRobot(
                    post.robot_id,
                    model_id=post.model.model_id,
                    joints=post.model.joint_names,
                    rate_hz=floor.rate_hz,
                    spool=Path(spool) / post.robot_id if spool else None,
                    settings=settings,
                )
            )
        for robot in robots:
            robot.prepare()
        pairs = zip(floor.posts, robots, strict=True)
        pace = Pace()
        work([Station(post, robot, floor, report, pace) for post, robot in pairs], seconds, stop, pace)
    finally:
        undelivered = _close(robots, flush_s)
    return report.summary(
        seed=floor.seed,
        robots=len(robots),
        models=len({post.model.model_id for post in floor.posts}),
        seconds=time.monotonic() - begun,
        cpu_seconds=time.process_time() - cpu,
        kept=pace.kept(),
        undelivered=undelivered,
    )


def _close(robots: Sequence[SimulatedRobot], timeout: float) -> list[str]:
    deadline, undelivered = time.monotonic() + timeout, []
    for robot in robots:
        try:
            robot.close(max(deadline - time.monotonic(), 0.1))
        except (DeliveryError, SpoolError) as problem:
            undelivered.append(str(problem))
    return undelivered


@contextlib.contextmanager
def stopped_by_signals(stop: threading.Event) -> Iterator[None]:
    """The first SIGTERM or SIGINT stops politely; the next one ends the process, should the broker hold it up."""

    def handle(number: int, _frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
