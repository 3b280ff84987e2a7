"""What a test reads back: frames from the store, events from their topic, by means of its own."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

from kinestream.schemas.catalogue import Topic, topic_name
from tests.plugins.worker import Pipeline


@dataclass(frozen=True)
class Announced:
    ce_id: str
    headers: dict[str, str]
    key: bytes
    value: bytes


def read_topic(pipeline: Pipeline, topic: Topic, timeout_s: float = 20.0) -> list[Announced]:
    """All messages of a topic of the pipeline's tenant, up to its present end."""
    return read_messages(pipeline.broker.bootstrap, topic_name(topic, pipeline.broker.tenant), timeout_s)


def read_messages(bootstrap: str, name: str, timeout_s: float = 20.0) -> list[Announced]:
    """All committed messages of a topic. Its end is where the broker says so: offsets count transactions' marks too."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "reader",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "fetch.queue.backoff.ms": 5,
            "isolation.level": "read_committed",
        }
    )
    try:
        left = set(consumer.list_topics(name, timeout=timeout_s).topics[name].partitions)
        consumer.assign([TopicPartition(name, p, OFFSET_BEGINNING) for p in left])
        found, deadline = [], time.monotonic() + timeout_s
        while left:
            assert time.monotonic() < deadline, f"no end of {name} ({sorted(left)}) within {timeout_s} s"
            message = consumer.poll(0.2)
            if message is not None and message.error() is None:
                headers = {k: v.decode() for k, v in message.headers() or []}
                found.append(Announced(headers.get("ce_id", ""), headers, message.key(), message.value()))
            elif message is not None and message.error().code() == KafkaError._PARTITION_EOF:
                left.discard(message.partition())
        return found
    finally:
        consumer.close()


def read_frames(pipeline: Pipeline, episode_id: str) -> dict[str, np.ndarray]:
    """Frames of an episode by plain SQL: seq, t_ns, and each channel float32 (n, width)."""
    client = pipeline.store.reader_client()
    table = client.query_arrow(
        "SELECT block, seq, t_ns, position, velocity, effort, command, channel_names, channel_values FROM frame_blocks"
        " WHERE episode_id = {id:String} ORDER BY block, version DESC LIMIT 1 BY block",
        parameters={"id": episode_id},
    )
    parts: dict[str, list[np.ndarray]] = {}
    for row in range(table.num_rows):
        values = {name: table[name][row].values.to_numpy(zero_copy_only=False) for name in table.column_names[1:7]}
        names = table["channel_names"][row].as_py()
        values |= {n: table["channel_values"][row].values[i].values.to_numpy() for i, n in enumerate(names)}
        n = len(values["seq"])
        for name, flat in values.items():
            if name in ("seq", "t_ns"):
                parts.setdefault(name, []).append(flat)
            elif len(flat):
                parts.setdefault(name, []).append(flat.reshape(-1, n).T)
    return {name: np.concatenate(values) for name, values in parts.items()}
