"""When an episode closes, and as what: the whole state machine, in broker time, on one screen.

docs/contract.md, "State machine", has each transition as a row, and a test walks them.

==================  ============================================================================================
OPEN -> COMPLETE     end mark, all frames, hash agrees or is absent
OPEN -> CORRUPT      end mark, all frames, hash differs
OPEN -> INCOMPLETE   end mark, frames missing ``incomplete_ms`` after it
OPEN -> SUPERSEDED   the same boot began a later live episode ``superseded_ms`` ago and does not name this as unsent
OPEN -> TIMED_OUT    no end mark, ``silence_ms`` without its frames while the robot's newest status names it neither as
                     recording nor as unsent; or ``robot_silence_ms`` without any word of the robot
OPEN -> TRUNCATED    no end mark ``truncated_ms`` after its start, or with ``truncated_frames`` frames
OPEN -> UNMARKED     a stream without marks: ``cut_ms`` without a frame
any  -> QUARANTINED  it has failed three times
any  -> WITHDRAWN    a command
closed -> reopened   a late frame, mark or end, or a command; closes when it becomes whole, else ``incomplete_ms`` after
                     the last late record; after TRUNCATED without an end mark, ``silence_ms`` after it
==================  ============================================================================================

Everything read here survives a restart: it is in the journal or in the blocks. So an episode closes at the same place
of the log however often its worker dies.
"""

from __future__ import annotations

from typing import Final

from kinestream.streams.assembly.episode import Episode
from kinestream.streams.assembly.values import (
    COMPLETE,
    INCOMPLETE,
    QUARANTINED,
    SUPERSEDED,
    TIMED_OUT,
    TRUNCATED,
    UNMARKED,
    WITHDRAWN,
    Deadlines,
)

NEVER: Final = 1 << 62


def closing(episode: Episode, limits: Deadlines) -> tuple[int, str]:
    """Broker time at which the episode closes if nothing more is heard, and the status it then has.

    A whole episode closes at once; whether it is COMPLETE or CORRUPT its content hash says.
    """
    if episode.quarantined:
        return episode.ended_ms(), QUARANTINED
    if episode.withdrawn:
        return episode.command_ms(), WITHDRAWN
    if episode.reopened:
        return _reopened(episode, limits)
    if episode.whole:
        return episode.ended_ms(), COMPLETE
    if episode.end:
        return episode.end.broker_ms + limits.incomplete_ms, INCOMPLETE
    if episode.unmarked:
        return min(_long(episode, limits), (episode.last_frame_ms + limits.cut_ms, UNMARKED))
    return min(_long(episode, limits), _superseded(episode, limits), _silent(episode, limits))


def _reopened(episode: Episode, limits: Deadlines) -> tuple[int, str]:
    """One revision for all that comes late together; a take that was whole before has no frame to wait for."""
    before = episode.history.status
    if episode.late_ms < 0:
        return (episode.command_ms(), before) if episode.commanded else (NEVER, "")
    if episode.whole:
        whole_ms = episode.late_ms + limits.incomplete_ms if episode.was_whole else episode.ended_ms()
        return whole_ms, COMPLETE
    if episode.end:
        return episode.late_ms + limits.incomplete_ms, INCOMPLETE
    return episode.late_ms + (limits.silence_ms if before == TRUNCATED else limits.incomplete_ms), before


def _long(episode: Episode, limits: Deadlines) -> tuple[int, str]:
    if episode.unique >= limits.truncated_frames:
        return episode.last_frame_ms, TRUNCATED
    return episode.start.broker_ms + limits.truncated_ms, TRUNCATED


def _superseded(episode: Episode, limits: Deadlines) -> tuple[int, str]:
    if episode.superseded_ms < 0 or episode.named:
        return NEVER, SUPERSEDED
    return max(episode.superseded_ms + limits.superseded_ms, episode.unnamed_ms), SUPERSEDED


def _silent(episode: Episode, limits: Deadlines) -> tuple[int, str]:
    due = episode.heard_ms + limits.robot_silence_ms
    if episode.unnamed_ms >= 0:
        due = min(due, max(episode.last_frame_ms + limits.silence_ms, episode.unnamed_ms))
    return due, TIMED_OUT
