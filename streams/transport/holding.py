"""What is known of the partitions we hold: positions, the broker's last answer, lags. Written by the reading thread."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

from faust.types import TP

#: How much the newest fetch counts in the mean size of a message.
_WEIGHT: Final = 0.1


@dataclass(frozen=True, slots=True)
class Lag:
    """How far reading is behind the log: messages not yet handed on, and the age of the newest one that was, s."""

    messages: int
    seconds: float


@dataclass(slots=True)
class Holding:
    """One partition of ours. Fields are replaced whole, so that another thread never reads half of a change."""

    #: generation of the group in which it became ours
    generation: int
    #: where reading began
    start: int
    #: what the group has on record
    committed: int
    #: offset behind the last record handed on; -1 = none yet
    handed: int = -1
    #: time of the newest record handed on, ms of the broker's clock
    newest_ms: int = -1
    #: bytes of a message, as a mean over the last fetches; 0 = none yet
    message_bytes: float = 0.0
    #: end of the log as the broker last told, in a fetch or when asked
    end: int = -1
    #: the last answer to the question for the end: (end, monotonic seconds at which it was asked)
    answer: tuple[int, float] = (-1, -1.0)

    @property
    def position(self) -> int:
        """The next offset to be handed on."""
        return self.handed if self.handed >= 0 else self.start

    def weigh(self, size: int, messages: int) -> None:
        """So many bytes came in so many messages."""
        mean = size / messages
        self.message_bytes += (mean - self.message_bytes) * (_WEIGHT if self.message_bytes else 1.0)

    def lag(self) -> Lag:
        """0 messages and 0 s when everything there is was handed on."""
        behind = max(self.end - self.position, 0)
        if not behind:
            return Lag(0, 0.0)
        return Lag(behind, max(time.time() - self.newest_ms / 1000, 0.0) if self.newest_ms >= 0 else 0.0)

    def idle_since(self, next_offset: int) -> float:
        """When the broker was last asked and had nothing after ``next_offset``; monotonic seconds, -1 = never."""
        end, asked_s = self.answer
        if end != self.position or self.handed > next_offset:
            return -1.0
        return asked_s


Holdings = dict[TP, Holding]
