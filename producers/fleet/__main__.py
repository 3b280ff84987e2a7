"""The process of the simulated floor: ``python -m kinestream.producers.fleet``; never anything a real robot runs."""

from __future__ import annotations

import argparse
import contextlib
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TextIO

from kinestream.producers.fleet.faults import FaultPlan
from kinestream.producers.fleet.floor import MODELS, Floor, fresh_seed
from kinestream.producers.fleet.matrix import MatrixFloor
from kinestream.producers.fleet.report import Report
from kinestream.producers.fleet.running import FLUSH_S, run, stopped_by_signals
from kinestream.schemas.errors import KinestreamError
from kinestream.schemas.settings import Settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the floor; 0 when the broker has everything, 1 when not, 2 for arguments that do not fit."""
    options = _options(arguments)
    stop = threading.Event()
    try:
        settings = Settings.from_env()
        settings = replace(settings, kafka=options.kafka or settings.kafka)
        floor = _floor(options)
        with _opened(options.report) as out, stopped_by_signals(stop):
            done = run(
                floor, Report(out), settings, options.seconds, stop, spool=options.spool, flush_s=options.flush_timeout
            )
    except (KinestreamError, OSError) as problem:
        print(f"fleet: {problem}", file=sys.stderr)
        return 2
    for text in done.undelivered:
        print(f"fleet: {text}", file=sys.stderr)
    return 1 if done.undelivered else 0


def _floor(options: argparse.Namespace) -> Floor:
    models = options.models.split(",") if options.models else MODELS
    seed = fresh_seed() if options.seed is None else options.seed
    if options.matrix:
        return MatrixFloor(seed=seed, models=models, episodes=options.matrix)
    plan = FaultPlan.parse(options.faults)
    return Floor(options.robots, rate_hz=options.rate, seed=seed, plan=plan, models=models)


@contextlib.contextmanager
def _opened(path: str) -> Iterator[TextIO]:
    if path == "-":
        yield sys.stdout
        return
    with open(path, "w", encoding="utf-8") as out:
        yield out


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="kinestream.producers.fleet", description="a simulated floor of robots")
    parser.add_argument("--robots", type=int, default=20, help="robots (20)")
    parser.add_argument("--seconds", type=float, default=30.0, help="seconds in which takes begin (30)")
    parser.add_argument("--rate", type=float, default=100.0, help="frames a second of each robot (100)")
    parser.add_argument("--seed", type=int, help="fixes motions, pauses and faults (another each run)")
    parser.add_argument("--faults", default="shown", help="which, and their share of the takes (shown:0.15)")
    parser.add_argument("--matrix", type=int, default=0, help="every fault in one and in all of so many takes (no)")
    parser.add_argument("--report", default="-", help="file of JSON lines (- is standard output)")
    parser.add_argument("--kafka", default="", help="bootstrap servers (KINESTREAM_KAFKA)")
    parser.add_argument("--models", default="", help="model ids, separated by commas (eight of them)")
    parser.add_argument("--spool", default="", help="folder of spools, one a robot (none: frames are kept in memory)")
    parser.add_argument("--flush-timeout", type=float, default=FLUSH_S, help="seconds the broker is waited for (30)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
