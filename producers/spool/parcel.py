"""One episode on its way from the spool to the broker: how far it is; never a record itself, never a connection."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from kinestream.producers.spool.tables import EpisodeRow


@dataclass(slots=True)
class Parcel:
    """What is kept, sent and acknowledged of one episode.

    The upper half of the fields is written by the thread that commits, the lower by the one that sends.
    """

    key: int
    id: str
    #: committed so far: records, frames, and the bytes of both
    records: int = 0
    frames: int = 0
    bytes: int = 0
    #: bytes of its records that are still in the spool
    held: int = 0
    ended: bool = False

    #: live or bulk; empty until its first record goes out
    lane: str = ""
    #: monotonic seconds of its first record; minus infinity for an earlier boot's
    began_s: float = float("-inf")
    #: next record to hand to the producer
    cursor: int = 0
    #: records the broker has, from the first on without a hole; and their bytes
    acked: int = 0
    acked_bytes: int = 0
    #: acknowledged beyond a hole: record -> bytes
    ahead: dict[int, int] = field(default_factory=dict)
    #: records to be sent again, and how many of them are with the producer
    redo: list[int] = field(default_factory=list)
    redo_cursor: int = 0
    #: why the broker will never take it; empty = it will
    refused: str = ""
    #: the lane is being written to the spool
    settling: bool = False
    #: (monotonic seconds, records acknowledged by then), for the frames' last day
    marks: deque[tuple[float, int]] = field(default_factory=deque)
    #: monotonic seconds at which the last of it was acknowledged; 0 = not yet
    whole_s: float = 0.0
    #: chunks of it were removed without a receipt, up to this record
    freed: int = 0
    #: status of the latest receipt that was not whole
    receipt: str = ""
    #: the hub has it whole, though something of it may still be unsent
    received: bool = False
    #: its receipt is here: it is being removed
    done: bool = False

    @classmethod
    def restored(cls, row: EpisodeRow, redo: list[int]) -> Parcel:
        """As an earlier boot left it; it goes on behind the last acknowledgement that was written down."""
        return cls(
            *(row.key, row.id, row.records, row.frames, row.bytes, row.held, row.ended),
            lane=row.lane,
            cursor=row.acked,
            acked=row.acked,
            acked_bytes=row.acked_bytes,
            redo=redo,
            receipt=row.receipt,
            done=row.done,
        )

    @property
    def unsent(self) -> bool:
        """Something of it is not acknowledged, or is yet to come."""
        return not self.done and (not self.ended or self.acked < self.records or bool(self.redo))

    @property
    def waiting(self) -> bool:
        """Records are here that the producer does not have."""
        return not self.done and (self.cursor < self.records or self.redo_cursor < len(self.redo))

    @property
    def pending_bytes(self) -> int:
        """Bytes that are not acknowledged."""
        return 0 if self.done else max(self.bytes - self.acked_bytes, 0)

    def ack(self, n: int, size: int) -> None:
        """The broker has record ``n``."""
        if n in self.redo:
            at = self.redo.index(n)
            del self.redo[at]
            self.redo_cursor -= at < self.redo_cursor
        if n < self.acked:
            return
        self.ahead[n] = size
        while self.acked in self.ahead:
            self.acked_bytes += self.ahead.pop(self.acked)
            self.acked += 1

    def rewind(self) -> None:
        """Go back to the first record the broker is not known to have."""
        self.cursor, self.redo_cursor = self.acked, 0
        self.ahead.clear()
