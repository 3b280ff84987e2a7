"""What a worker must know of the cluster before it starts: its id, and that the topics are there."""

from __future__ import annotations

from collections.abc import Iterable

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from kinestream.schemas.errors import BrokerError, SettingError


def describe(bootstrap: str, topics: Iterable[str], timeout_s: float = 10.0) -> tuple[str, dict[str, int]]:
    """Cluster id, and partitions by topic.

    Raises :class:`BrokerError` if it is away, :class:`SettingError` if a topic is not there: a missing
    source topic would only log ten errors a second and look alive.
    """
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 2})
    try:
        found = {topic: admin.list_topics(topic, timeout=timeout_s) for topic in topics}
    except KafkaException as problem:
        raise BrokerError(f"no broker answers at {bootstrap}: {problem.args[0].str()}") from problem
    counts = {topic: len(metadata.topics[topic].partitions) for topic, metadata in found.items()}
    if missing := [topic for topic, count in counts.items() if count == 0]:
        raise SettingError(
            f"topics {', '.join(missing)} are not on {bootstrap}: `kinestream up` makes them;"
            " or is KINESTREAM_TENANT another?"
        )
    return next(iter(found.values())).cluster_id, counts
