"""Golden bytes: one message of every record as it lies on the wire, and what it says as JSON beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinestream.schemas.catalogue import EPISODES, FRAMES, topic_name
from kinestream.schemas.codec import Codec
from kinestream.schemas.content_hash import ContentHasher
from kinestream.schemas.frames import FrameChunk
from kinestream.schemas.layout import Layout
from kinestream.schemas.registry import Registry, committed_ids, committed_schema, latest_schema
from tests.contract import chunks as given_chunks

GOLDEN = Path(__file__).parents[2] / "schemas" / "golden"
CODEC = Codec(Registry(), topic_name(FRAMES, "hub"))


def golden(name: str) -> tuple[bytes, dict[str, Any]]:
    """Message and value of ``<Record>.v<n>``; bytes stand as hexadecimal in the JSON."""
    value = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
    if "layout_id" in value:
        value["layout_id"] = bytes.fromhex(value["layout_id"])
    return (GOLDEN / f"{name}.bin").read_bytes(), value


def chunk_of(value: dict[str, Any]) -> FrameChunk:
    named = [(name, value[name]) for name in given_chunks.JOINT_CHANNELS]
    named += [(extra["name"], extra["values"]) for extra in value["extra"]]
    channels = {name: np.array(values, np.float32) for name, values in named if values}
    head = (value["episode_id"], value["layout_id"], value["first_seq"], value["t0_ns"])
    return FrameChunk(*head, np.array(value["offset_s"]), channels)


NEWEST = [
    name for name in committed_ids().values() if latest_schema(name.partition(".")[0])[1] == committed_schema(name)
]


@pytest.mark.parametrize("name", NEWEST)
def test_every_record_is_written_as_its_golden_bytes(name: str) -> None:
    message, value = golden(name)
    record = name.partition(".")[0]
    assert (CODEC.encode_chunk(chunk_of(value)) if record == "FrameChunk" else CODEC.encode(record, value)) == message


@pytest.mark.parametrize("name", committed_ids().values())
def test_the_golden_bytes_are_read_as_the_json_beside_them(name: str) -> None:
    message, value = golden(name)
    decoded = CODEC.decode(message)
    assert (decoded.record, committed_ids()[decoded.schema_id]) == (name.partition(".")[0], name)
    if decoded.record == "FrameChunk":
        assert given_chunks.same(decoded.value, value)
    else:
        fields = latest_schema(decoded.record)[1]["fields"]
        since = {field["name"]: field["default"] for field in fields if field["name"] not in value}
        assert decoded.value == {**value, **since}
        assert not (name in NEWEST and since)


def test_the_golden_messages_tell_one_episode() -> None:
    """Start, chunk and end fit each other, the hash is that of the frames, the event announces them."""
    start, chunk, end, event = (
        golden(f"{n}.v1")[1] for n in ("EpisodeStart", "FrameChunk", "EpisodeEnd", "EpisodeCompleted")
    )
    frames = chunk_of(chunk)
    layout = Layout.from_avro(start)
    assert layout.layout_id == chunk["layout_id"]
    assert {name: len(v) for name, v in frames.channels.items()} == {n: 3 * w for n, w in layout.widths.items()}
    hasher = ContentHasher(layout)
    hasher.add(0, frames.t_ns, frames.channels)
    assert hasher.hexdigest(end["n_total"]) == end["content_hash"] == event["content_hash"]
    assert {m["episode_id"] for m in (start, chunk, end, event)} == {event["episode_id"]}
    assert (event["frames_unique"], event["frames_expected"], event["status"]) == (3, end["n_total"], "COMPLETE")


def test_the_example_event_says_where_its_frames_and_records_are() -> None:
    event = golden("EpisodeCompleted.v1")[1]
    assert "EpisodeCompleted" in EPISODES.records
    assert event["lineage"]["topic"] == topic_name(FRAMES, event["tenant"])
    assert event["frames"]["robot_id"] == event["robot_id"]
    assert event["schema_fingerprints"] == [CODEC.fingerprint(schema_id) for schema_id in (1, 2, 3, 4)]
    assert event["finding_count"] == len(event["findings"]) == 1


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.json")), ids=lambda path: path.stem)
def test_no_golden_json_prints_nan(path: Path) -> None:
    json.loads(path.read_text(encoding="utf-8"), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
