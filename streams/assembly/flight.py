"""The episodes in flight of one partition, by id and by robot; opens and closes none of them."""

from __future__ import annotations

from collections.abc import Iterable

from kinestream.streams.assembly.episode import Episode
from kinestream.streams.assembly.unmarked import Streams
from kinestream.streams.assembly.values import LogRecord, LogRun


class InFlight:
    """What a robot says concerns all its episodes, so they are found by robot too."""

    def __init__(self) -> None:
        self.by_id: dict[str, Episode] = {}
        self.streams = Streams()
        self._by_robot: dict[str, dict[str, Episode]] = {}

    def add(self, episode: Episode) -> None:
        """Hold an episode."""
        self.by_id[episode.id] = episode
        self._by_robot.setdefault(episode.robot_id, {})[episode.id] = episode

    def pop(self, episode_id: str) -> Episode:
        """Let an episode go."""
        episode = self.by_id.pop(episode_id)
        siblings = self._by_robot[episode.robot_id]
        del siblings[episode_id]
        if not siblings:
            del self._by_robot[episode.robot_id]
        return episode

    def of(self, robot_id: str) -> Iterable[Episode]:
        """The episodes of a robot."""
        return self._by_robot.get(robot_id, {}).values()

    def hear(self, robot_id: str, record: LogRecord, but: Episode | None = None) -> None:
        """Every record is a word of its robot, for each of its episodes."""
        for episode in self.of(robot_id):
            if episode is not but:
                episode.hear(record.offset, record.broker_ms)
                if isinstance(record, LogRun):
                    episode.hear(record.last_offset, record.last_ms)
