"""How rows of the store become what a reader is shown: plain values, no connection."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, Final

import numpy as np

from kinestream.schemas.stamps import iso_ns
from kinestream.streams.assembly.values import JsonDict
from kinestream.streams.events import plain

#: Status of an episode that is still being recorded, or closed but not yet in ``episodes``.
OPEN: Final = "OPEN"
#: Text columns that every list of episodes shows.
TEXTS: Final = (
    *("episode_id", "robot_id", "model_id", "skill", "area", "task"),
    *("status", "outcome", "verdict", "reason"),
)
#: Columns that are framed records, and those that are shown in another form or not at all.
_RAW: Final = frozenset({"start", "event"})
_INNER: Final = frozenset({"start", "event", "day", "started_ms", "ended_ms", "reviewed_ms"})
_EPOCH: Final = date(1970, 1, 1).toordinal()


def open_row(row: JsonDict, start: JsonDict) -> JsonDict:
    """An episode in flight with the columns of a closed one."""
    return {
        **{name: start.get(name, "") for name in TEXTS},
        "status": OPEN,
        "outcome": "UNKNOWN",
        "verdict": "",
        "machine_verdict": "",
        "reviewed_by": "",
        "revision": row["facts"]["revision"],
        "frames": 0,
        "missing": 0,
        "findings": 0,
        "duration_s": None,
        "started_ms": row["facts"]["words"][0][1],
        "day": row["day"],
        "start": start,
    }


def shown(row: JsonDict) -> JsonDict:
    """What a reader sees of a row: whole words, times as ISO text, no NaN."""
    told = {name: value for name, value in row.items() if name not in _INNER}
    told |= {name: bool(told[name]) for name in ("final", "hash_verified") if name in told}
    told["stored_day"] = date_of(row["day"]).isoformat()
    for name in ("started", "ended", "reviewed"):
        if row.get(f"{name}_ms"):
            moment = datetime.fromtimestamp(row[f"{name}_ms"] / 1000, UTC)
            told[f"{name}_at"] = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    document: JsonDict = plain(told)
    return document


def origin(start: JsonDict, duration_s: float | None) -> JsonDict:
    """What an episode's values are and where they are from, as its start record says; a live one has no source.

    ``duration_s`` by the stamps is a recording's own: moving them to now changes no difference. None while it is open.
    """
    told: JsonDict = {
        "channels": [dict(channel) for channel in start["channels"]],
        "source": start["source"],
        "conversions": list(start["conversions"]),
    }
    began = start["source_started_at_ns"]
    if began is None:
        return told
    ended = {} if duration_s is None else {"source_ended_at": iso_ns(began + round(duration_s * 1e9))}
    return told | {"source_started_at": iso_ns(began)} | ended


def batches(rows: Sequence[JsonDict], frames_held: int) -> Iterator[list[JsonDict]]:
    """Neighbours together: one question for many short episodes, one for a long one."""
    batch: list[JsonDict] = []
    frames = 0
    for row in rows:
        if batch and frames + row["frames"] > frames_held:
            yield batch
            batch, frames = [], 0
        batch.append(row)
        frames += row["frames"]
    if batch:
        yield batch


def joined(parts: Sequence[Any], kind: type, width: int = 0) -> Any:
    """Blocks' arrays as one, (n,) or, with ``width``, (n, width); also of no blocks at all."""
    return np.concatenate(parts) if parts else np.empty((0, width) if width else 0, kind)


def widths(row: Mapping[str, Any]) -> dict[str, int]:
    """Values a frame of each measured channel, position first."""
    return dict(zip(row["channel_names"], row["channel_widths"], strict=True))


def date_of(day: int) -> date:
    """Of a number of days since the epoch, as rows carry it."""
    return date.fromordinal(_EPOCH + day)


def readable(row: Mapping[str, Any]) -> JsonDict:
    """Bytes of text columns as text, facts as the object they are."""
    told = {name: value if name in _RAW else _told(value) for name, value in row.items()}
    if "facts" in told:
        told["facts"] = json.loads(told["facts"])
    return told


def _told(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    return [_told(one) for one in value] if isinstance(value, list) else value
