"""Dead letters from the log and back: nothing is lost on the way, and what was mended becomes an episode."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from typing import Any

import confluent_kafka
import numpy as np
import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient
from typer.testing import CliRunner

from kinestream.deploy.cli import application
from kinestream.deploy.topics import ensure_topics
from kinestream.schemas.catalogue import FRAMES, FRAMES_DLQ, MAX_MESSAGE_BYTES, topic_name
from kinestream.streams.dead_letters.reading import Choice, DeadLetters
from kinestream.streams.dead_letters.replaying import Replayer
from tests.assembling import Take
from tests.contract.test_codec_registry import TinyRegistry
from tests.plugins.worker import Pipeline
from tests.reading import read_frames
from tests.sending import RawSender, encode


class Hub(TinyRegistry):
    """A registry that does not know the frames' schemas until somebody registers them."""

    registered = False

    def look_up(self, path: str, body: Any) -> Any:
        return None if body is None and not self.registered else super().look_up(path, body)


@pytest.fixture
def registry() -> Iterator[Hub]:
    with Hub() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def foreign(take: Take) -> list[bytes]:
    """The take's records under ids that only the registry gives."""
    messages = [encode(*value) for value in take.whole()]
    return [m[:1] + (int.from_bytes(m[1:5], "big") + 100).to_bytes(4, "big") + m[5:] for m in messages]


def letters(pipeline: Pipeline, **choice: Any) -> list[tuple[Any, bool]]:
    found, _ = DeadLetters(pipeline.settings, pipeline.broker.bootstrap).newest(Choice(**choice), 100_000)
    return found


def replayer(pipeline: Pipeline) -> Replayer:
    return Replayer(pipeline.settings, pipeline.broker.bootstrap)


def run(given: dict[str, str], *arguments: str) -> Any:
    return CliRunner().invoke(application(), arguments, env=given)


def status_of(pipeline: Pipeline, episode_id: str) -> str:
    rows = pipeline.query("SELECT status FROM episodes FINAL WHERE episode_id = {id:String}", id=episode_id)
    return str(rows[0][0]) if rows else ""


def test_what_was_mended_and_sent_back_becomes_the_episode(pipeline: Pipeline, registry: Hub) -> None:
    pipeline.extra = {"KINESTREAM_REGISTRY": registry.url}
    pipeline.start()
    take, sender = Take(), RawSender(pipeline.broker)
    sender.send_raw(messages := foreign(take))
    pipeline.wait_for(lambda: len(letters(pipeline)) == len(messages))

    first = replayer(pipeline).replay(Choice())
    assert (first.selected, first.sent, first.by_reason) == (32, 32, {"UNKNOWN_SCHEMA": 32})
    pipeline.wait_for(lambda: len(letters(pipeline)) == 64)
    again = [letter for letter, replayed in letters(pipeline) if not replayed]
    assert {letter.attempts for letter in again} == {2}
    assert sorted(letter.origin.offset for letter in again) == list(range(32)), "where they first failed is kept"
    assert replayer(pipeline).replay(Choice(ids=frozenset({letters(pipeline)[-1][0].id}))).already_replayed == 1

    registry.registered = True

    def mended() -> bool:  # for two seconds the worker believes that the schema is still unknown
        replayer(pipeline).replay(Choice())
        return status_of(pipeline, take.id) == "COMPLETE"

    pipeline.wait_for(mended)
    assert pipeline.query("SELECT content_hash, hash_verified, frames FROM episodes FINAL") == [
        (take.content_hash(), 1, take.frames)
    ]
    assert read_frames(pipeline, take.id)["position"].tobytes() == take.values["position"].tobytes()


