"""Runs every check over captured messages, beside the worker's own assembler; reads no file and no topic."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kinestream.deploy.wire.capture import Captured
from kinestream.deploy.wire.checks import Book, Check, Result
from kinestream.deploy.wire.diagnosis import slip_of
from kinestream.deploy.wire.reception import Reception
from kinestream.deploy.wire.robots import RobotSeen
from kinestream.deploy.wire.takes import Take
from kinestream.deploy.wire.worker import MemoryWorker
from kinestream.schemas.catalogue import FRAMES_BULK
from kinestream.schemas.errors import LayoutError
from kinestream.schemas.frames import FrameChunk
from kinestream.schemas.layout import Layout
from kinestream.schemas.models import Models
from kinestream.schemas.reasons import DeadLetterReason
from kinestream.schemas.registry import Registry
from kinestream.schemas.settings import Settings
from kinestream.streams.assembly.values import CORRUPT, DeadLetter, LogRecord, Place

#: What of a closed episode's row the report repeats.
_TOLD = ("robot_id", "model_id", "topic", "status", "verdict", "frames", "frames_expected", "missing", "duplicates",
         "content_hash", "hash_verified")  # fmt: skip
#: Findings told of an episode.
_FINDINGS = 5


@dataclass(frozen=True, slots=True)
class Report:
    """What came of a run. ``dead_letters``: by reason, what a worker refuses; ``episodes``: what it keeps."""

    records: int
    checks: tuple[Check, ...]
    dead_letters: Mapping[str, int]
    episodes: tuple[Mapping[str, Any], ...]
    #: episodes that began before the capture: of these only single messages are checked
    cut_off: int

    @property
    def conforms(self) -> bool:
        """Nothing failed; advice and what was not seen do not count."""
        return not any(check.result == Result.FAIL for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        """As one document."""
        return {
            "conforms": self.conforms,
            "records": self.records,
            "checks": [check.to_json() for check in self.checks],
            "dead_letters": dict(self.dead_letters),
            "episodes": list(self.episodes),
            "cut_off": self.cut_off,
        }


def check(
    messages: Iterable[Captured],
    registry: Registry,
    partitions: int,
    settings: Settings | None = None,
    models: Models | None = None,
) -> Report:
    """Look at messages in the order of the log. Raises what reading them raises, and where the registry is away.

    ``partitions``: of the frames topics; ``models``: those registered, else only the described ones.
    """
    run = _Run(registry, partitions, settings or Settings(), models or Models())
    records = 0
    for message in messages:
        run.look(message)
        records = message.number
    return run.report(records)


class _Run:
    def __init__(self, registry: Registry, partitions: int, settings: Settings, models: Models) -> None:
        self._settings, self._models = settings, models
        self._book = Book()
        self._reception = Reception(self._book, registry, partitions)
        self._workers: dict[tuple[str, int], MemoryWorker] = {}
        self._takes: dict[str, Take] = {}
        self._robots: dict[str, RobotSeen] = {}
        #: the take that is open on a topic, by topic and robot
        self._open: dict[tuple[str, str], Take] = {}
        #: keys of messages that could not be read: what their episodes lack follows from it
        self._unread: set[bytes | None] = set()
        #: episodes whose start was refused or came before the capture
        self._refused: set[str] = set()
        self._cut_off: set[str] = set()
        self._first_seen: dict[str, Captured] = {}
        self._now_ms = 0

    # -- one message ------------------------------------------------------------

    def look(self, message: Captured) -> None:
        record = self._reception.receive(message)
        if record is None:
            self._miss(message)
            return
        self._now_ms = max(self._now_ms, record.broker_ms)
        record.broker_ms = self._now_ms
        worker = self._worker(message)
        conflicts = worker.conflicts()
        letters = [one for one in worker.take(record) if one.offset == message.number]
        seen = {
            "EpisodeStart": self._start,
            "FrameChunk": self._chunk,
            "EpisodeEnd": self._end,
            "EpisodeMark": self._mark,
            "RobotStatus": self._status,
        }.get(record.record)
        if seen is None:
            reason = str(DeadLetterReason.INCONSISTENT)
            self._book.broke("record", message, f"a {record.record}", "a record of the frames topics", reason)
            self._miss(message)
        else:
            seen(message, record, letters[0] if letters else None, worker.conflicts() - conflicts)
        value = record.value
        episode_id = value.episode_id if record.record == "FrameChunk" else value.get("episode_id")
        if letters and episode_id not in self._cut_off:
            self._reception.refused(letters[0].reason)

    def _miss(self, message: Captured) -> None:
        """A message that says nothing: what the takes of its sender now lack follows from it."""
        self._unread.add(message.own_key)
        for take in self._takes.values():
            if take.ended is None and take.began.own_key == message.own_key:
                take.broken = True

    def _worker(self, message: Captured) -> MemoryWorker:
        place = message.topic, self._reception.place(message)
        if place not in self._workers:
            live = f".{FRAMES_BULK.entity}." not in message.topic
            codec = self._reception.codec(message.topic)
            self._workers[place] = MemoryWorker(
                Place("capture", *place), codec, self._settings, self._models, live_lane=live
            )
        return self._workers[place]

    def _robot(self, message: Captured, robot_id: str) -> RobotSeen:
        if robot_id not in self._robots:
            self._robots[robot_id] = RobotSeen(self._book, robot_id, self._models)
        if message.key_known:
            own = message.own_key
            key = "no key" if own is None else f"key {own[:80].decode(errors='backslashreplace')!r}"
            self._book.judge("key", own == robot_id.encode(), message, key, f"key {robot_id!r}, the robot_id")
        self._robots[robot_id].hear(message)
        return self._robots[robot_id]

    # -- by kind ----------------------------------------------------------------

    def _start(self, message: Captured, record: LogRecord, letter: DeadLetter | None, _: int) -> None:
        start = record.value
        robot = self._robot(message, start["robot_id"])
        self._reception.check_tenant(message, start["tenant"])
        known = self._takes.get(start["episode_id"])
        if known is not None:
            self._again(message, start, known)
            return
        try:
            layout = Layout.from_avro(start)
        except LayoutError as problem:
            self._refused.add(start["episode_id"])
            expected = "joints and channels that fit, and the layout_id of them"
            self._book.broke("layout", message, str(problem), expected, str(letter.reason) if letter else "")
            return
        self._book.held("layout")
        robot.begin(message, start)
        take = Take(self._book, message, start, layout)
        self._takes[take.id] = take
        where = message.topic, take.robot_id
        before = self._open.get(where)
        if before is not None and before.marked and take.live and before.start["boot_id"] == start["boot_id"]:
            received = f"take {take.id} begins, take {before.id} has not ended"
            self._book.broke("end", message, received, "EpisodeEnd first; without it the take closes SUPERSEDED")
        self._open[where] = take
        if take.id in self._first_seen:
            take.broken = True
        self._first_seen.setdefault(take.id, message)

    def _again(self, message: Captured, start: Mapping[str, Any], known: Take) -> None:
        if message.topic != known.began.topic:
            received = f"episode {known.id} on {message.topic}"
            self._book.broke("lane", message, received, f"{known.began.topic}, where it began")
        elif start != known.start:
            other = [name for name in start if start[name] != known.start.get(name)]
            received = f"a second start of {known.id} with another {', '.join(other)}"
            self._book.broke("start", message, received, "one start; repeated, the same bytes")
        else:
            self._book.held("start")

    def _chunk(self, message: Captured, record: LogRecord, letter: DeadLetter | None, conflicts: int) -> None:
        chunk: FrameChunk = record.value
        take = self._of(message, chunk.episode_id, letter, chunk.first_seq)
        if take is None:
            return
        robot = self._robot(message, take.robot_id)
        if letter is not None:
            take.broken = True
            name, received, expected = _blame(take, chunk, letter)
            self._book.broke(name, message, received, expected, str(letter.reason))
            return
        take.add(message, chunk, conflicts)
        robot.chunk(take)

    def _end(self, message: Captured, record: LogRecord, letter: DeadLetter | None, _: int) -> None:
        take = self._of(message, record.value["episode_id"], letter, -1)
        if take is None:
            return
        self._robot(message, take.robot_id)
        if letter is not None:
            self._book.broke("total", message, letter.text, f"{take.next_seq} frames, which came", str(letter.reason))
            take.broken, take.ended, take.end = True, message, record.value
        elif take.end is None:
            take.end, take.ended, take.last = record.value, message, message
            given = bool(record.value["content_hash"])
            self._book.judge("hash_given", given, message, "no content_hash", "32 lower-case hexadecimal digits")
        same = take.end == record.value
        self._book.judge("end", same, message, "a second EpisodeEnd that says something else", "one; or the same again")
        where = message.topic, take.robot_id
        if self._open.get(where) is take:
            del self._open[where]

    def _mark(self, message: Captured, record: LogRecord, letter: DeadLetter | None, _: int) -> None:
        take = self._of(message, record.value["episode_id"], letter, -1)
        if take is not None:
            self._robot(message, take.robot_id)
            if letter is not None:
                self._book.broke(
                    "record", message, letter.text, "fewer marks, of takes that have an end", letter.reason
                )

    def _status(self, message: Captured, record: LogRecord, _: DeadLetter | None, __: int) -> None:
        value = record.value
        self._reception.check_tenant(message, value["tenant"])
        robot = self._robot(message, value["robot_id"])
        robot.status(message, value, self._open.get((message.topic, value["robot_id"])))

    def _of(self, message: Captured, episode_id: str, letter: DeadLetter | None, first_seq: int) -> Take | None:
        """The take a record belongs to; None, and what is wrong is told, where it has not begun here."""
        take = self._takes.get(episode_id)
        first = self._first_seen.setdefault(episode_id, message)
        if take is not None and take.began.topic != message.topic:
            received = f"a record of {episode_id} on {message.topic}"
            self._book.broke("lane", message, received, f"{take.began.topic}, where it began", _reason(letter))
            take.broken = True
            return None
        if take is not None:
            self._book.held("lane")
            return take
        if episode_id in self._refused or message.own_key in self._unread or episode_id in self._cut_off:
            return None
        if first is message and first_seq != 0:
            self._cut_off.add(episode_id)  # it began before the capture
            return None
        received = f"frames of episode {episode_id}, which has not begun"
        self._book.broke("start", message, received, "its EpisodeStart first", DeadLetterReason.NO_START)
        return None

    # -- the whole --------------------------------------------------------------

    def report(self, records: int) -> Report:
        for worker in self._workers.values():
            worker.wait()
        for take in self._takes.values():
            take.finish()
            self._check_close(take)
        for robot in self._robots.values():
            robot.finish()
        checks = tuple(self._book.checks)
        letters = dict(self._reception.dead_letters)
        episodes = tuple(one for take in self._takes.values() for one in self._told(take))
        return Report(records, checks, letters, episodes, len(self._cut_off))

    def _check_close(self, take: Take) -> None:
        """Number and hash, by what the worker closed it with."""
        if take.end is None or take.ended is None or take.broken or take.holes:
            return
        n_total = take.end["n_total"]
        received = f"n_total {n_total}, frames 0 to {take.next_seq - 1}"
        self._book.judge("total", n_total == take.next_seq, take.ended, received, f"n_total {take.next_seq}")
        closed = self._worker(take.began).closed.get(take.id)
        if closed is None or n_total != take.next_seq or not take.end["content_hash"]:
            return
        claimed, found = take.end["content_hash"], closed.row["content_hash"]
        if closed.row["status"] != CORRUPT:
            self._book.held("hash")
            return
        slip = slip_of(claimed, found, take.layout.widths, self._worker(take.began).rows(take.id))
        if not slip and take.coarse:
            slip = "every offset_s is a float32: the stamps were rounded on their way (Avro for Java 1.12.0 does so)"
        expected = f"{found}; {slip}" if slip else found
        self._book.broke("hash", take.ended, f"{claimed} (the episode closes CORRUPT)", expected)

    def _told(self, take: Take) -> Iterator[dict[str, Any]]:
        """What became of a take; of a stream without marks, of each episode cut out of it."""
        worker = self._worker(take.began)
        ids = [take.id]
        if not take.marked:
            cuts = (closed.row for i, closed in worker.closed.items() if i not in self._takes)
            ids = [row["episode_id"] for row in cuts if row["robot_id"] == take.robot_id] or ids
        for episode_id in ids:
            closed = worker.closed.get(episode_id)
            if closed is None:
                frames = worker.open_episodes().get(episode_id, 0)
                facts = {"robot_id": take.robot_id, "topic": take.began.topic, "status": "OPEN", "frames": frames}
                yield {"episode_id": episode_id, **facts}
                continue
            findings = [change.finding.message for change in closed.findings if change.state == "RAISED"]
            yield {
                "episode_id": episode_id,
                **{name: closed.row[name] for name in _TOLD},
                "hash_verified": bool(closed.row["hash_verified"]),
                "findings": findings[:_FINDINGS],
            }


def _blame(take: Take, chunk: FrameChunk, letter: DeadLetter) -> tuple[str, str, str]:
    """Which check a refused chunk breaks, what came and what was expected."""
    widths, n = take.layout.widths, len(chunk)
    if chunk.layout_id != take.layout.layout_id:
        return "layout", f"layout_id {chunk.layout_id.hex()}", f"{take.layout.layout_id.hex()}, of the start"
    if n == 0 or chunk.first_seq < 0:
        return "seq", f"{n} frames from number {chunk.first_seq}", "one frame or more, from a number >= 0"
    if take.end is not None and chunk.first_seq + n > take.end["n_total"]:
        return "total", letter.text, f"no frame at or beyond n_total {take.end['n_total']}"
    if letter.reason == DeadLetterReason.OVERSIZE:
        return "size", letter.text, "an episode with fewer frames"
    sizes = {name: values.size for name, values in chunk.channels.items()}
    return "values", f"{n} frames with {sizes} values", f"{ {name: n * width for name, width in widths.items()} }"


def _reason(letter: DeadLetter | None) -> str:
    return str(letter.reason) if letter else ""
