"""Who is measured beside the worker, what each of them does, and how it is started; it measures nothing itself."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from clickhouse_connect.driver.client import Client

from kinestream.deploy.bench.contender import Contender, Verdicts, started
from kinestream.deploy.bench.site import Site, environment, reader
from kinestream.deploy.local.process import free_port
from kinestream.schemas.settings import Settings

#: Peers are scripts beside the package: they serve measuring and nobody installs them.
ROOT: Final = Path(__file__).resolve().parents[2]
SCRIPTS: Final = ROOT / "bench"
PLAIN_AGENT: Final = SCRIPTS / "plain_agent.py"
_QUIX_PYTHON: Final = ROOT / ".venv-bench" / "bin" / "python"


@dataclass(frozen=True, slots=True)
class Peer:
    """One contender; ``stores``: its verdicts are rows of the table episodes, else lines of a file it writes."""

    name: str
    title: str
    #: what it does for its figure, in words: without them no two figures may be compared
    does: str
    command: tuple[str, ...]
    stores: bool
    python: str = sys.executable
    #: why it cannot run here; empty = it can
    missing: str = ""


_ALL: Final = "decode (numpy), assemble, hash, judge, journal, frames and episodes stored, fenced events, receipts"
_JUDGE: Final = "decode ({}), judge; stores, hashes and announces nothing, loses data when killed"


def peers() -> tuple[Peer, ...]:
    """The worker first, then everybody it is measured beside."""
    agent = ("-m", "faust", "-A", "plain_agent", "--workdir", str(SCRIPTS), "worker")
    absent = "" if PLAIN_AGENT.exists() else f"{SCRIPTS.name}/ is in the repository only"
    worker = ("-m", "faust", "-A", "kinestream.streams.app", "worker")
    bare, quix = (str(SCRIPTS / "bare_loop.py"),), _quix_python()
    return (
        Peer("worker", "worker", _ALL, worker, stores=True),
        Peer("bare_loop", "bare loop", f"the same core, no Faust: {_ALL}", bare, stores=True, missing=absent),
        Peer("plain_agent", "plain Faust agent", _JUDGE.format("fastavro"), agent, stores=False, missing=absent),
        Peer(
            *("quix_streams", "Quix Streams", _JUDGE.format("numpy"), (str(SCRIPTS / "quix_app.py"),)),
            stores=False,
            python=quix or sys.executable,
            missing=absent or ("" if quix else "quixstreams is not installed: make bench-peers"),
        ),
    )


def _quix_python() -> str:
    if _QUIX_PYTHON.exists():
        return str(_QUIX_PYTHON)
    return sys.executable if find_spec("quixstreams") else ""


@contextmanager
def running(peer: Peer, place: Site, tenant: Settings, number: int) -> Iterator[Contender]:
    """A started contender with a database and a group of its own."""
    with place.database(tenant) as base:
        # One take is no statistics: which take of twenty finds the first ones is a matter of moments, and so would be
        # its verdict.
        mine = replace(base, instance_id=base.group, worker_port=free_port(), task_takes=1)
        # The peers' Python has no installation of ours.
        variables = environment(mine) | {"PYTHONPATH": str(ROOT)}
        with _verdicts(peer, mine) as verdicts:
            name = f"{peer.name}-{number}"
            with started(name, peer.command, variables, verdicts, mine.home, python=peer.python) as one:
                yield one


@contextmanager
def _verdicts(peer: Peer, mine: Settings) -> Iterator[Verdicts]:
    if peer.stores:
        with reader(mine) as client:
            yield stored_verdicts(client)
        return
    written = mine.home / "verdicts"
    yield lambda: Counter(written.read_text().split()) if written.exists() else Counter()


def stored_verdicts(client: Client) -> Verdicts:
    """Verdicts of the episodes that are stored complete; anything else is counted under its status."""
    sql = (
        "SELECT if(status = 'COMPLETE' AND missing = 0 AND hash_verified, verdict, status), uniqExact(episode_id) "
        "FROM episodes GROUP BY 1"
    )

    def verdicts() -> Counter[str]:
        return Counter(dict(client.query(sql).result_rows))

    return verdicts
