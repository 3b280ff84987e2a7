"""What no worker has read and retention would take is told in time: by the doctor, and by a worker that runs."""

from __future__ import annotations

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from kinestream.deploy.doctor.finding import FAIL, OK, WARN, Finding
from kinestream.deploy.doctor.unread import unread
from kinestream.deploy.topics import bound_topics
from kinestream.schemas.catalogue import FRAMES
from tests.assembling import Take
from tests.behaviour.test_health_pages import ask
from tests.plugins.worker import Pipeline
from tests.sending import RawSender, encode


def look(pipeline: Pipeline) -> Finding:
    (found,) = unread(pipeline.broker.bootstrap, pipeline.settings)
    return found


@pytest.fixture
def keep(kafka_pipeline: Pipeline) -> Pipeline:
    """Of every frames partition 100 kB at least."""
    broker = kafka_pipeline.broker
    bound_topics(broker.bootstrap, broker.tenant, {FRAMES: {"retention.bytes": "100000"}})
    return kafka_pipeline


def test_the_doctor_sees_what_nobody_reads_and_a_worker_that_reads_it_ends_the_alarm(keep: Pipeline) -> None:
    take, sender = Take(), RawSender(keep.broker)
    messages = [encode(*value) for value in take.whole()]
    size = len(messages[1])

    def send(count: int) -> None:
        sender.send_raw([messages[k % 20 + 1] for k in range(count)])

    assert look(keep).level == OK
    sender.send_raw(messages[:1])
    send(50_000 // size)
    assert look(keep).level == OK
    send(30_000 // size)
    assert look(keep).level == WARN
    send(15_000 // size)
    found = look(keep)
    assert (found.level, "left before unread messages are deleted" in found.detail) == (FAIL, True)
    keep.start()
    sender.send_raw(messages[-1:])
    keep.wait_for(lambda: look(keep).level == OK)
    name = "kinestream_unread_until_retention_seconds{"
    lines = keep.wait_for(lambda: [one for one in ask(keep, "/metrics")[1].splitlines() if one.startswith(name)])
    assert len(lines) == 16
    keep.wait_for(lambda: all(line.endswith(" +Inf") for line in ask(keep, "/metrics")[1].splitlines() if name in line))


def test_what_was_deleted_unread_is_a_failure(keep: Pipeline) -> None:
    sender = RawSender(keep.broker)
    sender.send_raw([b"x"] * 10, partition=3)
    keep.start()
    keep.wait_for(lambda: look(keep).detail.startswith("0 messages"))
    keep.stop()
    sender.send_raw([b"x"] * 10, partition=3)
    part = TopicPartition(sender.topic, 3, 14)
    admin = AdminClient({"bootstrap.servers": keep.broker.bootstrap})
    for future in admin.delete_records([part]).values():
        future.result(10)
    assert look(keep).level == FAIL
    assert look(keep).detail == "retention has deleted 4 messages before they were read"
