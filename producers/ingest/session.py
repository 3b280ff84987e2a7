"""One connection's side of the protocol: bytes in, answers out; it knows no socket, and no clock but its seat's."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Final, Protocol

from kinestream.producers.ingest.lines import Lines
from kinestream.producers.ingest.messages import (
    PROTOCOL,
    End,
    Hello,
    Mark,
    Message,
    Ping,
    Resume,
    Start,
    may_hold_frames,
    read_message,
)
from kinestream.producers.ingest.seat import Seat, ended
from kinestream.producers.ingest.takes import OPEN, TakeNote
from kinestream.producers.ingest.values import Frames
from kinestream.schemas.errors import ContractError, IngestError, SpoolError, SpoolFullError
from kinestream.schemas.settings import Settings

#: Bytes of a line that is no frames: it becomes part of a record of bounded size.
_LONGEST_WORD: Final = 100_000
#: Refused lines before a hello after which whoever it is is no robot.
_BEFORE_HELLO: Final = 3
#: A line that is so many times too long has no end: whoever sends it does not send lines.
_ENDLESS: Final = 4

Answer = dict[str, Any]

log = logging.getLogger("kinestream.ingest")


class Hub(Protocol):
    """Where the seats are."""

    def admits(self, token: str) -> bool:
        """Whether the token is the right one."""
        ...

    def seat(self, robot_id: str) -> Any:
        """A robot's seat, locked, as a context manager."""
        ...


