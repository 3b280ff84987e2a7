"""What goes into the assembler and what comes out: plain values, no behaviour."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from kinestream.schemas.frames import Float32, Int64
from kinestream.schemas.reasons import DeadLetterReason
from kinestream.schemas.settings import Settings
from kinestream.streams.quality import Finding

JsonDict: TypeAlias = dict[str, Any]
Headers: TypeAlias = Sequence[tuple[str, bytes | None]]

#: Statuses of docs/contract.md that an episode can close with.
COMPLETE: Final = "COMPLETE"
CORRUPT: Final = "CORRUPT"
INCOMPLETE: Final = "INCOMPLETE"
TIMED_OUT: Final = "TIMED_OUT"
SUPERSEDED: Final = "SUPERSEDED"
TRUNCATED: Final = "TRUNCATED"
UNMARKED: Final = "UNMARKED"
QUARANTINED: Final = "QUARANTINED"
WITHDRAWN: Final = "WITHDRAWN"

#: Kinds of EpisodeCommand.
CORRECT: Final = "CORRECT"
WITHDRAW: Final = "WITHDRAW"
RESCORE: Final = "RESCORE"
REVIEW: Final = "REVIEW"

#: Dead-letter reasons of the assembler and the worker; the codec's own are UNDECODABLE and UNKNOWN_SCHEMA.
INCONSISTENT: Final = DeadLetterReason.INCONSISTENT
NO_START: Final = DeadLetterReason.NO_START
OVERSIZE: Final = DeadLetterReason.OVERSIZE


@dataclass(frozen=True, slots=True)
class Place:
    """One partition of one topic of one cluster."""

    cluster_id: str
    topic: str
    partition: int


@dataclass(slots=True, eq=False)
class LogRecord:
    """A record of the log, decoded. ``broker_ms`` is the broker's time; ``raw`` the framed bytes as they came."""

    offset: int
    broker_ms: int
    key: bytes
    raw: bytes
    record: str
    value: Any
    schema_id: int
    #: as the record came with them
    headers: Headers = ()


@dataclass(slots=True, eq=False)
class LogRun(LogRecord):
    """Chunks of one episode as one record, at the place of the first: between them its robot has said nothing new.

    ``value`` is a ChunkRun. What each chunk was alone, ``parts`` tells; only an episode for which nothing but frames
    depends on it takes all at once.
    """

    #: of each chunk, int64
    offsets: Int64 = field(default_factory=lambda: np.empty(0, np.int64))
    times_ms: Int64 = field(default_factory=lambda: np.empty(0, np.int64))
    #: each RobotStatus between the chunks, which is a record of its own as well
    statuses: Sequence[LogRecord] = ()
    #: reads each chunk by itself
    split: Callable[[], list[LogRecord | DeadLetter]] = list
    _parts: list[LogRecord | DeadLetter] | None = None

    @property
    def last_offset(self) -> int:
        """Offset of the last chunk."""
        return int(self.offsets[-1])

    @property
    def last_ms(self) -> int:
        """Broker time of the last chunk."""
        return int(self.times_ms[-1])

    def parts(self) -> list[LogRecord | DeadLetter]:
        """Each chunk as a record of its own, in log order."""
        if self._parts is None:
            self._parts = self.split()
        return self._parts


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that cannot be used, and why; its key and bytes are kept as they came."""

    offset: int
    broker_ms: int
    key: bytes | None
    raw: bytes | None
    reason: DeadLetterReason
    text: str
    schema_id: int = -1
    headers: Headers = ()

    @classmethod
    def of(cls, record: LogRecord, reason: DeadLetterReason, text: str) -> DeadLetter:
        """Of a record that was read, but cannot be used."""
        place = (record.offset, record.broker_ms, record.key, record.raw)
        return cls(*place, reason, text, record.schema_id, record.headers)


@dataclass(slots=True, eq=False)
class BlockRow:
    """One row of ``frame_blocks``: all frames of a block so far, in frame order.

    ``seq``, ``t_ns``, ``broker_ms``: int64 (n,); ``channels``: float32 (n, width) by name;
    ``leaves``: xxh3-128 by channel name, ``t`` relative to this block's first frame.
    """

    episode_id: str
    robot_id: str
    stored_day: int
    block: int
    last_offset: int
    duplicates: int
    conflicts: int
    reordered: int
    seq: Int64
    t_ns: Int64
    broker_ms: Int64
    channels: Mapping[str, Float32]
    leaves: Mapping[str, bytes]

    @property
    def version(self) -> int:
        """Frames present << 48 | last_offset: grows with every frame and every duplicate."""
        return len(self.seq) << 48 | self.last_offset


@dataclass(frozen=True, slots=True)
class JournalRow:
    """One row of ``journal``: what is in flight. ``start``, ``marks`` and ``end`` are framed records."""

    episode_id: str
    version: int
    stored_day: int
    phase: str
    facts: JsonDict
    start: bytes
    marks: tuple[bytes, ...]
    end: bytes
    closed: JsonDict = field(default_factory=dict)
    event: bytes = b""
    is_deleted: bool = False

    @property
    def reopened(self) -> bool:
        """Its episode was closed before, and is open again."""
        return bool(self.facts.get("revision", 0) > 0)


@dataclass(slots=True)
class Word:
    """A record other than a chunk that belongs to an episode: where it stands, its framed bytes, its fields."""

    offset: int
    broker_ms: int
    raw: bytes
    value: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Command:
    """What was last wanted of an episode; ``offset`` and ``broker_ms`` in the log of commands."""

    command_id: str
    offset: int
    broker_ms: int
    kind: str
    by: str
    note: str


@dataclass(frozen=True, slots=True)
class Review:
    """A person's verdict, ACCEPT or REJECT; ``revision``: the one that was seen, 0 = not said."""

    verdict: str
    by: str
    note: str
    command_id: str
    reviewed_at_ms: int
    revision: int


