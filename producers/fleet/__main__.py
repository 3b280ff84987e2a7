"""The process of the simulated floor: ``python -m kinestream.producers.fleet``; never anything a real robot runs."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from kinestream.producers.fleet.floor import MODELS, Floor
from kinestream.producers.fleet.report import Report
from kinestream.producers.fleet.shift import Station, work
from kinestream.producers.robot import Robot
from kinestream.schemas.errors import DeliveryError, KinestreamError, SpoolError
from kinestream.schemas.settings import Settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the floor; 0 when the broker has everything, 1 when not, 2 for arguments that do not fit."""
    options = _options(arguments)
    stop = threading.Event()
    try:
        floor = Floor(
            options.robots,
            rate_hz=options.rate,
            seed=options.seed,
            fault_share=options.fault_share,
            models=options.models.split(",") if options.models else MODELS,
        )
        settings = Settings.from_env()
        with _opened(options.report) as out, _stopped_by_signals(stop):
            return _run(floor, Report(out), settings, options, stop)
    except (KinestreamError, OSError) as problem:
        print(f"fleet: {problem}", file=sys.stderr)
        return 2


def _run(floor: Floor, report: Report, settings: Settings, options: argparse.Namespace, stop: threading.Event) -> int:
    begun, cpu = time.monotonic(), time.process_time()
    robots: list[Robot] = []
    undelivered: list[str] = []
    try:
        for post in floor.posts:
            model_id = post.model.model_id
            kafka = options.kafka or None
            spool = Path(options.spool) / post.robot_id if options.spool else None
            robots.append(
                Robot(
                    post.robot_id,
                    model_id=model_id,
                    kafka=kafka,
                    rate_hz=options.rate,
                    spool=spool,
                    settings=settings,
                )
            )
        stations = [Station(post, robot, floor, report) for post, robot in zip(floor.posts, robots, strict=True)]
        work(stations, options.seconds, stop)
    finally:
        undelivered = _close(robots, options.flush_timeout)
    report.summary(
        robots=len(robots),
        models=len({post.model.model_id for post in floor.posts}),
        seconds=time.monotonic() - begun,
        cpu_seconds=time.process_time() - cpu,
        undelivered=undelivered,
    )
    for text in undelivered:
        print(f"fleet: {text}", file=sys.stderr)
    return 1 if undelivered else 0


def _close(robots: Sequence[Robot], timeout: float) -> list[str]:
    deadline, undelivered = time.monotonic() + timeout, []
    for robot in robots:
        try:
            robot.close(max(deadline - time.monotonic(), 0.1))
        except (DeliveryError, SpoolError) as problem:
            undelivered.append(str(problem))
    return undelivered


@contextlib.contextmanager
def _opened(path: str) -> Iterator[TextIO]:
    if path == "-":
        yield sys.stdout
        return
    with open(path, "w", encoding="utf-8") as out:
        yield out


@contextlib.contextmanager
def _stopped_by_signals(stop: threading.Event) -> Iterator[None]:
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


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="kinestream.producers.fleet", description="a simulated floor of robots")
    parser.add_argument("--robots", type=int, default=20, help="robots (20)")
    parser.add_argument("--seconds", type=float, default=30.0, help="seconds in which takes begin (30)")
    parser.add_argument("--rate", type=float, default=100.0, help="frames a second of each robot (100)")
    parser.add_argument("--seed", type=int, default=1, help="fixes motions, pauses and faults (1)")
    parser.add_argument("--fault-share", type=float, default=0.15, help="share of takes with a fault (0.15)")
    parser.add_argument("--report", default="-", help="file of JSON lines (- is standard output)")
    parser.add_argument("--kafka", default="", help="bootstrap servers (KINESTREAM_KAFKA)")
    parser.add_argument("--models", default="", help="model ids, separated by commas (eight of them)")
    parser.add_argument("--spool", default="", help="folder of spools, one a robot (none: frames are kept in memory)")
    parser.add_argument("--flush-timeout", type=float, default=30.0, help="seconds the broker is waited for at the end")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
