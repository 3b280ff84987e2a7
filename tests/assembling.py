"""A robot and an owner for the assembler, both in memory: records with offsets and times, effects kept as values."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from functools import partial
from typing import Any

import numpy as np

from kinestream.schemas.codec import Codec
from kinestream.schemas.content_hash import BLOCK, ContentHasher
from kinestream.schemas.frames import FrameChunk
from kinestream.schemas.layout import Channel, Layout
from kinestream.schemas.models import Models
from kinestream.schemas.registry import Registry
from kinestream.schemas.settings import Settings
from kinestream.streams.assembly.partition import Due, PartitionAssembler
from kinestream.streams.assembly.receipts import receipt_of
from kinestream.streams.assembly.values import (
    BlockRow,
    Closed,
    DeadLetter,
    Deadlines,
    JournalRow,
    Loaded,
    LogRecord,
    LogRun,
    Place,
    Word,
)
from kinestream.streams.decoding import Decoder
from kinestream.streams.judging import context_of, episode_rules
from kinestream.streams.quality import EpisodeJudge
from tests.memory_store import EVENTS, Died, MemoryStore

CODEC = Codec(Registry(), "motion.hub.frames.v1")
PLACE = Place("cluster", "motion.hub.frames.v1", 0)
LIMITS = Deadlines.of(Settings())
JOINTS = ("left_shoulder_pitch_joint", "left_elbow_joint")
T0 = 1_800_000_000_000_000_000


@dataclass
class Take:
    """An episode as a robot records it: frames exist up front, records are made from any part of them."""

    frames: int = 300
    robot: str = "r1"
    model: str = "unitree-g1-29-dof"
    no: int = 1
    boot: str = "boot-1"
    seed: int = 0
    rate: float = 100.0
    joints: tuple[str, ...] = JOINTS
    id: str = field(default_factory=lambda: str(uuid.uuid4()))

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        n, width = self.frames, len(self.joints)
        channels = (Channel("position", width, "rad"), Channel("velocity", width, "rad/s"))
        self.layout = Layout(self.joints, channels)
        jitter = rng.integers(-200_000, 200_000, n)
        self.t_ns = T0 + (np.arange(n) * 1e9 / self.rate).astype(np.int64) + jitter
        phase = np.arange(n)[:, None] / self.rate + np.arange(width)
        self.values = {
            "position": (0.5 + 0.2 * np.sin(phase)).astype(np.float32),
            "velocity": (0.2 * np.cos(phase)).astype(np.float32),
        }

    def start(self, **fields: Any) -> tuple[str, dict[str, Any]]:
        value = {
            "tenant": "hub",
            "robot_id": self.robot,
            "model_id": self.model,
            "boot_id": self.boot,
            "episode_id": self.id,
            "episode_no": self.no,
            "started_at_ns": T0,
            "nominal_rate_hz": self.rate,
            "skill": "grasp",
            **self.layout.to_avro(),
            **fields,
        }
        return "EpisodeStart", value

    def chunk(self, first: int, last: int, **changed: np.ndarray) -> tuple[str, FrameChunk]:
        """Frames ``first`` .. ``last - 1``."""
        part = slice(first, last)
        t0 = int(self.t_ns[first])
        offset = (self.t_ns[part] - t0) / 1e9
        values = {name: changed.get(name, v[part]) for name, v in self.values.items()}
        return "FrameChunk", FrameChunk(self.id, self.layout.layout_id, first, t0, offset, values)

    def chunks(self, size: int = 10) -> list[tuple[str, FrameChunk]]:
        return [self.chunk(i, min(i + size, self.frames)) for i in range(0, self.frames, size)]

    def end(self, **fields: Any) -> tuple[str, dict[str, Any]]:
        value = {
            "episode_id": self.id,
            "n_total": self.frames,
            "content_hash": self.content_hash(),
            "ended_at_ns": int(self.t_ns[-1]) if self.frames else T0,
            **fields,
        }
        return "EpisodeEnd", value

    def mark(self, seq: int, label: str = "reach") -> tuple[str, dict[str, Any]]:
        value = {
            "episode_id": self.id,
            "t_ns": int(self.t_ns[seq]),
            "seq": seq,
            "kind": "SUBTASK_BEGIN",
            "label": label,
        }
        return "EpisodeMark", value

    def status(self, recording: str = "", unsent: Sequence[str] = (), boot: str = "") -> tuple[str, dict[str, Any]]:
        value = {
            "tenant": "hub",
            "robot_id": self.robot,
            "model_id": self.model,
            "boot_id": boot or self.boot,
            "sent_at_ns": T0,
            "recording": recording,
            "unsent_episodes": list(unsent),
        }
        return "RobotStatus", value

    def content_hash(self) -> str:
        hasher = ContentHasher(self.layout)
        if self.frames:
            hasher.add(0, self.t_ns, self.values)
        return hasher.hexdigest()

    def whole(self, size: int = 10) -> list[tuple[str, Any]]:
        return [self.start(), *self.chunks(size), self.end()]


@dataclass
class Log:
    """A partition's log: gives records their offsets and broker times."""

    now_ms: int = 1_800_000_000_000
    records: list[LogRecord] = field(default_factory=list)
    #: of the records of an episode: its robot
    keys: dict[str, bytes] = field(default_factory=dict)

    def append(self, *values: tuple[str, Any], after_ms: int = 10) -> list[LogRecord]:
        first = len(self.records)
        for record, value in values:
            self.now_ms += after_ms
            raw = CODEC.encode_chunk(value) if record == "FrameChunk" else CODEC.encode(record, value)
            decoded = CODEC.decode(raw)
            offset, episode_id = len(self.records), getattr(value, "episode_id", "")
            if record != "FrameChunk":
                episode_id = value.get("episode_id", "")
                self.keys.setdefault(episode_id, value.get("robot_id", "r1").encode())
            key = value["robot_id"].encode() if record == "RobotStatus" else self.keys.get(episode_id, b"r1")
            self.records.append(LogRecord(offset, self.now_ms, key, raw, record, decoded.value, decoded.schema_id))
        return self.records[first:]


