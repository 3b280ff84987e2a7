"""A second engine: the same core in a bare confluent-kafka loop. No Faust, no agents, no web pages but a health answer.

The core is ``kinestream.streams.worker.Worker``: look-ups, assembly, judging, store, announcements, watermarks. This
file is only what drives it: a consumer that polls in a thread, hands whole partitions' records over and commits what it
is told. Run under the same chaos (``kinestream chaos --engine bare``) and the same bench as the Faust app; by hand with
the same KINESTREAM_* variables as a worker: ``python bench/bare_loop.py``.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import time
from collections import defaultdict
from typing import Any

import confluent_kafka
from faust.types import TP

from kinestream.schemas.catalogue import FRAMES, FRAMES_BULK, topic_name
from kinestream.schemas.registry import Registry
from kinestream.schemas.settings import Settings
from kinestream.streams import lean
from kinestream.streams.announce import Announcer
from kinestream.streams.assigned import Membership
from kinestream.streams.cluster import describe
from kinestream.streams.model_log import ModelLog
from kinestream.streams.retrying import Retry
from kinestream.streams.store.store import Store
from kinestream.streams.transport.commits import generation_of
from kinestream.streams.transport.fetch import Fetch
from kinestream.streams.worker import Worker

log = logging.getLogger("kinestream.bare")
settings = Settings.from_env()
TOPICS = tuple(topic_name(topic, settings.tenant) for topic in (FRAMES, FRAMES_BULK))
#: Messages of one poll, and how long it waits for the first, s.
BATCH, WAIT_S = 500, 0.1
#: Seconds between two questions for the ends of the log: what silence is proved by.
END_EVERY_S = 1.0


class Loop:
    """One consumer and one worker; the consumer's calls run in one thread, the worker's on the event loop."""

    def __init__(self) -> None:
        self.generation = 0
        #: of partitions read to their end: that end, and when the broker last said that it was (monotonic)
        self.idle: dict[tuple[str, int], tuple[int, float]] = {}
        self.stopping = asyncio.Event()
        self.loop = asyncio.get_running_loop()
        self.consumer = confluent_kafka.Consumer(
            {
                "bootstrap.servers": settings.kafka,
                "group.id": settings.group,
                "group.instance.id": settings.instance_id or f"{socket.gethostname()}-{settings.worker_port}",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                "session.timeout.ms": int(settings.session_s * 1000),
                "heartbeat.interval.ms": int(settings.session_s * 200),
                # A store that is away must not cost the membership.
                "max.poll.interval.ms": 24 * 3600 * 1000,
                "fetch.queue.backoff.ms": 5,
                "queued.max.messages.kbytes": 32_768,
                "log_level": 2,
            }
        )

    async def run(self) -> None:
        retry = Retry()
        cluster_id, partitions = await retry.call("reach the broker", describe, settings, settings.kafka, TOPICS)
        store = await retry.call("reach the store", Store, settings, settings.clickhouse)
        registry = Registry(settings.registry)
        announcer = Announcer(settings, settings.kafka, registry)
        await retry.call("ask the registry", announcer.prepare)
        self.worker = Worker(
            settings,
            store,
            announcer,
            registry,
            cluster_id=cluster_id,
            partitions=partitions,
            commit=self.commit,
            model_log=ModelLog(settings, settings.kafka, registry),
            caught_up_since=self.caught_up_since,
            membership=self.membership,
            guarded=guarded,
        )
        lean.settle()
        self.consumer.subscribe(list(TOPICS), on_assign=self.assigned, on_revoke=self.revoked, on_lost=self.revoked)
        asking = asyncio.create_task(guarded("asking for the ends", self.ask_for_ends))
        server = await asyncio.start_server(self.health, "127.0.0.1", settings.worker_port)
        flushing = asyncio.create_task(guarded("flushing", self.worker.run))
        while not self.stopping.is_set():
            await guarded("assembling", self.turn)
        asking.cancel()
        flushing.cancel()
        server.close()
        await asyncio.wait_for(self.worker.stop(), 4)
        await asyncio.to_thread(self.consumer.close)

    async def turn(self) -> None:
        """One poll, handed over a partition at a time, all partitions at once."""
        messages = await asyncio.to_thread(self.consumer.consume, BATCH, WAIT_S)
        polled_s, batches = time.monotonic(), defaultdict(list)
        for message in messages:
            key = (message.topic(), message.partition())
            if message.error() is None:
                batches[key].append(message)
                self.idle.pop(key, None)
            elif message.error().code() == confluent_kafka.KafkaError._PARTITION_EOF:
                self.idle[key] = (message.offset(), polled_s)
        await asyncio.gather(*(self.hand_over(key, batch) for key, batch in batches.items()))

    async def hand_over(self, key: tuple[str, int], batch: list[Any]) -> None:
        end = batch[-1].offset() + 1
        _, high = self.consumer.get_watermark_offsets(confluent_kafka.TopicPartition(*key), cached=True)
        size = sum(len(message) for message in batch)
        await self.worker.handle(Fetch(TP(*key), batch, end, max(high, end), self.generation, size))

    # -- the group ---------------------------------------------------------------

    def assigned(self, _: Any, partitions: list[Any]) -> None:
        """In the polling thread: the worker hears of it on its own loop."""
        self.generation = generation_of(self.consumer)
        keys = [(one.topic, one.partition) for one in partitions]
        self.idle.clear()
        asyncio.run_coroutine_threadsafe(
            guarded("loading", lambda: self.worker.take_over(keys, self.generation)), self.loop
        )

    def revoked(self, _: Any, partitions: list[Any]) -> None:
        keys = [(one.topic, one.partition) for one in partitions]
        asyncio.run_coroutine_threadsafe(self.worker.give_up(keys), self.loop).result()

    def membership(self) -> Membership:
        """The client does not tell when the group last answered: that only the owner announces, the broker sees to."""
        return Membership(self.generation, time.monotonic())

    async def commit(self, offsets: Any) -> bool:
        places = [confluent_kafka.TopicPartition(*key, offset) for key, offset in offsets.items()]
        try:
            await asyncio.to_thread(self.consumer.commit, offsets=places, asynchronous=not self.stopping.is_set())
        except confluent_kafka.KafkaException:
            return False  # no longer ours, or the broker is away: the next one says it again
        return True

    def caught_up_since(self, key: tuple[str, int], next_offset: int) -> float:
        """Monotonic time at which the broker last said that nothing follows ``next_offset``; -1 = never."""
        end, since = self.idle.get(key, (-1, -1.0))
        return since if end >= next_offset else -1.0

    async def ask_for_ends(self) -> None:
        """The client says once that an end is reached; that it still is, only the broker can say."""
        while True:
            await asyncio.sleep(END_EVERY_S)
            for key, (end, _) in list(self.idle.items()):
                asked_s = time.monotonic()
                try:
                    place = confluent_kafka.TopicPartition(*key)
                    _, high = await asyncio.to_thread(self.consumer.get_watermark_offsets, place, 2.0)
                except confluent_kafka.KafkaException:
                    break  # the broker is away, which proves nothing
                if high == end and self.idle.get(key, (-1,))[0] == end:
                    self.idle[key] = (end, asked_s)

    async def health(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        status = "200 OK" if self.worker.ready() else "503 Service Unavailable"
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()


async def guarded(what: str, action: Any) -> Any:
    """As the app does: an error nobody foresaw ends the process as kill -9 would."""
    try:
        return await action()
    except asyncio.CancelledError:
        raise
    except Exception:
        log.critical("%s failed", what, exc_info=True)
        logging.shutdown()
        os._exit(70)


async def main() -> None:
    engine = Loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        engine.loop.add_signal_handler(number, engine.stopping.set)
    await engine.run()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    logging.getLogger("kinestream").setLevel(logging.INFO)
    asyncio.run(main())
