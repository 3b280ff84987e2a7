"""Reads closed episodes back from the store and checks them against all that is kept of them; it changes nothing."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from kinestream.schemas.codec import Codec
from kinestream.schemas.errors import ContractError, StoreError
from kinestream.schemas.registry import Registry
from kinestream.schemas.settings import Settings
from kinestream.streams.archive_rows import batches, date_of
from kinestream.streams.assembly.values import JsonDict
from kinestream.streams.store.client import asking
from kinestream.streams.store.store import Store
from kinestream.streams.verify_checks import Mismatch, StoredRow, event_mismatches, mismatches

#: Frames held at once: 32 joints x 3 take 40 MB.
FRAMES_HELD: Final = 100_000
AGREES, DIFFERS, CHANGING = "AGREES", "DIFFERS", "CHANGING"
#: Statuses without a content hash: their frames are of no account, or gone.
_UNHASHED: Final = ("QUARANTINED", "WITHDRAWN")
_HASHED: Final = f"status NOT IN {_UNHASHED}"
_CHOSEN: Final = "episode_id, robot_id, toUInt16(stored_day) AS day, frames"
_WHOLE: Final = (
    f"{_CHOSEN}, status, revision, frames_expected, missing, missing_ranges, blocks, content_hash, hash_verified,"
    " channel_names, channel_widths, event, `end`"
)
_LATEST: Final = "ORDER BY stored_day, episode_id, version DESC LIMIT 1 BY stored_day, episode_id"
_FRAMED: Final = frozenset({"event", "end"})


@dataclass(frozen=True, slots=True)
class Report:
    """What was found of one episode: AGREES, DIFFERS, or CHANGING (late frames are on their way into it)."""

    episode_id: str
    robot_id: str
    result: str
    frames: int
    blocks: int
    mismatches: tuple[Mismatch, ...] = ()


class Verifier:
    """Every method raises :class:`StoreError` where the store is away or has no such episode."""

    def __init__(self, settings: Settings, url: str) -> None:
        self._url = url
        reader, password = settings.clickhouse_reader, settings.clickhouse_reader_password
        self._store = Store(replace(settings, clickhouse_user=reader, clickhouse_password=password), url)
        self._codec = Codec(Registry(settings.registry), "")

    def all(self, since: datetime | None = None) -> Iterator[JsonDict]:
        """Closed episodes, a day at a time; with ``since`` those whose last record came then or later."""
        first = datetime(1970, 1, 1, tzinfo=UTC)
        days = self._ask("SELECT DISTINCT toUInt16(stored_day) AS day FROM episodes ORDER BY day")
        for one in days:
            sql = (
                f"SELECT {_CHOSEN} FROM (SELECT * FROM episodes WHERE stored_day = {{day:Date}} {_LATEST})"
                f" WHERE {_HASHED} AND ended_at >= fromUnixTimestamp64Milli({{since:Int64}})"
            )
            yield from self._ask(sql, day=date_of(one["day"]), since=round((since or first).timestamp() * 1000))

    def sample(self, count: int, since: datetime | None = None) -> list[JsonDict]:
        """``count`` of them by chance, or all if there are no more."""
        chosen: list[JsonDict] = []
        for seen, row in enumerate(self.all(since)):
            if len(chosen) < count:
                chosen.append(row)
            elif (at := random.randrange(seen + 1)) < count:
                chosen[at] = row
        return chosen

    def any_one(self) -> list[JsonDict]:
        """One of a day taken by chance, cheaply however many there are; none of an empty store."""
        days = self._ask("SELECT DISTINCT toUInt16(stored_day) AS day FROM episodes")
        if not days:
            return []
        where = f"stored_day = {{day:Date}} AND {_HASHED} ORDER BY rand() LIMIT 1"
        return self._ask(f"SELECT {_CHOSEN} FROM episodes WHERE {where}", day=date_of(random.choice(days)["day"]))

    def named(self, episode_ids: Sequence[str]) -> list[JsonDict]:
        """These; raises :class:`StoreError` for one that is not closed, or has nothing to verify."""
        sql = f"SELECT {_CHOSEN}, status FROM episodes WHERE episode_id IN {{ids:Array(String)}} {_LATEST}"
        found = {row["episode_id"]: row for row in self._ask(sql, ids=list(episode_ids))}
        for one in episode_ids:
            if one not in found:
                raise StoreError(f"no closed episode {one!r} in the store at {self._url}: see `kinestream episodes`")
            if found[one]["status"] in _UNHASHED:
                raise StoreError(f"episode {one} is {found[one]['status']}: nothing is promised of its frames")
        return list(found.values())

    def verify(self, episodes: Iterable[JsonDict]) -> Iterator[Report]:
        """One report an episode, in batches of neighbours. What differs is read a second time before it is said."""
        for part in _parts(episodes):
            for batch in batches(part, FRAMES_HELD):
                for report in self._batch(batch):
                    yield report if report.result == AGREES else self._again(report, batch)

    def _again(self, report: Report, batch: Sequence[JsonDict]) -> Report:
        """An episode that late frames reach while it is read differs for a moment, and is in the journal."""
        sql = "SELECT count() AS n FROM journal FINAL WHERE is_deleted = 0 AND episode_id = {id:String}"
        for _ in range(2):
            if self._ask(sql, id=report.episode_id)[0]["n"]:
                return replace(report, result=CHANGING, mismatches=())
            mine = self._batch([row for row in batch if row["episode_id"] == report.episode_id])
            report = mine[0] if mine else replace(report, result=CHANGING, mismatches=())
        return report

    def _batch(self, chosen: Sequence[JsonDict]) -> list[Report]:
        keys = [(row["day"], row["robot_id"], row["episode_id"]) for row in chosen]
        sql = (
            f"SELECT {_WHOLE} FROM episodes WHERE stored_day IN {{days:Array(Date)}}"
            f" AND episode_id IN {{ids:Array(String)}} {_LATEST}"
        )
        days = [date_of(day) for day in sorted({key[0] for key in keys})]
        episodes = self._ask(sql, days=days, ids=[key[2] for key in keys])
        rows: dict[str, list[StoredRow]] = {episode["episode_id"]: [] for episode in episodes}
        with asking(self._url):
            for facts, row, problem in self._store.readable_blocks(keys):
                stored = StoredRow(facts["block"], facts["version"], facts["frames"], row, problem)
                rows.setdefault(facts["episode_id"].decode(), []).append(stored)
        # One that was withdrawn since it was chosen has no hash any more.
        return [self._report(e, rows[e["episode_id"]]) for e in episodes if e["status"] not in _UNHASHED]

    def _report(self, episode: JsonDict, rows: Sequence[StoredRow]) -> Report:
        found = (*mismatches(episode, rows), *self._event(episode))
        frames = sum(len(one.row.seq) for one in rows if one.row)
        result = DIFFERS if found else AGREES
        return Report(episode["episode_id"], episode["robot_id"], result, frames, len(rows), found)

    def _event(self, episode: JsonDict) -> Iterator[Mismatch]:
        try:
            event = self._codec.decode(episode["event"]).value
            end = self._codec.decode(episode["end"]).value if episode["end"] else {}
            yield from event_mismatches(episode, event, end.get("content_hash"))
        except (ContractError, KeyError) as problem:
            yield Mismatch(f"the event or the end mark cannot be read: {problem}")

    # -- the store --------------------------------------------------------------

    def _ask(self, sql: str, **parameters: Any) -> list[JsonDict]:
        with asking(self._url):
            return [_told(row) for row in self._store.query(sql, parameters)]


def _parts(episodes: Iterable[JsonDict], size: int = 500) -> Iterator[list[JsonDict]]:
    part: list[JsonDict] = []
    for episode in episodes:
        part.append(episode)
        if len(part) == size:
            yield part
            part = []
    yield part


def _told(row: JsonDict) -> JsonDict:
    return {name: value if name in _FRAMED else _text(value) for name, value in row.items()}


def _text(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return [_text(one) for one in value] if isinstance(value, list) else value
