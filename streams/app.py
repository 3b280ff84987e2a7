"""The Faust app: ``faust -A kinestream.streams.app worker``. Declares agents and timers; decides nothing."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from kinestream.streams import lean  # isort: skip  (before anything loads pyarrow)

import faust
from faust.types import TP
from faust.utils.terminal import SpinnerHandler

from kinestream.schemas.catalogue import FRAMES, FRAMES_BULK, topic_name
from kinestream.schemas.errors import KinestreamError
from kinestream.schemas.registry import Registry
from kinestream.schemas.settings import Settings
from kinestream.streams.assigned import Membership
from kinestream.streams.cluster import describe
from kinestream.streams.measuring import MeasuredAnnouncer, MeasuredStore
from kinestream.streams.pages import Pages
from kinestream.streams.retrying import Retry
from kinestream.streams.transport import Fetch, FetchSchema
from kinestream.streams.worker import Worker

log = logging.getLogger("kinestream.worker")

settings = Settings.from_env()
bootstrap = settings.kafka or "127.0.0.1:9092"
clickhouse = settings.clickhouse or "http://127.0.0.1:8123"
frame_topics = tuple(topic_name(topic, settings.tenant) for topic in (FRAMES, FRAMES_BULK))

app = faust.App(
    settings.group,
    broker=[f"kinestream://{address}" for address in bootstrap.split(",")],
    # Static membership: back in seconds after a crash. Two processes with one id would livelock, so never empty.
    consumer_group_instance_id=settings.instance_id or f"{socket.gethostname()}-{settings.worker_port}",
    consumer_auto_offset_reset="earliest",
    # The content hash goes from robot to store: a second checksum over every fetch buys nothing (librdkafka's default).
    broker_check_crcs=False,
    broker_session_timeout=settings.session_s,
    broker_heartbeat_interval=settings.session_s / 5,
    broker_request_timeout=max(40.0, settings.session_s + 5),
    # aiokafka gives up its membership when nothing is taken for this long: a store that is away must not cost it.
    broker_max_poll_interval=24 * 3600.0,
    # A worker that is behind takes more of a partition at once: fewer look-ups, fewer events.
    consumer_max_fetch_size=2 * 1024**2,
    # One event is a fetch of up to two megabytes: few of them may wait.
    stream_buffer_maxsize=4,
    stream_wait_empty=False,  # else SIGTERM hangs: nothing is ever acknowledged
    stream_processing_timeout=24 * 3600.0,
    broker_commit_livelock_soft_timeout=24 * 3600.0,
    topic_allow_declare=False,
    topic_disable_leader=True,
    autodiscover=False,
    datadir=str(settings.home / "worker"),
    store="memory://",
    web_host="127.0.0.1",
    web_port=settings.worker_port,
    loghandlers=[],
)
frames = app.topic(*frame_topics, schema=FetchSchema(), acks=False)

_worker: Worker | None = None
pages = Pages(app, settings, lambda: _worker)


def worker() -> Worker:
    """The process's worker, made when the app starts: importing this module touches no network."""
    if _worker is None:
        raise RuntimeError("the app has not started: run `kinestream work` or `faust -A kinestream.streams.app worker`")
    return _worker


async def _make_worker() -> Worker:
    # Each partition has an outlet, and each waits for its broker's answer in a thread.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(24, "worker"))
    retry = Retry()
    cluster_id, partitions = await retry.call("reach the broker", describe, bootstrap, frame_topics)
    store = await retry.call("reach the store", MeasuredStore, settings, clickhouse, pages.measures)
    registry = Registry(settings.registry)
    announcer = MeasuredAnnouncer(settings, bootstrap, registry, pages.measures)
    await retry.call("ask the registry", announcer.prepare)

    async def commit(offsets: Mapping[tuple[str, int], int]) -> bool:
        return bool(await app.consumer.commit_watermarks({TP(*key): offset for key, offset in offsets.items()}))

    return Worker(
        settings,
        store,
        announcer,
        registry,
        cluster_id=cluster_id,
        partitions=partitions,
        commit=commit,
        caught_up_since=lambda key, offset: app.consumer.caught_up_since(TP(*key), offset),
        membership=lambda: Membership(app.consumer_generation_id, time.monotonic()),
        guarded=guarded,
    )


async def guarded(what: str, action: Callable[[], Awaitable[Any]]) -> Any:
    """Run ``action``; an error nobody foresaw ends the process as kill -9 would, for recovery is made for that.

    Going on would acknowledge what was not processed: Faust counts an event whose agent raised as done.
    """
    try:
        return await action()
    except asyncio.CancelledError:
        raise
    except KinestreamError as problem:
        log.critical("%s: %s", what, problem)
    except Exception:
        log.critical("%s failed; the worker ends and its supervisor starts another", what, exc_info=True)
    logging.shutdown()
    os._exit(70)


@app.on_worker_init.connect
def _before_start(_: Any, **__: Any) -> None:
    settings.home.mkdir(parents=True, exist_ok=True)  # Faust makes its folder, but not the one above


def _quieter() -> None:
    """Our own words at INFO, everybody's trouble at WARNING.

    For its spinner Faust opens the root logger at DEBUG, so that every fetch and request makes records nobody reads;
    aiokafka logs seventy lines a second while a broker is away.
    """
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if isinstance(handler, SpinnerHandler):
            root.removeHandler(handler)
        else:
            handler.setLevel(logging.INFO)
    root.setLevel(logging.WARNING)
    logging.getLogger("kinestream").setLevel(logging.INFO)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


@app.on_partitions_assigned.connect
async def _assigned(_: Any, assigned: set[TP], **__: Any) -> None:
    keys = [(tp.topic, tp.partition) for tp in assigned if tp.topic in frame_topics]
    generation = app.consumer_generation_id
    await _started.wait()
    # In the background: Faust holds the group's rebalance open until this returns.
    _loading.append(asyncio.ensure_future(guarded("loading", lambda: worker().take_over(keys, generation))))


@app.on_partitions_revoked.connect
async def _revoked(_: Any, revoked: set[TP], **__: Any) -> None:
    if _worker is not None:
        for task in _loading:
            task.cancel()
        _loading.clear()
        await _worker.give_up((tp.topic, tp.partition) for tp in revoked)


_started = asyncio.Event()
_loading: list[asyncio.Future[Any]] = []


@app.agent(frames)
async def assemble(fetches: Any) -> None:
    """Assemble and judge: one event is one fetch."""
    async for fetch in fetches:
        await guarded("assembling", partial(_take, fetch))


async def _take(fetch: Fetch) -> None:
    await _started.wait()
    await worker().handle(fetch)


@app.task
async def flushing() -> None:
    """Make the worker, then flush for ever."""
    global _worker
    _quieter()
    _worker = await guarded("starting", _make_worker)
    _worker.flush_took = pages.measures.flush_s.observe
    lean.settle()
    _started.set()
    await guarded("flushing", worker().run)


@app.on_before_shutdown.connect
async def _leave(*_: Any, **__: Any) -> None:
    if _worker is not None:
        try:
            await asyncio.wait_for(_worker.stop(), 4)
        except TimeoutError:
            log.warning("left before all was flushed: it is read again from the watermark")
