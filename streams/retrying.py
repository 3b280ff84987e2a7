"""Blocking calls, repeated in a thread while store, broker or registry are away; other errors pass through."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from kinestream.schemas.errors import BrokerError, StoreDeniedError, StoreError
from kinestream.schemas.registry import RegistryUnavailableError
from kinestream.streams.store.client import is_passing

log = logging.getLogger("kinestream.worker")
T = TypeVar("T")
#: Seconds without an answer after which whoever was asked counts as away.
SLOW_S = 5.0


@dataclass(frozen=True, slots=True)
class Trouble:
    """What cannot be done now, in one line, and since when (UTC seconds)."""

    text: str
    since_s: float


class Retry:
    """Runs a blocking call in a thread, again and again while store or broker are away; other errors pass through."""

    def __init__(self, longest_s: float = 1.0) -> None:
        self._longest_s = longest_s
        #: what is wrong now, by what was to be done: a broker that is away must not look well because the store is
        self.troubles: dict[str, Trouble] = {}
        #: failed attempts, by what was to be done
        self.retries: Counter[str] = Counter()
        self._asked: dict[object, tuple[str, float]] = {}

    async def call(self, what: str, function: Callable[..., T], *arguments: Any) -> T:
        """The result of ``function(*arguments)``; says once what is wrong, and once that it is over."""
        pause = 0.05
        while True:
            try:
                result = await self._ask(what, function, *arguments)
            except Exception as problem:
                if not is_outage(problem):
                    raise
                self._note(what, line(problem))
                try:
                    await asyncio.sleep(pause)
                except asyncio.CancelledError:
                    self.troubles.pop(what, None)  # nobody is trying any more: a partition went elsewhere
                    raise
                pause = min(pause * 2, self._longest_s)
            else:
                if over := self.troubles.pop(what, None):
                    log.warning("over: %s", over.text)
                return result

    def waits_for(self) -> list[str]:
        """What is away now, in one line each: what failed, and what has not answered for a while (a frozen store)."""
        now_s = time.time()
        slow = {what: since for what, since in list(self._asked.values()) if now_s - since > SLOW_S}
        found = {what: Trouble(f"no answer when asked to {what}", since) for what, since in slow.items()}
        found |= self.troubles
        return [f"{one.text}, for {now_s - one.since_s:.0f} s" for one in found.values()]

    async def _ask(self, what: str, function: Callable[..., T], *arguments: Any) -> T:
        token = object()
        self._asked[token] = (what, time.time())
        try:
            return await asyncio.to_thread(function, *arguments)
        finally:
            del self._asked[token]

    def _note(self, what: str, reason: str) -> None:
        known = self.troubles.get(what)
        if known is None:
            log.warning("cannot %s: %s; trying again until it works", what, reason)
        self.troubles[what] = Trouble(f"cannot {what}: {reason}", known.since_s if known else time.time())
        self.retries[what] += 1


def is_outage(problem: BaseException) -> bool:
    """Whether waiting may cure it: store, broker or registry are away, slow or full."""
    if isinstance(problem, StoreDeniedError):
        return False
    return isinstance(problem, BrokerError | StoreError | RegistryUnavailableError) or is_passing(problem)


def line(problem: BaseException) -> str:
    """A problem in one line."""
    return (str(problem).strip() or repr(problem)).splitlines()[0]
