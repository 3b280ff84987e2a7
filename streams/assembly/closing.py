"""When an episode closes, and as what: the whole state machine, in broker time, on one screen.

====================  ==========================================================================================
OPEN -> COMPLETE      end mark, all frames, hash agrees or is absent
OPEN -> CORRUPT       end mark, all frames, hash differs
OPEN -> INCOMPLETE    end mark, frames missing ``incomplete_ms`` after it
OPEN -> SUPERSEDED    the same boot began a later live episode ``superseded_ms`` ago and does not name this as unsent
OPEN -> TIMED_OUT     no end mark, ``silence_ms`` without its frames while the robot's newest word names it neither as
                      recording nor as unsent; or ``robot_silence_ms`` without any word of the robot
closed -> reopened    a late frame, mark or end; closes again when whole, else ``incomplete_ms`` after the last of them
====================  ==========================================================================================
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from kinestream.streams.assembly.episode import Episode
from kinestream.streams.assembly.values import (
    COMPLETE,
    INCOMPLETE,
    SUPERSEDED,
    TIMED_OUT,
    Deadlines,
)

NEVER: Final = 1 << 62


@dataclass(slots=True)
class RobotWord:
    """The newest a robot said: any record (``heard_ms``) and its newest status (``status_ms``, -1 = none)."""

    heard_ms: int
    status_ms: int = -1
    named: frozenset[str] = field(default_factory=frozenset)


def closing(episode: Episode, robot: RobotWord, limits: Deadlines) -> tuple[int, str]:
    """Broker time at which the episode closes if nothing more is heard, and the status it then has.

    A whole episode closes at once; whether it is COMPLETE or CORRUPT its content hash says.
    """
    if episode.whole:
        return 0, COMPLETE
    if episode.reopened:
        status = INCOMPLETE if episode.end else episode.history.status
        if episode.late_ms < 0:
            return NEVER, status
        return episode.late_ms + limits.incomplete_ms, status
    if episode.end:
        return episode.end.broker_ms + limits.incomplete_ms, INCOMPLETE
    return min(_superseded(episode, robot, limits), _silent(episode, robot, limits))


def _superseded(episode: Episode, robot: RobotWord, limits: Deadlines) -> tuple[int, str]:
    if episode.superseded_ms < 0 or episode.id in robot.named:
        return NEVER, SUPERSEDED
    return episode.superseded_ms + limits.superseded_ms, SUPERSEDED


def _silent(episode: Episode, robot: RobotWord, limits: Deadlines) -> tuple[int, str]:
    due = robot.heard_ms + limits.robot_silence_ms
    if robot.status_ms >= 0 and episode.id not in robot.named:
        due = min(due, max(episode.last_frame_ms + limits.silence_ms, robot.status_ms))
    return due, TIMED_OUT
