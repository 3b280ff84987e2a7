"""A partition that takes no more holds itself back, and whoever hands fetches out goes on with the others."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kinestream.streams.inbox import Inbox


class Transport:
    """What was asked of it, in order."""

    def __init__(self) -> None:
        self.held: list[bool] = []

    def inbox(self, patience_s: float = 0.01) -> Inbox[Any]:
        return Inbox(self.held.append, patience_s)


def test_one_fetch_waits_while_another_is_worked_on() -> None:
    async def play() -> list[bool]:
        transport = Transport()
        inbox = transport.inbox()
        await inbox.offer(1)
        assert await inbox.take() == 1
        await inbox.offer(2)
        assert await inbox.take() == 2
        return transport.held

    assert asyncio.run(play()) == []


def test_a_partition_that_takes_nothing_is_held_back_and_loses_nothing_in_order() -> None:
    async def play() -> tuple[list[bool], list[bool], list[int]]:
        transport = Transport()
        inbox = transport.inbox()
        for number in range(5):  # the third waits out its patience, later ones were under way
            await asyncio.wait_for(inbox.offer(number), 5)
        stuck = list(transport.held)
        return stuck, transport.held, [await inbox.take() for _ in range(5)]

    stuck, held, taken = asyncio.run(play())
    assert stuck == [True], "asked once"
    assert held == [True, False], "and let go of when all was taken"
    assert taken == list(range(5))


def test_it_waits_for_room_when_room_comes_in_time() -> None:
    async def play() -> list[bool]:
        transport = Transport()
        inbox = transport.inbox(patience_s=60)
        await inbox.offer(1)
        offered = asyncio.create_task(inbox.offer(2))
        await asyncio.sleep(0)
        assert not offered.done(), "two wait: whoever brings more has to wait as well"
        assert await inbox.take() == 1
        await asyncio.wait_for(offered, 5)
        return transport.held

    assert asyncio.run(play()) == []


def test_a_partition_given_up_lets_go_whoever_waits_and_asks_for_nothing_more() -> None:
    async def play() -> list[bool]:
        transport = Transport()
        inbox = transport.inbox(patience_s=60)
        await inbox.offer(1)
        waiting = asyncio.create_task(inbox.offer(2))
        await asyncio.sleep(0)
        inbox.close()
        await asyncio.wait_for(waiting, 5)
        await asyncio.wait_for(inbox.offer(3), 5)
        return transport.held

    assert asyncio.run(play()) == []


def test_nobody_to_ask_means_waiting_as_long_as_it_takes() -> None:
    async def play() -> None:
        inbox: Inbox[int] = Inbox(None, 0.01)
        await inbox.offer(1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(inbox.offer(2), 0.1)

    asyncio.run(play())
