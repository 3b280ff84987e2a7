"""A registry that does not answer holds up the partition that needs it, and no other."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from aiokafka.partitioner import murmur2

from kinestream.schemas.catalogue import FRAMES_DLQ
from tests.assembling import Take
from tests.contract.test_codec_registry import TinyRegistry
from tests.plugins.worker import Pipeline
from tests.reading import read_topic
from tests.sending import RawSender, encode

#: An id of which the registry says nothing until it is told to.
UNHEARD_OF = 777


class Silent(TinyRegistry):
    """Knows our schemas, and does not answer at all to one question."""

    def __init__(self) -> None:
        super().__init__()
        self.speaks = threading.Event()

    def look_up(self, path: str, body: Any) -> Any:
        if path.endswith(f"/{UNHEARD_OF}"):
            self.speaks.wait(120)
        return super().look_up(path, body)

    def handle_error(self, *_: Any) -> None:
        """Whoever asked has given up meanwhile, as it should."""


@pytest.fixture
def registry() -> Iterator[Silent]:
    with Silent() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.speaks.set()
        server.shutdown()
        thread.join()


def foreign(message: bytes, schema_id: int = 0) -> bytes:
    """The message under the id that this registry gives, or another."""
    wanted = schema_id or int.from_bytes(message[1:5], "big") + 100
    return message[:1] + wanted.to_bytes(4, "big") + message[5:]


def two_robots() -> tuple[str, str]:
    """On different partitions, of four and of eight."""
    place = lambda robot: (murmur2(robot.encode()) & 0x7FFFFFFF) % 4  # noqa: E731
    return "r1", next(f"r{n}" for n in range(2, 50) if place(f"r{n}") != place("r1"))


def test_others_go_on_while_one_partition_waits_and_it_goes_on_when_the_answer_comes(
    pipeline: Pipeline, registry: Silent
) -> None:
    pipeline.extra = {"KINESTREAM_REGISTRY": registry.url}
    pipeline.start()
    well, stuck = two_robots()
    sender = RawSender(pipeline.broker)

    def play(take: Take) -> None:
        for value in take.whole():  # one at a time: as many fetches as there are records
            sender.send_raw([foreign(encode(*value))], robot=take.robot)

    def completed() -> set[str]:
        return {row[0] for row in pipeline.query("SELECT episode_id FROM episodes FINAL WHERE status = 'COMPLETE'")}

    first, second, held = (
        Take(no=1, robot=well),
        Take(no=2, seed=1, robot=well),
        Take(no=3, seed=2, robot=stuck),
    )
    play(first)  # from now on the worker knows the schemas
    pipeline.wait_for(lambda: first.id in completed())
    sender.send_raw([foreign(encode(*held.start()), UNHEARD_OF)], robot=stuck)
    pipeline.wait_for(lambda: f"GET /schemas/ids/{UNHEARD_OF}" in registry.asked)
    play(held)
    play(second)
    pipeline.wait_for(lambda: second.id in completed())
    assert held.id not in completed(), "its partition waits for the registry"
    registry.speaks.set()
    pipeline.wait_for(lambda: held.id in completed())
    assert [one.headers["reason"] for one in read_topic(pipeline, FRAMES_DLQ)] == ["UNKNOWN_SCHEMA"]
    rows = pipeline.query("SELECT episode_id, revision, frames FROM episodes FINAL")
    assert {row[0]: row[1:] for row in rows} == {one.id: (1, one.frames) for one in (first, second, held)}
