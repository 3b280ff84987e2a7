"""Owns the broker's jars: which they are, fetching them once a person. An unchecked jar is never used.

``python -m kinestream.deploy.local.jars`` resolves the dependencies again and rewrites ``jars.txt``.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kinestream.schemas.errors import BrokerError, KafkaUnavailableError

#: Version of Apache Kafka.
VERSION: Final = "4.3.1"
_ROOTS: Final = (f"org.apache.kafka:kafka_2.13:{VERSION}", "org.slf4j:slf4j-simple:1.7.36")
_LIST: Final = Path(__file__).with_name("jars.txt")
#: Requests at a time while fetching, and seconds each may take.
_PARALLEL: Final = 6
_TIMEOUT_S: Final = 20


@dataclass(frozen=True, slots=True)
class Jar:
    """One jar: its Maven coordinate ``group:artifact:version`` and the sha256 of its bytes, lower-case hex."""

    coordinate: str
    sha256: str

    @property
    def name(self) -> str:
        """File name, ``artifact-version.jar``."""
        _, artifact, version = self.coordinate.split(":")
        return f"{artifact}-{version}.jar"


def committed_jars(path: Path = _LIST) -> tuple[Jar, ...]:
    """The jars of the committed list: lines of ``sha256  group:artifact:version``."""
    lines = (line.split() for line in path.read_text().splitlines() if line and not line.startswith("#"))
    return tuple(Jar(coordinate, sha256) for sha256, coordinate in lines)


def cache_folder(setting: str = "") -> Path:
    """Where jars are kept: ``setting`` (Settings.cache), or ``kinestream`` in the platform's cache folder."""
    if setting:
        return Path(setting).expanduser()
    places = {"darwin": "Library/Caches", "win32": "AppData/Local"}
    return Path.home() / places.get(sys.platform, ".cache") / "kinestream"


def kafka_jars(cache: Path, progress: Callable[[str], None] = lambda _: None) -> list[Path]:
    """Paths of all jars, fetched if missing and checked; several processes may call it at once.

    Raises :class:`KafkaUnavailableError` without network, :class:`BrokerError` for a jar that is not the committed one.
    """
    folder = cache / f"kafka-{VERSION}"
    jars = committed_jars()
    with _locked(folder):
        missing = [jar for jar in jars if not (folder / jar.name).exists()]
        if missing:
            progress(f"fetching Apache Kafka {VERSION}: {len(missing)} jars, once, into {folder}")
            _fetch(missing, folder)
    for jar in jars:
        check(jar, folder / jar.name)
    return [folder / jar.name for jar in jars]


def check(jar: Jar, path: Path) -> None:
    """Raise :class:`BrokerError` unless the file holds exactly the bytes that were committed to."""
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != jar.sha256:
        raise BrokerError(
            f"{path} has sha256 {found}, expected {jar.sha256}: it is damaged or was replaced; delete it and try again"
        )


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    except OSError as problem:
        raise BrokerError(f"{folder} cannot hold the jars ({problem}): set KINESTREAM_CACHE to another") from problem
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fetch(jars: list[Jar], folder: Path) -> None:
    try:
        from jgo.maven import MavenContext
    except ImportError:
        raise KafkaUnavailableError("jgo is not installed: pip install 'kinestream[local]' brings it") from None
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        context = MavenContext(repo_cache=Path(scratch), timeout=_TIMEOUT_S)

        def one(jar: Jar) -> None:
            path = Path(context.create_dependency(jar.coordinate).artifact.resolve())
            check(jar, path)
            os.replace(path, folder / jar.name)  # whole and checked, or not there

        with ThreadPoolExecutor(_PARALLEL) as pool:
            try:
                list(pool.map(one, jars))
            except (OSError, RuntimeError) as problem:  # requests' errors are OSErrors; jgo raises RuntimeError for 404
                pool.shutdown(cancel_futures=True)
                raise KafkaUnavailableError(
                    f"the jars of Apache Kafka {VERSION} could not be fetched ({type(problem).__name__}): connect "
                    "once, set KINESTREAM_KAFKA to a running cluster, or use KINESTREAM_BROKER=test"
                ) from problem


def _resolve_again() -> None:
    from jgo.maven import MavenContext

    context = MavenContext(timeout=_TIMEOUT_S)
    inputs, others = context.resolver.resolve([context.create_dependency(root) for root in _ROOTS])
    lines = [f"# Apache Kafka {VERSION} and all it needs; written by python -m kinestream.deploy.local.jars"]
    for found in sorted([*inputs, *others], key=lambda one: (one.groupId, one.artifactId)):
        digest = hashlib.sha256(Path(found.artifact.resolve()).read_bytes()).hexdigest()
        lines.append(f"{digest}  {found.groupId}:{found.artifactId}:{found.version}")
    _LIST.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    _resolve_again()
