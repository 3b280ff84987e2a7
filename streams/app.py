"""The Faust app: ``faust -A kinestream.streams.app worker``. Declares agents and timers; decides nothing."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from kinestream.streams import lean  # isort: skip  (before anything loads pyarrow)

import faust
from faust.tables.manager import TableManager
from faust.types import TP
from faust.utils.terminal import SpinnerHandler

from kinestream.schemas.catalogue import FRAMES, FRAMES_BULK, topic_name
from kinestream.schemas.errors import KinestreamError, SettingError
from kinestream.schemas.registry import Registry
from kinestream.schemas.settings import Settings
from kinestream.streams.assigned import Membership
from kinestream.streams.cluster import describe, kept
from kinestream.streams.commanding import Commander
from kinestream.streams.leaving import Leaving, end
from kinestream.streams.measuring import MeasuredAnnouncer, MeasuredStore
from kinestream.streams.model_log import ModelLog
from kinestream.streams.pages import Pages
from kinestream.streams.retention import RetentionWatch
from kinestream.streams.retrying import Retry
from kinestream.streams.tidying import Tidier
from kinestream.streams.transport import Fetch, FetchSchema
from kinestream.streams.verify_background import BackgroundVerifier
from kinestream.streams.worker import Worker

log = logging.getLogger("kinestream.worker")

settings = Settings.from_env()
bootstrap = settings.kafka or "127.0.0.1:9092"
clickhouse = settings.clickhouse or "http://127.0.0.1:8123"
#: One group for both lanes: offsets stay where they are when workers of one lane replace workers of both.
_LANES = {"live": (FRAMES,), "bulk": (FRAMES_BULK,), "both": (FRAMES, FRAMES_BULK)}
frame_topics = tuple(topic_name(topic, settings.tenant) for topic in _LANES[settings.lane])


def _instance_id() -> str:
    """The static member id: unique among living processes, which the transport checks when it joins."""
    if not settings.instance_id and not settings.worker_port:
        raise SettingError("KINESTREAM_INSTANCE_ID is empty and KINESTREAM_WORKER_PORT is 0: no id can be made of it")
    return settings.instance_id or f"{socket.gethostname()}-{settings.worker_port}"


#: Seconds between two looks for registered robots.
_LEARN_S = 1.0


class _App(faust.App):
    async def on_start(self) -> None:
        """Before anything of it starts, and after Faust has set its own handlers of signals."""
        Leaving(_finish, self.consumer.leave, _end)
        await super().on_start()


class _Tables(TableManager):
    async def on_start(self) -> None:
        """Faust waits a second here for tables to be declared; we have none, and a worker that was killed is missed."""
        await self._update_channels()
        await self.recovery.start()


app = _App(
    settings.group,
    TableManager=_Tables,
    broker=[f"kinestream://{address}" for address in bootstrap.split(",")],
    # Static membership: back in seconds after a crash.
    consumer_group_instance_id=_instance_id(),
    broker_session_timeout=settings.session_s,
    broker_max_poll_interval=settings.max_poll_s,
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
app.transport.on_log_gap = settings.on_log_gap
app.transport.access = settings.kafka_access()
app.transport.on_failure = lambda problem: _end("reading the log", problem)
frames = app.topic(*frame_topics, schema=FetchSchema(), acks=False)

_worker: Worker | None = None
retention = RetentionWatch(partial(kept, settings, bootstrap, frame_topics))
pages = Pages(app, settings, lambda: _worker, retention)


def worker() -> Worker:
    """The process's worker, made when the app starts: importing this module touches no network."""
    if _worker is None:
        raise RuntimeError("the app has not started: run `kinestream work` or `faust -A kinestream.streams.app worker`")
    return _worker


async def _make_worker() -> Worker:
    # Each partition has an outlet, and each waits for its broker's answer in a thread.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(24, "worker"))
    retry = Retry()
    cluster_id, partitions = await retry.call("reach the broker", describe, settings, bootstrap, frame_topics)
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
        model_log=ModelLog(settings, bootstrap, registry),
        caught_up_since=lambda key, offset: app.consumer.caught_up_since(TP(*key), offset),
        membership=lambda: Membership(app.consumer.generation, app.consumer.confirmed_since()),
        guarded=guarded,
        hold_back=lambda key, held: app.consumer.hold_back(TP(*key), held),
    )


