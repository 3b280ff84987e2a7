"""A robot and an owner for the assembler, both in memory: records with offsets and times, effects kept as values."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kinestream.schemas.codec import Codec
from kinestream.schemas.content_hash import ContentHasher
from kinestream.schemas.frames import FrameChunk
from kinestream.schemas.layout import Channel, Layout
from kinestream.schemas.registry import Registry
from kinestream.schemas.settings import Settings
from kinestream.streams.assembly.journal import rebuild
from kinestream.streams.assembly.partition import PartitionAssembler
from kinestream.streams.assembly.values import (
    BlockRow,
    Closed,
    DeadLetter,
    Deadlines,
    FindingChange,
    JournalRow,
    Loaded,
    LogRecord,
    Place,
    Word,
)
from kinestream.streams.judging import judge_for

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
        channels = tuple(Channel(name, width, "rad") for name in ("position", "velocity"))
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

    def append(self, *values: tuple[str, Any], after_ms: int = 10) -> list[LogRecord]:
        first = len(self.records)
        for record, value in values:
            self.now_ms += after_ms
            raw = CODEC.encode_chunk(value) if record == "FrameChunk" else CODEC.encode(record, value)
            decoded = CODEC.decode(raw)
            offset = len(self.records)
            self.records.append(LogRecord(offset, self.now_ms, b"r1", raw, record, decoded.value, decoded.schema_id))
        return self.records[first:]


class MemoryStore:
    """The tables by their keys, replaced as ClickHouse's ReplacingMergeTree replaces."""

    def __init__(self) -> None:
        self.blocks: dict[tuple[str, int], BlockRow] = {}
        self.journal: dict[str, JournalRow] = {}
        self.episodes: dict[str, Closed] = {}
        self.findings: list[FindingChange] = []
        self.events: list[dict[str, Any]] = []
        self.dead_letters: list[DeadLetter] = []
        self.robots: list[Any] = []

    def put_block(self, row: BlockRow) -> None:
        before = self.blocks.get((row.episode_id, row.block))
        if before is None or row.version >= before.version:
            self.blocks[row.episode_id, row.block] = row

    def rows(self, episode_id: str) -> list[BlockRow]:
        return sorted((r for (i, _), r in self.blocks.items() if i == episode_id), key=lambda r: r.block)


class Owner:
    """Does for one partition what the worker does, synchronously; ``crash`` forgets all but the store."""

    def __init__(self, store: MemoryStore | None = None, *, live: bool = True) -> None:
        self.store = store or MemoryStore()
        self.live = live
        self.committed = 0
        self.assembler = self._assigned()

    def _assigned(self) -> PartitionAssembler:
        assembler = PartitionAssembler(PLACE, LIMITS, judge_for)
        for row in list(self.store.journal.values()):
            if not row.is_deleted:
                rows = self.store.rows(row.episode_id)
                assembler.restore(rebuild(loaded(row), rows, judge_for))
        return assembler

    def crash(self) -> None:
        self.assembler = self._assigned()

    def feed(self, records: Iterable[LogRecord], *, flush: bool = True) -> None:
        records = [*self.assembler.requeued, *records]
        unknown = self.assembler.unknown(records)
        found = [loaded_closed(self.store.episodes[i]) for i in unknown if i in self.store.episodes]
        for episode_id in self.assembler.learn(found, records):
            self.assembler.reload(episode_id, self.store.rows(episode_id))
        for episode_id, blocks in self.assembler.freed_blocks(records).items():
            self.assembler.reload(episode_id, [r for r in self.store.rows(episode_id) if r.block in blocks])
        self.assembler.process(records, live=self.live)
        if flush:
            self.flush()

    def flush(self) -> None:
        while True:
            due = self.assembler.take()
            for row in due.journal:
                self.store.journal[row.episode_id] = row
            for block in due.blocks:
                self.store.put_block(block)
            self.store.findings += due.findings
            self.store.dead_letters += due.dead_letters
            self.store.robots += due.robots
            self.assembler.confirm(due)
            for episode_id in due.closing:
                self._close(episode_id)
            if self.assembler.requeued:
                self.feed([], flush=False)
            elif not due:
                break
        self.committed = self.assembler.watermark()

    def _close(self, episode_id: str) -> None:
        episode = self.assembler.episodes[episode_id]
        rows = self.store.rows(episode_id) if episode.dirty else None
        closed = self.assembler.seal(episode_id, rows)
        if closed is not None:
            self.store.findings += closed.findings
            self.store.episodes[episode_id] = closed
            self.store.events.append(closed.event)
        self.assembler.announced(episode_id)

    def pass_ms(self, ms: int) -> None:
        """The log is idle for ``ms``, and a fetch has confirmed it."""
        self.assembler.pass_time(self.assembler.time_ms + ms)
        self.feed([])


def _words(facts: dict[str, Any], raws: Sequence[bytes]) -> list[Word]:
    return [
        Word(offset, ms, raw, CODEC.decode(raw).value) for (offset, ms), raw in zip(facts["words"], raws, strict=True)
    ]


def loaded(row: JournalRow) -> Loaded:
    raws = [row.start, *row.marks, *([row.end] if row.end else [])]
    words = _words(row.facts, raws)
    end = words[-1] if row.end else None
    return Loaded(row.episode_id, row.stored_day, row.facts, words[0], tuple(words[1 : 1 + len(row.marks)]), end)


def loaded_closed(closed: Closed) -> Loaded:
    row = closed.journal
    raws = [row.start, *row.marks, *([row.end] if row.end else [])]
    words = _words(closed.row["facts"], raws)
    end = words[-1] if row.end else None
    return Loaded(
        row.episode_id, row.stored_day, closed.row["facts"], words[0], tuple(words[1 : 1 + len(row.marks)]), end
    )
