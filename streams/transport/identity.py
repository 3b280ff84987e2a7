"""Static member ids are unique among living processes: shown and checked through the offsets the group commits.

A member that joins with an id somebody else lives under fences that one; where both have supervisors they would throw
each other out for ever. The broker does not say whether a member lives. So every commit carries, as its metadata, who
made it and a number that rises a few times a second: a newcomer that sees a number of its own id rise is refused,
before it joins. After kill -9 nothing rises, and the newcomer may join a little more than a second later; at once where
the process that made the marks was on this machine and is there no more.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
import uuid
from pathlib import Path
from typing import Final

import xxhash
from confluent_kafka import Consumer, KafkaException, TopicPartition

from kinestream.schemas.errors import BrokerError, SettingError
from kinestream.streams.transport.joining import Joining

#: Seconds for which marks are watched: a living member moves its own at least four times in it.
WATCH_S: Final = 1.5


class Identity:
    """The mark of a process on its commits, and the claim to its id."""

    def __init__(self, joining: Joining) -> None:
        self._joining = joining
        self._life = f"{os.getpid()}-{uuid.uuid4().hex[:8]}-{_whose_pids()}"
        self._beats = itertools.count()

    def mark(self) -> str:
        """Metadata of the next commit; empty for a dynamic member."""
        if self._joining.instance_id is None:
            return ""
        return f"{self._joining.instance_id}/{self._life}/{next(self._beats)}"

    def claim(
        self, client: Consumer, partitions: list[TopicPartition], stopping: threading.Event, watch_s: float = WATCH_S
    ) -> None:
        """Returns once the id is ours to use; raises :class:`SettingError` if a living process has it."""
        if self._joining.instance_id is None:
            return
        before = self._marks(client, partitions)
        if all(_is_over(mark) for mark in before.values()):
            return
        deadline = time.monotonic() + watch_s
        while before and time.monotonic() < deadline and not stopping.wait(self._joining.confirm_s / 2):
            for place, mark in self._marks(client, partitions).items():
                # Our own may rise too: a commit that was under way when a broker died comes through at its return.
                if before.get(place) != mark and f"/{self._life}/" not in mark:
                    raise SettingError(
                        f"a living process (pid {mark.split('/')[-2].split('-')[0]} on its machine) is already member"
                        f" {self._joining.instance_id!r} of group {self._joining.group!r}: give every worker a"
                        " KINESTREAM_INSTANCE_ID of its own, or stop that one"
                    )

    def _marks(self, client: Consumer, partitions: list[TopicPartition]) -> dict[tuple[str, int], str]:
        asked = [TopicPartition(one.topic, one.partition) for one in partitions]
        found = client.committed(asked, timeout=10)
        mine = f"{self._joining.instance_id}/"
        return {
            (one.topic, one.partition): one.metadata
            for one in found
            if one.metadata and one.metadata.startswith(mine) and one.metadata.count("/") == mine.count("/") + 1
        }


def _whose_pids() -> str:
    """Names where a process id means one process: this start of this machine, and its namespace; empty = not known."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return xxhash.xxh3_64_hexdigest(f"{boot} {os.readlink('/proc/self/ns/pid')}".encode())
    except OSError:
        return ""


def _is_over(mark: str) -> bool:
    """The process that made it was here, and is no more. One that is stopped, or not yet reaped, still is."""
    life = mark.split("/")[-2].split("-")
    if len(life) != len(("pid", "uuid", "whose")) or not life[2] or life[2] != _whose_pids():
        return False
    try:
        os.kill(int(life[0]), 0)
    except ProcessLookupError:
        return True
    except OSError:  # somebody else's
        pass
    return False


def known_partitions(client: Consumer, topics: set[str]) -> list[TopicPartition]:
    """All partitions of ``topics``; :class:`SettingError` if one is not there, :class:`BrokerError` without answer."""
    try:
        found = {topic: client.list_topics(topic, timeout=10).topics[topic] for topic in topics}
    except KafkaException as problem:
        raise BrokerError(f"no broker answers: {problem.args[0].str()}") from problem
    if missing := sorted(topic for topic, one in found.items() if not one.partitions):
        raise SettingError(
            f"topics {', '.join(missing)} are not there: `kinestream up` makes them; or is KINESTREAM_TENANT another?"
        )
    return [TopicPartition(topic, number) for topic, one in found.items() for number in one.partitions]
