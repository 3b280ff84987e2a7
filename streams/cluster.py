"""What a worker must know of the cluster before it starts: its id, and that the topics are there."""

from __future__ import annotations

from collections.abc import Iterable

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from kinestream.schemas.errors import BrokerError


def describe(bootstrap: str, topics: Iterable[str], timeout_s: float = 10.0) -> tuple[str, dict[str, int]]:
    """Cluster id, and partitions by topic. Raises :class:`BrokerError` if it is away or a topic is not there.

    A missing source topic would only log ten errors a second and look alive.
    """
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 2})
    try:
        found = {topic: admin.list_topics(topic, timeout=timeout_s) for topic in topics}
    except KafkaException as problem:
        raise BrokerError(f"no broker answers at {bootstrap}: {problem.args[0].str()}") from problem
    counts = {topic: len(metadata.topics[topic].partitions) for topic, metadata in found.items()}
    if missing := [topic for topic, count in counts.items() if count == 0]:
        raise BrokerError(f"topics {', '.join(missing)} are not on {bootstrap}: `kinestream up` makes them")
    return next(iter(found.values())).cluster_id, counts
