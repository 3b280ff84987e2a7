"""Owns the words at the end of a demo; every figure comes from the measurement."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kinestream.deploy.demo.measurement import Latency, Measurement

_BROKERS = {"kafka": "Apache Kafka", "test": "the test broker, in memory only"}
_STORES = {"embedded": "the embedded ClickHouse", "clickhouse": "ClickHouse"}


def summary(done: Measurement, lacks: Sequence[str], per_day: float) -> list[str]:
    """What happened, as lines."""
    if lacks:
        head = ["NOT everything arrived:", *(f"  - {line}" for line in lacks)]
    else:
        head = ["Every episode was completed, stored and announced; not one frame is missing."]
    hashes = f"{done.hash_mismatches:,} differ from" if done.hash_mismatches else "all equal"
    return [
        *head,
        f"  episodes  {done.episodes_published:,} published, {done.episodes_completed:,} completed,"
        f" {done.episodes_stored:,} stored, {done.episodes_announced:,} announced",
        f"  frames    {done.frames_published:,} published, {done.frames_stored:,} stored, {done.lost_frames:,} lost",
        f"  hashes    computed from what the store gives back: {hashes} the robots' own",
        f"  faults    {done.faults_injected:,} injected, {done.faults_caught:,} caught at the right robot and joint,"
        f" {done.wrong_findings:,} wrong",
        f"  latency   {_latency(done.event_latency_ms)} from the end of a take to its event",
        f"            {_latency(done.finding_latency_ms)} from a faulty frame to its finding",
        f"  pace      {per_day:,.0f} episodes a day, of takes far shorter than real ones",
        f"  where     {done.robots} robots, {_BROKERS[done.broker]}, {_STORES[done.store]};"
        f" {done.seconds:.0f} s in all",
    ]


def how_to_go_on(program: str, home: Path, tenant: str, example: str, *, elsewhere: bool) -> list[str]:
    """Commands that make sense now; ``example``: an episode. ``elsewhere``: broker or store are not ours."""
    looking = [f"export KINESTREAM_HOME={home}", f"{program} up", f"{program} episodes"]
    if example:
        looking += [f"{program} frames {example} --out take.npz"]
    sending = [f"{program} up", f"{program} publish RECORDING", f"{program} subscribe --from-start"]
    lines = ["look into what the demo recorded:", *looking, "", "send your own, in another shell:", *sending]
    if elsewhere:
        lines += ["", f"the broker or store of your settings still hold tenant {tenant} (topics motion.{tenant}.*)"]
    return [f"  {line}" if line in (*looking, *sending) else line for line in lines]


def _latency(latency: Latency) -> str:
    if latency.p50 is None:
        return "not measured"
    return f"p50 {latency.p50:,.0f} ms, p99 {latency.p99:,.0f} ms"
