"""What other rules would say of stored episodes, by the code that a worker closes them with; writes nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from kinestream.schemas.codec import Codec
from kinestream.schemas.content_hash import BLOCK
from kinestream.schemas.errors import StoreError
from kinestream.schemas.layout import Layout
from kinestream.schemas.models import Models
from kinestream.schemas.registry import Registry
from kinestream.schemas.rulebook import overlays_for, read_overlays
from kinestream.schemas.settings import Settings
from kinestream.streams.archive_rows import batches, date_of, readable
from kinestream.streams.assembly.partition import PartitionAssembler
from kinestream.streams.assembly.values import RESCORE, BlockRow, Closed, Deadlines, JsonDict, Loaded, LogRecord, Place
from kinestream.streams.events import plain
from kinestream.streams.judging import DESCRIBED, JUDGES, rules_are_for
from kinestream.streams.quality import Print, twins_of
from kinestream.streams.quality.tasks import TaskStatistics
from kinestream.streams.store.client import asking
from kinestream.streams.store.statistics import StatisticsStore
from kinestream.streams.store.store import Store
from kinestream.streams.task_statistics import task_for

#: Frames held at once: 32 joints x 3 take 40 MB.
FRAMES_HELD: Final = 100_000
_CHOSEN: Final = (
    "episode_id, tenant, robot_id, model_id, skill, toUInt16(stored_day) AS day, frames, cluster_id, topic,"
    " `partition`, status, reason, revision, verdict, machine_verdict, rule_version"
)
_LATEST: Final = "ORDER BY stored_day, episode_id, version DESC LIMIT 1 BY stored_day, episode_id"
#: Behind every command that an episode has obeyed.
_LAST: Final = (1 << 62) - 1


@dataclass(frozen=True, slots=True)
class Changed:
    """A finding that came, went, or holds under another threshold or flag; ``before`` or ``after`` None = not there.

    Each is the finding's metric, joint, flag, value, unit, threshold, origin and message.
    """

    before: JsonDict | None
    after: JsonDict | None


@dataclass(frozen=True, slots=True)
class Rescored:
    """One episode judged again. ``placed``: its row; ``verdict`` what would hold, ``machine_verdict`` what rules say.

    ``changes``: whether that is a revision. ``pins`` and ``rule_version`` are what a command must say of it.
    ``problem``: why it could not be judged, or empty.
    """

    placed: JsonDict
    changes: bool = False
    verdict: str = ""
    machine_verdict: str = ""
    pins: Mapping[str, str] = field(default_factory=dict)
    rule_version: str = ""
    findings: tuple[Changed, ...] = field(default=())
    problem: str = ""


class Rescorer:
    """Judges closed episodes by ``overlays`` (``read_overlays``), or, where that is None, by the settings' rules.

    ``models``: the descriptions of robots in force. Statistics of tasks are the newest in the store. Every method
    raises :class:`StoreError` where the store is away or has no such episode.
    """

    def __init__(self, settings: Settings, url: str, overlays: str | None = None, models: Models = DESCRIBED) -> None:
        self._url = url
        reader, password = settings.clickhouse_reader, settings.clickhouse_reader_password
        self._store = Store(replace(settings, clickhouse_user=reader, clickhouse_password=password), url)
        self._registry = Registry(settings.registry)
        self._limits, self._overlays = Deadlines.of(settings), overlays
        own = read_overlays(settings.rules) if settings.rules else ""
        self._snapshots = _Snapshots(StatisticsStore(self._store))
        self._judge_for = partial(
            JUDGES[settings.metrics], models=models, overlays=own, statistics=self._snapshots.find
        )

    def chosen(
        self, since: datetime | None = None, skills: Sequence[str] = (), models: Sequence[str] = ()
    ) -> Iterator[JsonDict]:
        """Closed episodes, a day at a time; ``since``: those whose last record came then or later."""
        first = datetime(1970, 1, 1, tzinfo=UTC)
        ended = round((since or first).timestamp() * 1000)
        for one in self._ask("SELECT DISTINCT toUInt16(stored_day) AS day FROM episodes ORDER BY day"):
            sql = (
                f"SELECT {_CHOSEN} FROM (SELECT * FROM episodes WHERE stored_day = {{day:Date}} {_LATEST})"
                " WHERE status NOT IN ('QUARANTINED', 'WITHDRAWN')"
                " AND ended_at >= fromUnixTimestamp64Milli({since:Int64})"
                " AND (empty({skills:Array(String)}) OR has({skills:Array(String)}, skill))"
                " AND (empty({models:Array(String)}) OR has({models:Array(String)}, model_id))"
            )
            given = {"skills": list(skills), "models": list(models), "since": ended}
            yield from self._ask(sql, day=date_of(one["day"]), **given)

    def named(self, episode_ids: Sequence[str]) -> list[JsonDict]:
        """These; raises :class:`StoreError` for one that is not closed, or that nothing can be done with."""
        found = self.latest(episode_ids)
        for one in episode_ids:
            if one not in found:
                raise StoreError(f"no closed episode {one!r} in the store at {self._url}: see `kinestream episodes`")
            if found[one]["status"] in ("QUARANTINED", "WITHDRAWN"):
                raise StoreError(f"episode {one} is {found[one]['status']}: it is not judged again")
        return list(found.values())

    def latest(self, episode_ids: Iterable[str]) -> dict[str, JsonDict]:
        """The rows of these as they stand, by id."""
        sql = f"SELECT {_CHOSEN} FROM episodes WHERE episode_id IN {{ids:Array(String)}} {_LATEST}"
        return {row["episode_id"]: row for row in self._ask(sql, ids=list(episode_ids))}

    def judge(self, episodes: Iterable[JsonDict]) -> Iterator[Rescored]:
        """One answer an episode, in batches of neighbours."""
        for part in _parts(episodes):
            for batch in batches(part, FRAMES_HELD):
                yield from self._batch(batch)

    def _batch(self, rows: Sequence[JsonDict]) -> Iterator[Rescored]:
        with asking(self._url):
            stored = self._store.closed([row["episode_id"] for row in rows], Codec(self._registry, ""))
            self._snapshots.prepare([_labelled(one) for one in stored])
            blocks = self._store.blocks([(row["day"], row["robot_id"], row["episode_id"]) for row in rows])
        loaded = {one.episode_id: one for one in stored}
        mine: dict[str, list[BlockRow]] = {}
        for block in blocks:
            mine.setdefault(block.episode_id, []).append(block)
        waiting = [self._obeyed(row, loaded[row["episode_id"]], mine.get(row["episode_id"], [])) for row in rows]
        with asking(self._url):
            others = self._store.alike([one.take for one in waiting if one.take is not None])
        yield from (_sealed(one, others) for one in waiting)

    def _obeyed(self, row: JsonDict, loaded: Loaded, blocks: Sequence[BlockRow]) -> _Waiting:
        """What the owner of its partition does with the command, up to where it asks which takes it repeats."""
        assembler = PartitionAssembler(
            Place(row["cluster_id"], row["topic"], row["partition"]), self._limits, self._judge_for
        )
        found = _Waiting(row, loaded, blocks, assembler)
        try:
            found.pins = self._pins(loaded)
            command = _command(row, found.pins)
            assembler.unknown([command])
            assembler.learn([loaded], [command])
            assembler.reload(loaded.episode_id, [_outline(block) for block in blocks])
            if refused := assembler.obey([command]):
                found.problem = refused[0].text
            else:
                assembler.take()
                found.take = assembler.look(loaded.episode_id, blocks)
        except Exception as problem:  # a metric that fails on it, a row that is not ours: the others go on
            found.problem = repr(problem)
        return found

    def _pins(self, loaded: Loaded) -> dict[str, str]:
        """What the episode would be judged by if it was recorded now."""
        labels = _labelled(loaded)
        rules = {} if self._overlays is None else {"rules": overlays_for(self._overlays, *rules_are_for(labels))}
        return {**rules, **self._judge_for({**labels, "pins": rules}, Layout.from_avro(labels)).pins}

    def _ask(self, sql: str, **parameters: Any) -> list[JsonDict]:
        with asking(self._url):
            return [readable(row) for row in self._store.query(sql, parameters)]


@dataclass(slots=True)
class _Waiting:
    """An episode whose frames are judged, and that is not yet sealed."""

    row: JsonDict
    loaded: Loaded
    blocks: Sequence[BlockRow]
    assembler: PartitionAssembler
    pins: Mapping[str, str] = field(default_factory=dict)
    take: Print | None = None
    problem: str = ""


def _sealed(one: _Waiting, others: Sequence[Print]) -> Rescored:
    row = one.row
    if one.problem:
        return Rescored(row, problem=one.problem)
    judge = one.assembler.episodes[row["episode_id"]].frontier.judge
    try:
        twins = None if one.take is None else twins_of(one.take, others, judge.rules)
        closed = one.assembler.seal(row["episode_id"], one.blocks, twins)
    except Exception as problem:
        return Rescored(row, problem=repr(problem))
    if closed is None:
        return Rescored(row, False, row["verdict"], row["machine_verdict"], one.pins, judge.rule_version)
    verdicts = closed.row["verdict"], closed.row["machine_verdict"]
    return Rescored(row, True, *verdicts, one.pins, judge.rule_version, _findings(one.loaded.facts["lit"], closed))


class _Snapshots:
    """The newest statistics of the tasks at hand."""

    def __init__(self, store: StatisticsStore) -> None:
        self._store = store
        self._newest: dict[int, TaskStatistics | None] = {}

    def prepare(self, starts: Iterable[Mapping[str, Any]]) -> None:
        """Bring those of episodes with these labels."""
        tasks = {task.key for start in starts if (task := task_for(start, tuple(start["joints"])))}
        if fresh := sorted(tasks - self._newest.keys()):
            found = self._store.newest(fresh)
            self._newest |= {key: found[key].statistics if key in found else None for key in fresh}

    def find(self, start: Mapping[str, Any], layout: Layout) -> TaskStatistics | None:
        """The newest of its task, unless it is pinned to others."""
        task = task_for(start, layout.joints)
        newest = self._newest.get(task.key) if task else None
        pinned = start.get("pins", {}).get("task")
        return newest if newest is not None and pinned in (None, newest.version) else None


def _labelled(loaded: Loaded) -> JsonDict:
    """Its start, with the labels as they are now."""
    return {**loaded.start.value, "episode_id": loaded.episode_id, **loaded.facts["corrected"]}


def _command(row: JsonDict, pins: Mapping[str, str]) -> LogRecord:
    value = {
        **{name: row[name] for name in ("tenant", "robot_id", "episode_id", "revision")},
        "lane": row["topic"],
        "command_id": "",
        "kind": RESCORE,
        "by": "",
        "note": "",
        "labels": {},
        "verdict": "UNASSESSED",
        "pins": dict(pins),
        "rule_version": "",
    }
    return LogRecord(_LAST, _LAST, row["robot_id"].encode(), b"", "EpisodeCommand", value, 0)


def _outline(block: BlockRow) -> BlockRow:
    """As a worker reads it first: its values come when it is judged."""
    return replace(block, channels={}) if len(block.seq) == BLOCK else block


def _findings(before: Sequence[JsonDict], closed: Closed) -> tuple[Changed, ...]:
    was = {one["finding_id"]: _told(one) for one in before}
    now = {c.finding.finding_id: _told(_fields(c.finding)) for c in closed.findings if c.state == "RAISED"}
    pairs = [Changed(was.get(one), now.get(one)) for one in dict.fromkeys([*now, *was])]
    return tuple(pair for pair in pairs if _decides(pair.before) != _decides(pair.after))


def _decides(finding: Mapping[str, Any] | None) -> Any:
    if finding is None:
        return None
    threshold = math.nan if finding["threshold"] is None else finding["threshold"]
    return finding["flag"], f"{threshold:.9g}"


def _fields(finding: Any) -> JsonDict:
    return {name: getattr(finding, name) for name in _TOLD}


_TOLD: Final = ("metric", "joint", "flag", "value", "unit", "threshold", "origin", "message")


def _told(finding: Mapping[str, Any]) -> JsonDict:
    told: JsonDict = plain({name: finding[name] for name in _TOLD})
    return told


def _parts(episodes: Iterable[JsonDict], size: int = 500) -> Iterator[list[JsonDict]]:
    part: list[JsonDict] = []
    for episode in episodes:
        part.append(episode)
        if len(part) == size:
            yield part
            part = []
    yield part
