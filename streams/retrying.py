"""Blocking calls, repeated in a thread while store, broker or registry are away; other errors pass through."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, TypeVar

from kinestream.schemas.errors import BrokerError, StoreDeniedError, StoreError
from kinestream.schemas.registry import RegistryUnavailableError
from kinestream.streams.store.client import is_passing

log = logging.getLogger("kinestream.worker")
T = TypeVar("T")


class Retry:
    """Runs a blocking call in a thread, again and again while store or broker are away; other errors pass through."""

    def __init__(self, longest_s: float = 1.0) -> None:
        self._longest_s = longest_s
        self._troubles: dict[str, str] = {}

    @property
    def trouble(self) -> str:
        """What is wrong now, in one line; empty = nothing."""
        return "; ".join(f"cannot {what}: {why}" for what, why in self._troubles.items())

    async def call(self, what: str, function: Callable[..., T], *arguments: Any) -> T:
        """The result of ``function(*arguments)``; says once what is wrong, and once that it is over."""
        pause = 0.05
        while True:
            try:
                result = await asyncio.to_thread(function, *arguments)
            except Exception as problem:
                if not is_outage(problem):
                    raise
                if what not in self._troubles:
                    log.warning("cannot %s: %s; trying again until it works", what, line(problem))
                self._troubles[what] = line(problem)
                await asyncio.sleep(pause)
                pause = min(pause * 2, self._longest_s)
            else:
                if what in self._troubles:
                    log.warning("over: cannot %s: %s", what, self._troubles.pop(what))
                return result


def is_outage(problem: BaseException) -> bool:
    """Whether waiting may cure it: store, broker or registry are away, slow or full."""
    if isinstance(problem, StoreDeniedError):
        return False
    return isinstance(problem, BrokerError | StoreError | RegistryUnavailableError) or is_passing(problem)


def line(problem: BaseException) -> str:
    """A problem in one line."""
    return (str(problem).strip() or repr(problem)).splitlines()[0]
