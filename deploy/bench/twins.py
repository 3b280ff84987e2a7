"""How long a close asks what it repeats, by the number of stored takes: archives side by side, asked in turn.

Stored takes are made by the store itself: keys spread as hashes do, and a crowd in the very buckets that are asked for.
"""

from __future__ import annotations

import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np
from clickhouse_connect.driver.client import Client

from kinestream.deploy.local.process import wait_until
from kinestream.deploy.store import migrations
from kinestream.schemas.errors import StackError
from kinestream.schemas.settings import Settings
from kinestream.streams.assembly.takes import UNIT, take_key
from kinestream.streams.assembly.values import TakeRow
from kinestream.streams.quality import Print
from kinestream.streams.quality.duplicates import STEPS, Signature
from kinestream.streams.quality.twins import exact_key, near_keys
from kinestream.streams.store import tables
from kinestream.streams.store.client import connect
from kinestream.streams.store.store import Store

Progress = Callable[[str], None]
#: Joints of the takes that are asked about, and takes that close together.
_JOINTS: Final = 32
_TOGETHER: Final = 10
#: Of the takes of one task (the 60 of the G1) so many of all pairs share a given band, and several bands; a task is at
#: most so large a part of an archive.
_SHARE: Final = 1 / 1_100
_SEVERAL: Final = 1 / 350
_TASK: Final = 1 / 50
_START_S, _MERGED_S = 60.0, 1_800.0
_FILL: Final = """
INSERT INTO takes SELECT cityHash64(number, part) AS bucket, toInt64(1800000000000 + number) AS started_ms,
    cityHash64(number, 0) AS take, 4294967296 AS version, multiIf(part = 0, 'take', part = 1, 'exact', 'near') AS kind,
    0 AS gone, if(part = 0, hex(sipHash128(number)), '') AS episode_id,
    if(part = 0, hex(sipHash128(number, 1)), '') AS digest, if(part = 0, 20 + number % 40, 0) AS seconds,
    if(part = 0, arrayMap(i -> toInt16(bitAnd(cityHash64(number, i), 2047)), range(64)), []) AS signature,
    [] AS metric_ids, [] AS metric_values, [] AS start_pose, [] AS end_pose
FROM numbers({first}, {count}) ARRAY JOIN range(18) AS part
"""


@dataclass(frozen=True, slots=True)
class TwinFigure:
    """Milliseconds of one look-up for ``together`` closing takes in an archive of ``takes``; ``ratio`` to the least."""

    takes: int
    together: int
    crowd: int
    p50_ms: float
    p95_ms: float
    ratio: float
    megabytes: float


def measure_twins(sizes: Sequence[int], repeats: int, folder: Path, progress: Progress) -> list[TwinFigure]:
    """Fill an archive of each size, then ask each in turn, ``repeats`` times; what is asked about is found in each."""
    settings = Settings.from_env()
    with _store(settings, folder) as here:
        asked = [_take(seed) for seed in range(_TOGETHER)]
        archives = []
        for size in sizes:
            progress(f"an archive of {size:,} takes")
            archives.append(_filled(replace(here, clickhouse_database=f"bench_{uuid.uuid4().hex[:8]}"), size, asked))
        try:
            times = [_asked(archives, asked) for _ in range(repeats + 2)][2:]
            weights = [_megabytes(archive) for archive in archives]
        finally:
            for archive in archives:
                with _client(archive) as client:
                    client.command(f"DROP DATABASE {archive.clickhouse_database}")
    middle = [median(column) for column in zip(*times, strict=True)]
    high = [float(np.percentile(column, 95)) for column in zip(*times, strict=True)]
    return [
        TwinFigure(size, _TOGETHER, _crowd(size), p50, p95, p50 / middle[0], weight)
        for size, p50, p95, weight in zip(sizes, middle, high, weights, strict=True)
    ]


def _take(seed: int) -> Print:
    rng, x = np.random.default_rng(seed), np.linspace(0, np.pi, STEPS)
    shape = sum(rng.normal(0, 1 / k, (_JOINTS, 1)) * (1 - np.cos(k * x)) for k in (1, 2, 3)).reshape(-1)
    shape = np.rint(shape / np.linalg.norm(shape) * UNIT) / UNIT
    return Print("hub", (2_000_000_000_000, f"asked-{seed}"), f"{seed:032x}", Signature(shape, 30.0))


def _crowd(size: int) -> int:
    """Takes in each bucket that is asked for."""
    return max(1, round(size * _TASK * _SHARE))


