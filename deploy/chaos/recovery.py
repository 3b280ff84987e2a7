"""How long the floor stood still after a kill: per robot, from a disturbance's end to the next of its frames stored."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

from clickhouse_connect.driver.exceptions import ClickHouseError

from kinestream.schemas.errors import StoreError

#: Seconds between two looks at the store: by so much a recovery may be measured too long.
_EVERY_S: Final = 0.25


class Recoveries:
    """Values in, values out: when what had been stored of whom, and when disturbances ended."""

    def __init__(self) -> None:
        self._disturbed: list[tuple[float, str]] = []
        self._progress: dict[str, tuple[int, float]] = {}
        #: seconds, and what they followed
        self.longest: tuple[float, str] = (0.0, "")

    def disturbance(self, ended_s: float, what: str) -> None:
        """Something was killed, or came back, at ``ended_s`` (monotonic)."""
        self._disturbed.append((ended_s, what))

    def seen(self, now_s: float, stored: Mapping[str, int]) -> None:
        """``stored``: a number a robot that rises with every frame of it that becomes durable."""
        for robot, mark in stored.items():
            before, when = self._progress.get(robot, (-1, float("-inf")))
            if mark > before:
                self._progress[robot] = (mark, now_s)
                last = max(((t, what) for t, what in self._disturbed if when < t <= now_s), default=None)
                if last is not None and now_s - last[0] > self.longest[0]:
                    self.longest = (now_s - last[0], f"{robot} after {last[1]}")


class Watch(threading.Thread):
    """Asks the store for progress, again and again; a store that is away is no progress."""

    def __init__(self, ask: Callable[[], Mapping[str, int]]) -> None:
        super().__init__(name="recovery watch", daemon=True)
        self._ask, self._ended, self._lock = ask, threading.Event(), threading.Lock()
        self._recoveries = Recoveries()

    def disturbance(self, what: str) -> None:
        """It ended now."""
        with self._lock:
            self._recoveries.disturbance(time.monotonic(), what)

    @property
    def longest(self) -> tuple[float, str]:
        """Seconds of the longest stand-still, and what it followed."""
        with self._lock:
            return self._recoveries.longest

    def run(self) -> None:
        """Look until :meth:`stop`."""
        while not self._ended.wait(_EVERY_S):
            try:
                stored = self._ask()
            except (ClickHouseError, StoreError, OSError):
                continue
            with self._lock:
                self._recoveries.seen(time.monotonic(), stored)

    def stop(self) -> None:
        """Stop looking."""
        self._ended.set()
        if self.is_alive():
            self.join(25)
