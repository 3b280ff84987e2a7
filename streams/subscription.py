"""The front door for whoever uses episodes: their events as they are announced; it writes nothing but its place."""

from __future__ import annotations

import logging
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from kinestream.schemas.catalogue import EPISODES, topic_name
from kinestream.schemas.codec import Codec
from kinestream.schemas.errors import ContractError, DecodeError, SettingError
from kinestream.schemas.registry import Registry, latest_schema
from kinestream.schemas.settings import Settings
from kinestream.streams.events import EpisodeCompleted, EpisodeWithdrawn, event_of, withdrawal_of
from kinestream.streams.reading import TopicReader

if TYPE_CHECKING:
    from kinestream.streams.archive import Archive

log = logging.getLogger("kinestream.subscription")

#: Episodes whose revision is remembered, to tell repeats: about 25 MB.
REMEMBERED: Final = 100_000
Words = str | Iterable[str]
WITHDRAWN: Final = EpisodeWithdrawn.status


class Subscription:
    """Announced episodes, one :class:`EpisodeCompleted` after the other, for ever or ``until_end``.

    ``group``: subscribers of one name share the events, and a place in the log is kept for them: an event counts as
    done when the ``for`` block returns, and is handed out again when it raised or was left. Without a group every
    event is yours, and nothing is kept. A new group, or none, begins with ``from_start``, else ``since`` (aware
    datetime, broker time), else with what is announced from now on. ``until_end``: stop at the end of the log as it
    was when this was made.

    ``skill``, ``area``, ``model``, ``robot``, ``verdict``, ``status``: one value or several; empty = any. Only status
    COMPLETE unless you say otherwise. A revision is handed out only if it is higher than the last of its episode;
    with ``repeats`` always. ``on_withdrawn(EpisodeWithdrawn)`` is called while you wait for the next event, where an
    episode must no longer be used, whatever its labels were (of the filters only ``robot`` counts); one that raises
    ends the iteration, and is told again. ``kafka``, ``clickhouse``: addresses (default ``KINESTREAM_KAFKA``,
    ``KINESTREAM_CLICKHOUSE``); the makers' topics are told apart by ``KINESTREAM_TENANT``.

    Raises :class:`SettingError` without a broker's address, :class:`BrokerError` when it does not answer or has no
    such topic, :class:`ContractError` for a filter nothing could ever pass. One thread at a time.
    """

    def __init__(
        self,
        group: str = "",
        *,
        skill: Words = (),
        area: Words = (),
        model: Words = (),
        robot: Words = (),
        verdict: Words = (),
        status: Words = "COMPLETE",
        repeats: bool = False,
        from_start: bool = False,
        since: datetime | None = None,
        until_end: bool = False,
        on_withdrawn: Callable[[EpisodeWithdrawn], None] = lambda _: None,
        kafka: str | None = None,
        clickhouse: str | None = None,
        settings: Settings | None = None,
    ) -> None:
        settings = settings or Settings.from_env()
        wanted = {"skill": skill, "area": area, "model_id": model, "robot_id": robot}
        self._wanted = {name: _words(given) for name, given in wanted.items()}
        self._wanted |= {name: _symbols(name, given) for name, given in (("verdict", verdict), ("status", status))}
        if since is not None and since.tzinfo is None:
            raise ContractError(f"since={since!r} has no time zone: give an aware datetime, such as one of UTC")
        self._repeats, self._until_end, self._on_withdrawn = repeats, until_end, on_withdrawn
        self._revisions: OrderedDict[str, int] = OrderedDict()
        self._frames = _Frames(settings, clickhouse or settings.clickhouse)
        #: messages that were no event as docs/contract.md describes it, and were passed over
        self.refused = 0
        topic = topic_name(EPISODES, settings.tenant)
        self._codec = Codec(Registry(settings.registry), topic)
        self._reader = TopicReader(
            settings, _broker(kafka, settings), topic, group=group, from_start=from_start, since=since
        )
        # Also when Python ends: a member that does not leave holds its partitions until its session is over.
        self._finalizer = weakref.finalize(self, self._reader.close)

    def __iter__(self) -> Iterator[EpisodeCompleted]:
        for message in self._reader.messages(until_end=self._until_end):
            if message is None:
                continue
            event = self._event(message)
            if isinstance(event, EpisodeWithdrawn):
                self._tell(event, message)
                continue
            if event is None or not self._is_new(event) or not self._passes(event):
                self._reader.skip(message)
                continue
            try:
                yield event
            except GeneratorExit:  # the block raised or was left
                self._revisions.pop(event.episode_id, None)
                self._reader.again(message)
                raise
            self._reader.done(message)

    def close(self) -> None:
        """Commit what is done and leave the group; done by itself when the object is dropped or Python ends."""
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _tell(self, event: EpisodeWithdrawn, message: Any) -> None:
        robots = self._wanted["robot_id"]
        if self._is_new(event) and (not robots or event.robot_id in robots):
            try:
                self._on_withdrawn(event)
            except BaseException:
                self._revisions.pop(event.episode_id, None)
                self._reader.again(message)
                raise
            self._reader.done(message)
        else:
            self._reader.skip(message)

    def _event(self, message: Any) -> EpisodeCompleted | EpisodeWithdrawn | None:
        try:
            return withdrawal_of(message, self._codec) or event_of(message, self._codec, self._frames)
        except DecodeError as problem:
            self.refused += 1
            log.warning(
                "%s-%d, offset %d passed over: %s", message.topic(), message.partition(), message.offset(), problem
            )
            return None

    def _is_new(self, event: EpisodeCompleted | EpisodeWithdrawn) -> bool:
        """Whether its revision is higher than the last seen of the episode; remembers it."""
        last = self._revisions.pop(event.episode_id, 0)
        self._revisions[event.episode_id] = max(last, event.revision)
        if len(self._revisions) > REMEMBERED:
            self._revisions.popitem(last=False)
        return self._repeats or event.revision > last

    def _passes(self, event: EpisodeCompleted) -> bool:
        return all(not words or getattr(event, name) in words for name, words in self._wanted.items())


