"""A member of a group on the batch transport: says, a line of JSON each, what it was given, handed and asked.

It commits behind every fetch. While the file TEST_STALL exists its agent takes nothing.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path

import faust

from kinestream.streams.transport import FetchSchema

settings = json.loads(os.environ["TEST_MEMBER"])
app = faust.App(
    settings["group"],
    broker=f"kinestream://{settings['bootstrap']}",
    consumer_group_instance_id=settings["id"],
    broker_session_timeout=settings["session_s"],
    broker_max_poll_interval=settings["max_poll_s"],
    stream_buffer_maxsize=4,
    datadir=settings["folder"],
    topic_allow_declare=False,
    topic_disable_leader=True,
    stream_wait_empty=False,
    web_enabled=False,
    store="memory://",
)
app.transport.on_log_gap = settings["on_log_gap"]
topic = app.topic(*settings["topics"], schema=FetchSchema(), acks=False)
out = open(settings["said"], "a", buffering=1)  # noqa: SIM115
stall = Path(settings["stall"])
#: partitions we believe to hold, with their generations: never told otherwise
held = {}


def say(kind, **facts):
    print(json.dumps({"kind": kind, "at": time.monotonic(), **facts}), file=out)


def fail(problem):
    print(f"ended: {problem}", file=sys.stderr, flush=True)
    os._exit(70)


app.transport.on_failure = fail


@app.on_partitions_assigned.connect
async def assigned(_, assigned, **__):
    held.update(dict.fromkeys(assigned, app.consumer.generation))
    say("assigned", partitions=sorted(assigned), generation=app.consumer.generation)


@app.on_partitions_revoked.connect
async def revoked(_, revoked, **__):
    say("revoked", partitions=sorted(revoked))


@app.agent(topic)
async def take(fetches):
    async for fetch in fetches:
        while stall.exists():
            await asyncio.sleep(0.02)
        offsets = [record.offset() for record in fetch.records]
        say("handed", topic=fetch.tp.topic, partition=fetch.tp.partition, offsets=offsets, generation=fetch.generation)
        committed = await app.consumer.commit_watermarks({fetch.tp: fetch.end})
        say("committed", topic=fetch.tp.topic, partition=fetch.tp.partition, end=fetch.end, accepted=committed)


@app.task
async def watch():
    while True:
        consumer = app.consumer
        say(
            "owns",
            owned=sorted(tp for tp, generation in held.items() if consumer.owns(tp, generation)),
            waiting_bytes=consumer.waiting_bytes,
            lag=sum(lag.messages for lag in consumer.lags().values()),
            gap=consumer.log_gap_messages,
            lost_tail=consumer.lost_tail_messages,
        )
        await asyncio.sleep(0.05)
