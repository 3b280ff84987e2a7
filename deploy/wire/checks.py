"""What is checked of a producer, and the book in which each check's result stands; looks at no message itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, NamedTuple

from kinestream.deploy.wire.capture import Captured


class Result(StrEnum):
    """What came of a check. WARN is advice: a producer conforms with it."""

    PASS = "pass"
    FAIL = "fail"
    WARN = "warn"
    NOT_SEEN = "not seen"


class Rule(NamedTuple):
    """One check: what must hold (or, with ``advice``, should), and what to do where it does not."""

    title: str
    what_to_do: str
    advice: bool = False


_HASH = "compare leaf by leaf with schemas/golden/content_hash.json (docs/wire.md, Content hash)"
_STATUS = "send a RobotStatus once a second from its own timer, from the start of the process to its end"

#: Every check by its id, in the order in which a message is looked at (docs/wire.md, "Checks").
RULES: Final[Mapping[str, Rule]] = {
    "size": Rule("a message has 1,048,576 bytes at most", "cut chunks of 256,000 bytes at most"),
    "topic": Rule(
        "topic is motion.<tenant>.frames.v1 or motion.<tenant>.frames-bulk.v1, with the record's own tenant",
        "send to the tenant's own topics and write the same tenant into the record",
    ),
    "framing": Rule(
        "a message begins with a zero byte and a 4-byte schema id",
        "write 00 and the id, big-endian, before the Avro body; no container file header, no other framing",
    ),
    "schema": Rule(
        "the schema id is known", "take the id from the registry, or from schemas/avro/ids.json without one"
    ),
    "record": Rule(
        "a record is one of EpisodeStart, FrameChunk, EpisodeMark, EpisodeEnd, RobotStatus",
        "send only these five to the frames topics",
    ),
    "avro": Rule(
        "the body is one Avro record, whole, with nothing behind it",
        "write every field in the schema's order, defaults too; compare with the golden bytes of docs/wire.md",
    ),
    "partition": Rule(
        "the partition is murmur2(key) mod partitions",
        "librdkafka and its clients: partitioner=murmur2_random; Java: the default partitioner, no partition given",
    ),
    "key": Rule("the key is the robot_id, as UTF-8", "key every message, chunks too, by the robot_id of the start"),
    "ids": Rule(
        "episode_id is a UUID version 7 and boot_id a UUID, lower-case text; robot_id and model_id are not empty",
        "mint episode_id as UUIDv7 (RFC 9562) when the take begins, boot_id when the process starts",
    ),
    "number": Rule("episode_no rises with each take of a robot", "keep it on disk, or start it at the boot's UTC ms"),
    "layout": Rule(
        "joints and channels fit each other, and layout_id is computed from them",
        "compute layout_id as docs/wire.md says (Layout); repeat it in every chunk of the episode",
    ),
    "units": Rule(
        "joints are in rad, rad/s and Nm (prismatic ones in m, m/s and N), and their channels say so",
        "convert at the robot, once; record it in conversions. What has no SI unit is a channel of its own",
    ),
    "start": Rule(
        "an EpisodeStart comes before everything else of its episode, and says one thing",
        "send EpisodeStart first and wait for nothing; where it is repeated, the same bytes",
    ),
    "lane": Rule("an episode lies in one topic", "decide live or bulk when the take begins, and stay with it"),
    "values": Rule(
        "each chunk has all channels of the start, n x width values each, and no other",
        "write n x width float32 values a channel, frame by frame; an array that is not measured is not declared",
    ),
    "endianness": Rule(
        "floats and doubles are little-endian",
        "Avro's float and double are little-endian: Java's ByteBuffer needs .order(ByteOrder.LITTLE_ENDIAN)",
    ),
    "nan": Rule("a value that is none travels as 0x7fc00000", "replace every NaN by the quiet one before hashing"),
    "clock": Rule(
        "stamps are ns since the epoch, UTC (the years 2000 to 2100)",
        "t0_ns in ns, offset_s in seconds from t0_ns; not ms, and not the time since boot",
    ),
    "stamps": Rule("stamps rise with the frame number", "stamp each frame once, when it is measured (metric T8)"),
    "seq": Rule(
        "frames are numbered from 0 without gaps",
        "number frames when they are measured; send what failed again, with its old number",
    ),
    "copies": Rule(
        "a frame that is sent again has the same values and stamp",
        "keep what was sent and repeat it byte for byte; never use a number twice",
    ),
    "end": Rule(
        "a take ends with one EpisodeEnd, before the robot's next take begins",
        "send EpisodeEnd for every take, also for one that failed (outcome ABORTED)",
    ),
    "total": Rule("n_total is the number of frames", "n_total = highest seq + 1; send EpisodeEnd after the last chunk"),
    "hash": Rule("the content hash is that of the frames", _HASH),
    "status": Rule("RobotStatus comes once a second", _STATUS),
    "recording": Rule(
        "RobotStatus names the open episode",
        "put it into recording, and what is not yet sent whole into unsent_episodes",
    ),
    "hash_given": Rule("the end has a content hash", "without it nobody can prove what arrived: " + _HASH, True),
    "chunking": Rule(
        "live chunks hold 10 frames or 100 ms, bulk ones 64 frames; none over 256,000 bytes",
        "fewer frames a message cost robot and worker up to ten times the CPU, more delay the trainer's lamp",
        True,
    ),
    "order": Rule("frames come in order, each once", "enable.idempotence=true keeps the order through retries", True),
    "recut": Rule("what is sent again has the same bytes", "repeat messages as they were, not cut anew", True),
    "rate": Rule("nominal_rate_hz is the rate of the stamps", "declare the rate: T1, T2 and T4 are judged on it", True),
    "skew": Rule(
        "live stamps are those of now, by the broker's clock",
        "discipline the robot's clock (PTP, NTP), or state clock_offset_s",
        True,
    ),
    "labels": Rule("skill and area are listed", "`kinestream skills` shows the ids; unlisted ones are kept", True),
    "model": Rule(
        "the robot's model is described, with these joints in its order",
        "`kinestream robots list` shows models, `kinestream robots import` describes one",
        True,
    ),
    "process": Rule("one process bears the robot's name", "stop the other one, or give it a robot_id of its own", True),
    "status_rate": Rule("RobotStatus comes no more often than it must", "once a second is enough", True),
}

#: Failures kept of each check; the rest is counted.
KEPT: Final = 20


@dataclass(frozen=True, slots=True)
class Failure:
    """One place where a check does not hold. ``reason``: of the dead letter a worker makes of it, else empty."""

    record: int
    topic: str
    partition: int
    offset: int
    received: str
    expected: str
    what_to_do: str
    reason: str = ""

    @property
    def where(self) -> str:
        """For people."""
        place = f" ({self.topic} {self.partition}/{self.offset})" if self.offset >= 0 else ""
        return f"record {self.record}{place}"


@dataclass(slots=True)
class Check:
    """One line of the report: how often it was looked at, how often it failed, and the first failures."""

    id: str
    title: str
    advice: bool
    seen: int = 0
    failed: int = 0
    failures: list[Failure] = field(default_factory=list)

    @property
    def result(self) -> Result:
        """FAIL and WARN win over PASS."""
        if self.failed:
            return Result.WARN if self.advice else Result.FAIL
        return Result.PASS if self.seen else Result.NOT_SEEN

    def to_json(self) -> dict[str, Any]:
        """With its result."""
        facts = {"id": self.id, "title": self.title, "result": self.result, "seen": self.seen, "failed": self.failed}
        return facts | {"failures": [{**_fields(one), "where": one.where} for one in self.failures]}


class Book:
    """The checks of one run."""

    def __init__(self) -> None:
        self._checks = {name: Check(name, rule.title, rule.advice) for name, rule in RULES.items()}

    def held(self, name: str) -> None:
        """Check ``name`` was looked at and held."""
        self._checks[name].seen += 1

    def broke(self, name: str, at: Captured, received: str, expected: str, reason: str = "") -> None:
        """It did not hold at message ``at``."""
        check = self._checks[name]
        check.seen += 1
        check.failed += 1
        if len(check.failures) < KEPT:
            place = (at.number, at.topic, at.partition, at.at_offset)
            check.failures.append(Failure(*place, received, expected, RULES[name].what_to_do, reason))

    def judge(self, name: str, good: bool, at: Captured, received: str, expected: str) -> None:
        """Held, or broke."""
        if good:
            self.held(name)
        else:
            self.broke(name, at, received, expected)

    @property
    def checks(self) -> Iterable[Check]:
        """In their order."""
        return self._checks.values()


def _fields(failure: Failure) -> dict[str, Any]:
    return {name: getattr(failure, name) for name in Failure.__slots__}