def _filled(here: Settings, size: int, asked: Sequence[Print]) -> Settings:
    with _client(replace(here, clickhouse_database="")) as client:
        migrations.apply(client, here.clickhouse_database)
    with _client(here) as client:
        for first in range(0, size, 1_000_000):
            client.command(_FILL.format(first=first, count=min(1_000_000, size - first)))
        Store(here, here.clickhouse).insert("takes", tables.takes([(1, row) for row in _neighbours(asked, size)]))
        if not wait_until(lambda: _merging(client, here) == 0, _MERGED_S, every_s=1.0):
            raise StackError(
                f"the store still merges {here.clickhouse_database} after {_MERGED_S:g} s: try again later"
            )
    return here


def _neighbours(asked: Sequence[Print], size: int) -> Iterator[TakeRow]:
    """A near twin of each take asked about, and the crowd of strangers that share a band with it, some three."""
    rng = np.random.default_rng(1)
    for take in asked:
        twin = replace(take, order=(1_900_000_000_000, f"{take.episode_id}-twin"), digest=f"twin {take.digest}")
        own = take_key(twin.episode_id)
        row = partial(TakeRow, started_ms=twin.order[0], revision=1)
        signature = np.rint(twin.signature.shape * UNIT).astype(np.int16)
        whose = partial(row, episode_id=twin.episode_id, digest=twin.digest)
        yield whose(own, take=own, kind="take", seconds=30.0, signature=signature)
        yield row(exact_key(twin), take=own, kind="exact")
        keys = near_keys(twin)
        yield from (row(bucket, take=own, kind="near") for bucket in keys)
        crowds = [_crowd(size)] * len(keys)
        for stranger in range(round(size * _TASK * _SEVERAL)):
            name = f"{take.episode_id} {stranger}"
            yield row(take_key(name), take=take_key(name), kind="take", episode_id=name, seconds=30.0,
                      signature=rng.integers(-2_000, 2_000, len(signature), np.int16))  # fmt: skip
            for band in rng.choice(len(keys), 3, replace=False):
                crowds[band] -= 1
                yield row(keys[band], take=take_key(name), kind="near")
        for bucket, left in zip(keys, crowds, strict=True):
            for stranger in range(left):
                yield row(bucket, take=take_key(f"{stranger} {bucket}"), kind="near")


def _asked(archives: Sequence[Settings], asked: Sequence[Print]) -> list[float]:
    """Milliseconds in each; raises :class:`StackError` where one does not find every twin."""
    found_ms = []
    for archive in archives:
        store = Store(archive, archive.clickhouse)
        store.alike(asked[:1])  # connected
        began = time.perf_counter()
        found = store.alike(asked)
        found_ms.append((time.perf_counter() - began) * 1000)
        lacking = {f"{take.episode_id}-twin" for take in asked} - {take.episode_id for take in found}
        if lacking:
            raise StackError(f"{len(lacking)} of {len(asked)} twins not found in {archive.clickhouse_database}")
    return found_ms


def _merging(client: Client, here: Settings) -> int:
    sql = "SELECT count() FROM system.merges WHERE database = {name:String}"
    return int(client.query(sql, parameters={"name": here.clickhouse_database}).result_rows[0][0])


def _megabytes(archive: Settings) -> float:
    sql = "SELECT sum(bytes_on_disk) / 1e6 FROM system.parts WHERE active AND database = {name:String}"
    with _client(archive) as client:
        rows = client.query(sql, parameters={"name": archive.clickhouse_database}).result_rows
    return float(rows[0][0])


def _client(here: Settings) -> Client:
    return connect(
        here.clickhouse, here.clickhouse_database, here.clickhouse_user, here.clickhouse_password, timeout_s=600
    )


@contextmanager
def _store(settings: Settings, folder: Path) -> Iterator[Settings]:
    """The store of the settings, or one of our own in ``folder``, which ends with this."""
    if settings.clickhouse:
        yield settings
        return
    address = folder / "address"
    command = [sys.executable, "-m", "kinestream.deploy.store", "--path", str(folder / "store"), "--port", "0"]
    with (folder / "store.log").open("wb") as log:
        process = subprocess.Popen([*command, "--address-file", str(address)], stdout=log, stderr=log)
    try:
        if not wait_until(address.exists, _START_S):
            raise StackError(f"the store did not start: {(folder / 'store.log').read_text()[-500:]}")
        yield replace(settings, clickhouse=address.read_text().strip())
    finally:
        process.terminate()
        process.wait(30)
