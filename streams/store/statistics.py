"""Statistics of tasks in the store: snapshots by task or name, and the takes they are made of; computes none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from kinestream.streams.quality.tasks import (
    POSES,
    Features,
    StoredStatistics,
    Task,
    TaskStatistics,
    statistics_from,
)
from kinestream.streams.store.store import Store


class StatisticsStore:
    """Reads are bounded: the newest rows of one bucket, from the end of the key."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def newest(self, tasks: Sequence[int]) -> dict[int, StoredStatistics]:
        """The newest snapshot of each of these tasks that has one."""
        columns = "task, newest_ms, statistics, tenant, skill, model_id, joints, content"
        found = {}
        for task in tasks:
            sql = f"SELECT {columns} FROM task_statistics WHERE task = {task}"
            for row in self._store.query(f"{sql} ORDER BY newest_ms DESC, statistics DESC LIMIT 1", {}):
                found[task] = _stored(row)
        return found

    def named(self, versions: Sequence[str]) -> dict[str, TaskStatistics]:
        """Snapshots by name; each name begins with its task's key."""
        keys = sorted({int(version.partition("-")[0], 16) for version in versions})
        sql = (
            f"SELECT statistics, content FROM task_statistics WHERE task IN ({','.join(map(str, keys))})"
            " AND statistics IN {versions:Array(String)} LIMIT 1 BY statistics"
        )
        rows = self._store.query(sql, {"versions": list(versions)})
        names = [row["statistics"].decode() for row in rows]
        return {name: statistics_from(name, row["content"]) for name, row in zip(names, rows, strict=True)}

    def takes(self, task: int, most: int) -> list[tuple[int, Features]]:
        """Start (broker time, ms) and features of the ``most`` newest takes of a task, the newest first."""
        columns = "started_ms, gone, seconds, metric_ids, metric_values, start_pose, end_pose"
        sql = (
            f"SELECT {columns} FROM takes WHERE bucket = {task} AND kind = 'task'"
            f" ORDER BY started_ms DESC, take DESC, version DESC LIMIT 1 BY started_ms, take LIMIT {most}"
        )
        return [(row["started_ms"], _features(row)) for row in self._store.query(sql, {}) if not row["gone"]]

    def insert(self, rows: pa.Table) -> None:
        """Durable when it returns; raises as :meth:`Store.insert`."""
        self._store.insert("task_statistics", rows)


def _stored(row: Mapping[str, Any]) -> StoredStatistics:
    tenant, skill, model = (row[name].decode() for name in ("tenant", "skill", "model_id"))
    task = Task(tenant, skill, model, tuple(joint.decode() for joint in row["joints"]))
    name = row["statistics"].decode()
    return StoredStatistics(task, row["newest_ms"], statistics_from(name, row["content"]))


def _features(row: Mapping[str, Any]) -> Features:
    ids = [metric.decode() for metric in row["metric_ids"]]
    poses = {name: np.array(row[f"{name}_pose"], np.float64) for name in POSES}
    return Features(row["seconds"], dict(zip(ids, row["metric_values"], strict=True)), poses)