@dataclass
class Message:
    """A record as the transport hands it."""

    record: LogRecord

    def offset(self) -> int:
        return self.record.offset

    def timestamp(self) -> tuple[int, int]:
        return 2, self.record.broker_ms

    def key(self) -> bytes:
        return self.record.key

    def value(self) -> bytes:
        return self.record.raw

    def headers(self) -> None:
        return None


def joined(records: Iterable[LogRecord | DeadLetter]) -> list[LogRecord | DeadLetter]:
    """Of a fetch's records those as runs that the worker's decoder gives as runs; the others are the very same."""
    given = {record.offset: record for record in records}
    found = Decoder(CODEC, 1).decode(0, [Message(one) for one in given.values() if isinstance(one, LogRecord)])
    for run in [one for one in found if isinstance(one, LogRun)]:
        parts = [given.pop(int(offset)) for offset in run.offsets]
        run.split = partial(list, parts)
        given[run.offset] = run
    return [given[offset] for offset in sorted(given)]


class Owner:
    """Does for one partition what the worker does, synchronously; ``crash`` forgets all but the store.

    ``dies_after``: the number of durable steps after which it dies, or the name of one (``journal``, ``blocks``,
    ``outbox``, ``episode``, ``event``).
    """

    def __init__(
        self,
        store: MemoryStore | None = None,
        *,
        live: bool = True,
        live_lane: bool = True,
        limits: Deadlines = LIMITS,
        judge: type[EpisodeJudge] = EpisodeJudge,
        models: Models | None = None,
        overlays: str = "",
    ) -> None:
        self.store = store or MemoryStore()
        self.limits, self.judge = limits, judge
        self.models = models or Models()
        self.overlays = overlays
        self.live, self.live_lane = live, live_lane
        self.committed = 0
        self.dies_after: int | str = -1
        self.steps = 0
        self.term = self.store.next_term()
        #: of what is sent together, the later named arrives first
        self.swapped = False
        #: a worker commits once a second, not after every flush
        self.commits = True
        self.assembler = self._assigned()

    def _assigned(self) -> PartitionAssembler:
        assembler = PartitionAssembler(PLACE, self.limits, self._judge_for, live_lane=self.live_lane)
        for row in self.store.in_flight():
            if row.phase == "CLOSED":
                self.store.put_episode(row, self.term)
                self._announce(row)
                self._put_journal(assembler.tombstone(row.episode_id, row.stored_day))
            else:
                assembler.restore(loaded(row, row.facts), self._light_rows(row.episode_id))
        return assembler

    def _light_rows(self, episode_id: str) -> list[BlockRow]:
        """As a worker reads them first: values only of blocks that are not full."""
        rows = self.store.rows(episode_id)
        return [replace(row, channels={}) if len(row.seq) == BLOCK else row for row in rows]

    def catch_up(self, blocks: int = 1) -> None:
        """Bring every episode so many blocks of its backlog."""
        for episode_id, waiting in self.assembler.backlog().items():
            rows = [row for row in self.store.rows(episode_id) if row.block in waiting[:blocks]]
            self.assembler.catch_up(episode_id, rows)

    def _put_journal(self, row: JournalRow) -> None:
        self.store.put_journal(replace(row, version=self.term << 44 | row.version))

    def _judge_for(self, start: Mapping[str, Any], layout: Layout) -> EpisodeJudge:
        return self.judge(context_of(start, layout, self.models), episode_rules(start, self.overlays))

    def crash(self) -> None:
        self.dies_after = -1
        self.term = self.store.next_term()
        self.assembler = self._assigned()

    def _step(self, name: str) -> None:
        self.steps += 1
        if self.dies_after in (name, self.steps):
            raise Died(name)

    def feed(self, records: Iterable[LogRecord | DeadLetter], *, flush: bool = True) -> None:
        records = [*self.assembler.requeued, *joined(records)]
        self.prepare(records)
        self.assembler.process(records, live=self.live)
        if flush:
            self.flush()

    def prepare(self, records: Sequence[LogRecord | DeadLetter]) -> None:
        readable = [record for record in records if isinstance(record, LogRecord)]
        unknown = self.assembler.unknown(readable)
        rows = [self.store.episodes[i] for i in unknown if i in self.store.episodes]
        for episode_id in self.assembler.learn([loaded(row, row.closed["facts"]) for row in rows], readable):
            self.assembler.reload(episode_id, self._light_rows(episode_id))
        for episode_id, blocks in self.assembler.freed_blocks(readable).items():
            self.assembler.reload(episode_id, [r for r in self.store.rows(episode_id) if r.block in blocks])

    def flush(self) -> None:
        while True:
            due = self.assembler.take()
            self.make_durable(due)
            self.assembler.confirm(due)
            for episode_id in due.closing:
                self._close(episode_id)
            if self.assembler.requeued:
                self.feed([], flush=False)
            elif not due:
                break
        if self.commits:
            self.committed = max(self.committed, self.assembler.watermark())

    def make_durable(self, due: Due) -> None:
        self.store.dead_letters += due.dead_letters
        self._together(("journal", [partial(self._put_journal, row) for row in due.journal if row.reopened]))
        self._together(
            ("journal", [partial(self._put_journal, row) for row in due.journal if not row.reopened]),
            ("blocks", [partial(self.store.put_block, block) for block in due.blocks]),
        )
        self.store.findings += due.findings
        self.store.robots += due.robots

    def _together(self, *inserts: tuple[str, list[Callable[[], None]]]) -> None:
        """Inserts that are sent at the same time: the owner may die after either."""
        self.store.together()
        for name, rows in reversed(inserts) if self.swapped else inserts:
            for put in rows:
                put()
            if rows:
                self._step(name)

    def _close(self, episode_id: str) -> None:
        episode = self.assembler.episodes[episode_id]
        rows = self.store.rows(episode_id) if episode.dirty else None
        try:
            closed = self.assembler.seal(episode_id, rows)
        except ArithmeticError as problem:
            self.assembler.failed(episode_id, str(problem))
            return
        if closed is not None:
            self.store.findings += closed.findings
            if closed.rewind:
                self.store.rewinds.append((episode_id, *closed.rewind))
            outbox = replace(closed.journal, phase="CLOSED", closed=closed.row, event=encoded(closed))
            self._together(
                ("outbox", [partial(self._put_journal, outbox)]),
                ("episode", [partial(self.store.put_episode, outbox, self.term)]),
            )
            self._announce(outbox)
        self.assembler.announced(episode_id)

    def _announce(self, row: JournalRow) -> None:
        self.store.announce(f"{row.episode_id}/{row.closed['revision']}", row.event)
        self._step("event")
        self.store.receipts.append(receipt_of(row.closed))

    def command(self, *records: LogRecord) -> list[DeadLetter]:
        """Carry out commands, and make what they do durable."""
        commands = [*self.assembler.requeued_commands, *records]
        self.prepare(commands)
        refused = self.assembler.obey(commands)
        self.flush()
        return refused

    def pass_ms(self, ms: int) -> None:
        """The log is idle for ``ms``, and a fetch has confirmed it."""
        self.assembler.pass_time(self.assembler.time_ms + ms)
        self.feed([])