def test_letters_of_a_wrong_partition_go_to_the_right_one_and_are_shown_on_the_way(kafka_pipeline: Pipeline) -> None:
    pipeline = kafka_pipeline
    pipeline.start()
    take, sender = Take(robot="arm-7"), RawSender(pipeline.broker)
    messages = [encode(*value) for value in take.whole()]
    right = murmur2_partition(b"arm-7", 8)
    sender.send_raw(messages, robot="arm-7", partition=(right + 1) % 8)
    sender.send_raw([b"garbage"], robot="arm-7")
    pipeline.wait_for(lambda: len(letters(pipeline)) == len(messages) + 1)
    given = pipeline.environment("none") | {"COLUMNS": "200"}

    listed = json.loads(run(given, "dlq", "list", "--json", "--reason", "wrong_partition").stdout)
    assert [(one["reason"], one["robot_id"], one["attempts"]) for one in listed] == [
        ("WRONG_PARTITION", "arm-7", 1)
    ] * 32
    start = next(one for one in listed if one["offset"] == 0)
    shown = json.loads(run(given, "dlq", "show", start["id"], "--json").stdout)
    assert shown["content"]["record"] == "EpisodeStart"
    assert shown["content"]["fields"]["episode_id"] == take.id
    assert base64.b64decode(shown["raw"]) == messages[0]
    assert "murmur2" in shown["advice"]
    for_people = run(given, "dlq", "show", start["id"]).stdout
    assert "00000000  00 00 00 00 01" in for_people

    arguments = ("--reason", "WRONG_PARTITION", "--robot", "arm-7", "--since", "1h")
    dry = json.loads(run(given, "dlq", "replay", *arguments, "--dry-run", "--json").stdout)
    assert (dry["sent"], dry["dry_run"]) == (32, True)
    done = run(given, "dlq", "replay", *arguments)
    assert done.stdout.startswith("sent 32 back: WRONG_PARTITION 32\n"), done.output
    pipeline.wait_for(lambda: status_of(pipeline, take.id) == "COMPLETE")
    assert pipeline.query("SELECT `partition`, hash_verified, duplicates FROM episodes FINAL") == [(right, 1, 0)]
    once_more = run(given, "dlq", "replay", *arguments).stdout
    assert once_more == "nothing to send back; 32 were sent back before (--again sends them too)\n"
    assert [one.reason for one, _ in letters(pipeline)].count("UNDECODABLE") == 1, "the garbage was left alone"