class Session:
    """The state of one connection. :meth:`feed` by one thread at a time, :meth:`news` by any."""

    def __init__(self, hub: Hub, settings: Settings, *, trusted: bool) -> None:
        self._hub, self._settings, self._trusted = hub, settings, trusted
        self._lines = Lines(settings.ingest_line_bytes)
        self._waiting: deque[bytes | IngestError] = deque()
        self._line = 0
        self._seat: Seat | None = None
        #: the take this connection began or resumed, and the number of its next frame; None = to be told
        self._take: TakeNote | None = None
        self._next: int | None = None
        #: the take had ended before: its lines are repeats and change nothing
        self._repeats = False
        #: frames beyond a hole, of which the client was told
        self._beyond = False
        #: refused lines of the take that may have held frames, and were not made good by number
        self._lost = 0
        self._told: tuple[str, int] = ("", 0)
        self._told_trouble = ""
        #: why the next line waits; empty = none does
        self.blocked = ""
        #: the connection is to be closed, once the answers are out
        self.over = False
        #: lines that were refused, and whether one was for want of room
        self.refused = 0
        self.full = False

    # -- lines ------------------------------------------------------------
    def feed(self, data: bytes = b"", *, last: bool = False) -> list[Answer]:
        """Take bytes of the stream; while :attr:`blocked` call it without any until it is not.

        ``last``: nothing follows, so what stands behind the last newline is a line.
        """
        self._waiting.extend(self._lines.feed(data))
        if last:
            self._waiting.extend(self._lines.last())
        answers: list[Answer] = []
        was_blocked, self.blocked = self.blocked, ""
        while self._waiting and not self.over:
            line = self._waiting[0]
            try:
                answers += self._answered(line)
            except SpoolFullError as problem:
                self.blocked = str(problem)
                if not was_blocked:
                    answers.append({"type": "wait", "reason": "SPOOL_FULL", "text": self.blocked, **self._so_far()})
                break
            self._waiting.popleft()
            self._line += 1
        return answers

    def _answered(self, line: bytes | IngestError) -> list[Answer]:
        try:
            if isinstance(line, IngestError):
                raise line
            message = read_message(line, self._names)
            if not isinstance(message, Frames) and len(line) > _LONGEST_WORD:
                raise IngestError("TOO_LONG", f"a line of {len(line):,} bytes: only frames may be so long")
            return list(self._handle(message))
        except SpoolFullError:
            raise
        except SpoolError as problem:
            return [self._refusal(IngestError("SPOOL", str(problem)))]
        except IngestError as problem:
            if problem.reason == "GAP" and self._beyond:
                return []  # told once: what was sent before the answer came would only repeat it
            self._beyond = problem.reason == "GAP"
            self._count_lost(line, problem)
            return [self._refusal(problem)]
        except ContractError as problem:
            self._count_lost(line, problem)
            return [self._refusal(IngestError("LAYOUT", str(problem)))]
        except Exception:
            log.exception("line %d of a connection failed; what was accepted is kept", self._line + 1)
            self.over = True
            return [self._refusal(IngestError("INTERNAL", "the gateway failed at this line and logged it: come back"))]

    def _count_lost(self, line: bytes | IngestError, problem: ContractError) -> None:
        if self._take is None or self._repeats or self._beyond:
            return
        self._lost += isinstance(line, IngestError) or may_hold_frames(line)

    def refuse(self, problem: IngestError) -> Answer:
        """Refuse what never became a line."""
        return self._refusal(problem)

    def end_endless(self) -> list[Answer]:
        """The last word to who sends a line that never ends; none while it may still."""
        skipped = self._lines.skipped
        if self.over or skipped <= _ENDLESS * self._settings.ingest_line_bytes:
            return []
        self.over = True
        text = f"no line ended within {skipped:,} bytes: send JSON objects, one a line, each ended by a newline"
        return [self._refusal(IngestError("TOO_LONG", text))]

    def _names(self, channel: str) -> Sequence[str]:
        return self._seat.names(channel) if self._seat else ()

    def _refusal(self, problem: IngestError) -> Answer:
        self.refused += 1
        self.full = self.full or problem.reason in ("SPOOL_FULL", "TOO_MANY", "CLOSING")
        before_hello = self._seat is None and self.refused >= _BEFORE_HELLO
        if before_hello or problem.reason in ("UNAUTHORIZED", "REPLACED", "CLOSING"):
            self.over = True
        answer = {"type": "refused", "reason": problem.reason, "text": str(problem), "line": self._line + 1}
        closing = {"closing": True} if self.over else {}
        return {**answer, **self._so_far(), **problem.facts, **closing}

    def _so_far(self) -> Answer:
        seat = self._seat
        return {"accepted": seat.accepted} if seat and seat.speaker is self and seat.episode else {}

    # -- messages ---------------------------------------------------------
    def _handle(self, message: Message) -> Iterator[Answer]:
        if isinstance(message, Hello):
            yield self._hello(message)
            return
        seat = self._seat
        if seat is None:
            raise IngestError(
                "NO_HELLO",
                "nobody has said who speaks: send hello first, with robot_id and model_id (the connection is closed"
                f" after {_BEFORE_HELLO} refused lines before it)",
            )
        with seat.lock:
            if seat.speaker is not self:
                raise IngestError("REPLACED", f"another connection speaks for robot {seat.robot_id} now")
            yield from _HANDLERS[type(message)](self, seat, message)

    def _hello(self, hello: Hello) -> Answer:
        if not self._trusted and not self._hub.admits(hello.token):
            raise IngestError("UNAUTHORIZED", "hello: token is missing or wrong: give that of KINESTREAM_INGEST_TOKEN")
        if self._seat is not None:
            self.leave()
        with self._hub.seat(hello.robot_id) as seat:
            seat.open(hello)
            seat.speaker, self._seat = self, seat
            self._take = self._next = None
            seat.news.clear()
            note = seat.note if seat.episode else None
            past = [one.to_json() for one in seat.notes if one.state != OPEN]
            self._told = (note.episode_id, seat.accepted) if note else ("", 0)
            return {
                "type": "welcome",
                "protocol": PROTOCOL,
                "robot_id": hello.robot_id,
                "open": {"episode_id": note.episode_id, "take": note.take, "accepted": seat.accepted} if note else None,
                "past": past[-8:],
                "line_bytes": self._settings.ingest_line_bytes,
                "idle_s": self._settings.ingest_idle_s,
                "return_s": self._settings.ingest_return_s,
            }

    def _start(self, seat: Seat, start: Start) -> Iterator[Answer]:
        self._repeats = False
        if seat.episode is not None:
            if start.take and start.take == seat.note.take:
                yield self._at(seat, "started")
                return
            if self._take is not None:
                raise IngestError(
                    "TAKE_OPEN", f"take {self._take.take or self._take.episode_id} is open: end it, then start another"
                )
            seat.abort("its robot began another take without ending this one")
        past = seat.notes.named(start.take)
        if past is not None:
            self._take, self._next, self._repeats = past, 0, True
            yield past.answer("started", accepted=past.frames, state=past.state)
            return
        try:
            seat.start(start)
        except SpoolFullError as problem:
            raise IngestError("SPOOL_FULL", str(problem)) from problem
        yield self._at(seat, "started")

    def _at(self, seat: Seat, kind: str) -> Answer:
        """The open take is this connection's; frames without a number count from its start."""
        self._take, self._next = seat.note, 0 if kind == "started" else None
        self._told = (seat.note.episode_id, seat.accepted)
        self._beyond, self._lost = False, 0
        return seat.note.answer(kind, accepted=seat.accepted, state=OPEN)

    def _resume(self, seat: Seat, resume: Resume) -> Iterator[Answer]:
        self._repeats = False
        if seat.episode is not None and resume.episode_id in ("", seat.note.episode_id):
            yield self._at(seat, "resumed")
            return
        past = seat.notes.of(resume.episode_id)
        if past is None or past.state == OPEN:
            raise IngestError("NO_TAKE", f"no take {resume.episode_id} is open: nothing of it was accepted; start it")
        self._take, self._next, self._repeats = past, None, True
        yield past.answer("resumed", accepted=past.frames, state=past.state)

    def _frames(self, seat: Seat, frames: Frames) -> Iterator[Answer]:
        self._of_this_connection()
        first = frames.seq if frames.seq is not None else self._next
        if first is None:
            raise IngestError("BAD_VALUE", "frames without seq after a resume: give the number of the first")
        if not self._repeats:
            seat.frames(first, frames)
        self._next, self._beyond = first + len(frames), False
        if frames.seq is not None:  # numbers have no holes: what was refused before is here
            self._lost = 0
        yield from ()

    def _mark(self, seat: Seat, mark: Mark) -> Iterator[Answer]:
        self._of_this_connection()
        if not self._repeats:
            at = mark.seq if mark.seq is not None else self._next
            seat.mark(mark, seat.taken if at is None else at)
        yield from ()

    def _end(self, seat: Seat, end: End) -> Iterator[Answer]:
        take = self._of_this_connection()
        if self._repeats:
            yield ended(take)
        else:
            counted = self._next if self._next is not None and self._next < seat.taken else None
            if counted is not None and end.n_total is None:
                raise IngestError(
                    "COUNT_DIFFERS",
                    f"end after frame {counted - 1} of this connection, but {seat.taken} frames are here: give n_total"
                    " to say that all of them are meant",
                )
            if self._lost and end.n_total is None:
                raise IngestError(
                    "COUNT_DIFFERS",
                    f"end behind refused lines that may have held frames ({self._lost}): send what is missing, then end"
                    f" with n_total; {seat.taken} frames are here",
                    expected=seat.taken,
                )
            if self._beyond:
                raise IngestError(
                    "COUNT_DIFFERS",
                    f"end behind frames that were refused (GAP): send those from {seat.taken} on, then end",
                    expected=seat.taken,
                )
            seat.end(end)
        self._take = self._next = None
        self._repeats = False

    def _ping(self, seat: Seat, _: Ping) -> Iterator[Answer]:
        yield {"type": "pong", **self._so_far()}

    def _of_this_connection(self) -> TakeNote:
        if self._take is None:
            raise IngestError("NO_TAKE", "this connection has begun no take: send start, or resume for the open one")
        return self._take

    # -- what came of them ------------------------------------------------
    def news(self) -> list[Answer]:
        """Answers that no line asked for: accepted, ended, stored, trouble. Never waits."""
        seat = self._seat
        if seat is None or seat.speaker is not self:
            return []
        answers: list[Answer] = []
        note, accepted = seat.note, seat.accepted
        if seat.episode is not None and (note.episode_id, accepted) != self._told:
            self._told = (note.episode_id, accepted)
            answers.append(note.answer("accepted", accepted=accepted))
        while seat.news:
            answers.append(seat.news.popleft())
        if seat.trouble != self._told_trouble:
            self._told_trouble = seat.trouble
            answers.append({"type": "trouble", "text": self._told_trouble})
        return answers

    @property
    def settled(self) -> bool:
        """Everything that was taken of this connection is promised and told."""
        seat = self._seat
        if seat is None or seat.speaker is not self:
            return True
        return not seat.ending and not seat.news and seat.accepted == seat.taken

    def leave(self) -> None:
        """The connection is gone; its take waits for the next."""
        seat, self._seat = self._seat, None
        if seat is not None:
            with seat.lock:
                if seat.speaker is self:
                    seat.leave()


_HANDLERS: Final[dict[type, Any]] = {
    Start: Session._start,
    Resume: Session._resume,
    Frames: Session._frames,
    Mark: Session._mark,
    End: Session._end,
    Ping: Session._ping,
}
