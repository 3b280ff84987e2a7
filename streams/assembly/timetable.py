"""Partition time and the deadlines of its episodes, which fire in the order of the log; reads no clock."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping

from kinestream.streams.assembly.closing import NEVER, closing
from kinestream.streams.assembly.episode import CLOSING, Episode
from kinestream.streams.assembly.values import Deadlines


class Timetable:
    """When each episode is looked at again. ``close``: called with an episode whose time has come, once."""

    def __init__(self, episodes: Mapping[str, Episode], limits: Deadlines, close: Callable[[Episode], None]) -> None:
        self._episodes, self._limits, self._close = episodes, limits, close
        self._deadlines: list[tuple[int, str]] = []
        #: those whose time has come by records that a former owner stored and that are yet to be read again
        self._early: list[Episode] = []
        #: offset up to which the log was read, the record included that is being taken
        self._read = NEVER
        #: partition time: the highest broker time so far, ms
        self.time_ms = -1

    def pass_time(self, broker_ms: int, offset: int = NEVER, last: int = -1) -> None:
        """Let the deadlines up to ``broker_ms`` fire, before the record at ``offset``; without one all were read.

        ``last``: the offset up to which what is taken next goes, where that is more than one record.

        Rows may be stored of which the journal does not know yet: an episode waits for all records it has rows of,
        because what else they say (their schemas) is only in the log.
        """
        self._read = offset - 1
        waiting, self._early = self._early, []
        for episode in waiting:
            self._wake_up(episode.id, broker_ms)
        while self._deadlines and self._deadlines[0][0] <= broker_ms:
            self._wake_up(heapq.heappop(self._deadlines)[1], broker_ms)
        self.time_ms = max(self.time_ms, broker_ms)
        self._read = max(offset, last)

    def _wake_up(self, episode_id: str, broker_ms: int) -> None:
        episode = self._episodes.get(episode_id)
        if episode is not None:
            episode.wake_ms = NEVER
            self.schedule(episode, broker_ms)

    def next_ms(self) -> int:
        """Broker time at which something may be due; the far future if nothing is."""
        if self._early:  # due at once where the log has ended: what they waited for is not there any more
            return self.time_ms
        return self._deadlines[0][0] if self._deadlines else NEVER

    def schedule(self, episode: Episode, now_ms: int) -> None:
        """Close the episode if it is due, else wake up when it may be.

        ``now_ms`` is the record's own time: of those that had to wait, more are to come before the partition's.
        """
        if episode.phase == CLOSING:
            return
        due, status = closing(episode, self._limits)
        if due > now_ms:
            self._wake(episode, due)
        elif episode.last_offset() <= self._read:
            self.close(episode, status, due)
        else:
            self._early.append(episode)

    def close(self, episode: Episode, status: str, due_ms: int) -> None:
        """It closes, as what it became at ``due_ms``."""
        episode.closing_status, episode.closed_ms, episode.phase = status, due_ms, CLOSING
        self._close(episode)

    def resume(self, episode: Episode) -> None:
        """A restored episode: no deadline may fire before the log up to here is read again."""
        newest = max(episode.ended_ms(), episode.heard_ms, episode.unnamed_ms, episode.late_ms)
        self.time_ms = newest if self.time_ms < 0 else min(self.time_ms, newest)
        due, status = closing(episode, self._limits)
        if episode.commanded and due == episode.command_ms():
            # It was about to close when its owner died. The log of frames may say nothing for hours.
            self.close(episode, status, due)
        else:
            self._wake(episode, due)

    def _wake(self, episode: Episode, due_ms: int) -> None:
        if due_ms < episode.wake_ms:
            episode.wake_ms = due_ms
            heapq.heappush(self._deadlines, (due_ms, episode.id))
