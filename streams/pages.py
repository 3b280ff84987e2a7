"""The worker's web pages and the watch behind them: /healthz, /readyz, /metrics. They show, and change nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from faust import App
from faust.types import TP
from faust.web import Request, Response, View

from kinestream.schemas.settings import Settings
from kinestream.streams.health import Key, Position, Sample, Watchdog
from kinestream.streams.measuring import Measures
from kinestream.streams.metrics_page import CONTENT_TYPE, Reading, WorkerCollector, page, unready
from kinestream.streams.outlook import Unread
from kinestream.streams.retention import RetentionWatch
from kinestream.streams.worker import Worker

#: Seconds between two looks of the watchdog.
_EVERY_S: Final = 1.0


class Pages:
    """``worker`` gives the process's worker, or None until it is made."""

    def __init__(
        self, app: App, settings: Settings, worker: Callable[[], Worker | None], retention: RetentionWatch
    ) -> None:
        self._app, self._worker = app, worker
        self.measures = Measures()
        self._watchdog = Watchdog(settings.stall_s)
        self._retention = retention
        self._collector: WorkerCollector | None = None
        self._began_s = time.monotonic()
        for path, answer in (("/healthz", self._healthz), ("/readyz", self._readyz), ("/metrics", self._metrics)):
            app.page(path)(_page(answer))

        @app.task
        async def watching() -> None:
            await self._watch()

    async def _watch(self) -> None:
        while True:
            if (worker := self._worker()) is not None:
                sample = Sample(time.monotonic(), worker.flushed_s, worker.waits_for(), self._positions())
                self._watchdog.see(sample)
                self._retention.see(self._unread(worker))
            await asyncio.sleep(_EVERY_S)

    def _healthz(self, view: View) -> Response:
        """503 when what should move does not: kill it. 200 also while it waits for a store that is away."""
        worker, stalled = self._worker(), list(self._watchdog.stalled)
        uptime_s = round(time.monotonic() - self._began_s, 1)
        body: dict[str, Any] = {"healthy": not stalled, "reasons": stalled, "uptime_s": uptime_s}
        if worker is not None:
            body |= worker.facts() | {"waits_for": worker.waits_for(), "warnings": self._retention.warnings()}
            body["verified"] = {"episodes": self.measures.verified, "differ": self.measures.mismatches}
        return view.json(body, status=503 if stalled else 200)

    def _readyz(self, view: View) -> Response:
        """503 until partitions are assigned and loaded, and while anything it needs is away."""
        worker = self._worker()
        reasons = ["not started: waiting for broker and store"] if worker is None else unready(worker)
        return view.json({"ready": not reasons, "reasons": reasons}, status=503 if reasons else 200)

    def _metrics(self, view: View) -> Response:
        """Prometheus' text format; empty until the worker is made."""
        worker = self._worker()
        if worker is None:
            return view.bytes(b"", content_type=CONTENT_TYPE)
        if self._collector is None:
            self._collector = WorkerCollector(
                worker, self.measures, self._watchdog, self._positions, self._reading, self._retention
            )
        return view.bytes(page(self._collector, self.measures), content_type=CONTENT_TYPE)

    def _positions(self) -> Mapping[Key, Position]:
        worker, consumer = self._worker(), self._app.consumer
        if worker is None:
            return {}
        found = {}
        for key, one in worker.assigned.items():
            lag, mark = consumer.position_lag(TP(*key), one.next_offset), one.assembler.watermark()
            # -1: nothing was read yet, so nothing waits
            found[key] = Position(one.next_offset, lag, mark if mark >= 0 else one.next_offset, one.ready.is_set())
        return found

    def _unread(self, worker: Worker) -> Mapping[Key, Unread]:
        found = {}
        for key, at in self._positions().items():
            end, size = self._app.consumer.log_of(TP(*key))
            if end >= 0 and key in worker.assigned:
                heard_ms = worker.assigned[key].assembler.time_ms
                age_s = max(time.time() - heard_ms / 1000, 0.0) if heard_ms >= 0 else 0.0
                found[key] = Unread(max(at.lag, 0), end, size, age_s)
        return found

    def _reading(self) -> Reading:
        consumer = self._app.consumer
        return Reading(consumer.log_gap_messages, consumer.lost_tail_messages, consumer.waiting_bytes)


def _page(answer: Callable[[View], Response]) -> Any:
    """A function of its own: Faust binds what it is given to the view, and a bound method would stay as it is."""

    async def page_of(view: View, request: Request) -> Response:
        return answer(view)

    return page_of
