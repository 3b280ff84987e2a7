"""How near what nobody has read is to being deleted by retention: values in, values out; no clock, nobody is asked."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Final

OK, WARN, FAIL = "ok", "warn", "fail"
#: What is left, as a share of what the log keeps, below which somebody should look, or must act.
WARN_BELOW: Final = 0.25
FAIL_BELOW: Final = 0.1
#: Seconds over which the pace of a log is taken.
_PACE_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Kept:
    """What a partition's log keeps at least: seconds, and bytes; inf = without bound."""

    seconds: float
    size: float


@dataclass(frozen=True, slots=True)
class Unread:
    """Of one partition: messages not read, the log's end (an offset), mean bytes a message, and seconds since the
    newest message that was read came: the oldest unread one is no older.
    """

    messages: int
    end: int
    message_bytes: float
    age_s: float


@dataclass(slots=True)
class Outlook:
    """Of one partition, if nothing more of it is read from now on."""

    #: seconds until its oldest unread message may be deleted; inf = never, or there is none
    until_s: float = math.inf
    #: what is left of time or bytes, whichever is less, as a share of what the log keeps
    margin: float = 1.0
    _ends: deque[tuple[float, int]] = field(default_factory=deque)
    #: when nothing was unread for the last time: what is now cannot be older
    _clear_s: float = -math.inf

    def see(self, now_s: float, unread: Unread, kept: Kept) -> None:
        """One look, at ``now_s`` (monotonic)."""
        if self._ends and unread.end < self._ends[-1][1]:
            self._ends.clear()
        self._ends.append((now_s, unread.end))
        while now_s - self._ends[0][0] > _PACE_S:
            self._ends.popleft()
        if not unread.messages:
            self.until_s, self.margin, self._clear_s = math.inf, 1.0, now_s
            return
        age_s = min(unread.age_s, now_s - self._clear_s)
        size = unread.messages * unread.message_bytes
        free, pace = max(kept.size - size, 0.0), self._pace() * unread.message_bytes
        by_bytes = 0.0 if not free else free / pace if pace else math.inf
        self.until_s = max(min(kept.seconds - age_s, by_bytes), 0.0)
        self.margin = min(max(1 - age_s / kept.seconds, 0.0), max(1 - size / kept.size, 0.0))

    def _pace(self) -> float:
        """Messages a second that come."""
        (first_s, first), (last_s, last) = self._ends[0], self._ends[-1]
        return (last - first) / (last_s - first_s) if last_s > first_s else 0.0


def level(margin: float) -> str:
    """Whether a margin is OK, WARN or FAIL."""
    return FAIL if margin < FAIL_BELOW else WARN if margin < WARN_BELOW else OK
