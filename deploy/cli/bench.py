"""Owns the command ``bench``: what was measured, as a table or one JSON document; the measuring is in deploy/bench."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from kinestream.deploy.cli.faults import faults

if TYPE_CHECKING:
    from kinestream.deploy.bench.peers import Peer
    from kinestream.deploy.bench.worker import WorkerFigures

Json = Annotated[bool, typer.Option("--json", help="One JSON document.")]
Chunks = Annotated[str, typer.Option("--chunk", help="Frames a chunk, one or several sizes: 1,10,64.")]
#: Frames a CPU-second a spool must take.
FLOOR_SPOOL = 50_000
#: What this stage must reach (docs/performance.md): frames a CPU-second at 64 a chunk, and MB.
FLOOR_FRAMES, FLOOR_WORKER_MB, FLOOR_STACK_MB = 300_000, 400, 1500
#: Milliseconds from end mark to event that 99 of 100 live takes keep below beside a bulk upload.
FLOOR_EVENT_MS = 500


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Measure, each figure beside its peer in the same run.", no_args_is_help=True)
    for command in (codec, judge, files, spool, worker, recovery, memory, lanes, twins, faults):
        group.command()(command)
    app.add_typer(group, name="bench")


def codec(
    chunk: Chunks = "1,10,64",
    repeats: Annotated[int, typer.Option(min=1, help="Turns of each way; medians are shown.")] = 7,
    turn: Annotated[float, typer.Option(min=0.001, help="CPU-seconds of a turn.")] = 0.3,
    as_json: Json = False,
) -> None:
    """Encode and decode chunks of 32 joints x 3 channels, ours beside fastavro."""
    from kinestream.deploy.bench.codec import measure_codec
    from kinestream.deploy.bench.machine import machine
    from kinestream.deploy.cli.output import emit_json, say, table, working

    sizes = parse_sizes(chunk)
    with working("encoding and decoding"):
        figures = measure_codec(sizes, repeats, turn)
    if as_json:
        rows = [
            {"chunk": f.chunk, "what": f.what, "ours": f.ours, "fastavro": f.fastavro, "ratio": f.ratio}
            for f in figures
        ]
        emit_json({"bench": "codec", **machine(), "repeats": repeats, "figures": rows})
        return
    cells = [(str(f.chunk), f.what, _big(f.ours), _big(f.fastavro), f"{f.ratio:.1f}x") for f in figures]
    table(("frames a chunk", "", "ours", "fastavro", "ratio"), cells)
    say(f"frames a CPU-second, medians of {repeats} turns each, taken in turn")


def files(
    episodes: Annotated[int, typer.Option(min=10, help="Episodes of the data set; 500 are about 113 MB.")] = 500,
    repeats: Annotated[int, typer.Option(min=1, help="Rounds; medians are shown.")] = 3,
    jobs: Annotated[int, typer.Option(min=0, help="Processes of `judge`; 0 = one a processor.")] = 0,
    as_json: Json = False,
) -> None:
    """Judge a LeRobot data set of files, `kinestream judge` beside the graders others use."""
    from kinestream.deploy.bench.graders import graders, measure_files
    from kinestream.deploy.bench.machine import machine
    from kinestream.deploy.cli.output import emit_json, say, table, working

    contenders = graders(jobs)
    with working("judging files") as progress:
        found = measure_files(episodes, repeats, contenders, progress)
    peers = [one.name for one in contenders if not one.ours and not one.missing]
    fastest = min(peers, key=found.wall_s, default="")
    if as_json:
        missing = {one.name: one.missing for one in contenders if one.missing}
        emit_json({"bench": "files", **machine(), **asdict(found), "fastest_peer": fastest or None, "missing": missing})
        return
    rows = []
    for one in contenders:
        if one.missing:
            rows.append((one.name, one.missing, "", "", "", "", ""))
            continue
        wall, cpu, rate = found.wall_s(one.name), found.cpu_s(one.name), _big(found.frames / found.cpu_s(one.name))
        ratio = f"{found.wall_s(fastest) / wall:.2g}x" if fastest else ""
        of_cpu = f"{found.cpu_s(fastest) / cpu:.2g}x" if fastest else ""
        rows.append((one.name, f"{wall:.2f}", ratio, f"{cpu:.2f}", of_cpu, rate, f"{found.peak_mb(one.name):,.0f}"))
    heads = ("", "seconds", "to the fastest peer", "CPU-seconds", "its CPU", "frames a CPU-second", "peak MB a process")
    table(heads, rows)
    for one in contenders:
        say(f"{one.name}: {one.does}")
    say(f"{found.episodes} episodes, {found.frames:,} frames, {found.dataset_mb:.0f} MB; start-up is in every figure")


def spool(
    chunk: Chunks = "10,64",
    frames: Annotated[int, typer.Option(min=3000, help="Frames of each turn.")] = 150_000,
    repeats: Annotated[int, typer.Option(min=1, help="Turns of each way; medians are shown.")] = 3,
    folder: Annotated[
        str, typer.Option(help="A folder on the disk to measure (the system's for temporary files).")
    ] = "",
    as_json: Json = False,
) -> None:
    """Frames of 32 joints x 3 channels from send() into a robot's spool on disk, without a broker."""
    import logging

    from kinestream.deploy.bench.machine import machine
    from kinestream.deploy.bench.spool import measure_spool
    from kinestream.deploy.cli.output import emit_json, say, table, working

    logging.getLogger("kinestream.robot").setLevel(logging.ERROR)  # that nobody listens is meant
    with working("writing spools"):
        figures = measure_spool(parse_sizes(chunk), frames, repeats, folder)
    if as_json:
        emit_json({"bench": "spool", **machine(), "repeats": repeats, "floor": FLOOR_SPOOL, "figures": figures})
        return
    cells = [
        (str(f.chunk), f.call, f.durable, _big(f.frames_per_cpu_s), _big(f.frames_per_s), f"{f.promised_s * 1000:.0f}")
        for f in figures
    ]
    table(
        ("frames a chunk", "by", "survives a loss of", "frames a CPU-second", "frames a second", "promised, ms"), cells
    )
    reached = all(f.frames_per_cpu_s >= FLOOR_SPOOL for f in figures if f.durable == "process")
    say(f"floor: {FLOOR_SPOOL:,} frames a CPU-second, {'reached' if reached else 'NOT reached'}")