class _Frames:
    """Reads frames of events; opens the store when the first are asked for. Never refers to the subscription."""

    def __init__(self, settings: Settings, url: str) -> None:
        self._settings, self._url = settings, url
        self._archive: Archive | None = None

    def __call__(self, event: EpisodeCompleted) -> dict[str, Any]:
        if self._archive is None:
            if not self._url:
                raise SettingError(
                    "no store: give clickhouse='http://host:port' or set KINESTREAM_CLICKHOUSE "
                    "(`kinestream status` shows it)"
                )
            self._archive = _open_archive(self._settings, self._url)
        return self._archive.frames(event.episode_id, day=event.location["stored_day"])


def _open_archive(settings: Settings, url: str) -> Archive:
    try:
        from kinestream.streams.archive import Archive
    except ImportError as problem:
        raise SettingError(
            f"frames come from the store, which needs more ({problem}): pip install kinestream[worker]"
        ) from problem
    return Archive(settings, url)


def _broker(kafka: str | None, settings: Settings) -> str:
    broker = kafka or settings.kafka
    if not broker:
        raise SettingError("no broker: give kafka='host:port' or set KINESTREAM_KAFKA (`kinestream status` shows it)")
    return broker


def _words(given: Words) -> frozenset[str]:
    return frozenset([given] if isinstance(given, str) else given) - {""}


def _symbols(name: str, given: Words) -> frozenset[str]:
    """Words of an enum of the record: a misspelt one would wait for ever."""
    words = _words(given)
    kinds = {one["name"]: one["type"] for one in latest_schema("EpisodeCompleted")[1]["fields"]}
    if strange := sorted(words - set(kinds[name]["symbols"])):
        raise ContractError(f"{name} {', '.join(strange)}: allowed are {', '.join(kinds[name]['symbols'])}")
    if WITHDRAWN in words:
        raise ContractError(f"{name} {WITHDRAWN}: such episodes have an event of their own, give on_withdrawn=")
    return words
