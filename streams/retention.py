"""Watches how near the unread part of our partitions is to being deleted, and says so in time; it deletes nothing."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Final

from kinestream.schemas.errors import BrokerError
from kinestream.streams.health import Key
from kinestream.streams.outlook import FAIL, OK, Kept, Outlook, Unread, level

log = logging.getLogger("kinestream.worker")

#: Seconds between two questions for what the topics keep: people change it while they make room.
_ASK_S: Final = 300.0


class RetentionWatch:
    """``ask`` gives what the topics keep, and raises :class:`BrokerError` where nobody tells: then nothing is said."""

    def __init__(self, ask: Callable[[], Mapping[str, Kept]]) -> None:
        self._ask = ask
        self._kept: Mapping[str, Kept] = {}
        self._said: dict[Key, str] = {}
        self.outlooks: dict[Key, Outlook] = {}

    async def run(self) -> None:
        """Ask, for ever."""
        while True:
            await asyncio.to_thread(self.ask)
            await asyncio.sleep(_ASK_S)

    def ask(self) -> None:
        """Ask once; without an answer what was known stays."""
        try:
            self._kept = self._ask()
        except BrokerError as problem:
            log.debug("retention is not known: %s", problem)

    def see(self, unread: Mapping[Key, Unread]) -> None:
        """A look at all partitions of ours; says once what became worse, and once that it is well again."""
        known = {key: one for key, one in unread.items() if key[0] in self._kept}
        self.outlooks = {key: self.outlooks.get(key) or Outlook() for key in known}
        for key, one in known.items():
            self.outlooks[key].see(time.monotonic(), one, self._kept[key[0]])
            self._tell(key, one)
        self._said = {key: said for key, said in self._said.items() if key in known}

    def warnings(self) -> list[str]:
        """What is in danger, in one line each."""
        return [_line(key, outlook) for key, outlook in self.outlooks.items() if level(outlook.margin) != OK]

    def _tell(self, key: Key, unread: Unread) -> None:
        found, before = level(self.outlooks[key].margin), self._said.get(key, OK)
        if found == before:
            return
        self._said[key] = found
        if found == OK:
            log.warning("over: %s-%d is far enough from retention again", *key)
        else:
            log.log(logging.ERROR if found == FAIL else logging.WARNING,
                    "%s, %d messages; lengthen the topic's retention, or add workers", _line(key, self.outlooks[key]),
                    unread.messages)  # fmt: skip


def _line(key: Key, outlook: Outlook) -> str:
    return f"{key[0]}-{key[1]}: what is unread may be deleted in {outlook.until_s:.0f} s ({outlook.margin:.0%} left)"
