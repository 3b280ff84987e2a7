"""One robot in the gateway: its SDK robot, its open take, and which connection speaks for it; never a socket."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from kinestream.producers.episode import Episode
from kinestream.producers.findings import RobotFinding
from kinestream.producers.ingest.complaints import check_layout, short
from kinestream.producers.ingest.messages import End, Hello, Mark, Start
from kinestream.producers.ingest.takes import ENDED, OPEN, STORED, TakeNote, TakeNotes
from kinestream.producers.ingest.values import Frames, Memory
from kinestream.producers.intake import declared_channels
from kinestream.producers.robot import Robot, joints_of
from kinestream.producers.spool.promised import latest_records
from kinestream.producers.spool.receipts import Receipt
from kinestream.producers.stamps import AnchoredClock
from kinestream.schemas.errors import ContractError, IngestError
from kinestream.schemas.frames import FrameChunk, Int64
from kinestream.schemas.layout import JOINT_CHANNELS, Channel
from kinestream.schemas.models import find_model
from kinestream.schemas.settings import Settings

log = logging.getLogger("kinestream.ingest")

#: Makes the SDK robot of a hello on the spool in a folder.
MakeRobot = Callable[[Hello, Path, Callable[[Receipt], None]], Robot]


class Seat:
    """Whoever calls holds ``lock``, but for the properties."""

    def __init__(self, robot_id: str, folder: Path, make: MakeRobot, settings: Settings) -> None:
        self.robot_id, self._folder, self._make, self._settings = robot_id, folder, make, settings
        self.lock = threading.RLock()
        #: who speaks for the robot: the connection that said hello last
        self.speaker: object | None = None
        #: monotonic seconds at which the last one left
        self.left_s = time.monotonic()
        #: it was given up: another seat is to be made
        self.gone = False
        self.robot: Robot | None = None
        self.episode: Episode | None = None
        self.notes = TakeNotes()
        #: the open take
        self.note = TakeNote("", "")
        #: takes whose end mark is on its way into the spool
        self.ending: list[tuple[Episode, TakeNote]] = []
        #: answers about takes that have ended, for whoever speaks for the robot
        self.news: deque[dict[str, Any]] = deque(maxlen=256)
        self._receipts: deque[Receipt] = deque()
        self._hello: Hello | None = None
        self._joints: tuple[str, ...] = ()
        self._channels: dict[str, Channel] = {}
        self._memory, self._clock = Memory(), AnchoredClock()
        self._marks: set[tuple[int, str, str, str]] = set()

    # -- properties, for any thread ---------------------------------------
    @property
    def accepted(self) -> int:
        """Frames of the open take that will not be lost; 0 without one."""
        episode = self.episode
        return episode.accepted if episode else 0

    @property
    def taken(self) -> int:
        """Frames of the open take: number of the next one."""
        episode = self.episode
        return episode.frames if episode else 0

    @property
    def trouble(self) -> str:
        """Why nothing goes on to the broker, in a sentence; empty while all is well."""
        robot = self.robot
        return robot.trouble if robot else ""

    def names(self, channel: str) -> Sequence[str]:
        """Names of a channel's elements, as declared: those of the joints, or none."""
        known = self._channels.get(channel)
        return () if known is None else self._joints if channel in JOINT_CHANNELS else known.element_names

    # -- the robot --------------------------------------------------------
    def open(self, hello: Hello) -> None:
        """Have the SDK's robot as ``hello`` declares it; its open take goes on, unless its layout is another."""
        before, declared = self._hello, _declared(hello)
        if self.robot is not None and before is not None and declared == _declared(before):
            if hello.findings and not before.findings:
                self.robot.on_finding(self._found)
            self._hello = hello if hello.findings else replace(hello, findings=before.findings)
            return
        self.rest()
        try:
            self._use(hello)
        except ContractError:
            if before is not None:  # what it left is still to be sent
                self._use(before)
            raise

    def _use(self, hello: Hello) -> None:
        self.robot = self._make(hello, self._folder, self._receipts.append)
        if hello.findings:
            self.robot.on_finding(self._found)
        self._hello = hello
        self._joints = joints_of(hello.model_id, hello.joints)
        self._channels = {one.name: one for one in declared_channels(self._joints, hello.channels)}
        self.notes = TakeNotes(self.robot.note)
        left = self.robot.left_open
        note = self.notes.left_open(left.id if left else "")
        self.episode, self.note = left, note or TakeNote("", "")
        if left:
            self._remember(left)

    def leave(self) -> None:
        """Nobody speaks for the robot any more."""
        self.speaker, self.left_s = None, time.monotonic()

    def rest(self) -> None:
        """Let go of the spool; an open take stays open in it."""
        if self.robot is not None:
            self.robot.close(0.0, leave_open=True)
        self.robot = self.episode = self._hello = None
        self.ending.clear()

    def _remember(self, left: Episode) -> None:
        """What is in the spool of a take that another process began."""
        self._marks.clear()
        self._clock = AnchoredClock()
        self._memory.begin(0)
        for record in latest_records(self._folder, left.id):
            if isinstance(record, FrameChunk):
                if record.first_seq != self._memory.next:  # those before it had their receipt
                    self._memory.begin(record.first_seq)
                frames = Frames(record.first_seq, record.t_ns, _rows(record))
                self._memory.add(frames.prints(), record.t_ns)
            else:  # an EpisodeMark
                self._marks.add((record["seq"], record["kind"], record["label"], record["note"]))
        if self._memory.next != left.frames:
            self._memory.begin(left.frames)

    # -- a take -----------------------------------------------------------
    def start(self, start: Start) -> TakeNote:
        """Begin a take; raises as :meth:`Robot.episode`."""
        assert self.robot is not None
        assert self._hello is not None
        start.labels.setdefault("nominal_rate_hz", self._hello.rate_hz)
        self.episode = self.robot.episode(**start.labels)
        self.note = TakeNote(start.take, self.episode.id)
        self.notes.add(self.note)
        self.robot.keep_note(self.notes.text())
        self._memory.begin(0)
        self._marks.clear()
        self._clock = AnchoredClock()
        return self.note

    def frames(self, first: int, frames: Frames) -> None:
        """Take frames from number ``first`` on: known ones are dropped, the others go to the SDK.

        Raises :class:`IngestError` (GAP, CONFLICT) and what :meth:`Episode.send_many` raises.
        """
        episode, taken = self._open_take(), self.taken
        if first > taken:
            raise IngestError(
                "GAP", f"frame {first} is given, {taken} is next: send all from {taken} on", seq=first, expected=taken
            )
        widths = {name: rows.shape[1] for name, rows in frames.values.items()}
        check_layout(widths, self._channels, [one.name for one in episode.measured], self.names)
        prints, old = frames.prints(), min(taken - first, len(frames))
        differs = self._memory.differs(first, prints[:old], frames.t_ns)
        if differs is not None:
            raise IngestError(
                "CONFLICT",
                f"frame {differs} is given with other values or another stamp than were accepted: the first copy stays;"
                f" number new frames from {taken} on",
                seq=differs,
                expected=taken,
            )
        if old == len(frames):
            return
        stamps = np.array([self._clock.now_ns()], np.int64) if frames.t_ns is None else frames.t_ns
        self._send(episode, frames, stamps, prints, old)

    def _send(self, episode: Episode, frames: Frames, stamps: Int64, prints: list[int], old: int) -> None:
        values = {name: rows[old:] for name, rows in frames.values.items()}
        position, velocity, effort, command = (values.pop(name, None) for name in JOINT_CHANNELS)
        before = episode.frames
        try:
            episode.send_many(position, stamps[old:], velocity, effort, command, values)
        finally:
            new = slice(old, old + episode.frames - before)
            self._memory.add(prints[new], stamps[new])

    def mark(self, mark: Mark, seq: int) -> None:
        """Set a mark before frame ``seq``; one that is known changes nothing."""
        episode, taken = self._open_take(), self.taken
        known = (seq, mark.kind, mark.label, mark.note)
        if known in self._marks:
            return
        if seq != taken:
            raise IngestError(
                "GAP", f"a mark before frame {seq}, but {taken} is next: a mark comes before its frame", expected=taken
            )
        if len(self._marks) >= self._settings.episode_marks:
            raise IngestError("TOO_MANY", f"a take has {len(self._marks)} marks, as many as one may have")
        episode.mark(mark.kind, mark.label, mark.note, mark.t)
        self._marks.add(known)

    def end(self, end: End) -> TakeNote:
        """End the take as its robot says; raises :class:`IngestError` where it says what is not here."""
        episode = self._open_take()
        if end.n_total is not None and end.n_total != episode.frames:
            raise IngestError(
                "COUNT_DIFFERS",
                f"end: n_total={end.n_total}, but {episode.frames} frames are here: send those from {episode.frames}"
                " on, or give the number that was sent",
                expected=episode.frames,
            )
        if end.content_hash and end.content_hash != episode.hash_so_far():
            raise IngestError(
                "HASH_DIFFERS",
                f"end: content_hash={end.content_hash}, but {episode.hash_so_far()} is that of the frames that are"
                " here: compare them, then end without content_hash, with the outcome they deserve",
            )
        return self._end(episode, end)

    def abort(self, cause: str) -> None:
        """End the open take, if there is one, ABORTED."""
        if self.episode is not None:
            log.warning("robot %s: take %s is ended ABORTED: %s", self.robot_id, self.episode.id, cause)
            self._end(self.episode, End("ABORTED", cause, True, None, ""))

    def _end(self, episode: Episode, end: End) -> TakeNote:
        assert self.robot is not None
        note, self.episode = self.note, None
        note.frames, note.content_hash = episode.frames, episode.hash_so_far()
        note.state, note.outcome = ENDED, end.outcome
        # Before the end mark: should only one of the two be kept, the spool says that the take is open.
        self.robot.keep_note(self.notes.text())
        episode.end(end.outcome, end.error_cause, end.restorable)
        note.content_hash = episode.content_hash or ""
        self.ending.append((episode, note))
        return note

    def _open_take(self) -> Episode:
        if self.episode is None:
            raise IngestError("NO_TAKE", "no take is open: send start first")
        return self.episode

    # -- what became of takes ---------------------------------------------
    def _found(self, finding: RobotFinding) -> None:
        """By a thread of the robot's."""
        facts = asdict(finding)
        self.news.append({"type": "finding", **{k: None if v != v else v for k, v in facts.items()}})

    def look(self) -> None:
        """See what has become of takes that have ended: ``news``."""
        for episode, note in list(self.ending):
            if episode.end_kept:
                self.ending.remove((episode, note))
                self.news.append(ended(note))
        while self._receipts:
            receipt = self._receipts.popleft()
            of = self.notes.of(receipt.episode_id)
            if of is not None and of.state != OPEN and self.robot is not None:
                of.status, of.state = receipt.status, STORED if receipt.whole else of.state
                self.news.append(_stored(of, receipt))
                self.robot.keep_note(self.notes.text())


def _declared(hello: Hello) -> tuple[object, ...]:
    """What a robot is made of; raises :class:`LayoutError` as it does, and :class:`IngestError` without joints."""
    if hello.joints is None and find_model(hello.model_id) is None:
        raise IngestError(
            "LAYOUT",
            f"hello: model {short(hello.model_id)} is none of those described (`kinestream robots list`), so nobody"
            " knows its joints: add joints, a list of their names in the order of your values",
        )
    joints = joints_of(hello.model_id, hello.joints)
    return (hello.model_id, joints, declared_channels(joints, hello.channels))


def ended(note: TakeNote) -> dict[str, Any]:
    """The answer to an end."""
    return note.answer("ended", frames=note.frames, content_hash=note.content_hash, outcome=note.outcome)


def _stored(note: TakeNote, receipt: Receipt) -> dict[str, Any]:
    facts = {"status": receipt.status, "frames": receipt.frames, "revision": receipt.revision, "final": receipt.final}
    return note.answer("stored", **facts)


def _rows(chunk: FrameChunk) -> dict[str, Any]:
    return {name: values.reshape(len(chunk), -1) for name, values in chunk.channels.items()}
