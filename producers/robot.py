"""The robot SDK's front door: one robot, one boot, one episode at a time; never touches a disk or a topic itself."""

from __future__ import annotations

import atexit
import logging
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Unpack

from kinestream.producers.delivery import Delivery, Ledger
from kinestream.producers.episode import Episode
from kinestream.producers.findings import FindingsReader, OnFinding
from kinestream.producers.intake import ChannelLike, declared_channels
from kinestream.producers.labels import EpisodeLabels, Labels
from kinestream.producers.link import Link, Outlet
from kinestream.producers.spool.orphans import OpenTake
from kinestream.producers.spool.outlet import NOTE, SpooledDelivery
from kinestream.producers.spool.places import spool_folder
from kinestream.producers.spool.receipts import Receipt
from kinestream.producers.spool.store import Owner, Spool
from kinestream.producers.status import robot_status
from kinestream.schemas.catalogue import FINDINGS, FRAMES, FRAMES_BULK, topic_name
from kinestream.schemas.codec import Codec
from kinestream.schemas.errors import (
    ContractError,
    DeliveryError,
    LayoutError,
    SettingError,
    SpoolError,
)
from kinestream.schemas.layout import Channel
from kinestream.schemas.models import find_model
from kinestream.schemas.registry import Registry
from kinestream.schemas.settings import Settings
from kinestream.schemas.texts import is_text

log = logging.getLogger("kinestream.robot")

#: ``spool=DEFAULT_SPOOL``: the robot's own folder below Settings.spool or the user's data folder.
DEFAULT_SPOOL: Final = ""
#: Seconds the last flush of a program that forgot to close its robot may take.
_AT_EXIT_S: Final = 5.0
#: Share of Settings.chunk_ms after which a partial chunk is cut: the rest is for its way into the spool.
_CUT_SHARE: Final = 0.93
#: Longest sleep of the background thread, s: how soon close() is noticed.
_NAP_S: Final = 0.1