def judge(
    chunk: Chunks = "64",
    repeats: Annotated[int, typer.Option(min=1, help="Takes judged; medians are shown.")] = 7,
    as_json: Json = False,
) -> None:
    """Decode and judge by every metric, one core, in memory: 32 joints x 3 channels."""
    from dataclasses import asdict

    from kinestream.deploy.bench.judge import measure_judge
    from kinestream.deploy.bench.machine import machine
    from kinestream.deploy.cli.output import emit_json, say, table, working

    with working("judging"):
        figures = [measure_judge(size, repeats) for size in parse_sizes(chunk)]
    if as_json:
        emit_json({"bench": "judge", **machine(), "repeats": repeats, "figures": [asdict(f) for f in figures]})
        return
    cells = [(str(f.chunk), _big(f.frames_per_s), str(f.metrics), f.verdict) for f in figures]
    table(("frames a chunk", "frames/s", "rows", "verdict"), cells)
    say(f"frames a CPU-second, medians of {repeats} takes; decoding and the final judgement are in it")


def twins(
    takes: Annotated[str, typer.Option(help="Stored takes, one or several archives.")] = "10000,100000,1000000",
    repeats: Annotated[int, typer.Option(min=3, help="Look-ups in each archive, taken in turn.")] = 60,
    as_json: Json = False,
) -> None:
    """What a close waits for the answer which stored takes it may repeat, by how many there are."""
    import tempfile
    from pathlib import Path

    from kinestream.deploy.bench.machine import machine
    from kinestream.deploy.bench.twins import measure_twins
    from kinestream.deploy.cli.output import emit_json, say, table, working

    sizes = parse_sizes(takes, most=100_000_000, option="--takes")
    with working("filling archives") as progress, tempfile.TemporaryDirectory() as folder:
        figures = measure_twins(sizes, repeats, Path(folder), progress)
    if as_json:
        emit_json({"bench": "twins", **machine(), "repeats": repeats, "figures": [asdict(f) for f in figures]})
        return
    cells = [
        (f"{f.takes:,}", str(f.crowd), f"{f.p50_ms:.1f}", f"{f.p95_ms:.1f}", f"{f.ratio:.2f}x", f"{f.megabytes:,.0f}")
        for f in figures
    ]
    table(("stored takes", "in a bucket", "p50 ms", "p95 ms", "to the first", "MB"), cells)
    say(f"one look-up for {figures[0].together} takes that close together; {repeats} in each archive, in turn")


