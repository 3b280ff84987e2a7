"""Owns the demo's questions to the store: SQL over HTTP by the reader's account; it changes nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from clickhouse_connect.driver.exceptions import ClickHouseError

from kinestream.deploy.demo.measurement import FindingSeen, StoredEpisode
from kinestream.deploy.demo.published import Published
from kinestream.schemas.errors import StoreError
from kinestream.schemas.settings import Settings
from kinestream.streams.archive import Archive
from kinestream.streams.store.client import connect

#: Seconds between two looks for findings: what their latency may be wrong by.
FINDINGS_EVERY_S = 0.1

_STATUSES = """
SELECT episode_id, status FROM episodes
WHERE tenant = {tenant:String} ORDER BY version DESC LIMIT 1 BY episode_id"""
_FRAMES = """
SELECT episode_id, sum(n) FROM (
  SELECT episode_id, block, argMax(length(arrayDistinct(seq)), version) AS n FROM frame_blocks
  WHERE episode_id IN {ids:Array(String)} GROUP BY episode_id, block
) GROUP BY episode_id"""
_FINDING = ("finding_id", "episode_id", "robot_id", "metric", "joint", "flag", "message", "state")
_FINDINGS = f"""
SELECT {", ".join(_FINDING)} FROM findings
WHERE tenant = {{tenant:String}} ORDER BY version DESC LIMIT 1 BY episode_id, finding_id"""


class Reader:
    """The reader's view of one tenant."""

    def __init__(self, url: str, settings: Settings) -> None:
        user, password = settings.clickhouse_reader, settings.clickhouse_reader_password
        self._tenant = settings.tenant
        self._client = connect(url, settings.clickhouse_database, user, password)
        self._archive = Archive(settings, url)

    def statuses(self) -> dict[str, str]:
        """Status of every episode of the tenant that is stored."""
        return {row[0]: row[1] for row in self._rows(_STATUSES, tenant=self._tenant)}

    def episodes(self, published: Published) -> dict[str, StoredEpisode]:
        """What the store holds of the tenant's episodes and of the published ones, every hash computed from frames."""
        statuses = self.statuses()
        frames: dict[str, int] = {}
        for ids in _batches(sorted({*statuses, *published.takes})):
            frames.update({row[0]: row[1] for row in self._rows(_FRAMES, ids=ids)})
        hashes = {
            one.episode_id: one.computed for ids in _batches(sorted(statuses)) for one in self._archive.verify(ids)
        }
        return {
            i: StoredEpisode(i, statuses.get(i, ""), frames.get(i, 0), hashes.get(i, "")) for i in {*statuses, *frames}
        }

    def findings(self) -> list[FindingSeen]:
        """The tenant's findings as they are now."""
        rows = self._rows(_FINDINGS, tenant=self._tenant)
        now = time.time_ns()
        return [FindingSeen(**dict(zip(_FINDING, row, strict=True)), seen_ns=now) for row in rows]

    def _rows(self, sql: str, **parameters: Any) -> Sequence[Sequence[Any]]:
        try:
            return self._client.query(sql, parameters=parameters).result_rows
        except ClickHouseError as problem:
            raise StoreError(f"the store does not answer the demo's question: {problem}") from problem


class FindingsWatcher(threading.Thread):
    """Looks for findings again and again, and remembers when each could first be read."""

    def __init__(self, reader: Reader) -> None:
        super().__init__(name="findings watcher", daemon=True)
        self._reader = reader
        self._ended = threading.Event()
        self._found: dict[tuple[str, str], FindingSeen] = {}

    def run(self) -> None:
        """Look until :meth:`stop`; a store that is away for a moment is asked again."""
        while not self._ended.wait(FINDINGS_EVERY_S):
            try:
                self.look()
            except StoreError:
                continue

    def look(self) -> None:
        """Ask once."""
        found = dict(self._found)
        for new in self._reader.findings():
            key = (new.episode_id, new.finding_id)
            found[key] = replace(new, seen_ns=found[key].seen_ns) if key in found else new
        self._found = found

    @property
    def findings(self) -> list[FindingSeen]:
        """All so far, in the order in which they were first seen."""
        return list(self._found.values())

    def stop(self) -> None:
        """Stop looking."""
        self._ended.set()
        if self.is_alive():
            self.join(5)


def _batches(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """As many as fit into the address of a question."""
    return (ids[first : first + 100] for first in range(0, len(ids), 100))
