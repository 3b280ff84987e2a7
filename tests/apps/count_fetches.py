"""A Faust app on the batch transport: writes, a line an event, what the agent was given; ends when told to."""

from __future__ import annotations

import json
import os

import faust

from kinestream.streams.transport import Fetch, FetchSchema

app = faust.App(
    os.environ["TEST_GROUP"],
    broker=f"kinestream://{os.environ['TEST_BOOTSTRAP']}",
    datadir=os.environ["TEST_FOLDER"],
    topic_allow_declare=False,
    topic_disable_leader=True,
    stream_wait_empty=False,
    web_enabled=False,
    store="memory://",
)
topic = app.topic(os.environ["TEST_TOPIC"], schema=FetchSchema(), acks=False)


@app.agent(topic)
async def say(fetches):
    async for fetch in fetches:
        assert isinstance(fetch, Fetch)
        offsets = [record.offset() for record in fetch.records]
        with open(os.environ["TEST_EVENTS"], "a") as events:
            print(json.dumps({"partition": fetch.tp.partition, "offsets": offsets, "end": fetch.end}), file=events)
