"""Asks the broker where the logs begin and end, over a connection that no fetch keeps waiting. Never joins a group."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import Any, Final

from confluent_kafka import OFFSET_END, Consumer, KafkaException, TopicPartition
from faust.types import TP

from kinestream.streams.transport.holding import Holdings

#: Seconds between two questions for the ends of the logs: lag, and the proof that a log is idle.
_ASK_S: Final = 0.25
#: Seconds an answer may take; a broker that is frozen proves nothing.
_ANSWER_S: Final = 5.0


def offsets_at(client: Consumer, places: Iterable[tuple[str, int]], when: int) -> list[TopicPartition]:
    """The logs' OFFSET_BEGINNING or OFFSET_END: as times they ask for the first and next offset, once a broker."""
    asked = [TopicPartition(*place, when) for place in places]
    return list(client.offsets_for_times(asked, timeout=_ANSWER_S))


class Asking:
    """Keeps ``end`` and ``answer`` of what is held up to date, in a thread of its own, while it is started."""

    def __init__(self, client: Any, holdings: Holdings) -> None:
        self.client: Consumer = client
        self._holdings = holdings
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log-ends", daemon=True)

    def start(self) -> None:
        """Ask, four times a second."""
        self._thread.start()

    def stop(self) -> None:
        """Ask no more; the thread closes the client when its last question is answered."""
        self._stopping.set()
        if not self._thread.is_alive():
            self.client.close()

    def _run(self) -> None:
        while not self._stopping.wait(_ASK_S):
            if held := list(self._holdings):
                self._ask(held)
        self.client.close()

    def _ask(self, held: list[TP]) -> None:
        asked_s = time.monotonic()
        try:
            answers = offsets_at(self.client, held, OFFSET_END)
        except KafkaException:
            return
        for one in answers:
            holding = self._holdings.get(TP(one.topic, one.partition))
            if holding is not None and one.error is None and one.offset >= 0:
                holding.answer = (one.offset, asked_s)
                holding.end = one.offset
