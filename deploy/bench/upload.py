"""A bulk upload at full speed: ``python -m kinestream.deploy.bench.upload --frames N``; it measures nothing.

It stands for another machine's, so it costs this one little: a few takes are encoded once and sent again and again,
each time under an id of its own.
"""

from __future__ import annotations

import argparse
import uuid
from collections.abc import Iterator
from typing import Final

from kinestream.deploy.bench.floor import Floor, Message
from kinestream.deploy.bench.site import publish
from kinestream.schemas.catalogue import FRAMES_BULK, topic_name
from kinestream.schemas.codec import Codec
from kinestream.schemas.registry import Registry
from kinestream.schemas.settings import Settings

#: Frames of a take, and of a chunk of the bulk lane.
TAKE: Final = 2000
_CHUNK: Final = 64
#: Robots whose recordings are uploaded: their keys spread over the partitions.
ROBOTS: Final = 16


def recordings(codec: Codec, tenant: str, frames: int) -> Iterator[Message]:
    """Takes of :data:`TAKE` frames, ``frames`` in all, a robot's take whole after another's."""
    pool: dict[bytes, list[bytes]] = {}
    for key, value in Floor(codec, tenant, _CHUNK, robots=ROBOTS).send([TAKE] * ROBOTS, together=True):
        pool.setdefault(key, []).append(value)
    ids = {key: codec.decode(values[0]).value["episode_id"].encode() for key, values in pool.items()}
    keys = sorted(pool)
    for number in range(frames // TAKE):
        key = keys[number % len(keys)]
        fresh = str(uuid.uuid4()).encode()
        yield from ((key, value.replace(ids[key], fresh, 1)) for value in pool[key])


def main() -> None:
    """Upload and end when the broker has everything; the environment says where."""
    parser = argparse.ArgumentParser(prog="python -m kinestream.deploy.bench.upload", description=__doc__)
    parser.add_argument("--frames", type=int, required=True, help="frames to send, in whole takes")
    frames = parser.parse_args().frames
    settings = Settings.from_env()
    topic = topic_name(FRAMES_BULK, settings.tenant)
    publish(settings, recordings(Codec(Registry(), topic), settings.tenant, frames), topic)


if __name__ == "__main__":
    main()
