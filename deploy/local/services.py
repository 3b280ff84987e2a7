"""Owns what each service of the local stack is: its command, its environment, its URL, its health. It runs none."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path

from kinestream.deploy.local import health
from kinestream.deploy.local.guard import closed
from kinestream.deploy.local.jars import cache_folder
from kinestream.deploy.local.ports import Remembered, lane_of, worker_names
from kinestream.deploy.local.supervise import Program
from kinestream.schemas.rulebook import read_overlays
from kinestream.schemas.settings import PREFIX, Settings


@dataclass(frozen=True, slots=True)
class Services:
    """Where everything is: bootstrap servers and URLs for clients on this machine."""

    kafka: str
    registry: str
    clickhouse: str


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """One service: its URL, whether it works, its process id (None: not ours or not running), one line of detail."""

    name: str
    url: str
    healthy: bool
    pid: int | None
    detail: str


@dataclass(frozen=True, slots=True)
class Service:
    """One process of the stack, or (``command`` empty) somebody else's service that is only checked."""

    name: str
    url: str
    check: Callable[[str], health.Health]
    command: tuple[str, ...] = ()
    program: Program | None = None


def service_names(settings: Settings, workers: int, *, bulk: bool = False) -> list[str]:
    """The services this machine must run itself; what a setting names elsewhere is left out."""
    elsewhere = {"broker": settings.kafka, "registry": settings.registry, "store": settings.clickhouse}
    return [*(name for name, url in elsewhere.items() if not url), *worker_names(workers, bulk=bulk)]


def addresses(settings: Settings, remembered: Remembered) -> Services:
    """Where the services are, or will be: settings first, then what the stack remembers."""

    def local(name: str) -> str:
        return f"127.0.0.1:{remembered.ports[name]}" if remembered.ports.get(name) else ""

    def url(name: str) -> str:
        return f"http://{local(name)}" if local(name) else ""

    return Services(
        kafka=settings.kafka or local("broker"),
        registry=settings.registry or url("registry"),
        clickhouse=settings.clickhouse or url("store"),
    )


def services(settings: Settings, remembered: Remembered, home: Path) -> list[Service]:
    """All services in the order in which they start."""
    where, ports = addresses(settings, remembered), remembered.ports
    workers = [
        Service(
            name,
            f"http://127.0.0.1:{ports.get(name, 0)}",
            health.worker,
            _python("faust", "-A", "kinestream.streams.app", "worker"),
            Program(name, 40),
        )
        for name in worker_names(remembered.workers, bulk=remembered.bulk)
    ]
    registry = _python(
        "kinestream.deploy.local.registry", "--port", str(ports.get("registry", 0)), "--tenant", settings.tenant
    )
    store = _python(
        *("kinestream.deploy.store", "--path", str(home / "store"), "--port", str(ports.get("store", 0))),
        *("--address-file", str(home / "run" / "store.address"), "--keep-free", str(remembered.keep_free // 2)),
    )
    return [
        _broker(settings, remembered, home, where.kafka),
        _own_or_other(settings.registry, Service("registry", where.registry, health.registry, registry), 20),
        _own_or_other(settings.clickhouse, Service("store", where.clickhouse, health.store, store), 30),
        *_guard(remembered, home),
        *workers,
    ]


def inside_address(settings: Settings, remembered: Remembered) -> str:
    """Bootstrap servers for workers: of our own Kafka the listener that stays when robots are refused."""
    inside = remembered.ports.get("inside")
    if not settings.kafka and remembered.broker == "kafka" and inside:
        return f"127.0.0.1:{inside}"
    return addresses(settings, remembered).kafka


def worker_environment(settings: Settings, remembered: Remembered, name: str, home: Path) -> dict[str, str]:
    """Every setting as a variable, so that a worker sees exactly what the stack was made with."""
    where = addresses(settings, remembered)
    seen = replace(
        settings,
        kafka=inside_address(settings, remembered),
        registry=where.registry,
        clickhouse=where.clickhouse,
        home=home,
        worker_port=remembered.ports[name],
        lane=lane_of(name, remembered, settings),
        rules=_rules(settings.rules),
        kafka_ca=_absolute(settings.kafka_ca),
        kafka_certificate=_absolute(settings.kafka_certificate),
        kafka_key=_absolute(settings.kafka_key),
        # empty: the worker makes one from host and port, which stay; a name of ours could meet another stack's
        instance_id=settings.instance_id and f"{settings.instance_id}-{name}",
    )
    return {PREFIX + one.name.upper(): str(getattr(seen, one.name)) for one in fields(seen)}


def _absolute(path: str) -> str:
    """Where a worker finds it from another folder."""
    return str(Path(path).expanduser().resolve()) if path else ""


def _rules(path: str) -> str:
    """A mistake in them is told before a worker starts."""
    place = _absolute(path)
    if place:
        read_overlays(place)
    return place


def test_broker_address(home: Path) -> Path:
    """The file into which the test broker writes its address: librdkafka chooses its port."""
    return home / "run" / "broker.address"


def _broker(settings: Settings, remembered: Remembered, home: Path, url: str) -> Service:
    if remembered.broker == "test":
        command = _python("kinestream.deploy.local.testbroker", "--address-file", str(test_broker_address(home)))
        # started again it would be another, empty broker at another address
        return Service("broker", url, health.broker, command, Program("broker", 10, restart=False))
    arguments = ["--home", str(home / "kafka"), "--port", str(remembered.ports.get("broker", 0))]
    arguments += ["--inside-port", str(remembered.ports.get("inside", 0)), "--cache", str(cache_folder(settings.cache))]
    command = _python("kinestream.deploy.local.kafka", *arguments, *(["--brief"] if remembered.brief else []))
    check = partial(health.broker, access=settings.kafka_access()) if settings.kafka else partial(_open_broker, home)
    return _own_or_other(settings.kafka, Service("broker", url, check, command), 10)


def _open_broker(home: Path, url: str) -> health.Health:
    reason = closed(home)
    return health.Health(False, f"robots are refused: {reason}") if reason else health.broker(url)


def _guard(remembered: Remembered, home: Path) -> list[Service]:
    """The watch over the disk of our own Kafka; any other broker looks after itself."""
    if remembered.broker != "kafka":
        return []
    command = _python("kinestream.deploy.local.guard", "--home", str(home), "--keep-free", str(remembered.keep_free))
    check = lambda _: health.disk(home, remembered.keep_free)  # noqa: E731
    return [Service("guard", str(home), check, command, Program("guard", 35))]


def _own_or_other(elsewhere: str, service: Service, priority: int) -> Service:
    if elsewhere:
        return replace(service, command=())
    return replace(service, program=Program(service.name, priority, stop_s=30))


def _python(module: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", module, *arguments)
