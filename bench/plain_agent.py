"""The peer: the Faust app most people would write. Stock transport, one event a message, fastavro, no store.

It runs the same judge as the worker over the same topic. What it does not do: store a frame, verify a hash, notice a
hole, a duplicate or a restart, or announce anything. Started by ``kinestream bench worker``; by hand, with
KINESTREAM_KAFKA, KINESTREAM_TENANT and KINESTREAM_HOME set: ``faust -A plain_agent --workdir bench worker``.
"""

from __future__ import annotations

import io

import fastavro
import faust
import numpy as np

from kinestream.schemas.catalogue import FRAMES, topic_name
from kinestream.schemas.layout import JOINT_CHANNELS, Layout
from kinestream.schemas.registry import committed_ids, committed_schema
from kinestream.schemas.settings import Settings
from kinestream.streams.judging import JUDGES
from kinestream.streams.quality import Delivery, EpisodeJudge, Frames

settings = Settings.from_env()
SCHEMAS = {
    number: (name.partition(".")[0], fastavro.parse_schema(committed_schema(name)))
    for number, name in committed_ids().items()
}

app = faust.App(
    f"plain-{settings.group}",
    broker=[f"kafka://{address}" for address in settings.kafka.split(",")],
    consumer_auto_offset_reset="earliest",
    # The only settings that are not Faust's own: the bench holds the process still while it fills the topic.
    broker_session_timeout=settings.session_s,
    broker_request_timeout=settings.session_s + 5,
    topic_disable_leader=True,
    store="memory://",
    datadir=str(settings.home / "faust"),
    web_port=settings.worker_port,
)
frames = app.topic(topic_name(FRAMES, settings.tenant), value_type=bytes, value_serializer="raw")
judges: dict[str, EpisodeJudge] = {}
verdicts = (settings.home / "verdicts").open("a", buffering=1)


@app.agent(frames)
async def judge(stream) -> None:
    async for message in stream:
        name, schema = SCHEMAS[int.from_bytes(message[1:5], "big")]
        take(name, fastavro.schemaless_reader(io.BytesIO(message[5:]), schema, None))


def take(name: str, record: dict) -> None:
    if name == "EpisodeStart":
        judges[record["episode_id"]] = JUDGES[settings.metrics](record, Layout.from_avro(record))
    elif name == "FrameChunk":
        judges[record["episode_id"]].advance(frames_of(record))
    elif name == "EpisodeEnd":
        mine, n = judges.pop(record["episode_id"]), record["n_total"]
        verdicts.write(mine.final(Delivery(expected=n, unique=mine.span.frames, status="COMPLETE")).verdict + "\n")


def frames_of(record: dict) -> Frames:
    n, first = len(record["offset_s"]), record["first_seq"]
    t_ns = record["t0_ns"] + np.rint(np.array(record["offset_s"]) * 1e9).astype(np.int64)
    channels = {c: np.array(record[c], np.float32).reshape(n, -1) for c in JOINT_CHANNELS if record[c]}
    return Frames(np.arange(first, first + n), t_ns, channels)
