"""Lines of a file or of stdin through the gateway, to the end; the same session as a socket's, and no answers back."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Final

from kinestream.producers.ingest.gateway import Gateway
from kinestream.producers.ingest.session import Answer
from kinestream.schemas.errors import DeliveryError, RecordingError

_READ: Final = 65_536
_TURN_S: Final = 0.02
#: Refusals that are told one by one.
_TOLD: Final = 100
#: Seconds the disk, and then the broker, may take for the last of it.
_KEEP_S: Final = 30.0
_FLUSH_S: Final = 60.0


@dataclass(slots=True)
class IngestReport:
    """What became of the lines."""

    #: episode_id, take, frames, content_hash and outcome of each take
    episodes: list[dict[str, Any]] = field(default_factory=list)
    #: takes that had no end: they were ended ABORTED
    left_open: int = 0
    refused: int = 0
    #: the first refusals
    refusals: list[Answer] = field(default_factory=list)
    #: why not everything is with the broker; empty = it is
    undelivered: str = ""

    @property
    def well(self) -> bool:
        """Every line was taken and every take ended and delivered."""
        return not (self.refused or self.left_open or self.undelivered)


def ingest_stream(stream: BinaryIO, gateway: Gateway, tell: Callable[[str], None] = lambda _: None) -> IngestReport:
    """Take every line of ``stream``; returns when the broker has all of it, or does not answer for a minute.

    While the spool is full it waits, and reads no further. An interrupt leaves the open take in the spool: a repeated
    run with the same name of the take goes on with it. Raises :class:`RecordingError` where nothing says hello.
    """
    report, session = IngestReport(), gateway.session(trusted=True)
    while not session.over:
        data = stream.read1(_READ) if hasattr(stream, "read1") else stream.read(_READ)
        _note(report, session.feed(data, last=not data), tell)
        while session.blocked:
            time.sleep(_TURN_S)
            _note(report, session.feed(), tell)
        _note(report, session.news(), tell)
        if not data:
            break
    session.leave()
    _finish(report, gateway)
    report.refused = session.refused
    if not (report.episodes or report.refused):
        raise RecordingError("the lines hold no take: they begin with hello and start (docs/ingest.md)")
    return report


def _note(report: IngestReport, answers: Sequence[Answer], tell: Callable[[str], None]) -> None:
    for answer in answers:
        if answer["type"] == "refused" and len(report.refusals) < _TOLD:
            report.refusals.append(answer)
        elif answer["type"] == "ended":
            report.episodes.append({name: value for name, value in answer.items() if name != "type"})
        elif answer["type"] in ("wait", "trouble") and answer["text"]:
            tell(answer["text"])


def _finish(report: IngestReport, gateway: Gateway) -> None:
    """End what the lines did not, and give everything to the broker."""
    for seat in gateway.seats:
        with seat.lock:
            if seat.episode is not None:
                report.left_open += 1
                seat.abort("CLIENT_LOST: the lines ended without an end")
            deadline = time.monotonic() + _KEEP_S
            while seat.ending and time.monotonic() < deadline:
                seat.look()
                time.sleep(_TURN_S)
            _note(report, list(seat.news), lambda _: None)
            try:
                if seat.robot is not None:
                    seat.robot.flush(_FLUSH_S)
            except DeliveryError as problem:
                report.undelivered = str(problem)
