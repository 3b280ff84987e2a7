"""The read side of the store: episodes, their findings and frames, by the account that only reads."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Final

import numpy as np

from kinestream.schemas.codec import Codec
from kinestream.schemas.content_hash import content_hash
from kinestream.schemas.errors import StoreError
from kinestream.schemas.layout import Layout
from kinestream.schemas.registry import Registry
from kinestream.schemas.settings import Settings
from kinestream.streams.archive_rows import (
    OPEN,
    TEXTS,
    batches,
    date_of,
    joined,
    open_row,
    origin,
    readable,
    shown,
    widths,
)
from kinestream.streams.assembly.seal import hashed_rows
from kinestream.streams.assembly.values import BlockRow, JsonDict
from kinestream.streams.events import plain
from kinestream.streams.store.client import asking
from kinestream.streams.store.store import Store

# Its errors are raised and become ours: its log of them would be a second line on the terminal of who logs nothing.
logging.getLogger("clickhouse_connect").addHandler(logging.NullHandler())

#: Frames of whole episodes that :meth:`Archive.verify` holds at once: 32 joints x 3 take 80 MB.
VERIFY_FRAMES: Final = 200_000

_COLUMNS: Final = (
    f"{', '.join(TEXTS)}, machine_verdict, reviewed_by, revision, frames, missing, findings, duration_s,"
    " toUnixTimestamp64Milli(started_at) AS started_ms, toUInt16(stored_day) AS day"
)
_DETAIL: Final = (
    f"{_COLUMNS}, tenant, boot_id, episode_no, site, station, operator, final, frames_expected, duplicates, late,"
    " blocks, toUnixTimestamp64Milli(ended_at) AS ended_ms, nominal_rate_hz, joints, channel_names, channel_widths,"
    " review_verdict, review_note, reviewed_revision, toUnixTimestamp64Milli(reviewed_at) AS reviewed_ms,"
    " content_hash, hash_verified, rule_version, topic, `partition`, first_offset, last_offset, source, event, start"
)
_LABELS: Final = ("skill", "area", "site", "station", "operator", "task")
_PLACED: Final = (
    "episode_id, tenant, robot_id, topic, status, reason, revision, verdict, machine_verdict, review_verdict,"
    f" reviewed_by, review_note, rule_version, {', '.join(_LABELS)}"
)
_JOURNAL: Final = "SELECT episode_id, topic, toUInt16(stored_day) AS day, facts, start FROM journal FINAL WHERE"


@dataclass(frozen=True, slots=True)
class Verified:
    """The content hash in an episode's row, and the one computed from its frames as they were read back."""

    episode_id: str
    stored: str
    computed: str

    @property
    def agrees(self) -> bool:
        """Whether the store gives back what was hashed when the episode closed."""
        return self.stored == self.computed


@dataclass(frozen=True, slots=True)
class _Found:
    """What reading an episode's frames needs to know of it."""

    day: int
    robot_id: str
    joints: Sequence[str]
    widths: Mapping[str, int]


