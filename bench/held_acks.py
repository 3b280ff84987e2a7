"""The Faust app of somebody who has heard of lost frames: an event is acknowledged only once its episode is stored.

Stock transport, one event a message. It is here to fail: ``tests/crash/test_chaos.py`` kills it and audits what it
stored, and loses frames, because Faust commits behind events that were never acknowledged (docs/adr/0001). An episode
is one file, whole or not there. By hand, with KINESTREAM_KAFKA, KINESTREAM_TENANT, KINESTREAM_GROUP and
KINESTREAM_HOME set: ``faust -A held_acks --workdir bench worker``.
"""

from __future__ import annotations

import os
from collections import defaultdict

import faust
import numpy as np

from kinestream.schemas.catalogue import FRAMES, topic_name
from kinestream.schemas.codec import Codec
from kinestream.schemas.errors import DecodeError
from kinestream.schemas.frames import FrameChunk
from kinestream.schemas.registry import Registry
from kinestream.schemas.settings import Settings

settings = Settings.from_env()
topic = topic_name(FRAMES, settings.tenant)
codec = Codec(Registry(settings.registry), topic)
stored = settings.home / "stored"
stored.mkdir(parents=True, exist_ok=True)

app = faust.App(
    settings.group,
    broker=[f"kafka://{address}" for address in settings.kafka.split(",")],
    consumer_auto_offset_reset="earliest",
    broker_session_timeout=settings.session_s,
    broker_heartbeat_interval=settings.session_s / 5,
    broker_commit_interval=settings.commit_interval_s,
    topic_disable_leader=True,
    topic_allow_declare=False,
    stream_wait_empty=False,
    store="memory://",
    datadir=str(settings.home / "faust"),
    web_port=settings.worker_port,
)
frames = app.topic(topic, value_type=bytes, value_serializer="raw")
held: dict[str, list[faust.Event]] = defaultdict(list)


@app.agent(frames)
async def assemble(stream) -> None:
    async for event in stream.noack().events():
        try:
            decoded = codec.decode(event.value)
        except DecodeError:
            event.ack()
            continue
        episode_id = decoded.value.episode_id if decoded.record == "FrameChunk" else decoded.value.get("episode_id")
        if episode_id is None:
            event.ack()  # a robot's status
            continue
        held[episode_id].append(event)
        if decoded.record == "EpisodeEnd":
            store(episode_id, [codec.decode(one.value) for one in held[episode_id]])
            for one in held.pop(episode_id):
                one.ack()


def store(episode_id: str, records: list) -> None:
    """All frames of the episode, by number; the first copy of a frame wins."""
    chunks: list[FrameChunk] = [one.value for one in records if one.record == "FrameChunk"]
    seq = np.concatenate([np.arange(c.first_seq, c.first_seq + len(c)) for c in chunks] or [np.empty(0, np.int64)])
    seq, first = np.unique(seq, return_index=True)
    arrays = {"seq": seq, "t_ns": np.concatenate([c.t_ns for c in chunks] or [np.empty(0, np.int64)])[first]}
    for name in chunks[0].channels if chunks else ():
        arrays[name] = np.concatenate([c.channels[name].reshape(len(c), -1) for c in chunks])[first]
    with (stored / f"{episode_id}.part").open("wb") as out:
        np.savez(out, **arrays)
    os.replace(stored / f"{episode_id}.part", stored / f"{episode_id}.npz")
