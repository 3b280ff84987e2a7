"""What /metrics shows, in Prometheus' text format: read from counters that are there anyway, when somebody asks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from kinestream.streams.health import Key, Position, Watchdog
from kinestream.streams.measuring import Measures
from kinestream.streams.retention import RetentionWatch
from kinestream.streams.worker import Worker

#: Prometheus' text format, without the charset: aiohttp adds it itself.
CONTENT_TYPE: Final = "text/plain; version=0.0.4"
_PLACE: Final = ("topic", "partition")
#: Counters of a partition's assembler: its name there, the metric's, what it says.
_COUNTED: Final = (
    ("frames", "frames", "Frames added to episodes."),
    ("chunks", "chunks", "FrameChunks read that belong to an open episode."),
    ("duplicates", "duplicate_frames", "Copies of frames that were there already."),
    ("conflicts", "conflicting_frames", "Copies of frames that differ from the first; the first wins."),
    ("late", "late_frames", "Frames that came after their episode's first close."),
    ("ignored", "ignored_records", "Records of closed episodes that added nothing, and repeated marks."),
    ("completed", "closed_episodes", "Episodes closed, whatever their status."),
)


@dataclass(frozen=True, slots=True)
class Reading:
    """What the transport counts as a whole: messages since its start, and bytes now."""

    gap_messages: int = 0
    lost_tail_messages: int = 0
    waiting_bytes: int = 0


class WorkerCollector(Collector):
    """The figures of one worker; ``positions`` and ``reading`` are the transport's word."""

    def __init__(
        self,
        worker: Worker,
        measures: Measures,
        watchdog: Watchdog,
        positions: Callable[[], Mapping[Key, Position]],
        reading: Callable[[], Reading],
        retention: RetentionWatch,
    ) -> None:
        self._worker, self._measures, self._watchdog = worker, measures, watchdog
        self._positions, self._reading, self._retention = positions, reading, retention

    def collect(self) -> Iterator[Metric]:
        """All families, taken together."""
        yield from self._partitions()
        yield from self._lags()
        yield from self._whole()
        yield from self._store()
        yield from self._said()

    def _partitions(self) -> Iterator[Metric]:
        facts = {key: one.assembler.facts() for key, one in self._worker.assigned.items()}
        for name, metric, help_text in _COUNTED:
            family = CounterMetricFamily(f"kinestream_{metric}", help_text, labels=_PLACE)
            for key, values in facts.items():
                family.add_metric(_labels(key), values[name])
            yield family
        yield _gauge("open_episodes", "Episodes in flight.", {key: one["open"] for key, one in facts.items()})

    def _lags(self) -> Iterator[Metric]:
        positions, assigned, now_s = self._positions(), self._worker.assigned, time.time()
        behind = {key: max(at.lag, 0) for key, at in positions.items()}
        yield _gauge("position_lag_messages", "Messages between the end of the log and what was read.", behind)
        seconds = {
            key: max(now_s - assigned[key].assembler.time_ms / 1000, 0.0) if lag else 0.0
            for key, lag in behind.items()
            if key in assigned and (not lag or assigned[key].assembler.time_ms >= 0)
        }
        yield _gauge("position_lag_seconds", "Age of the newest record read while there are newer ones.", seconds)
        ages = {key: self._watchdog.watermark_age(key, at.watermark) for key, at in positions.items()}
        yield _gauge("watermark_age_seconds", "Time since the oldest record that is not yet durable was read.", ages)
        outlooks = self._retention.outlooks
        until_s = {key: one.until_s for key, one in outlooks.items()}
        text = "Time until retention may delete the oldest unread message; +Inf where nothing is unread."
        yield _gauge("unread_until_retention_seconds", text, until_s)
        text = "What is left of the retained time or bytes before unread messages are deleted, 0 to 1."
        yield _gauge("unread_retention_margin", text, {key: one.margin for key, one in outlooks.items()})

    def _whole(self) -> Iterator[Metric]:
        worker = self._worker
        bytes_ = worker.inflight_bytes()
        yield GaugeMetricFamily("kinestream_inflight_bytes", "Frames in memory that the store has not.", bytes_)
        limit = worker.settings.inflight_bytes
        yield GaugeMetricFamily("kinestream_inflight_limit_bytes", "Above this, fetching stops.", limit)
        text = "Generation of the consumer group; -1 before the first assignment."
        yield GaugeMetricFamily("kinestream_group_generation", text, worker.generation)
        yield GaugeMetricFamily("kinestream_ready", "1 as /readyz answers 200.", int(not unready(worker)))
        yield GaugeMetricFamily("kinestream_stalled", "1 as /healthz answers 503.", int(bool(self._watchdog.stalled)))
        flushed_s = max(time.monotonic() - worker.flushed_s, 0.0)
        yield GaugeMetricFamily("kinestream_last_flush_age_seconds", "Time since a flush came through.", flushed_s)

    def _store(self) -> Iterator[Metric]:
        yield _counter("inserted_rows", "Rows the store has taken.", "table", self._measures.inserted)
        retry, now_s = self._worker.retry, time.time()
        yield _counter("retries", "Failed attempts at what store, broker or registry must do.", "what", retry.retries)
        family = GaugeMetricFamily("kinestream_trouble_seconds", "How long something has failed.", labels=("what",))
        for what, trouble in list(retry.troubles.items()):
            family.add_metric((what,), max(now_s - trouble.since_s, 0.0))
        yield family

    def _said(self) -> Iterator[Metric]:
        m = self._measures
        yield _counter("dead_letters", "Records that could not be used.", "reason", m.dead_letters)
        family = CounterMetricFamily("kinestream_announced_episodes", "Events.", labels=("status", "verdict"))
        for labels, count in list(m.episodes.items()):
            family.add_metric(labels, count)
        yield family
        yield CounterMetricFamily("kinestream_gaps", "Ranges of frames missing from announced episodes.", m.gaps)
        yield CounterMetricFamily("kinestream_missing_frames", "Frames missing from them.", m.missing_frames)
        text = "Episodes whose content hash was computed again from the store."
        yield CounterMetricFamily("kinestream_verified_episodes", text, m.verified)
        yield CounterMetricFamily("kinestream_verify_mismatches", "Of these, those that differ.", m.mismatches)
        yield from self._log()

    def _log(self) -> Iterator[Metric]:
        reading = self._reading()
        text = "Messages the log had lost before they were read."
        yield CounterMetricFamily("kinestream_log_gap_messages", text, reading.gap_messages)
        text = "Messages that were read, and that a broker which came back no longer had."
        yield CounterMetricFamily("kinestream_lost_tail_messages", text, reading.lost_tail_messages)
        yield GaugeMetricFamily(
            "kinestream_waiting_bytes", "Read, and not yet taken by an agent.", reading.waiting_bytes
        )


