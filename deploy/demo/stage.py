"""Owns what a demo runs on: its stack and its watchers, started in order and stopped whatever happens.

It uses a home and a tenant of its own: a stack that was left running is neither disturbed nor needed.
"""

from __future__ import annotations

import signal
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields, replace

from kinestream.deploy.demo.floor import FleetProcess, shift_of
from kinestream.deploy.demo.measurement import Event
from kinestream.deploy.demo.stored import FindingsWatcher, Reader
from kinestream.deploy.listening import Listener
from kinestream.deploy.local.ports import Remembered, worker_names
from kinestream.deploy.local.process import free_port, wait_until
from kinestream.deploy.local.services import Services
from kinestream.deploy.local.stack import Progress, Stack
from kinestream.deploy.local.supervise import Supervisor
from kinestream.deploy.topics import broker_kind
from kinestream.schemas.errors import StackError
from kinestream.schemas.settings import PREFIX, Settings

#: Settings that belong to the stack of ``up``; a registry elsewhere knows no subject of a new tenant.
_NOT_OURS = ("registry", "kafka_port", "registry_port", "store_port", "worker_port", "instance_id")
#: Seconds that a demo which was killed may take to end.
_ENDING_S = 10.0


@dataclass(frozen=True, slots=True)
class Stage:
    """A running stack, healthy, and what looks at it from outside."""

    settings: Settings
    stack: Stack
    services: Services
    broker: str
    listener: Listener[Event]
    watcher: FindingsWatcher
    reader: Reader
    _stops: ExitStack

    def fleet(self, robots: int, seconds: float) -> FleetProcess:
        """Start the robots; they end with the stage at the latest."""
        seen = replace(self.settings, kafka=self.services.kafka, registry=self.services.registry)
        environment = {PREFIX + one.name.upper(): str(getattr(seen, one.name)) for one in fields(seen)}
        fleet = FleetProcess(self.settings.home, environment, shift_of(robots, seconds))
        self._stops.callback(fleet.stop)
        return fleet


@contextmanager
def staged(settings: Settings, progress: Progress) -> Iterator[Stage]:
    """Everything but the robots, for as long as the block runs; only in the main thread, whose end ends it too.

    ``settings`` are from :func:`own_settings`.

    Raises :class:`StackError` while another demo runs, and what :meth:`Stack.up` raises.
    """
    stops = ExitStack()
    try:
        _claim(settings)
        stack = Stack(settings)
        stops.callback(stack.down)
        services = stack.up(progress, foreground=True)
        listener = Listener(settings, services.kafka, Event.of)
        stops.callback(listener.stop)
        listener.start()
        reader = Reader(services.clickhouse, settings)
        watcher = FindingsWatcher(reader)
        stops.callback(watcher.stop)
        watcher.start()
        yield Stage(
            settings,
            stack,
            services,
            broker_kind(services.kafka, access=settings.kafka_access()),
            listener,
            watcher,
            reader,
            stops,
        )
    finally:
        with _undisturbed():
            stops.close()


def own_settings(settings: Settings) -> Settings:
    """The demo's settings: its home is ``demo`` in the other's, its tenant and group are new each time."""
    name = f"demo-{uuid.uuid4().hex[:8]}"
    usual = {one: getattr(Settings(), one) for one in _NOT_OURS}
    return replace(settings, home=settings.home.expanduser().resolve() / "demo", tenant=name, group=name, **usual)


def _claim(settings: Settings) -> None:
    """Make sure that nothing runs in the demo's home, and that it takes no port that ``up`` prefers."""
    home = settings.home
    remembered = Remembered.load(home)
    supervisor = Supervisor(home, remembered.socket)
    if supervisor.pid() and not wait_until(lambda: not supervisor.pid(), _ENDING_S, every_s=0.2):
        raise StackError(
            f"something runs in {home}: wait for the other demo,"
            f" or stop it with `KINESTREAM_HOME={home} kinestream down`"
        )
    if not remembered.ports:
        home.mkdir(parents=True, exist_ok=True)
        ports = {name: free_port() for name in ("broker", "inside", "registry", "store", *worker_names(1, bulk=True))}
        kind = "test" if settings.broker == "test" else "kafka"  # ports of another kind would be forgotten
        replace(remembered, broker=kind, ports=ports).save(home)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """A second Ctrl-C does not interrupt stopping."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
