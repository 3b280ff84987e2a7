"""One take: frames in; start, chunks, marks and end out, in that order; never a frame that was not checked whole.

The channels an episode measures are those of its first frame, so the EpisodeStart goes out with it (with the end, if no
frame comes). Marks made before are held until then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import version
from types import TracebackType
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kinestream.producers.chunker import Chunker, chunk_capacity, float32_of
from kinestream.producers.delivery import Ledger
from kinestream.producers.ids import uuid7
from kinestream.producers.intake import Intake
from kinestream.producers.labels import Labels
from kinestream.producers.link import Link
from kinestream.producers.spool.orphans import OpenTake
from kinestream.producers.stamps import AnchoredClock, stamp_ns, stamps_ns
from kinestream.schemas.errors import ContractError, DeliveryError, LayoutError, SpoolError
from kinestream.schemas.frames import Int64
from kinestream.schemas.layout import Channel, Layout

OUTCOMES: Final = ("UNKNOWN", "SUCCESS", "FAILURE", "ABORTED")
MARK_KINDS: Final = ("NOTE", "SUBTASK_BEGIN", "SUBTASK_END", "LABEL")
#: Frames send_many converts in one go: bounds the copy it makes.
_SLAB: Final = 4096
_CAUSE_LENGTH: Final = 500


class Episode:
    """A take being recorded; use it as a context manager, or call :meth:`end`. Thread-safe.

    An exception inside the ``with`` block ends it ABORTED and goes on.
    """

    def __init__(
        self, link: Link, number: int, labels: Labels, on_end: Callable[[Episode], None], episode_id: str = ""
    ) -> None:
        #: UUIDv7, canonical text
        self.id = episode_id or uuid7()
        #: why it failed or was aborted
        self.error_cause = ""
        #: False: the scene cannot be set up again
        self.restorable = True
        #: content hash in lower-case hex, once it has ended
        self.content_hash: str | None = None
        self._link, self._number, self._labels, self._on_end = link, number, labels, on_end
        self._outcome = "UNKNOWN"
        self._clock = AnchoredClock()
        self._given_ns: int | None = None  # last stamp, where the caller gives them
        self._intake = Intake(link.declared)
        self._marks: list[bytes] = []
        self._chunker: Chunker | None = None
        self.ledger: Final = Ledger(self.id, number)
        self._ended = False

    @classmethod
    def gone_on(cls, link: Link, left: OpenTake, on_end: Callable[[Episode], None]) -> Episode:
        """A take that a process before this one left open in the spool: its next frame is number ``frames``."""
        row, layout = left.row, left.layout
        episode = cls(link, row.number, Labels(), on_end, row.id)
        ledger = episode.ledger
        ledger.records, ledger.bytes, ledger.frames, ledger.promised = row.records, row.bytes, row.frames, row.frames
        ledger.started_at_ns = left.start["started_at_ns"]
        capacity = chunk_capacity(layout, link.chunk_frames, link.chunk_bytes)
        episode._chunker = Chunker(layout, capacity, link.codec, link.outlet, ledger)
        episode._chunker.go_on(left.hasher, row.frames, left.blocks)
        episode._intake.fix(tuple(layout.widths.get(channel.name) for channel in link.declared))
        episode._given_ns = left.last_t_ns
        return episode

    @property
    def frames(self) -> int:
        """Frames taken so far."""
        return self._chunker.frames if self._chunker else 0

    @property
    def measured(self) -> tuple[Channel, ...]:
        """What every frame of it measures: the channels of its first; empty before that."""
        return self._intake.measured

    @property
    def accepted(self) -> int:
        """Frames promised not to be lost: those on the spool's disk; without a spool, those the broker acknowledged."""
        self._link.outlet.poll(0)
        return self.ledger.promised

    @property
    def ended(self) -> bool:
        """The end mark was made."""
        return self._ended

    @property
    def end_kept(self) -> bool:
        """The end mark will not be lost: it is on the spool's disk."""
        self._link.outlet.poll(0)
        return self.ledger.ended

    def hash_so_far(self) -> str:
        """Content hash of the frames taken so far; cuts the chunk that is being filled."""
        with self._link.lock:
            if self._chunker is None:
                return ""
            self._chunker.cut(wait=False)
            return self._chunker.content_hash()

    @property
    def outcome(self) -> str:
        """What is claimed of the take: UNKNOWN, SUCCESS, FAILURE or ABORTED."""
        return self._outcome

    @outcome.setter
    def outcome(self, outcome: str) -> None:
        self._outcome = _one_of("outcome", outcome, OUTCOMES)

    def send(
        self,
        position: ArrayLike | None = None,
        t: int | float | None = None,
        velocity: ArrayLike | None = None,
        effort: ArrayLike | None = None,
        command: ArrayLike | None = None,
        channels: Mapping[str, ArrayLike] | None = None,
    ) -> None:
        """Take one frame: (J,) each, J joints; further ``channels`` (width,) by declared name; rad, rad/s, Nm.

        ``t``: int ns or float s since the epoch, UTC; omitted = the SDK's clock, monotonic from the episode's start.
        Values become the nearest float32. Raises :class:`LayoutError` before anything is taken if widths, dtypes,
        stamp or the set of channels are wrong (the episode stays usable), :class:`SpoolFullError` while the spool or
        its disk is full. Never waits for the network. (Without a spool: :class:`DeliveryError` if the broker will never
        take it, and it blocks while ``Settings.buffer_bytes`` wait for the broker.)
        """
        with self._link.lock:
            self._must_be_open()
            self._link.outlet.check()
            values = self._intake.given((position, velocity, effort, command), channels)
            rows = self._intake.one(values)
            t_ns = self._clock.now_ns() if t is None else stamp_ns(t)
            chunker = self._chunker or self._begin(values, rows, t_ns)
            self._given_ns = None if t is None else t_ns
            chunker.add(t_ns, rows)

    def send_many(
        self,
        position: ArrayLike | None = None,
        t: ArrayLike | None = None,
        velocity: ArrayLike | None = None,
        effort: ArrayLike | None = None,
        command: ArrayLike | None = None,
        channels: Mapping[str, ArrayLike] | None = None,
    ) -> None:
        """Take n frames: (n, J) each, further channels (n, width), ``t`` (n,) int ns or float s UTC; as :meth:`send`.

        If it raises :class:`SpoolFullError` or :class:`DeliveryError`, or is interrupted, :attr:`frames` says how many
        were taken.
        """
        with self._link.lock:
            self._must_be_open()
            self._link.outlet.check()
            values = self._intake.given((position, velocity, effort, command), channels)
            arrays = self._intake.many(values)
            if t is None:
                raise LayoutError("send_many without t: give one stamp a frame, int ns or float s UTC")
            stamps = stamps_ns(t, len(arrays[0]))
            if len(stamps) == 0:
                return
            chunker = self._chunker or self._begin(values, arrays, int(stamps[0]))
            self._given_ns = int(stamps[-1])
            _take_slabs(chunker, stamps, arrays)

    def mark(self, kind: str = "NOTE", label: str = "", note: str = "", t: int | float | None = None) -> None:
        """Set a mark before the next frame: NOTE, SUBTASK_BEGIN, SUBTASK_END or LABEL; ``t`` as in :meth:`send`.

        Raises as :meth:`send`, before anything is taken.
        """
        with self._link.lock:
            self._must_be_open()
            self._link.outlet.check()
            mark = {
                "episode_id": self.id,
                "t_ns": self._now_ns() if t is None else stamp_ns(t),
                "seq": self.frames,
                "kind": _one_of("kind", kind, MARK_KINDS),
                "label": label,
                "note": note,
            }
            self._marks.append(self._link.codec.encode("EpisodeMark", mark))
            if self._chunker is not None:
                self._chunker.cut()
                self._send_marks()

    def end(self, outcome: str | None = None, error_cause: str = "", restorable: bool | None = None) -> None:
        """Make the end mark, with the number of frames and the content hash; a second call does nothing.

        Never blocks: the last chunk and the mark go past a full buffer.
        """
        with self._link.lock:
            if self._ended:
                return
            self.outcome = self._outcome if outcome is None else outcome
            self.error_cause = error_cause or self.error_cause
            self.restorable = self.restorable if restorable is None else restorable
            self._ended = True
            try:
                self._send_end()
            finally:
                self._on_end(self)

    def cut_if_older(self, than_s: float) -> float:
        """Send the held frames if they came before monotonic ``than_s``; returns when the held ones came (0: none)."""
        chunker = self._chunker
        if chunker is None or not chunker.holds:
            return 0.0
        if chunker.held_since > than_s:
            return chunker.held_since
        chunker.cut(wait=False)
        return 0.0

    def __enter__(self) -> Episode:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        if problem is None or self._ended:
            self.end()
            return
        try:
            self.end("ABORTED", f"{type(problem).__name__}: {problem}")
        except (DeliveryError, SpoolError) as undelivered:
            problem.add_note(f"Its episode {self.id} could not be ended: {undelivered}")

    def _must_be_open(self) -> None:
        if self._ended:
            raise ContractError(f"episode {self.id} has ended: begin another with robot.episode()")

    def _now_ns(self) -> int:
        return self._clock.now_ns() if self._given_ns is None else self._given_ns

    def _begin(self, values: tuple[Any, ...], arrays: list[NDArray[Any]], t_ns: int, *, wait: bool = True) -> Chunker:
        link, measured = self._link, [c for c, v in zip(self._link.declared, values, strict=True) if v is not None]
        layout = Layout(link.joints, tuple(measured))
        capacity = chunk_capacity(layout, link.chunk_frames, link.chunk_bytes)
        conversions = [
            f"{channel.name}: {array.dtype} to nearest float32"
            for channel, array in zip(measured, arrays, strict=True)
            if array.dtype != np.float32
        ]
        start = link.codec.encode("EpisodeStart", self._start(layout, t_ns, conversions))
        chunker = Chunker(layout, capacity, link.codec, link.outlet, self.ledger)
        self.ledger.started_at_ns = t_ns
        link.outlet.put(start, self.ledger, wait=wait)
        self._intake.fix(values)
        self._chunker = chunker
        self._send_marks()
        return chunker

    def _start(self, layout: Layout, t_ns: int, conversions: list[str]) -> dict[str, Any]:
        link, labels = self._link, self._labels.to_avro()
        return {
            **labels,
            **layout.to_avro(),
            "tenant": link.tenant,
            "robot_id": link.robot_id,
            "model_id": link.model_id,
            "boot_id": link.boot_id,
            "episode_id": self.id,
            "episode_no": self._number,
            "started_at_ns": t_ns,
            "clock_source": "SYSTEM",
            "clock_offset_s": None,
            "marks": True,
            "conversions": labels["conversions"] + conversions,
            "sdk": _sdk(),
        }

    def _send_marks(self) -> None:
        while self._marks:
            self._link.outlet.put(self._marks[0], self.ledger, wait=False)
            del self._marks[0]

    def _send_end(self) -> None:
        nothing = (None,) * len(self._link.declared)
        chunker = self._chunker or self._begin(nothing, [], self._now_ns(), wait=False)
        chunker.cut(wait=False)
        self._send_marks()
        self.content_hash = chunker.content_hash()
        end = {
            "episode_id": self.id,
            "n_total": chunker.frames,
            "content_hash": self.content_hash,
            "ended_at_ns": self._now_ns(),
            "outcome": self._outcome,
            # an exception names files whose names may be no text: that must not cost the take its end
            "error_cause": self.error_cause.encode(errors="backslashreplace").decode()[:_CAUSE_LENGTH],
            "restorable": self.restorable,
        }
        self._link.outlet.put(self._link.codec.encode("EpisodeEnd", end), self.ledger, wait=False)


@cache
def _sdk() -> str:
    # looked up once: reading the package's metadata costs more than sending a second of frames
    return f"kinestream/{version('kinestream')}"


def _take_slabs(chunker: Chunker, stamps: Int64, arrays: list[NDArray[Any]]) -> None:
    for start in range(0, len(stamps), _SLAB):
        part = slice(start, start + _SLAB)
        chunker.add_many(stamps[part], [float32_of(array[part]) for array in arrays])


def _one_of(what: str, value: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise ContractError(f"{what}={value!r}: allowed are {', '.join(allowed)}")
    return value