def page(collector: WorkerCollector, measures: Measures) -> bytes:
    """The whole page; the registry belongs to this worker, and nothing global is read."""
    if not measures.complete:
        measures.registry.register(collector)
        ProcessCollector(registry=measures.registry)
        measures.complete = True
    return generate_latest(measures.registry)


def unready(worker: Worker) -> list[str]:
    """What keeps a worker from being ready, in one line each."""
    if worker.generation < 0:
        return ["no partitions were assigned yet"]
    loading = [f"{topic}-{n}" for (topic, n), one in worker.assigned.items() if not one.ready.is_set()]
    found = [f"loading what is in flight of {', '.join(loading)}"] if loading else []
    return found + worker.waits_for()


def _labels(key: Key) -> tuple[str, str]:
    return key[0], str(key[1])


def _gauge(name: str, text: str, values: Mapping[Key, float]) -> Metric:
    family = GaugeMetricFamily(f"kinestream_{name}", text, labels=_PLACE)
    for key, value in values.items():
        family.add_metric(_labels(key), value)
    return family


def _counter(name: str, text: str, label: str, values: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(f"kinestream_{name}", text, labels=(label,))
    items: Iterable[tuple[str, int]] = list(values.items())
    for key, value in items:
        family.add_metric((key,), value)
    return family
