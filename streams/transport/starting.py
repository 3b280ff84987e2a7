"""Where reading a partition begins: one pure decision for every way a committed offset and a log can disagree."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Start:
    """The offset to read first, what it costs, and why; ``gap`` and ``lost_tail`` count messages."""

    offset: int
    #: messages retention deleted before we had processed them
    gap: int = 0
    #: offsets we had processed, or were promised, that the log no longer has at its end
    lost_tail: int = 0


def decide(wanted: int | None, first: int, end: int) -> Start:
    """``wanted`` is the committed offset (None = none); the log holds [``first``, ``end``).

    Without an offset everything there is is read: a robot may have sent before the first worker ran. An offset
    beyond the end means that the broker lost what it had acknowledged: reading goes on at the end of what exists.
    """
    if wanted is None:
        return Start(first)
    if wanted < first:
        return Start(first, gap=first - wanted)
    if wanted > end:
        return Start(end, lost_tail=wanted - end)
    return Start(wanted)
