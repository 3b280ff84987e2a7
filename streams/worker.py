"""The worker: owns the assigned partitions' assemblers, makes their effects durable in order, and commits behind them.

Order of a flush: dead letters, journal, blocks, findings and robots; then, for episodes that close, journal CLOSED and
episode rows; events. A crash anywhere repeats from the watermark or the journal.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from kinestream.schemas.catalogue import FRAMES, topic_name
from kinestream.schemas.codec import Codec
from kinestream.schemas.registry import Registry
from kinestream.schemas.rulebook import read_overlays
from kinestream.schemas.settings import Settings
from kinestream.streams.announce import Announcer
from kinestream.streams.assembly.partition import Due, PartitionAssembler
from kinestream.streams.assembly.values import RESCORE, DeadLetter, Deadlines, LogRecord, Place
from kinestream.streams.assigned import Assigned, Membership, Ownership
from kinestream.streams.decoding import Decoder
from kinestream.streams.flushing import Flush, Word, weight
from kinestream.streams.judging import JUDGES
from kinestream.streams.lookups import Lookups
from kinestream.streams.model_log import ModelLog
from kinestream.streams.recovery import Recovery
from kinestream.streams.retrying import Retry
from kinestream.streams.store.statistics import StatisticsStore
from kinestream.streams.store.store import Store
from kinestream.streams.task_statistics import TaskBook
from kinestream.streams.transport.fetch import Fetch

log = logging.getLogger("kinestream.worker")
Key = tuple[str, int]

#: Messages behind the end of the log at which findings are still raised at once; further back it is history.
CAUGHT_UP = 200
#: Seconds between two inserts of what robots say of themselves.
ROBOTS_S = 1.0
#: Blocks that the episodes closing in one flush may have to read back: a quarter of a second of judging.
CLOSING_BLOCKS = 512


class Worker:
    """Joins a log, a store and an announcer; knows Faust only through ``commit`` and ``caught_up_since``."""

    # Over fifty lines: what a worker holds stands in one place, each part with its meaning.
    def __init__(
        self,
        settings: Settings,
        store: Store,
        announcer: Announcer,
        registry: Registry,
        *,
        cluster_id: str,
        partitions: Mapping[str, int],
        commit: Callable[[Mapping[Key, int]], Awaitable[bool]],
        model_log: ModelLog,
        caught_up_since: Callable[[Key, int], float],
        membership: Callable[[], Membership],
        guarded: Callable[[str, Callable[[], Coroutine[Any, Any, None]]], Coroutine[Any, Any, Any]],
        hold_back: Callable[[Key, bool], None] | None = None,
    ) -> None:
        self.settings = settings
        self.store = store
        self.announcer = announcer
        self.cluster_id = cluster_id
        #: number of partitions by topic
        self.partitions = partitions
        self.assigned: dict[Key, Assigned] = {}
        self._codecs = {topic: Codec(registry, topic) for topic in partitions}
        self._decoders = {topic: Decoder(self._codecs[topic], n) for topic, n in partitions.items()}
        overlays = read_overlays(settings.rules) if settings.rules else ""
        self._commit = commit
        self._model_log = model_log
        self._learning = asyncio.Lock()
        self._caught_up_since = caught_up_since
        self._membership = membership
        self._guarded = guarded
        #: told which partitions take nothing now; without it one that waits makes all wait
        self._hold_back = hold_back
        self.retry = Retry()
        self._lookups = Lookups(store, self.retry)
        self._tasks = TaskBook(settings, StatisticsStore(store), self.retry)
        self._judge_for = partial(
            JUDGES[settings.metrics], models=model_log.models, overlays=overlays, statistics=self._tasks.find
        )
        self._recovery = Recovery(store, announcer, self.retry, self._tasks)
        self._wake = asyncio.Event()
        self._drained = asyncio.Condition()
        self._flushing = asyncio.Lock()
        #: episodes that close, their rows durable
        self._closing: list[tuple[Assigned, str]] = []
        #: the last fetch was far from the end of its log: rows are worth waiting for
        self._behind = False
        #: monotonic time at which the last flush began that had something to write
        self._last_write_s = 0.0
        #: monotonic time at which the last flush that came through was done
        self.flushed_s = time.monotonic()
        self._last_commit_s = 0.0
        #: robots' statuses since they were last stored, by tenant and robot, and when that was
        self._words: dict[tuple[str, str], tuple[Assigned, Word]] = {}
        self._told_s = 0.0
        self.frames = 0
        #: generation of the group under which partitions were last assigned; -1 = none yet
        self.generation = -1
        self._turn = asyncio.Condition()
        #: told how long each flush took, seconds
        self.flush_took: Callable[[float], None] = lambda seconds: None

    # -- assignment -----------------------------------------------------------

    async def take_over(self, keys: Iterable[Key], generation: int) -> None:
        """Partitions are ours: load what is in flight and repeat what may not have been announced."""
        fresh = [self._assign(key, generation) for key in keys]
        self.generation = generation
        async with self._turn:
            self._turn.notify_all()
        for one in fresh:
            one.task = asyncio.create_task(self._guarded("assembling", partial(self._own, one)))

    async def _own(self, one: Assigned) -> None:
        """A partition's life with us: cancelled when it is given up, wherever it is."""
        await self._load(one)
        one.ready.set()
        await self._work(one)

    def _assign(self, key: Key, generation: int) -> Assigned:
        place = Place(self.cluster_id, *key)
        live = place.topic == topic_name(FRAMES, self.settings.tenant)
        assembler = PartitionAssembler(place, Deadlines.of(self.settings), self._judge_for, live_lane=live)
        ownership = Ownership(generation, self._membership, self.settings.session_s)
        hold_back = partial(self._hold_back, key) if self._hold_back else None
        one = Assigned(place, assembler, self._decoders[key[0]], ownership, self.announcer.outlet(place), hold_back)
        self.assigned[key] = one
        return one

    async def give_up(self, keys: Iterable[Key]) -> None:
        """Partitions are no longer ours: forget them; whoever has them next reads the journal."""
        for key in keys:
            one = self.assigned.pop(key, None)
            if one is not None:
                one.ownership.lost = True
                for task in (one.task, one.catching_up):
                    if task is not None:
                        task.cancel()
                one.fetches.close()  # else a fetch that waits for its turn would hold up all partitions
        async with self._drained:
            self._drained.notify_all()

    async def learn_models(self, *, all_of_them: bool = False) -> None:
        """Take descriptions of robots that were registered: takes that begin from now on are judged by them."""
        async with self._learning:
            read = self._model_log.read if all_of_them else self._model_log.follow
            await self.retry.call("read the registered robots", read)

    async def _load(self, one: Assigned) -> None:
        await self.learn_models(all_of_them=True)  # what is in flight may be judged by one that is seconds old
        await self._recovery.load(one, self._codecs[one.place.topic], self._flush())
        one.catching_up = asyncio.create_task(self._guarded("catching up", partial(self._recovery.catch_up, one)))

    def _flush(self) -> Flush:
        return Flush(self.store, self.announcer, self.retry)

    # -- fetches ----------------------------------------------------------------

    async def handle(self, fetch: Fetch) -> None:
        """Take one fetch; returns when its partition may be given the next. Blocks while too much is in flight."""
        async with self._turn:  # the first fetch may come before Faust has told us of the assignment
            await self._turn.wait_for(lambda: self.generation >= fetch.generation)
        one = self.assigned.get((fetch.tp.topic, fetch.tp.partition))
        if one is None or one.generation != fetch.generation:
            return  # fetched under an earlier assignment: its owner reads it again
        await one.fetches.offer(fetch)
        await self._until_drained()

    async def _work(self, one: Assigned) -> None:
        """One partition's fetches, in order: while one waits for the store's answer, other partitions go on."""
        while True:
            fetch = await one.fetches.take()
            records = await self._decode(one, fetch)
            live = fetch.high_watermark - fetch.end < CAUGHT_UP
            async with one.lock:
                await self._feed(one, records, live=live)
                if one.next_offset == 0:  # a command before it holds the watermark at 0: no reason to read all again
                    one.committed = max(one.committed, fetch.records[0].offset() if fetch.records else -1)
                one.next_offset = max(one.next_offset, fetch.end)
                one.heard_s = time.monotonic()
            self._behind = not live
            if live and one.assembler.closes():
                self._wake.set()

    async def _decode(self, one: Assigned, fetch: Fetch) -> list[LogRecord | DeadLetter]:
        """Decode; where that asks the registry, in a thread: it may take seconds, and other partitions go on.

        A registry that is away is a pause, never a dead letter.
        """
        if one.decoder.asks(fetch.records):
            return await self.retry.call("ask the registry", one.decoder.decode, fetch.tp.partition, fetch.records)
        return one.decoder.decode(fetch.tp.partition, fetch.records)

    async def _feed(self, one: Assigned, records: list[LogRecord | DeadLetter], *, live: bool) -> None:
        assembler = one.assembler
        records = [*assembler.requeued, *records]
        readable = [record for record in records if isinstance(record, LogRecord)]
        await self._look_up(one, readable)
        for episode_id, blocks in assembler.freed_blocks(readable).items():
            episode = assembler.episodes[episode_id]
            await self._reload(one, episode_id, episode.stored_day, episode.robot_id, blocks)
        before = assembler.counts["frames"]
        assembler.process(records, live=live)
        one.weigh()
        self.frames += assembler.counts["frames"] - before

    async def obey(self, one: Assigned, commands: Sequence[LogRecord]) -> list[DeadLetter]:
        """Have commands carried out, after those that had to wait; gives those that cannot be."""
        if any(record.record == "EpisodeCommand" and record.value["kind"] == RESCORE for record in commands):
            await self.learn_models(all_of_them=True)  # its sender may know what was registered just now
        async with one.lock:
            commands = [*one.assembler.requeued_commands, *commands]
            await self._look_up(one, commands)
            refused = one.assembler.obey(commands)
        if one.assembler.closes():
            self._wake.set()
        return refused

    async def _look_up(self, one: Assigned, records: Sequence[LogRecord]) -> None:
        """Bring what these records need of the store. Under the partition's lock: the answers are for these alone."""
        assembler = one.assembler
        await self._tasks.prepare(records)
        if unknown := assembler.unknown(records):
            found = await self._lookups.closed(unknown, self._codecs[one.place.topic])
            await self._tasks.prepare(loaded=found)
            wanted = assembler.learn(found, records)
            keys = [(k.stored_day, k.start.value["robot_id"], k.episode_id) for k in found if k.episode_id in wanted]
            # Full blocks come without their values: a close that needs them reads them, many episodes at once.
            rows = await self.retry.call("read blocks", self.store.outlines, keys) if keys else []
            for _, _, episode_id in keys:
                assembler.reload(episode_id, [row for row in rows if row.episode_id == episode_id])

    async def _reload(self, one: Assigned, episode_id: str, day: int, robot_id: str, only: Iterable[int]) -> None:
        rows = await self.retry.call("read blocks", self.store.blocks, [(day, robot_id, episode_id)], only)
        one.assembler.reload(episode_id, rows)

    async def _until_drained(self) -> None:
        """Hold the fetch back while more bytes wait for the store than allowed; membership is kept meanwhile."""
        if self.inflight_bytes() < self.settings.inflight_bytes:
            return
        self._wake.set()
        async with self._drained:
            await self._drained.wait_for(lambda: self.inflight_bytes() < self.settings.inflight_bytes)

    def inflight_bytes(self) -> int:
        """Bytes of frames in memory that are not yet in the store, and of open blocks."""
        return sum(one.inflight_bytes for one in self.assigned.values())

    # -- flushes ------------------------------------------------------------------

    async def run(self) -> None:
        """Flush when an episode closes or too much waits, else by the clock; two that write are an interval apart."""
        least, longest = self.settings.flush_interval_s, self.settings.catch_up_flush_s
        if self.settings.lane == "bulk":
            least = max(least, self.settings.bulk_flush_s)
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), longest if self._behind else least)
            self._wake.clear()
            await asyncio.sleep(max(0.0, self._last_write_s + least - time.monotonic()))
            begun_s = time.monotonic()
            if await self.flush():
                self._last_write_s = begun_s
            self.flushed_s = time.monotonic()
            self.flush_took(self.flushed_s - begun_s)
            if time.monotonic() - self._last_commit_s >= self.settings.commit_interval_s:
                self._last_commit_s = time.monotonic()
                await self.commit()

    async def flush(self) -> bool:
        """Make everything that is due durable, then close what closes; returns whether there was anything."""
        async with self._flushing:
            ours = [one for one in self.assigned.values() if one.ready.is_set()]
            for one in ours:
                self._pass_idle_time(one)
            flush = self._flush()
            # Under pressure partial blocks go too: no time passes for a log that is held back, so none would age.
            pressed = self.inflight_bytes() >= self.settings.inflight_bytes
            taken = [(one, one.assembler.take(everything=pressed)) for one in ours]
            flush.words = self._words_due(taken)
            busy = bool(self._closing or flush.words or any(due.writes for _, due in taken))
            await flush.durable(taken)
            due_now = dict.fromkeys([*self._closing, *((one, i) for one, due in taken for i in due.closing)])
            self._closing = list(due_now)
            await flush.close(self._next_closing())
            self._tasks.closed(flush.tasks)
            for one in ours:
                if one.assembler.requeued and not one.ownership.lost:
                    async with one.lock:
                        await self._feed(one, [], live=False)
                one.weigh()
        async with self._drained:
            self._drained.notify_all()
        return busy

    def _words_due(self, taken: Iterable[tuple[Assigned, Due]]) -> list[tuple[Assigned, Word]]:
        """Each robot's newest status, now and then: stored with every flush they were a fifth of its inserts."""
        for one, due in taken:
            self._words |= {(status["tenant"], status["robot_id"]): (one, (ms, status)) for ms, status in due.robots}
        if time.monotonic() < self._told_s + ROBOTS_S:
            return []
        self._told_s, words, self._words = time.monotonic(), list(self._words.values()), {}
        return words

    def _next_closing(self) -> list[tuple[Assigned, str]]:
        """What is closed in this round: after a restart many may need all their blocks, and no event waits for all."""
        room, now, later = CLOSING_BLOCKS, list[tuple[Assigned, str]](), list[tuple[Assigned, str]]()
        for one, episode_id in self._closing:
            if one.ownership.lost or episode_id not in one.assembler.episodes:
                continue
            blocks = weight(one, episode_id)
            fits = blocks == 0 or room > 0
            (now if fits else later).append((one, episode_id))
            room -= blocks if fits else 0
        self._closing = later
        if later:
            self._wake.set()
        return now

    def _pass_idle_time(self, one: Assigned) -> None:
        """Nothing newer came: the clock since the newest record counts, up to the broker's last word that it is so."""
        assembler = one.assembler
        idle_s = self._caught_up_since((one.place.topic, one.place.partition), one.next_offset) - one.heard_s
        if assembler.time_ms < 0 or idle_s <= 0 or one.lock.locked():
            return
        now = int(assembler.time_ms + (idle_s * 1000))
        if assembler.next_deadline() <= now or assembler.has_aged_blocks(now):
            assembler.pass_time(now)
            one.heard_s += idle_s

    async def commit(self) -> None:
        """Commit each partition's watermark where it rose: never before what was read first."""
        offsets: dict[Key, int] = {}
        for key, one in self.assigned.items():
            mark = one.assembler.watermark()
            if mark > one.committed and one.next_offset > 0 and one.ready.is_set():
                offsets[key] = mark
        if offsets and await self._commit(offsets):
            for key, mark in offsets.items():
                if key in self.assigned:
                    self.assigned[key].committed = mark

    async def stop(self) -> None:
        """Leave in order: flush what is due, commit."""
        self._tasks.stop()
        await self.flush()
        await self.commit()

    @property
    def behind(self) -> bool:
        """Whether the last fetch was far from the end of its log: then nothing else may take its time."""
        return self._behind

    def ready(self) -> bool:
        """Partitions (perhaps none) were assigned, and what was in flight is loaded."""
        return self.generation >= 0 and all(one.ready.is_set() for one in self.assigned.values())

    def waits_for(self) -> list[str]:
        """What is away now, in one line each; a broker that is silent is missed also where nothing is to be written."""
        silent_s = time.monotonic() - self._membership().confirmed_s
        if self.generation < 0 or silent_s <= self.settings.session_s / 2:
            return self.retry.waits_for()
        return [f"the broker has not confirmed our membership, for {silent_s:.0f} s", *self.retry.waits_for()]

    def facts(self) -> dict[str, Any]:
        """What the web pages show."""
        return {
            "partitions": {f"{topic}-{n}": one.assembler.facts() for (topic, n), one in self.assigned.items()},
            "frames": self.frames,
            "inflight_bytes": self.inflight_bytes(),
        }
