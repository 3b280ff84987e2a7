"""Owns the life of the local stack: broker, registry, store, workers, in order, under one supervisor.

It never stops what it did not start, and never deletes data.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from kinestream.deploy.local import disk, guard, health, process
from kinestream.deploy.local.jars import VERSION, cache_folder, kafka_jars
from kinestream.deploy.local.java import find_java
from kinestream.deploy.local.ports import Remembered, choose_ports, is_worker, worker_names
from kinestream.deploy.local.services import (
    Service,
    Services,
    ServiceStatus,
    addresses,
    inside_address,
    service_names,
    services,
    test_broker_address,
    worker_environment,
)
from kinestream.deploy.local.supervise import Program, Supervisor
from kinestream.deploy.topics import bound_topics, broker_kind, ensure_topics
from kinestream.schemas.errors import BrokerError, KafkaUnavailableError, SettingError, StackError, StoreError
from kinestream.schemas.settings import Settings

Progress = Callable[[str], None]
#: How long a service may take until it is healthy, seconds: a broker that was killed first reads its whole log.
START_S: Final = 90.0
#: States of a program that will not become healthy; BACKOFF: it ended within a second, and would again.
_GONE: Final = ("BACKOFF", "FATAL", "EXITED", "STOPPED", "UNKNOWN")
_TERMINAL_CODES: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_WHAT: Final = {
    "registry": "schema registry",
    "store": "ClickHouse",
    "test": "test broker",
    "kafka": "Apache Kafka",
    "guard": "watch over the disk",
}


class Stack:
    """The local stack in ``settings.home``. Several Stack objects, in several processes, may speak of the same one."""

    def __init__(self, settings: Settings) -> None:
        self.home = settings.home.expanduser().resolve()
        self.settings = _without_own(settings, Remembered.load(self.home))
        self._supervisor: Supervisor | None = None

    def up(self, progress: Progress = lambda _: None, workers: int = 1, *, foreground: bool = False) -> Services:
        """Start what does not run yet, and return when everything is healthy, topics and tables included.

        With ``foreground`` the stack ends with the calling thread, even one that is killed. An error or Ctrl-C on the
        way stops everything this call started. Raises BrokerError, StoreError or StackError, which say what to do.
        """
        if workers < 0:
            raise StackError(f"workers={workers}: give 0 or more")
        with self._locked():
            memory = Remembered.load(self.home)
            supervisor = self._reach(memory)
            found_running = supervisor.pid() > 0
            try:
                if found_running:
                    self._let_in(memory, supervisor)
                    memory = self._scale(memory, supervisor, workers)
                else:
                    memory = self._begin(memory, supervisor, progress, workers, foreground=foreground)
                return self._start_services(memory, supervisor, progress)
            except BaseException:
                if not found_running:
                    supervisor.stop()
                raise

    def down(self) -> bool:
        """Stop the stack, workers first; data stays. Returns whether it was running."""
        if not self.home.exists():
            return False
        with self._locked():
            supervisor = self._reach(Remembered.load(self.home))
            running = supervisor.pid() > 0
            supervisor.stop()
            return running

    def status(self) -> list[ServiceStatus]:
        """Every service, in the order in which they start, asked just now."""
        memory = Remembered.load(self.home)
        supervisor = self._reach(memory)
        up = supervisor.pid() > 0
        return [self._ask(one, supervisor, up=up) for one in services(self.settings, memory, self.home)]

    def services(self) -> Services:
        """Where clients find everything; raises :class:`StackError` when neither a setting nor an earlier up says."""
        found = self.where()
        if not (found.kafka and found.clickhouse):
            raise StackError(
                f"no stack was started in {self.home}: run `kinestream up`, "
                "or set KINESTREAM_KAFKA and KINESTREAM_CLICKHOUSE to services that run"
            )
        return found

    def where(self) -> Services:
        """Like :meth:`services`, with empty text for what nobody knows yet."""
        return addresses(self.settings, Remembered.load(self.home))

    def for_workers(self) -> Services:
        """Like :meth:`services`, with the listener of our own broker that stays when robots are refused."""
        return replace(self.services(), kafka=inside_address(self.settings, Remembered.load(self.home)))

    def lane(self) -> str:
        """What a further worker reads: the live lane, where the stack has a worker for the other one."""
        beside = Remembered.load(self.home).bulk and self.settings.lane == "both"
        return "live" if beside else self.settings.lane

    def logged(self) -> list[str]:
        """Names of the services whose output is in ``logs/``, the supervisor's own included."""
        found = services(self.settings, Remembered.load(self.home), self.home)
        return [*(one.name for one in found if one.command), "supervisord"]

    def broker(self) -> str:
        """``kafka`` or ``test``: the kind of broker that the stack runs, will run, or was told to use."""
        if self.settings.kafka:
            try:
                return broker_kind(self.settings.kafka, health.ANSWER_S, self.settings.kafka_access())
            except BrokerError:
                return "kafka"
        return "test" if (Remembered.load(self.home).broker or self.settings.broker) == "test" else "kafka"

    # -- starting ----------------------------------------------------------

    def _begin(
        self, memory: Remembered, supervisor: Supervisor, progress: Progress, workers: int, *, foreground: bool
    ) -> Remembered:
        kind = self._choose_broker(progress)
        _check_workers(kind, workers)
        if kind != memory.broker:  # the port of one broker means nothing to the other
            memory = replace(memory, ports={name: port for name, port in memory.ports.items() if name != "broker"})
        guard.reopen(self.home)
        mine = shares(self.home, self.settings)
        bulk = self._two_lanes(kind)
        memory = replace(memory, broker=kind, workers=workers, bulk=bulk, brief=foreground)
        memory = replace(memory, broker_bytes=mine.broker, keep_free=mine.keep_free)
        names = [*service_names(self.settings, workers, bulk=bulk), *(["inside"] if kind == "kafka" else [])]
        memory = choose_ports(memory, [n for n in names if n != "broker" or kind == "kafka"], self.settings)
        test_broker_address(self.home).unlink(missing_ok=True)
        supervisor.start(self._programs(memory), foreground=foreground)
        memory = replace(memory, socket=supervisor.socket)
        memory.save(self.home)
        return memory

    def _scale(self, memory: Remembered, supervisor: Supervisor, workers: int) -> Remembered:
        if workers == memory.workers:
            return memory
        _check_workers(memory.broker, workers)
        before = worker_names(memory.workers, bulk=memory.bulk)
        new = [name for name in worker_names(workers, bulk=memory.bulk) if name not in before]
        memory = replace(choose_ports(memory, new, self.settings), workers=workers)
        supervisor.update(self._programs(memory))
        memory.save(self.home)
        return memory

    def _let_in(self, memory: Remembered, supervisor: Supervisor) -> None:
        """Robots that were refused for want of disk space are let in, or it is said what is still missing."""
        if not guard.closed(self.home):
            return
        free = shutil.disk_usage(self.home).free
        if free < memory.keep_free:
            raise StackError(
                f"robots are refused: the disk of {self.home} has {disk.size(free)} free, less than "
                f"{disk.size(memory.keep_free)}: free some, then they are let in by themselves"
            )
        guard.reopen(self.home)
        supervisor.restart("broker")

    def _choose_broker(self, progress: Progress) -> str:
        if self.settings.kafka:
            return "elsewhere"
        if self.settings.kafka_security != "PLAINTEXT":
            raise SettingError(
                f"KINESTREAM_KAFKA_SECURITY={self.settings.kafka_security}, and KINESTREAM_KAFKA is empty: the local"
                " stack's broker is PLAINTEXT; unset it, or name the cluster that it belongs to"
            )
        if self.settings.broker == "test":
            return "test"
        try:
            find_java()
            kafka_jars(cache_folder(self.settings.cache), progress)
        except KafkaUnavailableError as problem:
            if self.settings.broker == "kafka":
                raise
            progress(f"using the test broker, in memory only: what it holds is gone when it stops ({problem})")
            return "test"
        return "kafka"

    def _two_lanes(self, kind: str) -> bool:
        """Whether live and bulk get workers of their own: not on the test broker, whose groups have one member."""
        if self.settings.lane != "both":
            return False
        return kind == "kafka" or (kind == "elsewhere" and self.broker() == "kafka")

    def _start_services(self, memory: Remembered, supervisor: Supervisor, progress: Progress) -> Services:
        for one in services(self.settings, memory, self.home):
            if one.command and not is_worker(one.name):
                supervisor.run(one.name, one.command, {})
        if memory.broker == "test":
            memory = self._find_test_broker(memory, supervisor)
        parts = services(self.settings, memory, self.home)
        workers = [one for one in parts if is_worker(one.name)]
        for one in parts[: -len(workers) or None]:
            self._await(one, supervisor, progress, _WHAT.get(memory.broker if one.name == "broker" else one.name, ""))
        found = addresses(self.settings, memory)
        ensure_topics(found.kafka, self.settings.tenant, access=self.settings.kafka_access())
        if memory.broker == "kafka":
            bound_topics(found.kafka, self.settings.tenant, disk.retention(memory.broker_bytes))
        self._migrate(found)
        for one in workers:
            environment = worker_environment(self.settings, memory, one.name, self.home)
            supervisor.run(one.name, one.command, environment)
        for one in workers:
            self._await(one, supervisor, progress, "stream worker")
        return found

    def _find_test_broker(self, memory: Remembered, supervisor: Supervisor) -> Remembered:
        address = test_broker_address(self.home)
        process.wait_until(lambda: address.exists() or supervisor.state("broker")[0] in _GONE, START_S)
        if not address.exists():
            raise BrokerError(f"the test broker did not start: {self._last_line('broker')}")
        port = int(address.read_text().rpartition(":")[2])
        memory = replace(memory, ports={**memory.ports, "broker": port})
        memory.save(self.home)
        return memory

    def _migrate(self, found: Services) -> None:
        import clickhouse_connect
        from clickhouse_connect.driver.exceptions import ClickHouseError

        from kinestream.deploy.store import migrations

        url = urlsplit(found.clickhouse)
        account = {"username": self.settings.clickhouse_user, "password": self.settings.clickhouse_password}
        try:
            client = clickhouse_connect.get_client(
                host=url.hostname, port=url.port or 0, interface=url.scheme, autogenerate_session_id=False, **account
            )
        except ClickHouseError as problem:
            raise StoreError(
                f"{found.clickhouse} refuses the account {self.settings.clickhouse_user!r} ({problem}): set "
                "KINESTREAM_CLICKHOUSE_USER and KINESTREAM_CLICKHOUSE_PASSWORD to one that may make tables"
            ) from problem
        with client:
            migrations.apply(client, self.settings.clickhouse_database)

    def _await(self, one: Service, supervisor: Supervisor, progress: Progress, what: str) -> None:
        if not one.command:
            state = one.check(one.url)
            if not state.healthy:
                kind = {"broker": BrokerError, "store": StoreError}.get(one.name, StackError)
                raise kind(f"the {one.name} that the settings name does not work: {state.detail}")
            progress(f"{one.name}: {state.detail} at {one.url}, not ours")
            return
        began, state = time.monotonic(), health.Health(False, "")

        def settled() -> bool:
            nonlocal state
            state = one.check(one.url)
            return state.healthy or supervisor.state(one.name)[0] in _GONE

        if not process.wait_until(settled, START_S, every_s=0.1) or not state.healthy:
            log = self.home / "logs" / f"{one.name}.log"
            raise StackError(f"{what} did not start: {self._last_line(one.name) or state.detail} (log: {log})")
        version = f" {VERSION}" if what == "Apache Kafka" else ""
        progress(f"{one.name}: {what}{version} at {one.url}, after {time.monotonic() - began:.1f} s")

    # -- asking ------------------------------------------------------------

    def _ask(self, one: Service, supervisor: Supervisor, *, up: bool) -> ServiceStatus:
        if not one.command:
            state = one.check(one.url)
            return ServiceStatus(one.name, one.url, state.healthy, None, f"{state.detail}, not ours")
        name, pid = supervisor.state(one.name) if up else ("", 0)
        if not pid:
            detail = f"{name.lower() or 'stopped'}: run `kinestream up`"
            return ServiceStatus(one.name, one.url, False, None, detail)
        state = one.check(one.url)
        return ServiceStatus(one.name, one.url, state.healthy, pid, state.detail)

    def _reach(self, memory: Remembered) -> Supervisor:
        """The supervisor of this object: kept, because whoever started a process must be the one to wait for it."""
        if self._supervisor is None:
            self._supervisor = Supervisor(self.home)
        self._supervisor.socket = memory.socket
        return self._supervisor

    def _programs(self, memory: Remembered) -> list[Program]:
        return [one.program for one in services(self.settings, memory, self.home) if one.command and one.program]

    def _last_line(self, name: str) -> str:
        log: Path = self.home / "logs" / f"{name}.log"
        text = log.read_text(errors="replace") if log.exists() else ""
        lines = [line for line in _TERMINAL_CODES.sub("", text).splitlines() if line.strip()]
        return lines[-1].strip() if lines else ""

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self.home.mkdir(parents=True, exist_ok=True)
            lock = (self.home / ".lock").open("w")
        except OSError as problem:
            raise StackError(f"{self.home} cannot hold the stack's data ({problem}): set KINESTREAM_HOME") from problem
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _check_workers(broker: str, workers: int) -> None:
    if broker == "test" and workers > 1:
        raise BrokerError(
            f"workers={workers}: the test broker serves one worker, because its groups do not share partitions out; "
            "use Apache Kafka (KINESTREAM_BROKER=kafka, or a cluster in KINESTREAM_KAFKA)"
        )


def _without_own(settings: Settings, memory: Remembered) -> Settings:
    """Addresses that are this very stack's name no other service: `kinestream env` sets them in the caller's shell."""
    own = addresses(replace(settings, kafka="", registry="", clickhouse=""), memory)

    def other(name: str) -> str:
        given: str = getattr(settings, name)
        return "" if given.rstrip("/") == getattr(own, name) else given

    return replace(settings, kafka=other("kafka"), registry=other("registry"), clickhouse=other("clickhouse"))


def shares(home: Path, settings: Settings) -> disk.Quotas:
    """What broker and store may take of the disk of ``home``; raises :class:`StackError` when that is too little."""
    used = sum(_bytes_in(home / name) for name in ("kafka", "store"))
    place = next(one for one in (home, *home.parents) if one.exists())
    there = shutil.disk_usage(place)
    given = {"disk_bytes": settings.disk_bytes, "keep_free": settings.keep_free_bytes}
    return disk.quotas(there.free, used, there.total, **given)


def _bytes_in(folder: Path) -> int:
    """Bytes on disk of the files in a folder; files that go meanwhile count nothing."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += (Path(place) / name).lstat().st_blocks * 512
    return total