async def guarded(what: str, action: Callable[[], Awaitable[Any]]) -> Any:
    """Run ``action``; an error nobody foresaw ends the process as kill -9 would, for recovery is made for that.

    Going on would acknowledge what was not processed: Faust counts an event whose agent raised as done.
    """
    try:
        return await action()
    except asyncio.CancelledError:
        raise
    except Exception as problem:
        _end(what, problem)


def _end(what: str, problem: Exception) -> None:
    if isinstance(problem, KinestreamError):
        log.critical("%s: %s", what, problem)
    else:
        log.critical("%s failed; the worker ends and its supervisor starts another", what, exc_info=problem)
    end(70)


async def _finish() -> None:
    if _worker is not None:
        app.consumer.stop_flow()
        await _worker.stop()


@app.on_worker_init.connect
def _before_start(_: Any, **__: Any) -> None:
    settings.home.mkdir(parents=True, exist_ok=True)  # Faust makes its folder, but not the one above
    # There are no tables to recover. Without this, tasks and pages begin with the first assignment: while the broker is
    # away at a start there is then nobody to ask, and SIGTERM waits for Faust.
    app.tables.recovery.completed.set()


def _quieter() -> None:
    """Our own words at INFO, everybody's trouble at WARNING.

    For its spinner Faust opens the root logger at DEBUG, so that every fetch and request makes records nobody reads.
    """
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if isinstance(handler, SpinnerHandler):
            root.removeHandler(handler)
        else:
            handler.setLevel(logging.INFO)
    root.setLevel(logging.WARNING)
    logging.getLogger("kinestream").setLevel(logging.INFO)


@app.on_partitions_assigned.connect
async def _assigned(_: Any, assigned: set[TP], **__: Any) -> None:
    keys = [(tp.topic, tp.partition) for tp in assigned if tp.topic in frame_topics]
    generation = app.consumer.generation
    # In the background: the group's rebalance is held open until this returns, and the store may be away.
    loading = asyncio.ensure_future(guarded("loading", partial(_take_over, keys, generation)))
    _loading.add(loading)
    loading.add_done_callback(_loading.discard)


async def _take_over(keys: list[tuple[str, int]], generation: int) -> None:
    await _started.wait()
    keys = [key for key in keys if app.consumer.holds(TP(*key), generation)]  # a start can take longer than a rebalance
    await worker().take_over(keys, generation)


@app.on_partitions_revoked.connect
async def _revoked(_: Any, revoked: set[TP], **__: Any) -> None:
    if _worker is not None:
        await _worker.give_up((tp.topic, tp.partition) for tp in revoked)


_started = asyncio.Event()
_loading: set[asyncio.Future[Any]] = set()


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
    if settings.lane == "bulk":
        lean.give_way(settings.bulk_nice)
    _started.set()
    await guarded("flushing", worker().run)


@app.task
async def commanding() -> None:
    """Carry out what people want done with episodes of our partitions."""
    await _started.wait()
    registry = Registry(settings.registry)
    commanders = [Commander(settings, bootstrap, registry, worker(), lane) for lane in frame_topics]
    await asyncio.gather(*(guarded("obeying commands", one.run) for one in commanders))


@app.task
async def learning_models() -> None:
    """Hear of robots' descriptions within a second or so."""
    await _started.wait()
    while True:
        await asyncio.sleep(_LEARN_S)
        await guarded("reading the registered robots", worker().learn_models)


@app.task
async def watching_retention() -> None:
    """Know what the topics keep, so that what is unread is never deleted unannounced."""
    await _started.wait()
    await retention.run()


@app.task
async def tidying() -> None:
    """Keep the journal short."""
    await _started.wait()
    await Tidier(worker(), settings.journal_days).run()


@app.task
async def verifying() -> None:
    """Read a few stored episodes back, while there is nothing better to do."""
    await _started.wait()
    idle = lambda: worker().ready() and not worker().behind  # noqa: E731
    await BackgroundVerifier(settings, clickhouse, idle, pages.measures.looked_at).run()
