"""The topic catalogue: every name, record and setting of every topic; nothing else spells a topic."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from kinestream.schemas.errors import ContractError

#: Namespace of every record.
NAMESPACE: Final = "io.kinestream.motion"
#: CloudEvents types of what is announced.
EPISODE_COMPLETED: Final = "io.kinestream.episode.completed.v1"
EPISODE_WITHDRAWN: Final = "io.kinestream.episode.withdrawn.v1"
QUALITY_FINDING: Final = "io.kinestream.quality.finding.v1"
#: Major version of every topic name.
MAJOR: Final = 1
#: Partitions of every keyed topic: fixed once made, because keys hash onto them.
PARTITIONS: Final = 8
#: Largest message a topic takes, bytes: a chunk (256 kB at most) and its framing.
MAX_MESSAGE_BYTES: Final = 1_048_576
#: ... and the topic of dead letters: a largest message with a letter's headers, and what a small compressed batch
#: unpacked to, packed again by another hand.
MAX_DEAD_LETTER_BYTES: Final = 8 * MAX_MESSAGE_BYTES

#: How ids of librdkafka's in-process test broker begin, all that tells it: it keeps the producers' time, and answers no
#: question for settings.
TEST_CLUSTER: Final = "mockCluster"
#: Whose time a record bears: the broker's, on which days, deadlines and lateness run.
BROKER_TIME: Final = "LogAppendTime"

_TENANT = re.compile(r"[a-z][a-z0-9-]{0,62}")
_DAY_MS: Final = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class Topic:
    """One entity of the catalogue: its records, key and settings (retention of the local stack)."""

    entity: str
    key: str
    records: tuple[str, ...]
    partitions: int = PARTITIONS
    retention_ms: int = _DAY_MS
    retention_bytes: int = 5 * 1024**3
    max_message_bytes: int = MAX_MESSAGE_BYTES
    #: the newest record of each key is kept for ever
    compacted: bool = False

    def config(self) -> Mapping[str, str]:
        """Broker-side settings. Broker time is what days, retention and lateness run on."""
        return {
            "message.timestamp.type": BROKER_TIME,
            "max.message.bytes": str(self.max_message_bytes),
            "retention.ms": str(self.retention_ms),
            "retention.bytes": str(self.retention_bytes // self.partitions),
            "cleanup.policy": "compact" if self.compacted else "delete",
        }


_FRAME_RECORDS = ("EpisodeStart", "FrameChunk", "EpisodeMark", "EpisodeEnd", "RobotStatus")

FRAMES: Final = Topic("frames", "robot_id", _FRAME_RECORDS)
FRAMES_BULK: Final = Topic("frames-bulk", "robot_id", _FRAME_RECORDS)
FINDINGS: Final = Topic("findings", "robot_id", ("QualityFinding",))
EPISODES: Final = Topic("episodes", "episode_id", ("EpisodeCompleted", "EpisodeWithdrawn"))
#: Only the owner of the episode's partition acts on a command; a worker that was away finds it here.
COMMANDS: Final = Topic("commands", "robot_id", ("EpisodeCommand",), retention_ms=7 * _DAY_MS)
#: Every version of a description is a key of its own, so that one an episode was judged by is never lost.
ROBOTS: Final = Topic("robots", "model_id/version", ("RobotRegistered",), retention_bytes=64 * 1024**2, compacted=True)
RECEIPTS: Final = Topic("receipts", "robot_id", ("EpisodeReceipt",))
FRAMES_DLQ: Final = Topic(
    "frames-dlq", "as the source", (), retention_ms=7 * _DAY_MS, max_message_bytes=MAX_DEAD_LETTER_BYTES
)

CATALOGUE: Final = (FRAMES, FRAMES_BULK, FINDINGS, EPISODES, ROBOTS, COMMANDS, RECEIPTS, FRAMES_DLQ)


def topic_name(topic: Topic, tenant: str) -> str:
    """``motion.<tenant>.<entity>.v<major>``; raises :class:`ContractError` for a tenant no ACL prefix could hold."""
    if not _TENANT.fullmatch(tenant):
        raise ContractError(f"tenant {tenant!r}: a tenant is 1-63 of a-z, 0-9 and -, beginning with a letter")
    return f"motion.{tenant}.{topic.entity}.v{MAJOR}"


def subject_name(topic: str, record: str) -> str:
    """Registry subject by TopicRecordNameStrategy: the default strategy refuses a topic's second record type."""
    return f"{topic}-{NAMESPACE}.{record}"
