"""docs/contract.md is true: what it names exists, and the numbers it gives are the code's."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from kinestream.schemas.catalogue import CATALOGUE, MAX_MESSAGE_BYTES
from kinestream.schemas.content_hash import BLOCK
from kinestream.schemas.reasons import DeadLetterReason
from kinestream.schemas.registry import committed_schema
from kinestream.schemas.settings import Settings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "contract.md").read_text(encoding="utf-8")
SETTINGS = {field.name.upper(): field.default for field in fields(Settings)}
#: Dead-letter reasons.
REASONS = {reason.value for reason in DeadLetterReason}


def test_every_setting_it_names_exists() -> None:
    named = {word.removeprefix("KINESTREAM_") for word in re.findall(r"`([A-Z][A-Z_]+)`", PAGE)}
    assert named - {"FULL_TRANSITIVE", "PROCESS_DIED", "FINAL", "SCHEMA_REGISTRY_URL"} <= set(SETTINGS)


@pytest.mark.parametrize(
    ("said", "setting"),
    [
        ("waited for 5 s (`BLOCK_AGE_S`)", 5.0),
        ("10 s after the end mark (`INCOMPLETE_AFTER_S`)", 10.0),
        ("60 s without a frame (`SILENCE_S`)", 60.0),
        ("10 min without any word of the robot (`ROBOT_SILENCE_S`)", 600.0),
        ("5 s ago (`SUPERSEDED_AFTER_S`)", 5.0),
        ("once a second (`STATUS_INTERVAL_S`)", 1.0),
        ("0.5 s of broker time (`HOLE_WAIT_S`)", 0.5),
        ("256,000 bytes (`CHUNK_BYTES`)", 256_000),
        ("at most 5 s (`LIVE_WITHIN_S`)", 5.0),
        ("for 600 s (`SPOOL_KEEP_S`)", 600.0),
        ("At 2,000,000,000 bytes (`SPOOL_BYTES`)", 2_000_000_000),
        ("64 in bulk\n(`BULK_CHUNK_FRAMES`)", 64),
    ],
)
def test_the_numbers_it_gives_are_the_defaults(said: str, setting: float) -> None:
    assert said in PAGE
    assert SETTINGS[re.findall(r"`([A-Z_]+)`", said)[0]] == setting


def test_the_other_constants_are_the_codes() -> None:
    assert f"{MAX_MESSAGE_BYTES:,} bytes" in PAGE
    assert f"Every topic has {CATALOGUE[0].partitions} partitions" in PAGE
    assert f"{BLOCK}k to {BLOCK}k + {BLOCK - 1}" in PAGE
    assert f"{SETTINGS['INFLIGHT_BYTES'] // 1_000_000} MB not yet stored" in PAGE


def test_it_lists_every_topic_and_no_other_as_built() -> None:
    table = PAGE[PAGE.index("| entity |") : PAGE.index("Every topic has")]
    assert re.findall(r"^\| `([a-z-]+)`", table, re.M) == [topic.entity for topic in CATALOGUE]


def test_every_status_is_defined() -> None:
    event = {field["name"]: field["type"] for field in committed_schema("EpisodeCompleted.v1")["fields"]}
    closing = PAGE[PAGE.index("## Closing") : PAGE.index("## Revisions")]
    built = set(re.findall(r"^\| ([A-Z_]+) \|", closing, re.M)) - {"OPEN"}
    missing = set(event["status"]["symbols"]) - built - {"UNKNOWN"}
    assert missing == set()


def test_every_dead_letter_reason_is_explained() -> None:
    assert set(re.findall(r"^\| ([A-Z_]+) \|", PAGE[PAGE.index("## Dead letters") :], re.M)) == REASONS


def test_its_links_and_files_lead_somewhere() -> None:
    anchors = {"#" + title.lower().replace(" ", "-") for title in re.findall(r"^## (.+)$", PAGE, re.M)}
    for target in re.findall(r"\]\(([^)]+)\)", PAGE):
        assert target in anchors or (ROOT / "docs" / target).is_file(), target
    for path in re.findall(r"`(schemas/[\w/.]+)`", PAGE):
        assert (ROOT / path).exists(), path
