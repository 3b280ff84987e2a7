"""The upload beside which the live lane is measured: what it says it sends is what an assembler could close."""

from __future__ import annotations

from collections import Counter

from kinestream.deploy.bench.upload import ROBOTS, TAKE, recordings
from kinestream.schemas.catalogue import FRAMES_BULK, topic_name
from kinestream.schemas.codec import Codec
from kinestream.schemas.registry import Registry

CODEC = Codec(Registry(), topic_name(FRAMES_BULK, "hub"))


def test_every_take_of_an_upload_is_whole_and_has_an_id_of_its_own() -> None:
    takes = ROBOTS + 2
    frames: Counter[str] = Counter()
    totals: dict[str, int] = {}
    for _, message in recordings(CODEC, "hub", takes * TAKE + TAKE - 1):
        found = CODEC.decode(message)
        if found.record == "FrameChunk":
            frames[found.value.episode_id] += len(found.value.t_ns)
        elif found.record == "EpisodeEnd":
            totals[found.value["episode_id"]] = found.value["n_total"]
    assert dict(frames) == totals
    assert list(totals.values()) == [TAKE] * takes
