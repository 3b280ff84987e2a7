"""Addresses the gateway listens on: one beyond loopback needs a token; opens no socket."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final, Literal

from kinestream.schemas.errors import SettingError
from kinestream.schemas.settings import Settings

_LOOPBACK: Final = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Listener:
    """An address the gateway listens on; port 0 = a free one."""

    kind: Literal["tcp", "http"]
    host: str
    port: int


def listener(kind: Literal["tcp", "http"], address: str, settings: Settings) -> Listener:
    """Of ``HOST:PORT``, ``:PORT`` or ``PORT``; raises :class:`SettingError`, also for an open door without a token."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]") or _LOOPBACK
    if not port.isdigit() or int(port) > 65_535:
        raise SettingError(f"--{kind} {address!r}: give HOST:PORT or :PORT, such as :7700 (0 = a free port)")
    if not is_loopback(host) and not settings.ingest_token:
        raise SettingError(
            f"--{kind} {address!r} is no loopback address, and KINESTREAM_INGEST_TOKEN is not set: whoever reaches it"
            " could send in any robot's name. Set a token, or listen on 127.0.0.1"
        )
    return Listener(kind, host, int(port))


def is_loopback(host: str) -> bool:
    """Only this machine reaches it."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
