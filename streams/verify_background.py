"""Verifies a few episodes a minute while a worker has nothing better to do; repairs nothing, says what differs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from kinestream.schemas.errors import StoreError
from kinestream.schemas.settings import Settings
from kinestream.streams.verify import CHANGING, DIFFERS, Report, Verifier

log = logging.getLogger("kinestream.verify")


class BackgroundVerifier:
    """``idle``: whether the worker could be spared. ``told``: hears every episode that was looked at."""

    def __init__(
        self, settings: Settings, url: str, idle: Callable[[], bool], told: Callable[[bool], None] = lambda agrees: None
    ) -> None:
        self._settings, self._url = settings, url
        self._idle, self._told = idle, told
        self._verifier: Verifier | None = None

    async def run(self) -> None:
        """For ever, ``verify_per_minute`` episodes a minute at most; ends at once where that is 0."""
        if self._settings.verify_per_minute <= 0:
            return
        while True:
            await asyncio.sleep(60 / self._settings.verify_per_minute)
            if self._idle():
                try:
                    await asyncio.to_thread(self.once)
                except Exception:  # a row nobody foresaw is worth a line, not a worker
                    log.exception("an episode could not be verified")

    def once(self) -> Report | None:
        """Verify one episode, if there is any; a store that is away is for others to complain of."""
        try:
            if self._verifier is None:
                self._verifier = Verifier(self._settings, self._url)
            report = next(self._verifier.verify(self._verifier.any_one()), None)
        except StoreError as problem:
            log.debug("not verified: %s", problem)
            return None
        if report is not None and report.result != CHANGING:
            self._told(report.result != DIFFERS)
            for one in report.mismatches:
                log.error("episode %s, block %s, %s: %s", report.episode_id, one.block, one.channel or "-", one.text)
        return report
