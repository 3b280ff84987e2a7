"""Announcements: episodes and findings to their topics, each delivered before it counts as said."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import confluent_kafka

from kinestream.schemas.catalogue import (
    EPISODE_COMPLETED,
    EPISODE_WITHDRAWN,
    EPISODES,
    FINDINGS,
    QUALITY_FINDING,
    RECEIPTS,
    topic_name,
)
from kinestream.schemas.codec import Codec
from kinestream.schemas.errors import BrokerError
from kinestream.schemas.registry import Registry
from kinestream.schemas.settings import Settings
from kinestream.streams.assembly.receipts import receipt_of
from kinestream.streams.assembly.values import WITHDRAWN, Closed, FindingChange, JsonDict, Place
from kinestream.streams.dead_letters.form import iso
from kinestream.streams.dead_letters.sending import DeadLetterSender
from kinestream.streams.messages import Message
from kinestream.streams.outlet import Outlet
from kinestream.streams.rereading import Log
from kinestream.streams.store.tables import finding_version

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Announcer:
    """The encoders of what a worker says, its fenced outlets, and an idempotent producer for all that needs no fence.

    Findings need none: a finding's version orders what is said of it.
    """

    def __init__(self, settings: Settings, bootstrap: str, registry: Registry) -> None:
        self._names = {topic.entity: topic_name(topic, settings.tenant) for topic in (EPISODES, FINDINGS, RECEIPTS)}
        self.letters = DeadLetterSender(settings, bootstrap)
        self._settings, self._bootstrap = settings, bootstrap
        #: the log once more, for what a quarantine puts into the dead letters
        self.source = Log(settings, bootstrap)
        self._episodes = Codec(registry, self._names["episodes"])
        self._findings = Codec(registry, self._names["findings"])
        self._receipts = Codec(registry, self._names["receipts"])
        self._producer = confluent_kafka.Producer(
            {
                **settings.kafka_client(bootstrap),
                "enable.idempotence": True,
                "acks": "all",
                "partitioner": "murmur2_random",
                "linger.ms": 2,
                # Longer than any outage: what is due is repeated until the broker has it.
                "message.timeout.ms": settings.message_timeout_ms,
                "log_level": 3,
            }
        )

    def prepare(self) -> None:
        """Ask the registry for what encoding needs, before anything waits for it."""
        self._episodes.prepare("EpisodeCompleted", "EpisodeWithdrawn")
        self._findings.prepare("QualityFinding")
        self._receipts.prepare("EpisodeReceipt")

    def outlet(self, place: Place) -> Outlet:
        """The producer that announces for a partition; to be opened before what is in flight there is read."""
        transactional_id = f"{self._settings.group}-{place.topic}-{place.partition}"
        topics = [self._names["episodes"], self._names["receipts"]]
        return Outlet(self._settings, self._bootstrap, transactional_id, topics)

    def publish(self, messages: Sequence[Message], timeout_s: float = 10.0) -> None:
        """Deliver all; raises :class:`BrokerError` when the broker did not acknowledge every one in time."""
        failed: list[str] = []

        def delivered(problem: Any, message: Any) -> None:
            if problem is not None:
                failed.append(str(problem))

        for message in messages:
            self._produce(message, delivered)
        left = self._producer.flush(timeout_s)
        if left or failed:
            # What is still queued may arrive later: a repeat with the same bytes, which consumers expect.
            raise BrokerError(f"{left} of {len(messages)} announcements not acknowledged {failed[:1] or ''}")

    def _produce(self, message: Message, delivered: Any) -> None:
        while True:
            try:
                self._producer.produce(
                    message.topic, message.value, message.key, on_delivery=delivered, headers=list(message.headers)
                )
                return
            except BufferError:
                self._producer.poll(0.1)

    def event_bytes(self, closed: Closed) -> bytes:
        """The framed event of a closed episode: made once, kept in the journal, never made again."""
        if closed.record != "EpisodeCompleted":
            return self._episodes.encode(closed.record, closed.event)
        fields = {name: value for name, value in closed.event.items() if name not in ("stored_day", "blocks")}
        fields["schema_fingerprints"] = sorted({self._episodes.fingerprint(i) for i in closed.schema_ids})
        fields["frames"] = {
            "database": self._settings.clickhouse_database,
            "table": "frame_blocks",
            "robot_id": closed.event["robot_id"],
            "stored_day": day_text(closed.event["stored_day"]),
            "blocks": closed.event["blocks"],
        }
        return self._episodes.encode("EpisodeCompleted", fields)

    def episode(self, row: JsonDict, event: bytes) -> Message:
        """The announcement of a revision; ``row`` as the journal keeps it."""
        headers = _cloud_event(
            EPISODE_WITHDRAWN if row["status"] == WITHDRAWN else EPISODE_COMPLETED,
            f"/kinestream/{row['cluster_id']}/{row['topic']}/{row['partition']}",
            f"{row['episode_id']}/{row['revision']}",
            row["ended_at"],
            row["episode_id"],
        )
        return Message(self._names["episodes"], row["episode_id"].encode(), event, headers, row["episode_id"])

    def receipt(self, row: JsonDict) -> Message:
        """What the robot of a revision is told; ``row`` as the journal keeps it."""
        value = self._receipts.encode("EpisodeReceipt", receipt_of(row))
        return Message(self._names["receipts"], row["robot_id"].encode(), value, (), row["episode_id"])

    def finding(self, change: FindingChange, place: Place) -> Message:
        """The announcement of a finding's change."""
        found, whose = change.finding, change.episode
        names = ("finding_id", "metric", "joint", "unit", "origin", "first_seq", "last_seq", "t_start_ns", "t_end_ns",
                 "message", "message_zh")  # fmt: skip
        value = {
            **{name: getattr(found, name) for name in names},
            **{name: whose[name] for name in ("tenant", "robot_id", "model_id", "episode_id", "skill", "rule_version")},
            "state": str(change.state),
            "flag": str(found.flag),
            "provisional": change.provisional,
            "value": None if found.value != found.value else found.value,
            "threshold": None if found.threshold != found.threshold else found.threshold,
        }
        headers = _cloud_event(
            QUALITY_FINDING,
            f"/kinestream/{place.cluster_id}/{place.topic}/{place.partition}",
            f"{found.finding_id}/{finding_version(change)}",
            change.broker_ms,
            whose["episode_id"],
        )
        key = whose["robot_id"].encode()
        return Message(self._names["findings"], key, self._findings.encode("QualityFinding", value), headers)


def day_text(day: int) -> str:
    """ISO date of days since the epoch."""
    return (_EPOCH + timedelta(days=day)).date().isoformat()


def _cloud_event(kind: str, source: str, ce_id: str, time_ms: int, subject: str) -> tuple[tuple[str, bytes], ...]:
    headers = {
        "ce_specversion": "1.0",
        "ce_type": kind,
        "ce_source": source,
        "ce_id": ce_id,
        "ce_time": iso(time_ms),
        "ce_subject": subject,
        "content-type": "application/avro",
    }
    return tuple((name, value.encode()) for name, value in headers.items())