def encoded(closed: Closed) -> bytes:
    """The event as the announcer frames it."""
    if closed.record != "EpisodeCompleted":
        return EVENTS.encode(closed.record, closed.event)
    fields = {name: value for name, value in closed.event.items() if name not in ("stored_day", "blocks")}
    day = (date(1970, 1, 1) + timedelta(closed.event["stored_day"])).isoformat()
    frames = {"database": "kinestream", "table": "frame_blocks", "robot_id": closed.event["robot_id"]}
    frames |= {"stored_day": day, "blocks": closed.event["blocks"]}
    fingerprints = sorted({EVENTS.fingerprint(schema_id) for schema_id in closed.schema_ids})
    return EVENTS.encode("EpisodeCompleted", {**fields, "frames": frames, "schema_fingerprints": fingerprints})


def loaded(row: JournalRow, facts: dict[str, Any]) -> Loaded:
    """As the store reads it back: ``facts`` of the journal, or those the episode row keeps."""
    raws = [row.start, *row.marks, *([row.end] if row.end else [])]
    words = [
        Word(offset, ms, raw, CODEC.decode(raw).value) for (offset, ms), raw in zip(facts["words"], raws, strict=True)
    ]
    end = words[-1] if row.end else None
    return Loaded(row.episode_id, row.stored_day, facts, words[0], tuple(words[1 : 1 + len(row.marks)]), end)


def of_the_take(metrics: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of metrics but those that judge the delivery: another order, or a replay, has others."""
    return [row for row in metrics if row["id"].partition(".")[0] not in ("T3", "T6", "T7", "T9", "T10")]
