"""Owns looking at the services, the stack's and those that settings name; that nothing runs is no failure."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Iterator
from typing import Final

from kinestream.deploy.doctor.finding import FAIL, OK, WARN, Finding
from kinestream.deploy.doctor.unread import unread
from kinestream.deploy.local import health
from kinestream.deploy.local.disk import size
from kinestream.deploy.local.ports import is_worker, port_plan
from kinestream.deploy.local.services import ServiceStatus
from kinestream.deploy.local.stack import Stack
from kinestream.deploy.topics import broker_kind, describe_topics
from kinestream.schemas.catalogue import BROKER_TIME, CATALOGUE, PARTITIONS, topic_name
from kinestream.schemas.errors import BrokerError, KinestreamError
from kinestream.schemas.settings import Settings

#: Seconds a clock may differ from the store's, and messages a worker may be behind, before it is worth a word.
_SKEW_S: Final = 1.0
_BEHIND: Final = 1000


def running(settings: Settings) -> Iterator[Finding]:
    """Ports, services, topics, tables, lag."""
    try:
        stack = Stack(settings)
        services = stack.status()
    except KinestreamError as problem:
        yield Finding("stack", FAIL, str(problem), "see the message")
        return
    up = any(one.pid for one in services)
    if up:
        yield from map(_service, services)
    else:
        yield Finding("stack", OK, f"nothing runs in {stack.home}: `kinestream up` starts it")
        yield from _ports(stack, settings)
        yield from (_service(one) for one in services if one.pid is None and one.detail.endswith("not ours"))
    where = stack.where()
    if (
        where.kafka
        and (up or stack.settings.kafka)
        and health.broker(where.kafka, access=settings.kafka_access()).healthy
    ):
        yield _topics(where.kafka, settings)
        yield from unread(where.kafka, settings)
    if where.clickhouse and (up or stack.settings.clickhouse) and health.store(where.clickhouse).healthy:
        yield from _tables(where.clickhouse, settings)
    yield from (_lag(one) for one in services if one.pid and is_worker(one.name))


def _service(one: ServiceStatus) -> Finding:
    if one.healthy:
        return Finding(one.name, OK, f"{one.detail} at {one.url}")
    if one.detail.endswith("not ours"):
        return Finding(one.name, FAIL, one.detail, "start it, or unset the KINESTREAM_ variable that names it")
    return Finding(one.name, FAIL, one.detail, f"see `kinestream logs {one.name}`; `kinestream up` starts what is down")


def _ports(stack: Stack, settings: Settings) -> Iterator[Finding]:
    for name, (port, pinned, free) in port_plan(stack.settings).items():
        if free:
            yield Finding(f"port {name}", OK, f"{port} is free")
        elif pinned:
            yield Finding(f"port {name}", FAIL, f"{port} is in use", "stop what listens there, or change the setting")
        else:
            yield Finding(f"port {name}", OK, f"{port} is in use: `kinestream up` takes another")


def _topics(bootstrap: str, settings: Settings) -> Finding:
    if broker_kind(bootstrap, health.ANSWER_S, settings.kafka_access()) == "test":
        return Finding("topics", OK, "the test broker makes topics when it is asked about them; memory only")
    try:
        found = describe_topics(bootstrap, settings.tenant, access=settings.kafka_access())
    except BrokerError as problem:
        return Finding("topics", FAIL, str(problem), "is it the cluster that you mean?")
    wanted = [topic_name(topic, settings.tenant) for topic in CATALOGUE]
    if missing := [name for name in wanted if name not in found]:
        return Finding("topics", FAIL, f"missing: {', '.join(missing)}", "run `kinestream up`: it makes them")
    if odd := [name for name, one in found.items() if one.partitions != one.expected]:
        return Finding(
            "topics", FAIL, f"not {PARTITIONS} partitions: {', '.join(odd)}", "keys hash onto them: make anew"
        )
    if odd := [name for name, one in found.items() if one.time != BROKER_TIME]:
        todo = f"set message.timestamp.type={BROKER_TIME}: days and deadlines run on the broker's clock"
        return Finding("topics", FAIL, f"with their producers' time: {', '.join(odd)}", todo)
    frames = found[wanted[0]]
    kept = f"{frames.retention_ms / 3.6e6:.0f} h or {size(frames.retention_bytes)} a partition"
    return Finding(
        "topics", OK, f"{len(wanted)} topics of {settings.tenant!r}, {PARTITIONS} partitions; frames kept for {kept}"
    )


def _tables(url: str, settings: Settings) -> Iterator[Finding]:
    from kinestream.deploy.store import migrations
    from kinestream.streams.store.client import connect

    database = settings.clickhouse_database
    try:
        with connect(url, "", settings.clickhouse_user, settings.clickhouse_password, timeout_s=10) as client:
            pending = migrations.pending(client, database)
            theirs_s = float(client.query("SELECT toFloat64(now64(6))").result_rows[0][0])
    except KinestreamError as problem:
        yield Finding("tables", FAIL, str(problem), "run `kinestream up`: it makes what is missing")
        return
    if pending:
        yield Finding("tables", FAIL, f"{database} lacks {', '.join(pending)}", "run `kinestream up`: it applies them")
    else:
        yield Finding("tables", OK, f"every migration of {database} is applied")
    skew_s = abs(time.time() - theirs_s)
    if skew_s > _SKEW_S:
        yield Finding("store clock", WARN, f"{skew_s:.1f} s from ours", "synchronise both machines (NTP)")


def _lag(one: ServiceStatus) -> Finding:
    name = f"{one.name} lag"
    try:
        with urllib.request.urlopen(f"{one.url}/metrics", timeout=health.ANSWER_S) as answer:
            text = answer.read().decode()
    except OSError as problem:
        return Finding(name, WARN, f"/metrics does not answer: {problem}", f"see `kinestream logs {one.name}`")
    lines = [line for line in text.splitlines() if line.startswith("kinestream_position_lag_messages{")]
    behind = sum(float(line.rpartition(" ")[2]) for line in lines)
    if behind < _BEHIND:
        return Finding(name, OK, f"{behind:.0f} messages behind on {len(lines)} partitions")
    todo = "if it does not shrink, start a further worker: `kinestream up --workers N` or `kinestream work`"
    return Finding(name, WARN, f"{behind:,.0f} messages behind", todo)