def worker(
    frames: Annotated[int, typer.Option(min=0, help="Frames in each topic; 0 = by chunk size.")] = 0,
    chunk: Chunks = "1,10,64",
    repeats: Annotated[int, typer.Option(min=1, help="Runs of each over the same topic; medians are shown.")] = 1,
    metrics: Annotated[Literal["core", "all"], typer.Option(help="What all judge by: ten metrics, or all.")] = "core",
    as_json: Json = False,
) -> None:
    """Fetch to verdict on Apache Kafka: the worker, a bare loop, a plain Faust agent, Quix Streams; the same topic."""
    from kinestream.deploy.bench.machine import machine
    from kinestream.deploy.bench.peers import peers
    from kinestream.deploy.bench.site import site
    from kinestream.deploy.bench.worker import default_frames, measure_worker
    from kinestream.deploy.cli.output import emit_json, working
    from kinestream.schemas.settings import Settings

    sizes, contenders = parse_sizes(chunk), peers()
    settings = replace(Settings.from_env(), metrics=metrics)
    with working("measuring the worker") as progress, site(settings, progress) as place:
        found = [
            measure_worker(place, one, frames or default_frames(one), repeats, progress, contenders) for one in sizes
        ]
    if as_json:
        emit_json(
            {"bench": "worker", **machine(), "metrics": metrics, "runs": [_document(one, contenders) for one in found]}
        )
    else:
        _tell_worker(found, contenders)


def recovery(
    episodes: Annotated[int, typer.Option(min=1, help="Episodes open at once, one a robot.")] = 200,
    frames: Annotated[int, typer.Option(min=100, help="Frames each has sent.")] = 2000,
    as_json: Json = False,
) -> None:
    """A worker killed -9 with open episodes: how soon it is back, and how fast it replays what was in flight."""
    from kinestream.deploy.bench.machine import machine
    from kinestream.deploy.bench.recovery import measure_recovery
    from kinestream.deploy.bench.site import site
    from kinestream.deploy.cli.output import emit_json, say, working
    from kinestream.schemas.settings import Settings

    with working("measuring recovery") as progress, site(Settings.from_env(), progress) as place:
        found = measure_recovery(place, episodes, frames, progress)
    if as_json:
        emit_json({"bench": "recovery", **machine(), **asdict(found)})
        return
    say(f"{found.episodes} open episodes, {found.frames:,} frames in flight; the worker is killed -9 and started again")
    say(f"ready after {found.back_s:.1f} s, of which {found.empty_s:.1f} s are its start with nothing in flight")
    say(f"replay, from their blocks to every verdict: {_big(found.replay_per_cpu_s)} frames a CPU-second")
    say(f"all closed {found.closed_s:.1f} s after their end marks")


def memory(
    episodes: Annotated[int, typer.Option(min=1, help="Episodes open at once, one a robot.")] = 200,
    frames: Annotated[int, typer.Option(min=100, help="Frames each has sent.")] = 2000,
    as_json: Json = False,
) -> None:
    """Resident memory of a worker with open episodes, and of the whole local stack."""
    from kinestream.deploy.bench.machine import machine
    from kinestream.deploy.bench.memory import measure_memory
    from kinestream.deploy.bench.site import site
    from kinestream.deploy.cli.output import emit_json, say, table, working
    from kinestream.schemas.settings import Settings

    with working("measuring memory") as progress, site(Settings.from_env(), progress, workers=1) as place:
        found = measure_memory(place, episodes, frames, progress)
    if as_json:
        figures = {"open_episodes": found.open_episodes, "frames": found.frames, "services_mb": dict(found.services)}
        totals = {name: getattr(found, name) for name in ("worker_idle_mb", "worker_mb", "worker_peak_mb", "stack_mb")}
        floors = {"worker_mb": FLOOR_WORKER_MB, "stack_mb": FLOOR_STACK_MB}
        emit_json({"bench": "memory", **machine(), **figures, **totals, "floors": floors})
        return
    table(("service", "MB"), [(name, f"{size:,.0f}") for name, size in found.services.items()])
    of = f"at {found.open_episodes} open episodes of {frames:,} frames"
    say(f"the worker {of}: {found.worker_mb:,.0f} MB, before {found.worker_idle_mb:,.0f} (floor {FLOOR_WORKER_MB})")
    say(f"at most, reading them as fast as it can: {found.worker_peak_mb:,.0f} MB")
    say(f"the stack: {found.stack_mb:,.0f} MB (floor {FLOOR_STACK_MB:,})")


