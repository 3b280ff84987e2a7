"""Whether two processes use one robot's name at the same time; a reboot is none of it. Closes and refuses nothing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Rivals:
    """What an episode has heard of other boots of its robot, as offsets of the log; -1 = nothing.

    A boot that speaks for itself after another one has spoken is alive beside it. Only two kinds of record are a
    boot's own voice: RobotStatus, and an EpisodeStart with a number above the other's. Frames, marks, ends and earlier
    starts are none, because the spool of a robot that died is sent by its next boot.
    """

    spoke: int = -1
    began: int = -1
    began_no: int = -1
    proven: int = -1

    def status(self, own: bool, offset: int) -> bool:
        """A RobotStatus of this boot or of another; True if that is news."""
        if not own and self.spoke < 0:
            self.spoke = offset
            return True
        return own and 0 <= self.spoke < offset and self._prove(offset)

    def start(self, own: bool, episode_no: int, offset: int) -> bool:
        """A live EpisodeStart of this boot or of another; True if that is news."""
        if not own and self.began < 0:
            self.began, self.began_no = offset, episode_no
            return True
        return own and 0 <= self.began < offset and episode_no > self.began_no and self._prove(offset)

    def _prove(self, offset: int) -> bool:
        news = self.proven < 0
        if news:
            self.proven = offset
        return news
