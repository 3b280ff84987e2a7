"""Owns the questions that tell whether a service works: one short answer each; it starts and stops nothing."""

from __future__ import annotations

import json
import shutil
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kinestream.deploy.local.disk import size
from kinestream.deploy.local.guard import closed
from kinestream.deploy.topics import OPEN, broker_kind
from kinestream.schemas.errors import BrokerError

#: Seconds a healthy service on this machine may take to answer.
ANSWER_S = 3.0


@dataclass(frozen=True, slots=True)
class Health:
    """Whether a service works, and one line of detail: what it is, or why it does not."""

    healthy: bool
    detail: str


def broker(bootstrap: str, timeout_s: float = ANSWER_S, access: Mapping[str, str] = OPEN) -> Health:
    """A broker is healthy when it answers a metadata request."""
    try:
        kind = broker_kind(bootstrap, timeout_s, access)
    except BrokerError as problem:
        return Health(False, str(problem))
    return Health(True, "Apache Kafka" if kind == "kafka" else "test broker: in memory only, gone when it stops")


def disk(home: Path, keep_free: int) -> Health:
    """The disk of a stack: free bytes beside the floor, and whether robots are refused because of them."""
    free = shutil.disk_usage(home).free
    if reason := closed(home):
        return Health(False, f"robots are refused: {reason}; free some, they are let in by themselves")
    return Health(True, f"{size(free)} free; below {size(keep_free)} robots are refused")


def registry(url: str) -> Health:
    """A registry is healthy when it lists subjects."""
    return _http(f"{url.rstrip('/')}/subjects", "schema registry")


def store(url: str) -> Health:
    """A ClickHouse is healthy when it answers a ping."""
    return _http(f"{url.rstrip('/')}/ping", "ClickHouse")


def worker(url: str) -> Health:
    """A worker works when partitions are loaded and all it needs answers: its /readyz says so, or why not."""
    return _http(f"{url.rstrip('/')}/readyz", "stream worker")


def _http(url: str, name: str) -> Health:
    try:
        with urllib.request.urlopen(url, timeout=ANSWER_S) as answer:
            answer.read()
    except urllib.error.HTTPError as problem:
        return Health(False, _reasons(problem) or f"{url} answers {problem.code}")
    except OSError as problem:
        return Health(False, f"{url} does not answer ({getattr(problem, 'reason', problem)})")
    return Health(True, name)


def _reasons(problem: urllib.error.HTTPError) -> str:
    """What a worker's page gives as its reasons; empty for an answer of another kind."""
    try:
        return "; ".join(json.loads(problem.read())["reasons"])
    except (ValueError, KeyError, TypeError, OSError):
        return ""
