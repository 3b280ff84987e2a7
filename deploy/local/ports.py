"""Owns what the local stack remembers between runs (``stack.json``) and which ports it takes; it starts nothing."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Final

from kinestream.deploy.local.claims import claim
from kinestream.deploy.local.process import free_port, port_is_free
from kinestream.schemas.errors import StackError
from kinestream.schemas.settings import Settings

#: Preferred ports: away from the usual 9092, 8081, 8123 and 6066, which often belong to somebody.
PREFERRED: Final = {
    "broker": 19092,
    "inside": 19093,
    "registry": 18081,
    "store": 18123,
    "worker": 16066,
    "worker-bulk": 16065,
}
#: The worker of the bulk lane.
BULK: Final = "worker-bulk"
#: The setting that pins a service's port.
_PINS: Final = {"broker": "kafka_port", "registry": "registry_port", "store": "store_port", "worker": "worker_port"}


@dataclass(frozen=True, slots=True)
class Remembered:
    """What is kept in ``stack.json``: kind of broker, ports by service, workers, the supervisor's socket, quotas.

    With ``bulk`` the ``workers`` read the live lane, and one more, :data:`BULK`, the other.
    """

    broker: str = ""
    ports: dict[str, int] = field(default_factory=dict)
    workers: int = 0
    socket: str = ""
    #: bytes that the broker's topics may take, and that stay free on the disk (deploy/local/disk.py); 0 = not known
    broker_bytes: int = 0
    keep_free: int = 0
    bulk: bool = False
    #: it is there for minutes (demo, chaos, bench), not for days
    brief: bool = False

    @classmethod
    def load(cls, home: Path) -> Remembered:
        """What the last run in ``home`` left, or nothing; raises :class:`StackError` for a file that is not ours."""
        path = home / "stack.json"
        if not path.exists():
            return cls()
        try:
            found = json.loads(path.read_text())
            return cls(
                **{one.name: found[one.name] for one in fields(cls) if one.name in found or not _added(one.name)}
            )
        except (ValueError, KeyError, TypeError) as problem:
            raise StackError(f"{path} cannot be read ({problem!r}): run `kinestream down`, then delete it") from None

    def save(self, home: Path) -> None:
        """Write ``stack.json`` whole or not at all."""
        partial = home / "stack.json.part"
        partial.write_text(json.dumps(asdict(self), indent=1) + "\n")
        os.replace(partial, home / "stack.json")


def _added(name: str) -> bool:
    """Fields that files of an earlier version lack."""
    return name in ("broker_bytes", "keep_free", "bulk", "brief")


def worker_names(count: int, *, bulk: bool = False) -> list[str]:
    """``worker``, ``worker-2``, ``worker-3`` ...: stable when the count changes; with ``bulk`` one more beside them."""
    names = ["worker", *(f"worker-{number}" for number in range(2, count + 1))][:count]
    return [*names, BULK] if names and bulk else names


def lane_of(name: str, remembered: Remembered, settings: Settings) -> str:
    """What a worker of the stack reads: "live", "bulk" or "both"."""
    if not remembered.bulk:
        return settings.lane
    return "bulk" if name == BULK else "live"


def is_worker(name: str) -> bool:
    """Whether a service of this name is a stream worker."""
    return name.partition("-")[0] == "worker"


def choose_ports(remembered: Remembered, names: list[str], settings: Settings) -> Remembered:
    """Give every service a port: the pinned one, else the last one, else the preferred one, else a free one.

    Nothing of the stack may be running. A stack that starts at the same moment gets others.
    Raises :class:`StackError` when a pinned port is taken.
    """
    ports: dict[str, int] = {}
    for name in names:
        pinned = _pinned(name, settings)
        if pinned and not _usable(pinned):
            setting = f"KINESTREAM_{_PINS[name].upper()}"
            raise StackError(
                f"{setting}={pinned}: the port is in use on 127.0.0.1; stop what listens there or change it"
            )
        wishes = [pinned] if pinned else [remembered.ports.get(name, 0), _preferred(name)]
        usable = (port for port in wishes if port and port not in ports.values() and _usable(port))
        ports[name] = next(usable, 0) or free_port()
    return replace(remembered, ports={**remembered.ports, **ports})


def port_plan(settings: Settings) -> dict[str, tuple[int, bool, bool]]:
    """Port by service as a first start would want it: the port, whether a setting pins it, whether it is free now."""
    pins = {name: _pinned(name, settings) for name in PREFERRED}
    wanted = {name: pins[name] or port for name, port in PREFERRED.items()}
    return {name: (port, bool(pins[name]), port_is_free(port)) for name, port in wanted.items()}


def _usable(port: int) -> bool:
    return claim(port) and port_is_free(port)


def _pinned(name: str, settings: Settings) -> int:
    if name not in _PINS:
        return 0
    given = int(getattr(settings, _PINS[name]))
    # worker_port has a default of its own, which is for a worker by itself
    return 0 if given == getattr(Settings(), _PINS[name]) else given


def _preferred(name: str) -> int:
    if name in PREFERRED:
        return PREFERRED[name]
    base, _, number = name.partition("-")
    return PREFERRED.get(base, 0) + int(number) - 1 if number.isdecimal() else 0
