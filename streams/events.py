"""The announced episode as a typed value, and how it is told from its message; it reads no topic and no store."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar, Final

from kinestream.schemas.catalogue import EPISODE_COMPLETED, EPISODE_WITHDRAWN
from kinestream.schemas.codec import Codec
from kinestream.schemas.errors import DecodeError, SettingError
from kinestream.schemas.reasons import DeadLetterReason

#: Fields that bear another name here: ``frames()`` reads the frames themselves.
_RENAMED: Final = {"frames": "location"}

Record = Mapping[str, Any]
#: Reads the frames of an announced episode: arrays by name, as :meth:`EpisodeCompleted.frames` gives them.
FrameReader = Callable[["EpisodeCompleted"], dict[str, Any]]


def _no_store(event: EpisodeCompleted) -> dict[str, Any]:
    raise SettingError(f"episode {event.episode_id} did not come from a Subscription: ask Archive for its frames")


@dataclass(frozen=True, slots=True)
class EpisodeCompleted:
    """A closed episode: what arrived, what is thought of it, where its frames are (docs/contract.md, "Events").

    Fields as in ``schemas/avro/EpisodeCompleted.v2.avsc``, except that its ``frames`` is called ``location``.
    Times ending in ``_ms`` are broker time, those in ``_ns`` the robot's; ``ce_id`` is ``<episode_id>/<revision>``.
    """

    ce_id: str
    tenant: str
    robot_id: str
    model_id: str
    boot_id: str
    episode_id: str
    episode_no: int
    skill: str
    area: str
    site: str
    station: str
    operator: str
    job: str
    task: str
    status: str
    outcome: str
    verdict: str
    reason: str
    revision: int
    final: bool
    started_at_ms: int
    ended_at_ms: int
    duration_s: float
    frames_expected: int
    frames_received: int
    frames_unique: int
    frames_duplicate: int
    frames_late: int
    missing_ranges: list[Record]
    missing_range_count: int
    metrics: list[Record]
    findings: list[Record]
    finding_count: int
    location: Record
    content_hash: str
    hash_verified: bool
    rule_version: str
    schema_fingerprints: list[str]
    lineage: Record
    #: what the rules say; ``verdict`` is what holds: the person's of ``review`` (null = none), else this
    machine_verdict: str
    review: Record | None
    read: FrameReader = field(default=_no_store, repr=False, compare=False)

    def frames(self) -> dict[str, Any]:
        """The frames from the store, by name; of the latest revision, ascending, missing frames absent.

        ``seq`` int64 (n,); ``t`` float64 (n,) seconds from the first frame; ``t_ns`` int64 (n,); ``joints`` unicode
        (J,); each measured channel float32 (n, width), bit for bit what the robot sent. Raises :class:`StoreError`
        when the store is away, :class:`SettingError` when nobody said where it is. Needs the extra ``worker``.
        """
        return self.read(self)

    def to_json(self) -> dict[str, Any]:
        """Ready for JSON: ``ce_id`` and every field of the record; NaN and infinities become null."""
        values = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "read"}
        values["frames"] = values.pop("location")
        document: dict[str, Any] = plain(values)
        return document


@dataclass(frozen=True, slots=True)
class EpisodeWithdrawn:
    """An episode must no longer be used: its last revision. It says who wanted it and why, and no label."""

    ce_id: str
    tenant: str
    robot_id: str
    episode_id: str
    revision: int
    by: str
    note: str
    command_id: str
    lineage: Record
    status: ClassVar[str] = "WITHDRAWN"

    def to_json(self) -> dict[str, Any]:
        """Ready for JSON: ``ce_id``, ``status`` and every field of the record."""
        return {**asdict(self), "status": self.status}


def withdrawal_of(message: Any, codec: Codec) -> EpisodeWithdrawn | None:
    """The withdrawal in a message of the episodes topic; None where it is another event. Raises as :func:`event_of`."""
    headers = dict(message.headers() or ())
    if headers.get("ce_type") != EPISODE_WITHDRAWN.encode():
        return None
    decoded = codec.decode(message.value() or b"")
    if decoded.record != "EpisodeWithdrawn":
        raise DecodeError(DeadLetterReason.UNDECODABLE, f"a {decoded.record} under ce_type {EPISODE_WITHDRAWN!r}")
    return EpisodeWithdrawn(ce_id=_text(headers, "ce_id"), **decoded.value)


def event_of(message: Any, codec: Codec, read: FrameReader = _no_store) -> EpisodeCompleted | None:
    """The event in a message of the episodes topic; None for another type of event, which later versions may send.

    Raises :class:`DecodeError` where headers and record are not what docs/contract.md promises.
    """
    headers = dict(message.headers() or ())
    kind = _text(headers, "ce_type")
    if kind != EPISODE_COMPLETED and kind.startswith("io.kinestream."):
        return None
    decoded = codec.decode(message.value() or b"")
    if decoded.record != "EpisodeCompleted" or kind != EPISODE_COMPLETED:
        raise DecodeError(
            DeadLetterReason.UNDECODABLE, f"a {decoded.record} under ce_type {kind!r}: expected {EPISODE_COMPLETED}"
        )
    ce_id, value = _text(headers, "ce_id"), decoded.value
    value["machine_verdict"] = value["machine_verdict"] or value["verdict"]  # null in events from before reviews
    if ce_id != f"{value['episode_id']}/{value['revision']}":
        raise DecodeError(
            DeadLetterReason.INCONSISTENT,
            f"ce_id {ce_id!r} on revision {value['revision']} of episode {value['episode_id']}",
        )
    return EpisodeCompleted(
        ce_id=ce_id, read=read, **{_RENAMED.get(name, name): field_ for name, field_ in value.items()}
    )


def plain(value: Any) -> Any:
    """``value`` for JSON, all the way down: NaN and infinities become None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return value


def _text(headers: Mapping[str, Any], name: str) -> str:
    raw = headers.get(name)
    if not isinstance(raw, bytes):
        raise DecodeError(DeadLetterReason.UNDECODABLE, f"header {name} is missing: every event carries it")
    return raw.decode(errors="replace")