class Robot:
    """Publishes the takes of one robot; a context manager that flushes at its end. Thread-safe.

    ``joints``: canonical names in the order of the arrays; omitted = all actuated joints of the described model.
    ``channels``: further signals by name (a :class:`Channel`, element names, or a width); an episode may send any of
    them. ``kafka``: bootstrap servers (default ``KINESTREAM_KAFKA``). ``lane``: ``bulk`` for recordings.
    ``spool``: the folder on disk that keeps every frame until the hub has it, by default one of its own a robot;
    ``None`` keeps them in memory (``Settings.buffer_bytes``), and what the process held when it dies is gone.
    ``durable="power"`` writes through to the disk: no promised frame is lost with the power either.
    ``on_trouble(text)`` is called when frames cannot be delivered, and with an empty text when they can again;
    ``on_receipt(receipt)`` when the hub says what it has of a take. Both by a thread of the robot's.
    ``go_on``: a take that the process before left open in the spool is not ended, but is :attr:`left_open`, unless its
    joints or channels are no longer those declared.
    Raises :class:`LayoutError` for joints or channels that do not fit, :class:`SettingError` without a broker,
    :class:`SpoolError` for a spool that is in use or cannot be made. Needs no broker to be up.
    """

    # Over fifty lines: the options in one place, all checked before anything is opened.
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
        spool: Path | str | None = DEFAULT_SPOOL,
        durable: Literal["process", "power"] = "process",
        go_on: bool = False,
        on_trouble: Callable[[str], None] = lambda _: None,
        on_receipt: Callable[[Receipt], None] = lambda _: None,
        settings: Settings | None = None,
    ) -> None:
        settings = Settings.from_env() if settings is None else settings
        _one_of("lane", lane, ("live", "bulk"))
        _one_of("durable", durable, ("process", "power"))
        live = lane == "live"
        topic = topic_name(FRAMES if live else FRAMES_BULK, settings.tenant)
        named = joints_of(model_id, joints)
        declared = declared_channels(named, channels or {})
        owner = Owner(
            settings.tenant, _text("robot_id", robot_id), _text("model_id", model_id), boot_id=str(uuid.uuid4())
        )
        self._identity = asdict(owner)
        self._episode: Episode | None = None
        self._spooled: SpooledDelivery | None = None
        self._note = ""
        left: OpenTake | None = None
        outlet: Outlet
        broker = _broker(kafka, settings)
        if spool is None:
            outlet = Delivery(broker, topic, robot_id, settings)
            self._number = time.time_ns() // 1_000_000
        else:
            folder = Path(spool) if spool else spool_folder(settings, robot_id)
            fits = partial(_fits, model_id=model_id, joints=named, declared=declared) if go_on else None
            opened = Spool(folder, owner, power=durable == "power", goes_on=fits)
            left, self._note = opened.left_open, str(opened.tables.fact(NOTE, ""))
            outlet = self._spooled = SpooledDelivery(
                opened, broker, settings, self._status, "" if live else lane, on_trouble, on_receipt
            )
            self._number = opened.next_number
        self._link = Link(
            **self._identity,
            joints=named,
            declared=declared,
            codec=Codec(Registry(settings.registry if spool is None else ""), topic),
            outlet=outlet,
            chunk_frames=settings.chunk_frames if live else settings.bulk_chunk_frames,
            chunk_bytes=settings.chunk_bytes,
        )
        if left is not None:
            self._episode = Episode.gone_on(self._link, left, self._on_end)
        self.left_open: Final = self._episode
        self._rate_hz = rate_hz
        self._findings: FindingsReader | None = None
        self._make_findings = partial(
            FindingsReader, broker, topic_name(FINDINGS, settings.tenant), robot_id, settings=settings
        )
        self._unsent: dict[str, Ledger] = {}
        self._status_ledger = Ledger()
        self._status_every_s = settings.status_interval_s
        self._cut_after_s = _CUT_SHARE * settings.chunk_ms / 1000 if live else float("inf")
        self._closed, self._stop = threading.Event(), threading.Event()
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
        return self._link.outlet.pending_bytes

    @property
    def spool_bytes(self) -> int:
        """Bytes in the spool, sent or not; 0 without one."""
        return self._spooled.held_bytes if self._spooled else 0

    @property
    def spool_full(self) -> bool:
        """New episodes are refused: the spool is at its bound, or its disk is full."""
        return self._spooled.full if self._spooled else False

    @property
    def delivery_state(self) -> str:
        """CONNECTING, ONLINE, OFFLINE (the broker is away) or REFUSED (it takes nothing); empty without a spool."""
        return self._spooled.state if self._spooled else ""

    @property
    def trouble(self) -> str:
        """Why frames are not delivered or not kept, in a sentence; empty while all is well or without a spool."""
        return self._spooled.trouble if self._spooled else ""

    @property
    def settled(self) -> bool:
        """The broker has everything, and the hub everything it gives receipts for; with a spool."""
        return self._spooled is not None and self._spooled.emptied

    @property
    def note(self) -> str:
        """A text of the program's own that the spool keeps; empty without one."""
        return self._note

    def keep_note(self, text: str) -> None:
        """Keep :attr:`note` in the spool, no later than what is sent from now on."""
        self._note = text
        if self._spooled:
            self._spooled.keep_note(text)

    def episode(self, **labels: Unpack[EpisodeLabels]) -> Episode:
        """Begin a take; raises :class:`ContractError` while another is being recorded, SpoolFullError at the bound."""
        with self._link.lock:
            if self._closed.is_set():
                raise ContractError(f"robot {self.robot_id} is closed: make a new Robot")
            if self._episode is not None:
                raise ContractError(
                    f"robot {self.robot_id} is recording episode {self._episode.id}: a robot records one at a time;"
                    " end it first"
                )
            if self._spooled:
                self._spooled.admit()
            labels.setdefault("nominal_rate_hz", self._rate_hz)
            self._episode = Episode(self._link, self._number, Labels(**labels), self._on_end)
            self._number += 1
            if self._findings:
                self._findings.watch(self._episode.ledger)
            return self._episode

    def on_finding(self, callback: OnFinding) -> None:
        """Call ``callback(RobotFinding)`` with what the hub finds in this robot's takes, within 2 s while recording.

        Of the take under way and those after it, until the robot is closed; on a thread of the SDK's, one call at a
        time. A finding is RAISED, perhaps UPDATED and CLEARED while the take is recorded (``provisional``), then RAISED
        as it stands finally, or CLEARED. What the callback raises is logged once. While the broker is away nothing
        comes, and then by itself. Raises :class:`ContractError` for a second callback or a closed robot.
        """
        with self._link.lock:
            if self._closed.is_set():
                raise ContractError(f"robot {self.robot_id} is closed: make a new Robot")
            if self._findings is not None:
                raise ContractError(f"robot {self.robot_id} has a callback for findings: let that one call others")
            self._findings = self._make_findings(callback)
            if self._episode is not None:
                self._findings.watch(self._episode.ledger)

    def flush(self, timeout: float = 30.0) -> None:
        """Send what is held and wait until the broker has all of it; ``timeout`` in s.

        Raises :class:`DeliveryError` naming what is not delivered (it stays in the spool, or in memory).
        """
        deadline = time.monotonic() + timeout
        if self._link.lock.acquire(timeout=timeout):  # a send() that is blocked in another thread keeps it
            try:
                if self._episode is not None:
                    self._episode.cut_if_older(float("inf"))
            finally:
                self._link.lock.release()
        self._link.outlet.flush(max(deadline - time.monotonic(), 0.0), self._ledgers())

    def close(self, timeout: float = 30.0, *, leave_open: bool = False) -> None:
        """End a take left open (ABORTED), deliver, and stop; a second call does nothing.

        ``leave_open``: the take stays open in the spool, for the next start to go on with (``go_on``).

        With a spool it waits for a broker that answers, for ``timeout`` s at most; what is not delivered then stays in
        the spool for the next start. Raises :class:`SpoolError` if something could not be kept; without a spool as
        :meth:`flush`.
        """
        if self._closed.is_set():
            return
        self._closed.set()
        atexit.unregister(self._at_exit)
        self._link.outlet.stop_waiting()
        if not self._spooled:
            self._stop.set()
        try:
            if self._episode is not None and leave_open:
                with self._link.lock:
                    self._episode.cut_if_older(float("inf"))
            elif self._episode is not None:
                self._episode.end("ABORTED", "the robot was closed before the episode ended")
        finally:
            try:
                self._link.outlet.close(timeout, self._ledgers())
            finally:
                self._stop.set()
                self._thread.join()
                if self._findings:
                    self._findings.close()

    def __enter__(self) -> Robot:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except (DeliveryError, SpoolError) as undelivered:
            if problem is None:
                raise
            problem.add_note(str(undelivered))

    def _at_exit(self) -> None:
        try:
            self.close(_AT_EXIT_S)
        except (DeliveryError, SpoolError) as problem:
            log.error("at the end of the program: %s", problem)

    def _on_end(self, episode: Episode) -> None:
        if not self._spooled:
            self._unsent[episode.id] = episode.ledger
        self._episode = None

    def _ledgers(self) -> list[Ledger]:
        """Without a spool: of episodes the broker does not have whole, the oldest first."""
        for ledger in list(self._unsent.values()):
            if ledger.whole:
                self._unsent.pop(ledger.episode_id, None)
        recording = self._episode
        return [*self._unsent.values(), *([recording.ledger] if recording else [])]

    def _run(self) -> None:
        status_due = 0.0
        try:
            while not self._stop.is_set():
                now = time.monotonic()
                if now >= status_due and not self._spooled:
                    self._send_status()
                    status_due = now + self._status_every_s
                wait = min(self._cut_old(now), max(status_due - now, 0.0) or _NAP_S, _NAP_S)
                self._link.outlet.poll(max(wait, 0.001))
        except DeliveryError as problem:
            log.error("robot %s: %s", self.robot_id, problem)

    def _cut_old(self, now: float) -> float:
        """Send a partial chunk that is old enough; seconds until the next look. Never blocks and never waits."""
        lock, episode = self._link.lock, self._episode
        if episode is None or not self._link.outlet.has_room:
            return self._cut_after_s
        if not lock.acquire(blocking=False):  # send() is at work; it may be waiting for the broker
            return 0.005
        try:
            since = episode.cut_if_older(now - self._cut_after_s)
        finally:
            lock.release()
        return since + self._cut_after_s - now if since else self._cut_after_s

    def _status(
        self, unsent: list[str], pending_bytes: int, spool: tuple[int, int, bool] = (0, 0, False)
    ) -> dict[str, object]:
        recording = self._episode
        return robot_status(self._identity, recording.id if recording else "", unsent, pending_bytes, spool)

    def _send_status(self) -> None:
        """Without a spool; one at a time: an outage must not fill the buffer with old words."""
        if self._status_ledger.whole:
            status = self._status([ledger.episode_id for ledger in self._ledgers()], self.buffered_bytes)
            self._link.outlet.put(self._link.codec.encode("RobotStatus", status), self._status_ledger, wait=False)


def joints_of(model_id: str, joints: Sequence[str] | None) -> tuple[str, ...]:
    """The joints a robot declares, or those of its model; raises :class:`LayoutError` where nobody knows them."""
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


def _fits(left: OpenTake, model_id: str, joints: tuple[str, ...], declared: tuple[Channel, ...]) -> bool:
    """A take that was left open can be gone on with."""
    same = (left.start["model_id"], left.layout.joints) == (model_id, joints)
    measured = tuple(channel for channel in declared if channel.name in left.layout.widths)
    return same and measured == left.layout.channels


def _broker(kafka: str | None, settings: Settings) -> str:
    broker = kafka or settings.kafka
    if not broker:
        raise SettingError("no broker: give kafka='host:port' or set KINESTREAM_KAFKA (`kinestream status` shows it)")
    return broker


def _one_of(what: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise SettingError(f"{what}={value!r}: allowed are {' and '.join(allowed)}")


def _text(what: str, value: str) -> str:
    if not is_text(value) or not value:
        raise LayoutError(f"{what}={value!r}: give a text that is not empty")
    return value
