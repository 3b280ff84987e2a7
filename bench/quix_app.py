"""The peer on another framework: Quix Streams as its documentation writes it, with our decoder and our judge.

One message at a time through a StreamingDataFrame, committed by Quix. It is given this project's numpy decoder, which
fastavro would cost it most of its time; it stores no frame, verifies no hash, keeps no journal, announces nothing, and
what an unfinished episode held in memory is gone when it dies. Started by ``kinestream bench worker`` with the Python
that has quixstreams (``make bench-peers``); by hand, with KINESTREAM_KAFKA, KINESTREAM_TENANT, KINESTREAM_GROUP and
KINESTREAM_HOME set: ``python bench/quix_app.py``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from quixstreams import Application

from kinestream.schemas.catalogue import FRAMES, topic_name
from kinestream.schemas.codec import Codec
from kinestream.schemas.frames import FrameChunk
from kinestream.schemas.layout import Layout
from kinestream.schemas.registry import Registry
from kinestream.schemas.settings import Settings
from kinestream.streams.judging import JUDGES
from kinestream.streams.quality import Delivery, EpisodeJudge, Frames

settings = Settings.from_env()
topic = topic_name(FRAMES, settings.tenant)
codec = Codec(Registry(settings.registry), topic)
judges: dict[str, EpisodeJudge] = {}
verdicts = (settings.home / "verdicts").open("a", buffering=1)


def take(message: bytes) -> None:
    decoded = codec.decode(message)
    record: Any = decoded.value
    if decoded.record == "EpisodeStart":
        judges[record["episode_id"]] = JUDGES[settings.metrics](record, Layout.from_avro(record))
    elif decoded.record == "FrameChunk":
        judges[record.episode_id].advance(frames_of(record))
    elif decoded.record == "EpisodeEnd":
        mine, n = judges.pop(record["episode_id"]), record["n_total"]
        verdicts.write(mine.final(Delivery(expected=n, unique=mine.span.frames, status="COMPLETE")).verdict + "\n")


def frames_of(chunk: FrameChunk) -> Frames:
    n = len(chunk)
    channels = {name: values.reshape(n, -1) for name, values in chunk.channels.items()}
    return Frames(np.arange(chunk.first_seq, chunk.first_seq + n), chunk.t_ns, channels)


app = Application(
    broker_address=settings.kafka,
    consumer_group=f"quix-{settings.group}",
    auto_offset_reset="earliest",
    auto_create_topics=False,
    loglevel="WARNING",
    state_dir=settings.home / "quix",
    # The bench holds the process still while it fills the topic; librdkafka's second of waiting is nobody's choice.
    consumer_extra_config={
        "session.timeout.ms": int(settings.session_s * 1000),
        "max.poll.interval.ms": 24 * 3600 * 1000,
        "fetch.queue.backoff.ms": 5,
    },
)
app.dataframe(app.topic(topic, key_deserializer="bytes", value_deserializer="bytes")).update(take)

if __name__ == "__main__":
    app.run()
