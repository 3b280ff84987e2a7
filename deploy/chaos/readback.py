"""Reads everything back out of the store for the audit, and what is still in flight; it judges nothing."""

from __future__ import annotations

import logging
from typing import Any, Final

import numpy as np
from clickhouse_connect.driver.client import Client

from kinestream.deploy.chaos.audit import Stored
from kinestream.schemas.settings import Settings
from kinestream.streams.store.client import connect

# A store that was killed is expected here: what its client raises is enough.
logging.getLogger("clickhouse_connect").addHandler(logging.NullHandler())

_ROWS: Final = (
    "SELECT episode_id, revision, status, content_hash, channel_names, channel_widths FROM episodes"
    " ORDER BY episode_id, version DESC LIMIT 1 BY episode_id"
)
_BLOCKS: Final = (
    "SELECT seq, t_ns, position, velocity, effort, command, channel_names, channel_values FROM frame_blocks"
    " WHERE episode_id = {id:String} ORDER BY block, version DESC LIMIT 1 BY block"
)
_JOINT_CHANNELS: Final = ("position", "velocity", "effort", "command")


class ReadBack:
    """Plain SQL by the account that only reads: no reader of ours stands between the audit and the rows."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: Client | None = None

    def query(self, sql: str, **parameters: Any) -> list[Any]:
        """Rows; raises what the client raises while the store is away."""
        if self._client is None:
            mine = self._settings
            account = (mine.clickhouse_reader, mine.clickhouse_reader_password)
            self._client = connect(mine.clickhouse, mine.clickhouse_database, *account, timeout_s=20)
        return list(self._client.query(sql, parameters=parameters).result_rows)

    def revisions(self) -> dict[str, int]:
        """Latest stored revision of every closed episode."""
        return {row[0]: row[1] for row in self.query(_ROWS)}

    def in_flight(self) -> set[str]:
        """Episodes whose journal row is not yet a tombstone."""
        return {row[0] for row in self.query("SELECT episode_id FROM journal FINAL WHERE is_deleted = 0")}

    def stored(self) -> dict[str, Stored]:
        """Every episode that has a row, with its frames."""
        return {row[0]: self._episode(*row) for row in self.query(_ROWS)}

    def _episode(
        self, episode_id: str, revision: int, status: str, content_hash: str, names: list[str], widths: list[int]
    ) -> Stored:
        parts: dict[str, list[Any]] = {name: [] for name in ("seq", "t_ns", *names)}
        for seq, t_ns, *rest in self.query(_BLOCKS, id=episode_id):
            n = len(seq)
            flat = dict(zip(_JOINT_CHANNELS, rest[:4], strict=True)) | dict(zip(*rest[4:], strict=True))
            parts["seq"].append(np.array(seq, np.int64))
            parts["t_ns"].append(np.array(t_ns, np.int64))
            for name, width in zip(names, widths, strict=True):
                parts[name].append(np.array(flat[name], np.float32).reshape(width, n).T)
        joined: dict[str, Any] = {
            name: np.concatenate(values) if values else np.empty(0) for name, values in parts.items()
        }
        seq, t_ns = (joined.pop(name).astype(np.int64) for name in ("seq", "t_ns"))
        return Stored(episode_id, revision, status, content_hash, seq, t_ns, joined)
