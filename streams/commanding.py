"""Carries people's commands to the assemblers of the episodes' partitions; must never pass one that is not durable.

A worker reads the partitions of ``commands`` of the same numbers as its frames partitions: keys are robots in both.
What is on record as read is only what is durable, so that whoever owns the partition next reads the rest again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Sequence
from typing import Any, Final

from kinestream.schemas.catalogue import COMMANDS, FRAMES, FRAMES_BULK, topic_name
from kinestream.schemas.codec import Codec
from kinestream.schemas.errors import BrokerError
from kinestream.schemas.registry import Registry
from kinestream.schemas.settings import Settings
from kinestream.streams.assembly.values import INCONSISTENT, DeadLetter, LogRecord, Place
from kinestream.streams.assigned import Assigned
from kinestream.streams.command_log import CommandLog
from kinestream.streams.dead_letters.sending import Bag
from kinestream.streams.decoding import Decoder
from kinestream.streams.worker import Worker

log = logging.getLogger("kinestream.worker")

#: Seconds a partition that was just taken over, or a command that has to wait, is looked at again, at most.
_TURN_S: Final = 0.5


class Commander:
    """The commands of one lane: episodes of frames topic ``lane``, in the partitions of it that ``worker`` owns."""

    def __init__(self, settings: Settings, bootstrap: str, registry: Registry, worker: Worker, lane: str) -> None:
        self._settings, self._worker, self._lane = settings, worker, lane
        #: every lane there is; the first one's owner refuses what names none of them
        self._lanes = tuple(topic_name(topic, settings.tenant) for topic in (FRAMES, FRAMES_BULK))
        self._codec = Codec(registry, topic_name(COMMANDS, settings.tenant))
        topic = topic_name(COMMANDS, settings.tenant)
        self._log = CommandLog(settings.kafka_client(bootstrap), f"{settings.group}-commands-{lane}", topic)
        self._decoder = Decoder(self._codec, worker.partitions[lane])
        self._held: dict[int, _Held] = {}
        self._committed_s = 0.0

    async def run(self) -> None:
        """For ever."""
        while True:
            await self._follow()
            if not self._held:
                await asyncio.sleep(_TURN_S)
                continue
            messages = await asyncio.to_thread(self._log.read, _TURN_S)
            for partition, held in self._held.items():
                fresh = [one for one in messages.get(partition, ()) if one.offset() >= held.position]
                if fresh or held.one.assembler.requeued_commands:
                    await self._give(held, fresh)
            if time.monotonic() - self._committed_s >= self._settings.commit_interval_s:
                self._committed_s = time.monotonic()
                await self._commit()

    async def _follow(self) -> None:
        """Read what is ours and loaded: a command for a partition that is loading waits in the log."""
        ours = {
            one.place.partition: one
            for one in self._worker.assigned.values()
            if one.place.topic == self._lane and one.ready.is_set() and not one.ownership.lost
        }
        if ours != {partition: held.one for partition, held in self._held.items()}:
            kept = {p: held for p, held in self._held.items() if ours.get(p) is held.one}
            self._held = {partition: kept.get(partition) or _Held(one) for partition, one in ours.items()}
            await asyncio.to_thread(self._log.assign, {p: held.position for p, held in self._held.items()})

    async def _give(self, held: _Held, messages: Sequence[Any]) -> None:
        one, retry = held.one, self._worker.retry
        partition = one.place.partition
        records = await retry.call("ask the registry", self._decoder.decode, partition, messages)
        mine, refused = chosen(records, self._lane, self._lanes)
        refused += await self._worker.obey(one, mine)
        if one.ownership.lost:
            return
        place = Place(one.place.cluster_id, self._log.topic, partition)
        for letter in refused:
            log.warning("%s-%d offset %d: command refused: %s", place.topic, partition, letter.offset, letter.text)
        if refused:
            bag = Bag([(place, letter) for letter in refused])
            await retry.call("deliver dead letters", self._worker.announcer.letters.deliver, bag)
        if mine:
            held.obeyed = mine[-1].offset + 1
        if messages:
            held.position = messages[-1].offset() + 1

    async def _commit(self) -> None:
        marks = {partition: held.mark() for partition, held in self._held.items()}
        risen = {p: mark for p, mark in marks.items() if mark > self._log.committed.get(p, -1) and self._owns(p)}
        if risen:
            await asyncio.to_thread(self._log.commit, risen)

    def _owns(self, partition: int) -> bool:
        try:
            return self._held[partition].one.ownership.holds()
        except BrokerError:  # nobody knows now: with the next turn
            return False


class _Held:
    """A partition of commands that is read."""

    def __init__(self, one: Assigned) -> None:
        self.one = one
        #: next offset to read; -1 = where the record of it says
        self.position = -1
        #: behind the last command that was given to the assembler
        self.obeyed = -1

    def mark(self) -> int:
        """Offset up to which everything is durable; -1 = not known."""
        waiting = self.one.assembler.command_watermark()
        return waiting if 0 <= waiting < self.obeyed else self.position


def chosen(
    records: Iterable[LogRecord | DeadLetter], lane: str, lanes: Sequence[str]
) -> tuple[list[LogRecord], list[DeadLetter]]:
    """Commands for episodes of ``lane``, and what nobody can carry out: that is refused for the first of ``lanes``."""
    mine: list[LogRecord] = []
    refused: list[DeadLetter] = []
    for record in records:
        if isinstance(record, DeadLetter):
            refused.append(record)
        elif record.record != "EpisodeCommand":
            refused.append(DeadLetter.of(record, INCONSISTENT, f"a {record.record} among commands"))
        elif record.value["lane"] == lane:
            mine.append(record)
        elif record.value["lane"] not in lanes:
            said = f"lane {record.value['lane'][:200]!r}: episodes lie in {' or '.join(lanes)}"
            refused.append(DeadLetter.of(record, INCONSISTENT, said))
    return mine, refused if lane == lanes[0] else []
