"""The worker's own figures that must be noted when they happen; counted here, shown by the metrics page.

Nothing here runs per frame or per record: an insert, a flush, an announcement or a dead letter is the least unit.
"""

from __future__ import annotations

import time
from collections import Counter as Counts
from collections.abc import Sequence

import pyarrow as pa
from prometheus_client import CollectorRegistry, Histogram

from kinestream.schemas.registry import Registry
from kinestream.schemas.settings import Settings
from kinestream.streams.announce import Announcer
from kinestream.streams.assembly.values import JsonDict, Place
from kinestream.streams.dead_letters.sending import Bag, DeadLetterSender
from kinestream.streams.messages import Message
from kinestream.streams.outlet import Outlet
from kinestream.streams.store.store import Store

_INSERT_S = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_EVENT_S = (0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 5, 10, 30, 60)


class Measures:
    """Counters and histograms of one worker, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        #: the page has registered the rest of its figures
        self.complete = False
        self.insert_s = Histogram(
            "kinestream_insert_duration_seconds",
            "Time of one insert into the store, failed attempts left out.",
            ("table",),
            buckets=_INSERT_S,
            registry=self.registry,
        )
        self.flush_s = Histogram(
            "kinestream_flush_duration_seconds",
            "Time of one flush: everything that was due made durable and announced, waiting for a store included.",
            buckets=_INSERT_S,
            registry=self.registry,
        )
        self.event_s = Histogram(
            "kinestream_event_latency_seconds",
            "From the broker time of an episode's last record to the acknowledgement of its event, COMPLETE ones only.",
            buckets=_EVENT_S,
            registry=self.registry,
        )
        self.inserted: Counts[str] = Counts()
        self.dead_letters: Counts[str] = Counts()
        self.episodes: Counts[tuple[str, str]] = Counts()
        self.missing_frames = 0
        self.gaps = 0
        self.verified = 0
        self.mismatches = 0

    def looked_at(self, agrees: bool) -> None:
        """An episode was read back and its hash computed again."""
        self.verified += 1
        self.mismatches += not agrees


class MeasuredStore(Store):
    """A store whose inserts are timed."""

    def __init__(self, settings: Settings, url: str, measures: Measures) -> None:
        super().__init__(settings, url)
        self._measures = measures

    def insert(self, table: str, rows: pa.Table) -> None:
        """As :meth:`Store.insert`."""
        began_s = time.monotonic()
        super().insert(table, rows)
        self._measures.insert_s.labels(table).observe(time.monotonic() - began_s)
        self._measures.inserted[table] += rows.num_rows


class MeasuredAnnouncer(Announcer):
    """An announcer that counts what it says and how late."""

    def __init__(self, settings: Settings, bootstrap: str, registry: Registry, measures: Measures) -> None:
        super().__init__(settings, bootstrap, registry)
        self._measures = measures
        self.letters = MeasuredLetters(settings, bootstrap, measures)
        #: broker time of the last record, ms, by the key of an event that is not yet acknowledged
        self._ended_ms: dict[bytes, int] = {}

    def episode(self, row: JsonDict, event: bytes) -> Message:
        """As :meth:`Announcer.episode`."""
        message = super().episode(row, event)
        self._measures.episodes[row["status"], row["verdict"]] += 1
        self._measures.missing_frames += row["missing"]
        self._measures.gaps += len(row["missing_ranges"])
        if row["status"] == "COMPLETE" and row["reason"] != "CORRECTED":  # the others wait on purpose, or for a person
            self._ended_ms[message.key] = row["ended_at"]
        return message

    def outlet(self, place: Place) -> Outlet:
        """As :meth:`Announcer.outlet`, told when its messages are acknowledged."""
        outlet = super().outlet(place)
        publish = outlet.publish

        def measured(messages: Sequence[Message]) -> None:
            publish(messages)
            now_s = time.time()
            for message in messages:
                if (ended_ms := self._ended_ms.pop(message.key, None)) is not None:
                    self._measures.event_s.observe(max(now_s - ended_ms / 1000, 0.0))

        outlet.publish = measured  # type: ignore[method-assign]
        return outlet


class MeasuredLetters(DeadLetterSender):
    """A sender of dead letters that counts them by reason."""

    def __init__(self, settings: Settings, bootstrap: str, measures: Measures) -> None:
        super().__init__(settings, bootstrap)
        self._measures = measures

    def deliver(self, bag: Bag) -> None:
        """As :meth:`DeadLetterSender.deliver`; what is left after an error is counted when it is delivered."""
        before = dict(bag.left)
        try:
            super().deliver(bag)
        finally:
            done = before.keys() - bag.left.keys()
            self._measures.dead_letters.update(str(before[number][1].reason) for number in done)
