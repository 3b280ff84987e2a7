"""Topics: what they are called, what lies in them, how they are made."""

from __future__ import annotations

import re

import pytest

from kinestream.schemas.catalogue import (
    CATALOGUE,
    EPISODES,
    FRAMES,
    FRAMES_BULK,
    FRAMES_DLQ,
    MAX_MESSAGE_BYTES,
    Topic,
    subject_name,
    topic_name,
)
from kinestream.schemas.errors import ContractError
from kinestream.schemas.settings import Settings


def test_a_topic_is_named_after_its_tenant_entity_and_major_version() -> None:
    assert [topic_name(topic, "hub") for topic in CATALOGUE] == [
        "motion.hub.frames.v1",
        "motion.hub.frames-bulk.v1",
        "motion.hub.findings.v1",
        "motion.hub.episodes.v1",
        "motion.hub.robots.v1",
        "motion.hub.commands.v1",
        "motion.hub.receipts.v1",
        "motion.hub.frames-dlq.v1",
    ]


@pytest.mark.parametrize("tenant", ["a", "acme", "acme-robotics-2", "x" * 63])
def test_one_prefix_holds_all_topics_of_a_tenant_and_no_others(tenant: str) -> None:
    for topic in CATALOGUE:
        name = topic_name(topic, tenant)
        assert name.startswith(f"motion.{tenant}.")
        assert re.fullmatch(r"[a-zA-Z0-9._-]{1,249}", name)
        assert not topic_name(topic, "other").startswith(f"motion.{tenant}.")


@pytest.mark.parametrize(
    "tenant", ["", "Acme", "1st", "-a", "a.b", "a_b", "a b", "a\n", "機", "x" * 64, "a*", "../a", "hub\0"]
)
def test_a_tenant_that_would_leave_its_prefix_is_refused(tenant: str) -> None:
    with pytest.raises(ContractError, match=re.escape(f"tenant {tenant!r}: a tenant is 1-63 of a-z, 0-9 and -")):
        topic_name(FRAMES, tenant)


@pytest.mark.parametrize("topic", CATALOGUE, ids=lambda topic: topic.entity)
def test_every_topic_has_broker_time_and_ends_by_time_and_bytes(topic: Topic) -> None:
    config = topic.config()
    assert config["message.timestamp.type"] == "LogAppendTime"
    assert int(config["max.message.bytes"]) == topic.max_message_bytes >= MAX_MESSAGE_BYTES
    assert int(config["retention.ms"]) == topic.retention_ms > 0
    assert 0 < int(config["retention.bytes"]) * topic.partitions <= topic.retention_bytes
    assert all(isinstance(value, str) for value in config.values())


def test_descriptions_of_robots_are_kept_for_ever_and_nothing_else_is() -> None:
    policies = {topic.entity: topic.config()["cleanup.policy"] for topic in CATALOGUE}
    assert [entity for entity, policy in policies.items() if policy != "delete"] == ["robots"]
    assert policies["robots"] == "compact"


def test_a_chunk_of_the_largest_size_fits_into_a_message() -> None:
    assert 2 * Settings().chunk_bytes < MAX_MESSAGE_BYTES


def test_both_lanes_carry_the_same_records_under_the_same_key() -> None:
    assert (FRAMES.records, FRAMES.key) == (FRAMES_BULK.records, FRAMES_BULK.key)
    assert (EPISODES.records, EPISODES.key) == (("EpisodeCompleted", "EpisodeWithdrawn"), "episode_id")


def test_all_keyed_topics_have_as_many_partitions_so_that_keys_fall_alike() -> None:
    assert {topic.partitions for topic in CATALOGUE} == {8}


def test_a_dead_letter_holds_the_largest_message_and_what_is_said_of_it() -> None:
    assert FRAMES_DLQ.max_message_bytes >= 8 * FRAMES.max_message_bytes


def test_dead_letters_are_kept_longer_than_what_they_come_from() -> None:
    assert FRAMES_DLQ.retention_ms > FRAMES.retention_ms
    assert FRAMES_DLQ.records == ()


def test_a_subject_names_topic_and_record_so_that_a_topic_may_hold_many() -> None:
    subjects = {subject_name("motion.hub.frames.v1", record) for record in FRAMES.records}
    assert len(subjects) == len(FRAMES.records)
    assert "motion.hub.frames.v1-io.kinestream.motion.FrameChunk" in subjects
