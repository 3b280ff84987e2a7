"""Owns how many frames the workers say they judged; for the eye only: what counts is asked of the store."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from collections import deque
from collections.abc import Sequence

#: Seconds between two questions, seconds over which frames/s is averaged, seconds an answer may take.
_EVERY_S, _OVER_S, _ANSWER_S = 0.5, 3.0, 1.0


class Rate:
    """A counter's rise a second over the last few seconds; a counter that starts again (a new worker) begins anew."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def add(self, at_s: float, count: int) -> None:
        """The counter stood at ``count``."""
        if self._seen and count < self._seen[-1][1]:
            self._seen.clear()
        self._seen.append((at_s, count))
        while len(self._seen) > 2 and at_s - self._seen[0][0] > _OVER_S:
            self._seen.popleft()

    def per_s(self) -> float:
        """0 until it was seen twice."""
        if len(self._seen) < 2:
            return 0.0
        (first_s, first), (last_s, last) = self._seen[0], self._seen[-1]
        return (last - first) / (last_s - first_s) if last_s > first_s else 0.0


class FramesCounter(threading.Thread):
    """Asks the workers' pages in the background while the ``with`` block runs."""

    def __init__(self, urls: Sequence[str]) -> None:
        super().__init__(name="frames counter", daemon=True)
        self._urls = urls
        self._rate = Rate()
        self._ended = threading.Event()
        self.frames = 0

    def __enter__(self) -> FramesCounter:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()

    def run(self) -> None:
        """Ask until the end; a worker that does not answer counts nothing new."""
        while not self._ended.wait(_EVERY_S):
            try:
                frames = sum(self._ask(url) for url in self._urls)
            except (OSError, ValueError, KeyError):
                frames = self.frames
            self._rate.add(time.monotonic(), frames)
            self.frames = frames

    def per_s(self) -> float:
        """Frames judged a second, lately."""
        return self._rate.per_s()

    @staticmethod
    def _ask(url: str) -> int:
        with urllib.request.urlopen(f"{url}/healthz", timeout=_ANSWER_S) as answer:
            return int(json.load(answer)["frames"])
