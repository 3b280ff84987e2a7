"""The robot SDK's front door: one robot, one boot, one episode at a time; never writes to disk, never reads a topic."""

from __future__ import annotations

import atexit
import logging
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Final, Literal, Unpack

from kinestream.producers.delivery import Delivery, Ledger
from kinestream.producers.episode import Episode
from kinestream.producers.intake import ChannelLike, declared_channels
from kinestream.producers.labels import EpisodeLabels, Labels
from kinestream.producers.link import Link
from kinestream.schemas.catalogue import FRAMES, FRAMES_BULK, topic_name
from kinestream.schemas.codec import Codec
from kinestream.schemas.errors import ContractError, DeliveryError, LayoutError, SettingError
from kinestream.schemas.models import find_model
from kinestream.schemas.registry import Registry
from kinestream.schemas.settings import Settings

log = logging.getLogger("kinestream.robot")

#: Unsent episodes a RobotStatus names, at most (the oldest).
UNSENT_NAMED: Final = 50
#: Seconds the last flush of a program that forgot to close its robot may take.
_AT_EXIT_S: Final = 5.0
#: Longest sleep of the background thread, s: how soon close() is noticed.
_NAP_S: Final = 0.1


class Robot:
    """Publishes the takes of one robot; a context manager that flushes at its end. Thread-safe.

    ``joints``: canonical names in the order of the arrays; omitted = all actuated joints of the described model.
    ``channels``: further signals by name (a :class:`Channel`, element names, or a width); an episode may send any of
    them. ``kafka``: bootstrap servers (default ``KINESTREAM_KAFKA``). ``lane``: ``bulk`` for recordings.
    Raises :class:`LayoutError` for joints or channels that do not fit, :class:`SettingError` without a broker.
    Needs no broker to be up: what it cannot deliver waits in memory (``Settings.buffer_bytes``).
    """

    def __init__(
        self,
        robot_id: str,
        *,
        model_id: str,
        joints: Sequence[str] | None = None,
        channels: Mapping[str, ChannelLike] | None = None,
        kafka: str | None = None,
        rate_hz: float = 0.0,
        lane: Literal["live", "bulk"] = "live",
        settings: Settings | None = None,
    ) -> None:
        settings = Settings.from_env() if settings is None else settings
        if lane not in ("live", "bulk"):
            raise SettingError(f"lane={lane!r}: allowed are live and bulk")
        live = lane == "live"
        topic = topic_name(FRAMES if live else FRAMES_BULK, settings.tenant)
        named = _joints(model_id, joints)
        self._link = Link(
            tenant=settings.tenant,
            robot_id=_text("robot_id", robot_id),
            model_id=_text("model_id", model_id),
            boot_id=str(uuid.uuid4()),
            joints=named,
            declared=declared_channels(named, channels or {}),
            codec=Codec(Registry(settings.registry), topic),
            delivery=Delivery(_broker(kafka, settings), topic, robot_id, settings),
            chunk_frames=settings.chunk_frames if live else settings.bulk_chunk_frames,
            chunk_bytes=settings.chunk_bytes,
        )
        self._rate_hz = rate_hz
        self._number = time.time_ns() // 1_000_000
        self._episode: Episode | None = None
        self._unsent: dict[str, Ledger] = {}
        self._status = Ledger()
        self._status_every_s = settings.status_interval_s
        self._cut_after_s = settings.chunk_ms / 1000 if live else float("inf")
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"robot-{robot_id}", daemon=True)
        self._thread.start()
        atexit.register(self._at_exit)

    @property
    def robot_id(self) -> str:
        """Its name, the key of everything it sends."""
        return self._link.robot_id

    @property
    def boot_id(self) -> str:
        """UUID of this start of the robot."""
        return self._link.boot_id

    @property
    def buffered_bytes(self) -> int:
        """Bytes the broker has not acknowledged."""
        return self._link.delivery.pending_bytes

    def episode(self, **labels: Unpack[EpisodeLabels]) -> Episode:
        """Begin a take; raises :class:`ContractError` while another is being recorded."""
        with self._link.lock:
            if self._closed.is_set():
                raise ContractError(f"robot {self.robot_id} is closed: make a new Robot")
            if self._episode is not None:
                raise ContractError(
                    f"robot {self.robot_id} is recording episode {self._episode.id}: a robot records one at a time;"
                    " end it first"
                )
            labels.setdefault("nominal_rate_hz", self._rate_hz)
            self._episode = Episode(self._link, self._number, Labels(**labels), self._on_end)
            self._number += 1
            return self._episode

    def flush(self, timeout: float = 30.0) -> None:
        """Send what is held and wait until the broker has all of it; ``timeout`` in s.

        Raises :class:`DeliveryError` naming what is not delivered (it stays in memory).
        """
        deadline = time.monotonic() + timeout
        if self._link.lock.acquire(timeout=timeout):  # a send() that is blocked in another thread keeps it
            try:
                if self._episode is not None:
                    self._episode.cut_if_older(float("inf"))
            finally:
                self._link.lock.release()
        self._link.delivery.flush(max(deadline - time.monotonic(), 0.0), self._ledgers())

    def close(self, timeout: float = 30.0) -> None:
        """End a take left open (ABORTED), flush, and stop; a second call does nothing. Raises as :meth:`flush`."""
        if self._closed.is_set():
            return
        self._closed.set()
        atexit.unregister(self._at_exit)
        self._link.delivery.stop_waiting()
        try:
            if self._episode is not None:
                self._episode.end("ABORTED", "the robot was closed before the episode ended")
            self._link.delivery.flush(timeout, self._ledgers())
        finally:
            self._thread.join()

    def __enter__(self) -> Robot:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except DeliveryError as undelivered:
            if problem is None:
                raise
            problem.add_note(str(undelivered))

    def _at_exit(self) -> None:
        try:
            self.close(_AT_EXIT_S)
        except DeliveryError as problem:
            log.error("at the end of the program: %s", problem)

    def _on_end(self, episode: Episode) -> None:
        self._unsent[episode.id] = episode.ledger
        self._episode = None

    def _ledgers(self) -> list[Ledger]:
        """Of episodes the broker does not have whole, the oldest first."""
        for ledger in list(self._unsent.values()):
            if ledger.whole:
                self._unsent.pop(ledger.episode_id, None)
        recording = self._episode
        return [*self._unsent.values(), *([recording.ledger] if recording else [])]

    def _run(self) -> None:
        status_due = 0.0
        try:
            while not self._closed.is_set():
                now = time.monotonic()
                if now >= status_due:
                    self._send_status()
                    status_due = now + self._status_every_s
                wait = min(self._cut_old(now), status_due - now, _NAP_S)
                self._link.delivery.poll(max(wait, 0.001))
        except DeliveryError as problem:
            log.error("robot %s: %s", self.robot_id, problem)

    def _cut_old(self, now: float) -> float:
        """Send a partial chunk that is old enough; seconds until the next look. Never blocks and never waits."""
        lock, episode = self._link.lock, self._episode
        if episode is None or not self._link.delivery.has_room:
            return self._cut_after_s
        if not lock.acquire(blocking=False):  # send() is at work; it may be waiting for the broker
            return 0.005
        try:
            since = episode.cut_if_older(now - self._cut_after_s)
        finally:
            lock.release()
        return since + self._cut_after_s - now if since else self._cut_after_s

    def _send_status(self) -> None:
        if not self._status.whole:  # one at a time: an outage must not fill the buffer with old words
            return
        recording = self._episode
        unsent = [
            ledger.episode_id for ledger in self._ledgers() if recording is None or ledger is not recording.ledger
        ]
        status = {
            "tenant": self._link.tenant,
            "robot_id": self.robot_id,
            "model_id": self._link.model_id,
            "boot_id": self.boot_id,
            "sent_at_ns": time.time_ns(),
            "recording": recording.id if recording else "",
            "unsent_episodes": unsent[:UNSENT_NAMED],
            "buffered_bytes": self.buffered_bytes,
            "clock_source": "SYSTEM",
            "clock_offset_s": None,
        }
        self._link.delivery.put(self._link.codec.encode("RobotStatus", status), self._status, wait=False)


def _joints(model_id: str, joints: Sequence[str] | None) -> tuple[str, ...]:
    if isinstance(joints, str):
        raise LayoutError(f"joints={joints!r}: give a list of names")
    if joints is not None:
        return tuple(joints)
    model = find_model(model_id)
    if model is None:
        raise LayoutError(
            f"model {model_id!r} is not described (schemas/robots), so its joints are not known: give joints="
        )
    return model.joint_names


def _broker(kafka: str | None, settings: Settings) -> str:
    broker = kafka or settings.kafka
    if not broker:
        raise SettingError("no broker: give kafka='host:port' or set KINESTREAM_KAFKA (`kinestream status` shows it)")
    return broker


def _text(what: str, value: str) -> str:
    if not isinstance(value, str) or not value:
        raise LayoutError(f"{what}={value!r}: give a text that is not empty")
    return value
