"""docs/wire.md is true: its tables and bytes are made, its numbers are the code's, its words are enough to write it."""

from __future__ import annotations

import ast
import io
import json
import re
import struct
from pathlib import Path
from typing import Any

import fastavro
import pytest
from aiokafka.partitioner import murmur2 as kafkas_murmur2

from kinestream.deploy.wire.capture import read_capture
from kinestream.deploy.wire.checks import Result
from kinestream.deploy.wire.conformance import check
from kinestream.schemas.catalogue import FRAMES, MAX_MESSAGE_BYTES, topic_name
from kinestream.schemas.codec import Codec
from kinestream.schemas.murmur2 import murmur2, partition_of
from kinestream.schemas.reasons import DeadLetterReason
from kinestream.schemas.registry import Registry, committed_ids, committed_schema
from kinestream.schemas.settings import Settings
from tests.contract import wire_page, wire_reference
from tests.contract.content_reference import (
    Episode,
    from_vector,
    reference_blocks,
    reference_hash,
    reference_leaves,
    stamp,
)

ROOT = Path(__file__).parents[2]
PAGE = wire_page.PAGE.read_text(encoding="utf-8")
CODEC = Codec(Registry(), topic_name(FRAMES, "hub"))
RAWS = [bytes.fromhex(message["value_hex"]) for message in wire_page.messages()]
WRITERS = {
    "EpisodeStart": wire_reference.start,
    "FrameChunk": wire_reference.chunk,
    "EpisodeEnd": wire_reference.end,
    "RobotStatus": wire_reference.status,
}


def read(raw: bytes) -> tuple[str, dict[str, Any]]:
    """Record and fields, by fastavro alone."""
    name = committed_ids()[int.from_bytes(raw[1:5], "big")]
    value = fastavro.schemaless_reader(io.BytesIO(raw[5:]), committed_schema(name), None)
    return name.partition(".")[0], dict(value)  # type: ignore[arg-type]


def test_the_made_parts_are_as_they_must_be() -> None:
    assert wire_page.filled(PAGE) == PAGE, "run: python -m tests.contract.wire_page"
    assert set(re.findall(r"<!-- begin ([\w ]+) -->", PAGE)) == wire_page.blocks().keys()


def test_the_golden_episode_is_start_chunk_end_and_status() -> None:
    assert [read(raw)[0] for raw in RAWS] == list(WRITERS)


@pytest.mark.parametrize("raw", RAWS, ids=list(WRITERS))
def test_the_golden_bytes_are_written_by_three_hands(raw: bytes) -> None:
    """Ours, fastavro's, and one that knows nothing but the page: each from what the others read."""
    record, value = read(raw)
    decoded = CODEC.decode(raw)
    ours = CODEC.encode_chunk(decoded.value) if record == "FrameChunk" else CODEC.encode(record, decoded.value)
    out = io.BytesIO()
    fastavro.schemaless_writer(out, committed_schema(committed_ids()[decoded.schema_id]), value)
    assert (decoded.record, ours, raw[:5] + out.getvalue()) == (record, raw, raw)
    assert WRITERS[record](value) == raw


def test_the_golden_episode_conforms() -> None:
    report = check(read_capture(wire_page.EPISODE), Registry(), 8)
    failed = [one.id for one in report.checks if one.result in (Result.FAIL, Result.WARN)]
    assert failed == []
    assert (report.episodes[0]["status"], report.episodes[0]["hash_verified"]) == ("COMPLETE", True)


def test_the_reference_knows_nothing_of_ours() -> None:
    tree = ast.parse(Path(wire_reference.__file__).read_text())
    named = {
        name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module] if isinstance(node, ast.ImportFrom) else [one.name for one in node.names])
    }
    assert named == {"__future__", "collections.abc", "struct", "typing", "xxhash"}


