"""What a spool holds, as a person or a machine asks; changes nothing, also while a robot has it open."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kinestream.producers.spool.places import TABLES, in_use
from kinestream.producers.spool.tables import EpisodeRow, Tables
from kinestream.schemas.settings import Settings

#: Episodes an answer names, the oldest first.
_NAMED = 50


@dataclass(frozen=True, slots=True)
class SpoolState:
    """Counts of one spool. ``unsent`` = not acknowledged whole; the others wait for their receipt."""

    folder: Path
    tenant: str
    robot_id: str
    model_id: str
    in_use: bool
    unsent_episodes: int
    unsent_frames: int
    without_receipt: int
    #: of records that are here, and at which no new episode may begin
    bytes: int
    limit_bytes: int
    #: TAKING, or FULL: new episodes are refused
    state: str
    #: the oldest of the unsent: id, number, frames, lane, records, acknowledged, ended, the hub's last word
    episodes: tuple[dict[str, Any], ...]

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {**asdict(self), "folder": str(self.folder)}


def inspect(folder: Path, settings: Settings) -> SpoolState:
    """Look into one spool; raises :class:`SpoolError` for a folder that is none."""
    tables = Tables(folder / TABLES)
    try:
        rows = [row for row in tables.episodes() if not row.done]
        redo = {row.key for row in rows if tables.redo(row.key)}
        owner = {name: str(tables.fact(name, "")) for name in ("tenant", "robot_id", "model_id")}
    finally:
        tables.close()
    unsent = [row for row in rows if not row.whole or row.key in redo]
    held = sum(row.held for row in rows)
    return SpoolState(
        folder,
        **owner,
        in_use=in_use(folder),
        unsent_episodes=len(unsent),
        unsent_frames=sum(row.frames for row in unsent),
        without_receipt=len(rows) - len(unsent),
        bytes=held,
        limit_bytes=settings.spool_bytes,
        state="FULL" if held >= settings.spool_bytes else "TAKING",
        episodes=tuple(_episode(row) for row in unsent[:_NAMED]),
    )


def _episode(row: EpisodeRow) -> dict[str, Any]:
    return {
        "episode_id": row.id,
        "episode_no": row.number,
        "frames": row.frames,
        "lane": row.lane,
        "records": row.records,
        "acknowledged": row.acked,
        "ended": row.ended,
        "receipt": row.receipt,
    }
