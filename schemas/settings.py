"""The settings of every process: one typed object, filled from KINESTREAM_* variables and nowhere else."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from kinestream.schemas.errors import SettingError

PREFIX = "KINESTREAM_"
_CHOICES = {
    "broker": ("auto", "kafka", "test"),
    "lane": ("live", "bulk", "both"),
    "on_log_gap": ("go-on", "stop"),
    "metrics": ("all", "core"),
    "kafka_security": ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"),
    "kafka_mechanism": ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"),
}


@dataclass(frozen=True, slots=True)
class Settings:
    """Every constant of the contract; field ``name`` is read from ``KINESTREAM_NAME``."""

    # -- where things are -------------------------------------------------
    #: bootstrap servers of a Kafka cluster; empty = the local stack's broker
    kafka: str = ""
    #: how every client reaches it: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL ...
    kafka_security: str = "PLAINTEXT"
    #: ... with which SASL mechanism, name and password ...
    kafka_mechanism: str = "PLAIN"
    kafka_user: str = ""
    kafka_password: str = ""
    #: ... a file of certificates to trust; empty = the system's ...
    kafka_ca: str = ""
    #: ... and files of the client's own certificate and its key (PEM), where the cluster asks for one
    kafka_certificate: str = ""
    kafka_key: str = ""
    #: URL of a ClickHouse HTTP endpoint; empty = the local stack's embedded store
    clickhouse: str = ""
    #: database that holds Kinestream's tables
    clickhouse_database: str = "kinestream"
    #: account that writes (workers) ...
    clickhouse_user: str = "writer"
    clickhouse_password: str = "writer"
    #: ... and the one that only reads (boards, people)
    clickhouse_reader: str = "reader"
    clickhouse_reader_password: str = "reader"
    #: URL of a Confluent-compatible registry; empty = the committed schemas (SCHEMA_REGISTRY_URL is read too)
    registry: str = ""
    #: folder of the local stack: data, logs, process ids
    home: Path = Path(".kinestream")
    #: folder where the broker's jars are kept for all checkouts of one person; empty = the platform's cache folder
    cache: str = ""
    #: what the local stack runs as broker: "kafka", "test" (librdkafka's in-process test broker) or "auto"
    broker: str = "auto"
    #: ports of the local stack on 127.0.0.1; 0 = its usual one (19092, 18081, 18123), or another while that is taken
    kafka_port: int = 0
    registry_port: int = 0
    store_port: int = 0
    #: bytes of the home's disk that broker and store may take; 0 = what is free at `up`
    disk_bytes: int = 0
    #: free bytes below which robots are refused (the store: half of it); 0 = a tenth of the disk, 256 MB to 2 GB
    keep_free_bytes: int = 0
    #: prefix of every topic; a maker, or the hub itself
    tenant: str = "hub"
    #: zone of "today" and of shifts on boards; never part of a key
    timezone: str = "UTC"

    # -- boards -----------------------------------------------------------
    #: whole episodes a hub wants in a day
    daily_goal: int = 50_000
    #: URL of a Grafana, with its path if it has one
    grafana_url: str = "http://127.0.0.1:3000"
    #: token of a Grafana service account (Editor; Admin where the data source is still missing) ...
    grafana_token: str = ""
    #: ... or, without one, a name and a password
    grafana_user: str = ""
    grafana_password: str = ""

    # -- robots -----------------------------------------------------------
    #: frames in a live chunk, at most
    chunk_frames: int = 10
    #: age of a live chunk when it is sent, ms
    chunk_ms: int = 100
    #: frames in a chunk of the bulk lane
    bulk_chunk_frames: int = 64
    #: bytes in a chunk, at most
    chunk_bytes: int = 256_000
    #: folder of the robots' spools, one a tenant and robot; empty = kinestream/spool in the user's data folder
    spool: str = ""
    #: bytes a spool holds before it refuses new episodes ...
    spool_bytes: int = 2_000_000_000
    #: ... and by how many the episode being recorded may pass that
    spool_reserve_bytes: int = 200_000_000
    #: seconds an acknowledged frame stays in the spool without a receipt
    spool_keep_s: float = 600.0
    #: seconds before the broker is reached in which a take may have begun and still go live, not bulk
    live_within_s: float = 5.0
    #: memory a robot without a spool holds while the broker is away, bytes; then send() blocks
    buffer_bytes: int = 64_000_000
    #: how long librdkafka keeps trying to deliver, ms: longer than any outage
    message_timeout_ms: int = 7 * 24 * 3600 * 1000
    #: seconds between two RobotStatus records
    status_interval_s: float = 1.0

    # -- robots that do not speak Kafka -----------------------------------
    #: what a robot must show the gateway; without one it listens on loopback only
    ingest_token: str = ""
    #: connections of the gateway, and robots it serves, at once
    ingest_connections: int = 256
    #: bytes of a line, at most
    ingest_line_bytes: int = 1_000_000
    #: seconds without a line after which a connection is closed
    ingest_idle_s: float = 120.0
    #: seconds a take waits for its robot to come back before it is ended ABORTED
    ingest_return_s: float = 60.0

    # -- assembly ---------------------------------------------------------
    #: broker seconds a hole is waited for before live metrics skip it
    hole_wait_s: float = 0.5
    #: broker seconds after the end mark (or the last late frame) until missing frames are given up
    incomplete_after_s: float = 10.0
    #: broker seconds without its frames after which an episode its robot no longer names times out
    silence_s: float = 60.0
    #: broker seconds without any word of the robot until its episodes time out
    robot_silence_s: float = 600.0
    #: broker seconds a superseded episode keeps waiting for late frames
    superseded_after_s: float = 5.0
    #: broker seconds, and frames, after which an episode without an end mark is announced as it stands
    truncated_after_s: float = 1800.0
    truncated_frames: int = 1_000_000
    #: broker seconds without a frame that cut the stream of a robot without marks
    cut_after_s: float = 5.0
    #: frames and marks of an episode; what comes beyond is a dead letter
    episode_frames: int = 10_000_000
    episode_marks: int = 4_096
    #: open episodes of a partition; beyond, the one that began first times out
    open_episodes: int = 2_000
    #: failures after which an episode is quarantined
    attempts: int = 3
    #: age at which a partial block is written, broker seconds
    block_age_s: float = 5.0
    #: least seconds between two inserts of a worker
    flush_interval_s: float = 0.2
    #: seconds between two inserts of a worker that is far behind: an insert costs the store the same whatever its size
    catch_up_flush_s: float = 1.0
    #: seconds between two offset commits
    commit_interval_s: float = 1.0
    #: takes of a task after which its statistics are made anew (or a day), and the newest takes they rest on, at most
    task_refresh: int = 100
    task_takes: int = 1_000
    #: bytes a worker may hold that are not yet in the store; above, it stops fetching
    inflight_bytes: int = 32_000_000

    # -- the worker -------------------------------------------------------
    #: consumer group
    group: str = "kinestream"
    #: static member id, unique per process; empty = made from host and port
    instance_id: str = ""
    #: port of the worker's web pages (/healthz, /readyz, /metrics)
    worker_port: int = 6066
    #: seconds without progress, though there is something to do and nothing is away, after which /healthz says 503
    stall_s: float = 60.0
    #: episodes a worker reads back and hashes again in a minute, while it is not behind; 0 = none
    verify_per_minute: float = 6.0
    #: days that the journal keeps rows of announced episodes, by the day of their first record; -1 = for ever
    journal_days: int = 2
    #: session of the group, seconds: after a crash without a restart, others take over when it ends
    session_s: float = 10.0
    #: seconds within which a worker must answer a rebalance; the store may be away for longer
    max_poll_s: float = 300.0
    #: which frame topics a worker reads: live, bulk or both
    lane: str = "both"
    #: nice value of a worker of the bulk lane once it has started, so that the live one goes first; 0 = no other
    bulk_nice: int = 10
    #: least seconds between two inserts of a worker of the bulk lane: between them the store is the live lane's
    bulk_flush_s: float = 0.5
    #: when the log starts after the committed offset: "go-on" (read what is left, count the gap) or "stop"
    on_log_gap: str = "go-on"
    #: metrics a worker judges by: "all", or "core" (T1 T2 T4 T5 T6 T11 I1 I3 I8 E6), a fraction of the CPU
    metrics: str = "all"
    #: file or folder of rules that override the committed ones (docs/metrics.md, "Rules"); empty = none
    rules: str = ""

    def kafka_access(self) -> dict[str, str]:
        """How a librdkafka client is let in, as its own settings."""
        access = {"security.protocol": self.kafka_security}
        if self.kafka_security.startswith("SASL"):
            access |= {"sasl.mechanism": self.kafka_mechanism}
            access |= {"sasl.username": self.kafka_user, "sasl.password": self.kafka_password}
        files = {
            "ssl.ca.location": self.kafka_ca,
            "ssl.certificate.location": self.kafka_certificate,
            "ssl.key.location": self.kafka_key,
        }
        return access | {name: path for name, path in files.items() if path}

    def kafka_client(self, bootstrap: str) -> dict[str, Any]:
        """What every librdkafka client of Kinestream begins with: where the cluster is, and how it is let in."""
        return {"bootstrap.servers": bootstrap, **self.kafka_access()}

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Settings:
        """Read ``KINESTREAM_*``; an unknown or malformed variable raises :class:`SettingError`."""
        env = os.environ if env is None else env
        known = {f.name: f for f in fields(cls)}
        values: dict[str, Any] = {}
        for variable, text in env.items():
            if not variable.startswith(PREFIX):
                continue
            name = variable.removeprefix(PREFIX).lower()
            if name not in known:
                raise SettingError(f"{variable} is not a setting; the settings are {', '.join(sorted(known))}")
            values[name] = _parse(variable, text, type(known[name].default))
        values.setdefault("registry", env.get("SCHEMA_REGISTRY_URL", ""))
        settings = cls(**values)
        for name in _CHOICES:
            check_choice(name, getattr(settings, name), f"{PREFIX}{name.upper()}")
        return settings


def check_choice(name: str, value: str, said: str) -> str:
    """``value``, if setting ``name`` may have it; ``said`` is what a person wrote it after."""
    if value not in _CHOICES[name]:
        raise SettingError(f"{said}={value!r}: allowed are {', '.join(_CHOICES[name])}")
    return value


def _parse(variable: str, text: str, kind: type) -> Any:
    try:
        return kind(text)
    except ValueError as problem:
        raise SettingError(f"{variable}={text!r} is not {kind.__name__}: give a value like the default's") from problem
