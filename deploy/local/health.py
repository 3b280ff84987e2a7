"""Owns the questions that tell whether a service works: one short answer each; it starts and stops nothing."""

from __future__ import annotations

import urllib.error
import urllib.request
from dataclasses import dataclass

from kinestream.deploy.topics import broker_kind
from kinestream.schemas.errors import BrokerError

#: Seconds a healthy service on this machine may take to answer.
ANSWER_S = 3.0


@dataclass(frozen=True, slots=True)
class Health:
    """Whether a service works, and one line of detail: what it is, or why it does not."""

    healthy: bool
    detail: str


def broker(bootstrap: str, timeout_s: float = ANSWER_S) -> Health:
    """A broker is healthy when it answers a metadata request."""
    try:
        kind = broker_kind(bootstrap, timeout_s)
    except BrokerError as problem:
        return Health(False, str(problem))
    return Health(True, "Apache Kafka" if kind == "kafka" else "test broker: in memory only, gone when it stops")


def registry(url: str) -> Health:
    """A registry is healthy when it lists subjects."""
    return _http(f"{url.rstrip('/')}/subjects", "schema registry")


def store(url: str) -> Health:
    """A ClickHouse is healthy when it answers a ping."""
    return _http(f"{url.rstrip('/')}/ping", "ClickHouse")


def worker(url: str) -> Health:
    """A worker is healthy when its loop is alive and makes progress, which is what its /healthz says."""
    return _http(f"{url.rstrip('/')}/healthz", "stream worker")


def _http(url: str, name: str) -> Health:
    try:
        with urllib.request.urlopen(url, timeout=ANSWER_S) as answer:
            answer.read()
    except urllib.error.HTTPError as problem:
        return Health(False, f"{url} answers {problem.code}")
    except OSError as problem:
        return Health(False, f"{url} does not answer ({getattr(problem, 'reason', problem)})")
    return Health(True, name)
