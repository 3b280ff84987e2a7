"""Owns making, checking and bounding the catalogue's topics on a cluster; it never deletes one."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic

from kinestream.schemas.catalogue import CATALOGUE, TEST_CLUSTER, Topic, topic_name
from kinestream.schemas.errors import BrokerError
from kinestream.streams.cluster import Admin

#: ``access`` of a cluster that lets everybody in; any other is ``Settings.kafka_access()``.
OPEN: Final[Mapping[str, str]] = MappingProxyType({})


def broker_kind(bootstrap: str, timeout_s: float = 10.0, access: Mapping[str, str] = OPEN) -> str:
    """``test`` for librdkafka's test broker (its cluster id begins with mockCluster), else ``kafka``.

    Raises :class:`BrokerError` when nothing answers.
    """
    return _kind(_metadata(_admin(bootstrap, access), bootstrap, timeout_s))


def ensure_topics(
    bootstrap: str, tenant: str, timeout_s: float = 30.0, access: Mapping[str, str] = OPEN
) -> dict[str, int]:
    """Make the catalogue's topics of ``tenant`` where missing; returns partitions by topic name.

    Raises :class:`BrokerError` when the cluster does not answer, refuses, or has a topic with another partition count.
    The test broker knows no CreateTopics: it makes a topic when asked about it, always with 4 partitions.
    """
    admin = _admin(bootstrap, access)
    wanted = {topic_name(topic, tenant): topic for topic in CATALOGUE}
    deadline = time.monotonic() + timeout_s
    found = _metadata(admin, bootstrap, timeout_s)
    if _kind(found) == "test":
        for name in wanted:
            admin.list_topics(name, timeout=timeout_s)
        return _partitions(_metadata(admin, bootstrap, timeout_s), wanted)
    _create(admin, {name: topic for name, topic in wanted.items() if name not in found.topics}, timeout_s)
    there = _partitions(_metadata(admin, bootstrap, timeout_s), wanted)
    while len(there) < len(wanted):  # the controller has them, the broker learns of them a moment later
        if time.monotonic() > deadline:
            raise BrokerError(f"topics {', '.join(wanted.keys() - there)} did not appear within {timeout_s:g} s")
        time.sleep(0.05)
        there = _partitions(_metadata(admin, bootstrap, timeout_s), wanted)
    _check(there, wanted)
    return there


@dataclass(frozen=True, slots=True)
class Described:
    """A topic as a cluster has it, and the partitions the catalogue wants; retention -1 = without bound."""

    partitions: int
    expected: int
    retention_ms: int
    retention_bytes: int
    #: whose time records bear: LogAppendTime, or CreateTime
    time: str


def describe_topics(
    bootstrap: str, tenant: str, timeout_s: float = 10.0, access: Mapping[str, str] = OPEN
) -> dict[str, Described]:
    """Those of the catalogue's topics that are there, by name; raises :class:`BrokerError` when nobody answers."""
    admin = _admin(bootstrap, access)
    wanted = {topic_name(topic, tenant): topic for topic in CATALOGUE}
    counts = _partitions(_metadata(admin, bootstrap, timeout_s), wanted)
    asked = [ConfigResource(ConfigResource.Type.TOPIC, name) for name in counts]
    found = {}
    for resource, answer in admin.describe_configs(asked, request_timeout=timeout_s).items():
        try:
            config = answer.result(timeout_s)
        except KafkaException as problem:
            raise BrokerError(f"topic {resource.name} cannot be described: {problem.args[0].str()}") from problem
        found[resource.name] = Described(
            counts[resource.name],
            wanted[resource.name].partitions,
            int(config["retention.ms"].value),
            int(config["retention.bytes"].value),
            config["message.timestamp.type"].value,
        )
    return found


def bound_topics(
    bootstrap: str, tenant: str, bounds: Mapping[Topic, Mapping[str, str]], timeout_s: float = 30.0
) -> None:
    """Give the topics of ``tenant`` these settings, others stay; raises :class:`BrokerError` when refused."""
    wanted = [
        ConfigResource(
            ConfigResource.Type.TOPIC,
            topic_name(topic, tenant),
            incremental_configs=[
                ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in config.items()
            ],
        )
        for topic, config in bounds.items()
    ]
    admin = _admin(bootstrap, OPEN)  # kept: with the client its answers would go
    for resource, answer in admin.incremental_alter_configs(wanted, request_timeout=timeout_s).items():
        try:
            answer.result(timeout_s)
        except KafkaException as problem:
            raise BrokerError(f"topic {resource.name} could not be bounded: {problem.args[0].str()}") from problem


def _admin(bootstrap: str, access: Mapping[str, str]) -> Admin:
    # 10 s by default: a broker that comes up would be noticed that late
    return Admin({"bootstrap.servers": bootstrap, **access, "reconnect.backoff.max.ms": 200})


def _metadata(admin: Admin, bootstrap: str, timeout_s: float) -> Any:
    try:
        return admin.metadata(timeout_s)
    except KafkaException as problem:
        raise BrokerError(
            f"no broker answers at {bootstrap!r} within {timeout_s:g} s ({problem.args[0].str()}): "
            "start one with `kinestream up`, or set KINESTREAM_KAFKA to one that runs"
        ) from problem


def _kind(metadata: Any) -> str:
    return "test" if (metadata.cluster_id or "").startswith(TEST_CLUSTER) else "kafka"


def _partitions(metadata: Any, wanted: dict[str, Topic]) -> dict[str, int]:
    """Partitions of the wanted topics that are there and have a leader everywhere."""
    there = {name: metadata.topics[name] for name in wanted if name in metadata.topics}
    return {
        name: len(topic.partitions)
        for name, topic in there.items()
        if topic.partitions and all(one.leader >= 0 for one in topic.partitions.values())
    }


def _create(admin: Admin, topics: dict[str, Topic], timeout_s: float) -> None:
    if not topics:
        return
    asked = [NewTopic(name, topic.partitions, config=dict(topic.config())) for name, topic in topics.items()]
    for name, answer in admin.create_topics(asked, request_timeout=timeout_s).items():
        try:
            answer.result(timeout_s)
        except KafkaException as problem:
            if problem.args[0].name() != "TOPIC_ALREADY_EXISTS":  # somebody was quicker: checked like any other
                raise BrokerError(f"topic {name} could not be made: {problem.args[0].str()}") from problem


def _check(there: dict[str, int], wanted: dict[str, Topic]) -> None:
    for name, count in there.items():
        if count != wanted[name].partitions:
            raise BrokerError(
                f"topic {name} has {count} partitions, the catalogue says {wanted[name].partitions}: keys hash onto "
                "partitions, so the count is fixed; use another tenant or make the topic anew"
            )
