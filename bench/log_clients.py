"""What reading the log costs: aiokafka, a bare confluent-kafka loop and our reading thread over the same topic.

    python -m bench.log_clients HOST:PORT [--messages 15625] [--bytes 24576] [--repeats 5]

The topic is made and filled first; every turn is a process of its own, and turns alternate. CPU is the whole process's.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import statistics
import subprocess
import sys
import threading
import uuid

from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from kinestream.streams.transport.fetch import Fetch
from kinestream.streams.transport.joining import Joining
from kinestream.streams.transport.reader import LogReader


def cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def fill(bootstrap: str, topic: str, messages: int, size: int) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(topic, 8, 1)])[topic].result(20)
    producer, value = Producer({"bootstrap.servers": bootstrap, "linger.ms": 20}), os.urandom(size)
    for number in range(messages):
        while True:
            try:
                producer.produce(topic, value, key=b"r%d" % (number % 100), partition=number % 8)
                break
            except BufferError:
                producer.poll(0.05)
    assert producer.flush(60) == 0


def use(record: object) -> int:
    """What a decoder asks of a message."""
    return len(record.key()) + len(record.value()) + record.offset() + record.timestamp()[1]  # type: ignore[attr-defined]


async def with_aiokafka(bootstrap: str, topic: str, messages: int) -> float:
    from aiokafka import AIOKafkaConsumer

    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=bootstrap, group_id=uuid.uuid4().hex, auto_offset_reset="earliest",
        enable_auto_commit=False, check_crcs=False, max_partition_fetch_bytes=2 * 1024**2,
    )  # fmt: skip
    await consumer.start()
    before, seen = cpu_s(), 0
    while seen < messages:
        for records in (await consumer.getmany(timeout_ms=1000)).values():
            for one in records:
                seen += 1
                assert len(one.key) + len(one.value) + one.offset + one.timestamp
    used = cpu_s() - before
    await consumer.stop()
    return used


def with_loop(bootstrap: str, topic: str, messages: int) -> float:
    settings = Joining(bootstrap, uuid.uuid4().hex).member() | {"auto.offset.reset": "earliest"}
    consumer = Consumer(settings)
    consumer.subscribe([topic])
    before, seen = 0.0, 0
    while seen < messages:
        for one in consumer.consume(500, 0.1):
            if one.error() is None:
                before = before or cpu_s()
                seen += 1
                assert use(one)
    used = cpu_s() - before
    consumer.close()
    return used


def with_reader(bootstrap: str, topic: str, messages: int) -> float:
    before, seen, done = [0.0], [0], threading.Event()

    def deliver(fetches: list[Fetch]) -> None:
        for fetch in fetches:
            for one in fetch.records:
                assert use(one)
            seen[0] += len(fetch.records)
            reader.taken(fetch.size)
        if seen[0] >= messages:
            done.set()

    reader = LogReader(
        Joining(bootstrap, uuid.uuid4().hex), deliver=deliver, revoked=lambda gone: None, failed=print,
        assigned=lambda fresh, generation: before.__setitem__(0, cpu_s()),
    )  # fmt: skip
    reader.start([topic])
    assert done.wait(120), f"{seen[0]} of {messages} messages in two minutes"
    used = cpu_s() - before[0]
    reader.stop()
    return used


CLIENTS = {
    "aiokafka": lambda *given: asyncio.run(with_aiokafka(*given)),
    "confluent-kafka": with_loop,
    "LogReader": with_reader,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bootstrap")
    parser.add_argument("--messages", type=int, default=15_625)
    parser.add_argument("--bytes", type=int, default=24_576)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--turn", nargs=2, metavar=("CLIENT", "TOPIC"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.turn:
        print(CLIENTS[given.turn[0]](given.bootstrap, given.turn[1], given.messages))
        return
    topic = f"bench-{uuid.uuid4().hex[:8]}"
    fill(given.bootstrap, topic, given.messages, given.bytes)
    took: dict[str, list[float]] = {name: [] for name in CLIENTS}
    for _ in range(given.repeats):
        for name, times in took.items():
            turn = [*sys.argv[1:], "--turn", name, topic]
            done = subprocess.run([sys.executable, "-m", "bench.log_clients", *turn], capture_output=True, check=True)
            times.append(float(done.stdout))
    for name, times in took.items():
        print(f"{name:16} {statistics.median(times):.3f} CPU-s ({min(times):.3f}-{max(times):.3f}), {len(times)} turns")


if __name__ == "__main__":
    main()