def test_the_reference_gives_every_committed_vector() -> None:
    for vector in json.loads((wire_page.GOLDEN / "layout_id.json").read_text(encoding="utf-8"))["vectors"]:
        assert wire_reference.layout_bytes(vector["joints"], vector["channels"]).hex() == vector["bytes"]
        assert wire_reference.layout_id(vector["joints"], vector["channels"]).hex() == vector["layout_id"]
    whole = [one for one in content_vectors() if not one["missing"]]
    assert whole
    for vector in whole:
        given = from_vector(vector)
        stamps = [stamp(vector["t_ns"], seq) for seq in range(vector["n_total"])]
        values = {name: floats(given, name) for name in given.widths}
        assert wire_reference.hash_steps(given.widths, stamps, values)[1] == vector["content_hash"]


def content_vectors() -> list[dict[str, Any]]:
    return list(json.loads((wire_page.GOLDEN / "content_hash.json").read_text(encoding="utf-8"))["vectors"])


def floats(given: Any, name: str) -> list[float]:
    bits = [pattern for seq in sorted(given.values) for pattern in given.values[seq][name]]
    return list(struct.unpack(f"<{len(bits)}f", struct.pack(f"<{len(bits)}I", *bits)))


def test_the_reference_hashes_several_blocks_as_the_other_reference_does() -> None:
    n, width = 300, 2
    values = [float((7 * i) % 1009 - 504) / 256 for i in range(n * width)]
    stamps = [1_760_000_000_000_000_000 + 8_333_333 * i for i in range(n)]
    rows = {
        s: {"position": list(struct.unpack("<2I", struct.pack("<2f", *values[2 * s : 2 * s + 2])))} for s in range(n)
    }
    episode = Episode({"position": width}, n, dict(enumerate(stamps)), rows)
    steps, total = wire_reference.hash_steps(episode.widths, stamps, {"position": values})
    assert total == reference_hash(episode)
    assert {(name, k): leaf for name, k, _, leaf in steps} == {
        (name, k): leaf for k in reference_blocks(episode) for name, leaf in reference_leaves(episode, k).items()
    }


@pytest.mark.parametrize("vector", wire_page.vectors(), ids=lambda vector: repr(vector["key"]))
def test_a_key_lies_where_every_client_puts_it(vector: dict[str, Any]) -> None:
    key = bytes.fromhex(vector["bytes"])
    assert key == vector["key"].encode()
    hashes = {f"{found(key) & 0xFFFFFFFF:08x}" for found in (murmur2, kafkas_murmur2, wire_reference.murmur2)}
    assert hashes == {vector["murmur2"]}
    for partitions, place in vector["partitions"].items():
        assert partition_of(key, int(partitions)) == wire_reference.partition(key, int(partitions)) == place


def test_its_numbers_are_the_codes() -> None:
    settings = Settings()
    assert f"{MAX_MESSAGE_BYTES:,} bytes" in PAGE
    assert f"never over {settings.chunk_bytes:,} bytes a chunk" in PAGE
    live = f"{settings.chunk_frames} frames or\n{settings.chunk_ms} ms of frames live"
    assert f"{live}, {settings.bulk_chunk_frames} in bulk" in PAGE
    assert f"closed after {settings.silence_s:g} s" in PAGE
    assert f"INCOMPLETE {settings.incomplete_after_s:g} s after the end" in PAGE
    assert f"SUPERSEDED {settings.superseded_after_s:g} s after the next start" in PAGE
    assert f"without any word of the robot, instead of {settings.silence_s:g} s" in PAGE
    assert f"keep them for {settings.spool_keep_s / 60:g} min" in PAGE
    assert f"message.timeout.ms={settings.message_timeout_ms}" in PAGE
    assert f"{settings.cut_after_s:g} s bring no frame" in PAGE


def test_every_dead_letter_a_producer_can_cause_is_explained() -> None:
    table = PAGE[PAGE.index("## Mistakes") : PAGE.index("## Golden episode")]
    assert {reason for reason in DeadLetterReason if reason not in table} == {DeadLetterReason.QUARANTINED}


def test_its_links_and_files_lead_somewhere() -> None:
    anchors = {"#" + title.lower().replace(" ", "-") for title in re.findall(r"^## (.+)$", PAGE, re.M)}
    for target in re.findall(r"\]\(([^)]+)\)", PAGE):
        assert target in anchors or (ROOT / "docs" / target).is_file(), target
    for path in re.findall(r"`(schemas/[\w/.]+)`", PAGE):
        assert (ROOT / path).exists(), path
