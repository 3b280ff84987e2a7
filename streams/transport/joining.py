"""How a process joins a group: the consumer's settings, each with its reason. Opens nothing."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from kinestream.schemas.errors import SettingError

#: librdkafka's own words: dozens of lines a second while a broker is away. What matters comes as an error.
_LIBRARY_LOG = logging.getLogger("kinestream.librdkafka")
_LIBRARY_LOG.setLevel(logging.CRITICAL + 1)
#: Between two proofs of membership, seconds, at most; a thirtieth of the session where that is shorter.
_CONFIRM_S: Final = 1 / 3


@dataclass(frozen=True, slots=True)
class Joining:
    """Group, identity and bounds of one consumer; raises :class:`SettingError` for an identity that is empty."""

    #: ``host:port,...``
    bootstrap: str
    group: str
    #: how the cluster lets us in, as librdkafka's settings
    access: Mapping[str, str] = field(default_factory=dict)
    #: static member id, unique among living processes; None = a dynamic member
    instance_id: str | None = None
    #: seconds without a heartbeat until the broker gives our partitions to others
    session_s: float = 10.0
    #: seconds within which the reading thread answers a rebalance, or is given up; never below the session
    max_poll_s: float = 300.0
    #: "go-on" or "stop", when the log starts after the committed offset
    on_log_gap: str = "go-on"
    #: bytes of one partition in one answer of the broker, and of one fetch handed on
    fetch_bytes: int = 2 * 1024**2
    #: bytes that wait inside librdkafka, and again between its thread and the agents
    buffer_bytes: int = 8 * 1024**2
    #: a message waits this long for company at the head of the log, seconds: one event for many robots
    linger_s: float = 0.005

    def __post_init__(self) -> None:
        if self.instance_id is not None and not self.instance_id.strip():
            raise SettingError("the static member id is empty: give KINESTREAM_INSTANCE_ID, unique for every worker")
        if self.on_log_gap not in ("go-on", "stop"):
            raise SettingError(f"KINESTREAM_ON_LOG_GAP={self.on_log_gap!r}: allowed are go-on, stop")

    @property
    def confirm_s(self) -> float:
        """Seconds between two proofs of membership."""
        return min(_CONFIRM_S, self.session_s / 30)

    def client(self) -> dict[str, Any]:
        """Settings of a client that only asks: it never joins the group."""
        return {
            "bootstrap.servers": self.bootstrap,
            **self.access,
            "group.id": self.group,
            "enable.auto.commit": False,
            "allow.auto.create.topics": False,
            "log_level": 1,
            "log.connection.close": False,
            "logger": _LIBRARY_LOG,
            # A broker that is back is found within a second; the default goes up to ten.
            "reconnect.backoff.max.ms": 1000,
            "socket.timeout.ms": 10_000,
        }

    def member(self) -> dict[str, Any]:
        """Settings of the member."""
        static = {"group.instance.id": self.instance_id} if self.instance_id is not None else {}
        return {
            **self.client(),
            **static,
            # The newer group protocol gives a restarted static member a fatal error.
            "group.protocol": "classic",
            # A fifth worker takes what it must and no more; what stays is not even paused.
            "partition.assignment.strategy": "cooperative-sticky",
            "session.timeout.ms": int(self.session_s * 1000),
            # A rebalance is learnt from a heartbeat, and a sticky one takes two.
            "heartbeat.interval.ms": int(self.session_s * 100),
            "max.poll.interval.ms": int(max(self.max_poll_s, self.session_s) * 1000),
            # Where to begin without an offset, or with one the log no longer has, is decided in starting.py.
            "auto.offset.reset": "error",
            # The default of one second made four seconds' work take eighteen.
            "fetch.queue.backoff.ms": 5,
            "fetch.message.max.bytes": self.fetch_bytes,
            "fetch.max.bytes": max(self.buffer_bytes, self.fetch_bytes),
            "queued.max.messages.kbytes": self.buffer_bytes // 1024,
            # The content hash goes from robot to store: a second checksum over every fetch buys nothing.
            "check.crcs": False,
        }