def murmur2_partition(key: bytes, count: int) -> int:
    from aiokafka.partitioner import murmur2

    return int((murmur2(key) & 0x7FFFFFFF) % count)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("list", "--reason", "ODD"), "--reason ODD: the reasons are UNDECODABLE,"),
        (("list", "--since", "soon"), "--since 'soon': give an age (90s, 15m, 2h, 7d)"),
        (("replay", "17"), "'17' is no letter's id: give PARTITION/OFFSET"),
        (("show", "0/99"), "no dead letter 0/99 in motion."),
    ],
)
def test_a_wrong_word_is_answered_with_the_right_ones(test_broker: Any, arguments: tuple[str, ...], said: str) -> None:
    given = {"KINESTREAM_KAFKA": test_broker.bootstrap, "KINESTREAM_TENANT": test_broker.tenant}
    done = run(given, "dlq", *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr


# -- sizes ---------------------------------------------------------------------


def test_the_largest_message_and_what_unpacks_to_more_are_kept_byte_for_byte(kafka_pipeline: Pipeline) -> None:
    pipeline = kafka_pipeline
    pipeline.start()
    noise = b"\1" + noise_of(MAX_MESSAGE_BYTES)
    largest = largest_accepted(pipeline, noise)
    packed = b"\1" + bytes(20 * MAX_MESSAGE_BYTES)
    produce(pipeline, packed, "zstd")
    found = pipeline.wait_for(lambda: two if len(two := letters(pipeline)) == 2 else None)
    by_reason = {letter.reason: letter for letter, _ in found}
    assert by_reason.keys() == {"UNDECODABLE", "OVERSIZE"}
    reader = DeadLetters(pipeline.settings, pipeline.broker.bootstrap)
    assert reader.one(by_reason["UNDECODABLE"].id)[1].value() == noise[:largest]
    assert reader.one(by_reason["OVERSIZE"].id)[1].value() == packed
    assert replayer(pipeline).replay(Choice(reasons=frozenset({"OVERSIZE"}))).sent == 1
    pipeline.wait_for(lambda: sorted(one.attempts for one, _ in letters(pipeline)) == [1, 1, 2])
    # A few kilobytes that unpack to more than the consumer takes: their bytes stay in the source topic.
    take, sender = Take(), RawSender(pipeline.broker)
    whole = take.whole()
    sender.send(*whole[:16])
    assert produce(pipeline, b"\1" + bytes(150 * MAX_MESSAGE_BYTES), "zstd")
    sender.send(*whole[16:])
    pipeline.wait_for(lambda: status_of(pipeline, take.id) == "COMPLETE")
    (bomb,) = pipeline.wait_for(lambda: [one for one, _ in letters(pipeline) if "unpacked: Decomp" in one.text])
    assert (bomb.reason, bomb.source.offset, bomb.key) == ("OVERSIZE", 19, None)
    assert bomb.id in replayer(pipeline).replay(Choice(ids=frozenset({bomb.id}))).refused


def noise_of(count: int) -> bytes:
    return np.random.default_rng(1).bytes(count)


def produce(pipeline: Pipeline, value: bytes, compression: str = "none") -> bool:
    """Whether the broker took it."""
    settings = {"bootstrap.servers": pipeline.broker.bootstrap, "message.max.bytes": 1_000_000_000}
    settings["partitioner"] = "murmur2_random"
    producer = confluent_kafka.Producer({**settings, "compression.type": compression})
    problems: list[Any] = []
    producer.produce(
        topic_name(FRAMES, pipeline.broker.tenant), value, b"r1", on_delivery=lambda p, _: problems.append(p)
    )
    assert producer.flush(20) == 0
    return all(problem is None for problem in problems)


def largest_accepted(pipeline: Pipeline, noise: bytes) -> int:
    """Bytes of the largest value that the topic of frames takes; it is sent once."""
    for size in range(MAX_MESSAGE_BYTES - 60, MAX_MESSAGE_BYTES - 110, -1):
        if produce(pipeline, noise[:size]):
            return size
    raise AssertionError("not even one with 110 bytes to spare")


# -- kills ---------------------------------------------------------------------


def delete_topic(pipeline: Pipeline) -> None:
    """Of dead letters: none can be delivered."""
    topic = topic_name(FRAMES_DLQ, pipeline.broker.tenant)
    admin = AdminClient({"bootstrap.servers": pipeline.broker.bootstrap})
    admin.delete_topics([topic])[topic].result(10)


def committed(pipeline: Pipeline, partition: int) -> int:
    """The group's offset; -1001 = none yet."""
    topic = topic_name(FRAMES, pipeline.broker.tenant)
    admin = AdminClient({"bootstrap.servers": pipeline.broker.bootstrap})
    asked = ConsumerGroupTopicPartitions(pipeline.group, [TopicPartition(topic, partition)])
    (answer,) = admin.list_consumer_group_offsets([asked]).values()
    return int(answer.result(10).topic_partitions[0].offset)


def test_the_watermark_waits_for_the_letter_and_a_kill_on_either_side_of_it_loses_none(
    kafka_pipeline: Pipeline,
) -> None:
    pipeline = kafka_pipeline
    delete_topic(pipeline)
    pipeline.start()
    take, sender = Take(), RawSender(pipeline.broker)
    right = murmur2_partition(b"r1", 8)
    sender.send(*take.whole())
    pipeline.wait_for(lambda: committed(pipeline, right) == 32)
    sender.send_raw([b"bad"])
    later = Take(no=2, seed=1)
    sender.send(*later.whole())
    pipeline.wait_for(lambda: "cannot deliver dead letters" in pipeline.log())
    assert committed(pipeline, right) == 32, "the letter's record is not passed before it is delivered"
    pipeline.kill()
    ensure_topics(pipeline.broker.bootstrap, pipeline.broker.tenant)
    pipeline.extra = {"KINESTREAM_COMMIT_INTERVAL_S": "3600"}
    pipeline.start()
    pipeline.wait_for(lambda: len(letters(pipeline)) == 1)
    pipeline.wait_for(lambda: status_of(pipeline, later.id) == "COMPLETE")
    pipeline.kill()
    pipeline.extra = {}
    pipeline.start()
    pipeline.wait_for(lambda: committed(pipeline, right) == 32 + 1 + 32)
    ((letter, _),) = letters(pipeline)
    assert (letter.reason, letter.source.offset, letter.attempts) == ("UNDECODABLE", 32, 1)


# -- a flood -------------------------------------------------------------------


def test_a_good_take_in_a_flood_of_bad_messages_is_complete_and_every_bad_one_is_kept(
    kafka_pipeline: Pipeline,
) -> None:
    pipeline = kafka_pipeline
    pipeline.start()
    take, sender = Take(), RawSender(pipeline.broker)
    messages = [encode(*value) for value in take.whole()]
    for n, message in enumerate(messages):
        sender.send_raw([message, *(b"%d-%d" % (n, k) for k in range(600))])
    pipeline.wait_for(lambda: status_of(pipeline, take.id) == "COMPLETE", 60)
    pipeline.wait_for(lambda: len(letters(pipeline)) == 600 * len(messages), 60)
    assert pipeline.query("SELECT hash_verified, late, revision FROM episodes FINAL") == [(1, 0, 1)]