@dataclass(frozen=True, slots=True)
class Loaded:
    """An episode as the store holds it: from ``journal`` while in flight, from ``episodes`` once closed."""

    episode_id: str
    stored_day: int
    facts: JsonDict
    start: Word
    marks: tuple[Word, ...] = ()
    end: Word | None = None


@dataclass(frozen=True, slots=True, eq=False)
class TakeRow:
    """One row of ``takes``, as schemas/clickhouse declares them; ``signature`` int16 (32 J,), poses float32 (J,)."""

    bucket: int
    started_ms: int
    take: int
    revision: int
    kind: str
    gone: bool = False
    episode_id: str = ""
    digest: str = ""
    seconds: float = 0.0
    signature: NDArray[np.int16] = field(default_factory=lambda: np.empty(0, np.int16))
    metrics: Mapping[str, float] = field(default_factory=dict)
    start_pose: Float32 = field(default_factory=lambda: np.empty(0, np.float32))
    end_pose: Float32 = field(default_factory=lambda: np.empty(0, np.float32))


@dataclass(frozen=True, slots=True)
class FindingChange:
    """A finding that was raised, updated or cleared; ``revision`` 0 while the episode is open."""

    state: str
    finding: Finding
    episode: JsonDict
    provisional: bool
    revision: int
    broker_ms: int


@dataclass(frozen=True, slots=True)
class Closed:
    """A closed episode: its row (columns of ``episodes``), its event (fields of ``record``), its findings.

    ``schema_ids``: of its records, for the event's fingerprints. ``rewind``: where its status is QUARANTINED, the
    first and the last offset between which its raw records are to be found and dead-lettered before anything else.
    ``takes``: what it leaves for other episodes to find.
    """

    episode_id: str
    row: JsonDict
    event: JsonDict
    findings: tuple[FindingChange, ...]
    journal: JournalRow
    record: str = "EpisodeCompleted"
    schema_ids: tuple[int, ...] = ()
    rewind: tuple[int, int] | None = None
    takes: tuple[TakeRow, ...] = ()


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Broker milliseconds and counts of docs/contract.md, "Closing", "Live metrics" and "Limits"."""

    hole_ms: int
    incomplete_ms: int
    silence_ms: int
    robot_silence_ms: int
    superseded_ms: int
    block_age_ms: int
    truncated_ms: int
    truncated_frames: int
    cut_ms: int
    most_frames: int
    most_marks: int
    most_open: int
    attempts: int

    @classmethod
    def of(cls, settings: Settings) -> Deadlines:
        """From the settings."""
        return cls(
            hole_ms=int(settings.hole_wait_s * 1000),
            incomplete_ms=int(settings.incomplete_after_s * 1000),
            silence_ms=int(settings.silence_s * 1000),
            robot_silence_ms=int(settings.robot_silence_s * 1000),
            superseded_ms=int(settings.superseded_after_s * 1000),
            block_age_ms=int(settings.block_age_s * 1000),
            truncated_ms=int(settings.truncated_after_s * 1000),
            truncated_frames=settings.truncated_frames,
            cut_ms=int(settings.cut_after_s * 1000),
            most_frames=settings.episode_frames,
            most_marks=settings.episode_marks,
            most_open=settings.open_episodes,
            attempts=settings.attempts,
        )