def lanes(
    robots: Annotated[int, typer.Option(min=1, help="Live robots, 100 Hz each.")] = 20,
    seconds: Annotated[float, typer.Option(min=5, help="How long live takes begin, each time.")] = 40.0,
    frames: Annotated[int, typer.Option(min=2000, help="Frames of the bulk upload.")] = 2_000_000,
    as_json: Json = False,
) -> None:
    """Live event latency without and beside a bulk upload at full speed, and the rate the bulk lane reaches."""
    from kinestream.deploy.bench.lanes import measure_lanes
    from kinestream.deploy.bench.machine import machine
    from kinestream.deploy.bench.site import site
    from kinestream.deploy.cli.output import emit_json, say, table, working
    from kinestream.schemas.settings import Settings

    with working("measuring the lanes") as progress, site(Settings.from_env(), progress, workers=1) as place:
        found = measure_lanes(place, robots, seconds, frames, progress)
    if as_json:
        emit_json({"bench": "lanes", **machine(), **asdict(found), "floor_event_p99_ms": FLOOR_EVENT_MS})
        return
    rows = [
        (name, f"{one.latency_ms.samples}", f"{one.latency_ms.p50}", f"{one.latency_ms.p99}", f"{one.unannounced}")
        for name, one in (("alone", found.alone), ("beside a bulk upload", found.beside))
    ]
    table((f"{robots} live robots", "takes", "event p50, ms", "p99, ms", "without event"), rows)
    sent, judged = _big(found.upload_frames_per_s), _big(found.bulk_frames_per_s)
    say(f"bulk: {sent} frames/s to the broker, {judged} to the verdict")
    p99 = found.beside.latency_ms.p99
    reached = "reached" if p99 is not None and p99 < FLOOR_EVENT_MS else "NOT reached"
    say(f"floor: p99 below {FLOOR_EVENT_MS} ms beside the upload, {reached}")


def parse_sizes(text: str, most: int = 500, option: str = "--chunk") -> list[int]:
    """Sizes from ``1,10,64``; raises :class:`SettingError`."""
    from kinestream.schemas.errors import SettingError

    sizes = [int(one) for one in text.split(",") if one.strip().isdecimal()]
    if len(sizes) != len(text.split(",")) or not all(1 <= one <= most for one in sizes):
        raise SettingError(f"{option} {text!r}: give numbers from 1 to {most}, parted by commas, such as 1,10,64")
    return sizes


def _tell_worker(found: list[WorkerFigures], contenders: Sequence[Peer]) -> None:
    from kinestream.deploy.cli.output import say, table

    rows = []
    for one in found:
        for peer in contenders:
            size = str(one.chunk) if peer.name == "worker" else ""
            rows.append((size, peer.title, *_cells(one, peer)))
    table(("frames a chunk", "", "frames a CPU-second", "frames a second", "peak MB", "the worker does"), rows)
    for peer in contenders:
        say(f"{peer.title}: {peer.does}")
    for one in found:
        if one.chunk == 64:
            reached = "reached" if one.rate("worker") >= FLOOR_FRAMES else "NOT reached"
            say(f"floor at 64 a chunk: {FLOOR_FRAMES:,} frames a CPU-second, {reached}")


def _cells(one: WorkerFigures, peer: Peer) -> tuple[str, str, str, str]:
    from statistics import median

    if peer.missing:
        return peer.missing, "", "", ""
    runs = one.runs[peer.name]
    wall = median(run.frames / run.wall_s for run in runs)
    ratio = "" if peer.name == "worker" else f"{one.ratio(peer.name):.2g}x"
    return _big(one.rate(peer.name)), _big(wall), f"{max(run.peak_rss_mb for run in runs):,.0f}", ratio


def _document(one: WorkerFigures, contenders: Sequence[Peer]) -> dict[str, Any]:
    document: dict[str, Any] = {
        name: getattr(one, name) for name in ("chunk", "frames", "episodes", "messages", "bytes")
    }
    document["floor"] = FLOOR_FRAMES if one.chunk == 64 else None
    for peer in contenders:
        if peer.missing:
            document[peer.name] = {"missing": peer.missing}
            continue
        runs = [asdict(run) | {"frames_per_cpu_s": run.frames_per_cpu_s} for run in one.runs[peer.name]]
        document[peer.name] = {
            "frames_per_cpu_s": one.rate(peer.name),
            "worker_ratio": one.ratio(peer.name),
            "does": peer.does,
            "runs": runs,
        }
    return document


def _big(value: float) -> str:
    """Three digits that mean something: nobody measures a seventh."""
    return f"{float(f'{value:.3g}'):,.0f}"