class Archive:
    """What the store at ``url`` holds. Every method raises :class:`StoreError`: the store is away, or has no such
    episode.
    """

    def __init__(self, settings: Settings, url: str) -> None:
        self._url = url
        reader, password = settings.clickhouse_reader, settings.clickhouse_reader_password
        self._store = Store(replace(settings, clickhouse_user=reader, clickhouse_password=password), url)
        self._registry = Registry(settings.registry)

    def episodes(self, last: int = 20) -> list[JsonDict]:
        """The ``last`` episodes, newest first by broker time, of every status; those in flight have status OPEN.

        Each a dict ready for JSON: episode_id, robot_id, model_id, skill, area, task, status, outcome, verdict (what
        holds), machine_verdict and reviewed_by (empty = by nobody), reason, revision, frames, missing, findings (their
        number), duration_s, started_at (ISO, UTC).
        """
        if last < 1:
            raise StoreError(f"last={last}: ask for 1 episode or more")
        in_flight = self._in_flight()  # first: what closes meanwhile is then found among the closed
        closed = self._closed(last)
        open_ids = self._unknown(list(in_flight), closed)
        rows = [*closed, *(open_row(*in_flight[episode_id]) for episode_id in open_ids)]
        self._count_frames([row for row in rows if row["status"] == OPEN])
        rows.sort(key=lambda row: (row["started_ms"], row["episode_id"]), reverse=True)
        return [shown(row) for row in rows[:last]]

    def episode(self, episode_id: str) -> JsonDict:
        """One episode, its latest revision: as in :meth:`episodes`, with every further column, ``metrics``
        ({id, joint, value, unit, flag} each) and ``findings``, the worst first. Its start record tells ``channels``
        ({name, width, unit, element_names} each; joints name those of joints), ``conversions`` (sentences in order),
        ``source`` and, of a recording with a date, ``source_started_at`` and, once closed, ``source_ended_at`` (ISO,
        UTC, to the ns), both by its own clock. Ready for JSON.
        """
        row = self._row(episode_id, _DETAIL)
        metrics: list[Any] = []
        if row is None:
            row = self._open(episode_id)
            self._count_frames([row])
            start = row["start"]
        else:
            metrics = Codec(self._registry, "").decode(bytes(row["event"])).value["metrics"]
            start = self._start(row)
        findings = self._findings(row["day"], episode_id)
        told = shown({**row, "findings": len(findings)}) | origin(start, row["duration_s"])
        return told | {"metrics": plain(metrics), "findings": findings}

    def placed(self, episode_id: str) -> JsonDict:
        """What a command must say of an episode, and may change, ready for JSON: episode_id, tenant, robot_id, topic,
        status (OPEN while it was never closed), reason, revision, its labels but for ``job``, and of a closed one the
        verdicts, the review and the rule version.
        """
        row = self._row(episode_id, _PLACED)
        if row is not None:
            return row
        journal = self._journal_row(episode_id)
        start = self._start(journal)
        labels = {name: start[name] for name in ("tenant", "robot_id", *_LABELS)}
        revision = journal["facts"]["revision"]
        return {"episode_id": episode_id, "topic": journal["topic"], **labels, "status": OPEN, "reason": "",
                "revision": revision}  # fmt: skip

    def frames(self, episode_id: str, day: str = "") -> dict[str, Any]:
        """The frames of an episode's latest revision, ascending; missing frames are absent. An open one's, so far.

        ``seq`` int64 (n,); ``t`` float64 (n,) seconds from the first frame; ``t_ns`` int64 (n,); ``joints`` unicode
        (J,); each measured channel float32 (n, width) under its name, bit for bit. ``day``: its stored day (ISO),
        where it is known: it saves a search.
        """
        found = self._found(episode_id, day)
        blocks = self._blocks([(found.day, found.robot_id, episode_id)])
        t_ns = joined([block.t_ns for block in blocks], np.int64)
        return {
            "seq": joined([block.seq for block in blocks], np.int64),
            "t": (t_ns - t_ns[0]) / 1e9 if len(t_ns) else np.empty(0, np.float64),
            "t_ns": t_ns,
            "joints": np.array(found.joints, np.str_),
            **{
                name: joined([block.channels[name] for block in blocks], np.float32, width)
                for name, width in found.widths.items()
            },
        }

    def element_names(self, episode_id: str) -> dict[str, tuple[str, ...]]:
        """What each column of a channel is called, of the channels whose robot names them; not those of joints."""
        row = self._row(episode_id, "start, topic")
        start = self._open(episode_id)["start"] if row is None else self._start(row)
        return {c["name"]: tuple(c["element_names"]) for c in start["channels"] if c["element_names"]}

    def verify(self, episode_ids: Iterable[str]) -> Iterator[Verified]:
        """Read the frames of closed episodes back and hash them again; one answer an episode, in order of days.

        Holds a bounded number of frames at once. An id that no closed episode bears gets no answer.
        """
        columns = "episode_id, robot_id, toUInt16(stored_day) AS day, frames, frames_expected, content_hash"
        sql = (
            f"SELECT {columns}, channel_names, channel_widths FROM episodes WHERE episode_id IN {{ids:Array(String)}}"
            " ORDER BY stored_day, episode_id, version DESC LIMIT 1 BY stored_day, episode_id"
        )
        for batch in batches(self._ask(sql, ids=sorted(set(episode_ids))), VERIFY_FRAMES):
            blocks: dict[str, list[BlockRow]] = {row["episode_id"]: [] for row in batch}
            for block in self._blocks([(row["day"], row["robot_id"], row["episode_id"]) for row in batch]):
                blocks[block.episode_id].append(block)
            for row in batch:
                mine = blocks[row["episode_id"]]
                hashed = hashed_rows(mine) if mine else []
                yield Verified(
                    row["episode_id"],
                    row["content_hash"],
                    content_hash(widths(row), hashed, row["frames_expected"]),
                )

    # -- episodes ---------------------------------------------------------------

    def _closed(self, last: int) -> list[JsonDict]:
        """At least the ``last`` newest of ``episodes``, as far as there are so many: whole days, from the newest."""
        counts = self._ask(
            "SELECT toUInt16(stored_day) AS day, count() AS n FROM episodes GROUP BY day ORDER BY day DESC"
        )
        sql = (
            f"SELECT * FROM (SELECT {_COLUMNS} FROM episodes WHERE stored_day >= {{day:Date}}"
            " ORDER BY version DESC LIMIT 1 BY episode_id)"
            " ORDER BY started_ms DESC, episode_id DESC LIMIT {last:UInt32}"
        )
        held, rows = 0, []
        for one in counts:
            held += one["n"]
            if held < last and one is not counts[-1]:
                continue
            rows = self._ask(sql, day=date_of(one["day"]), last=last)
            if len(rows) >= last:  # rows not yet merged away count twice: then another day is needed
                break
        return rows

    def _in_flight(self) -> dict[str, tuple[JsonDict, JsonDict]]:
        """Journal row and decoded EpisodeStart of every episode in flight, by id."""
        return {row["episode_id"]: (row, self._start(row)) for row in self._ask(f"{_JOURNAL} is_deleted = 0")}

    def _unknown(self, ids: list[str], closed: list[JsonDict]) -> list[str]:
        """Those of ``ids`` that ``episodes`` does not hold: a reopened one is shown as its last revision says."""
        known = {row["episode_id"] for row in closed}
        left = [one for one in ids if one not in known]
        if left:
            sql = "SELECT DISTINCT episode_id FROM episodes WHERE episode_id IN {ids:Array(String)}"
            known |= {row["episode_id"] for row in self._ask(sql, ids=left)}
        return [one for one in left if one not in known]

    def _open(self, episode_id: str) -> JsonDict:
        row = self._journal_row(episode_id)
        return open_row(row, self._start(row))

    def _journal_row(self, episode_id: str) -> JsonDict:
        rows = self._ask(f"{_JOURNAL} is_deleted = 0 AND episode_id = {{id:String}}", id=episode_id)
        if not rows:
            raise StoreError(f"no episode {episode_id!r} in the store at {self._url}: `kinestream episodes` lists them")
        return rows[0]

    def _start(self, row: JsonDict) -> JsonDict:
        start: JsonDict = Codec(self._registry, row["topic"]).decode(bytes(row["start"])).value
        return start

    def _count_frames(self, rows: list[JsonDict]) -> None:
        """Frames of open episodes that are in blocks already."""
        if not rows:
            return
        sql = (
            "SELECT episode_id, sum(n) AS frames FROM (SELECT episode_id, block, max(frames) AS n FROM frame_blocks"
            " WHERE stored_day IN {days:Array(Date)} AND robot_id IN {robots:Array(String)}"
            " AND episode_id IN {ids:Array(String)} GROUP BY episode_id, block) GROUP BY episode_id"
        )
        days = [date_of(day) for day in {row["day"] for row in rows}]
        robots = sorted({row["robot_id"] for row in rows})
        found = self._ask(sql, days=days, robots=robots, ids=[row["episode_id"] for row in rows])
        counts = {one["episode_id"]: one["frames"] for one in found}
        for row in rows:
            row["frames"] = counts.get(row["episode_id"], 0)

    def _row(self, episode_id: str, columns: str, day: str = "") -> JsonDict | None:
        """The latest revision in ``episodes``."""
        where = " AND stored_day = {day:Date}" if day else ""
        sql = f"SELECT {columns} FROM episodes WHERE episode_id = {{id:String}}{where} ORDER BY version DESC LIMIT 1"
        rows = self._ask(sql, id=episode_id, **({"day": date.fromisoformat(day)} if day else {}))
        return rows[0] if rows else None

    def _findings(self, day: int, episode_id: str) -> list[JsonDict]:
        names = (
            "finding_id, metric, joint, flag, state, provisional, value, unit, threshold, origin, first_seq, last_seq,"
            " t_start_ns, t_end_ns, message, message_zh"
        )
        sql = (
            f"SELECT * FROM (SELECT {names} FROM findings WHERE stored_day = {{day:Date}} AND"
            " episode_id = {id:String} ORDER BY version DESC LIMIT 1 BY finding_id) WHERE state != 'CLEARED'"
            " ORDER BY flag = 'FAIL' DESC, first_seq, finding_id"
        )
        found: list[JsonDict] = plain(self._ask(sql, day=date_of(day), id=episode_id))
        return [{**one, "provisional": bool(one["provisional"])} for one in found]

    def unknown_models(self, known: Sequence[str]) -> list[JsonDict]:
        """Models of closed episodes that are not among ``known``, by id: ``robots``, ``episodes`` (numbers), and of
        the newest episode ``joints``, ``channels`` and ``not_evaluated`` (metrics).
        """
        sql = (
            "SELECT model_id, uniq(robot_id) AS robots, uniq(episode_id) AS episodes, argMax(joints, started_at) AS"
            " joints, argMax(channel_names, started_at) AS channels, argMax(arrayFilter((id, joint, flag) -> joint = ''"
            " AND flag = 'NOT_EVALUATED', metric_ids, metric_joints, metric_flags), started_at) AS not_evaluated FROM"
            " (SELECT model_id, robot_id, episode_id, joints, channel_names, metric_ids, metric_joints, metric_flags,"
            " started_at FROM episodes WHERE model_id NOT IN"
            " {known:Array(String)}) GROUP BY model_id ORDER BY model_id"
        )
        return [plain(row) for row in self._ask(sql, known=list(known))]

    # -- frames -------------------------------------------------------------------

    def _found(self, episode_id: str, day: str) -> _Found:
        columns = "robot_id, toUInt16(stored_day) AS day, joints, channel_names, channel_widths"
        row = self._row(episode_id, columns, day)
        if row is not None:
            return _Found(row["day"], row["robot_id"], row["joints"], widths(row))
        row = self._open(episode_id)
        layout = Layout.from_avro(row["start"])
        return _Found(row["day"], row["robot_id"], layout.joints, layout.widths)

    def _blocks(self, keys: Sequence[tuple[int, str, str]]) -> list[BlockRow]:
        with asking(self._url):
            return self._store.blocks(keys)

    # -- the store ------------------------------------------------------------------

    def _ask(self, sql: str, **parameters: Any) -> list[JsonDict]:
        """Rows with text columns as text; ``start`` and ``event`` stay bytes."""
        with asking(self._url):
            return [readable(row) for row in self._store.query(sql, parameters)]
